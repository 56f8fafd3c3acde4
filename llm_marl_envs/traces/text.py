"""An episode as text for people."""

from __future__ import annotations

from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import Ask, Claim, Malformed, Spawn, Stop, UseTool
from llm_marl_envs.session import Session


def transcript(session: Session, outcome: Outcome | None = None) -> str:
    """The episode as text for people: who was asked what, what was said, what was noted, and how it ended."""
    question = session.play.question
    lines = [f"# {question.id}", question.text, ""]
    for call, reply, wave in session.events:
        match call:
            case Ask():
                lines += [f"[{wave}] {call.agent} is asked:", _indent(call.prompt), f"[{wave}] {call.agent} says:"]
            case UseTool():
                lines += [f"[{wave}] {call.agent} uses {call.tool} {dict(call.args)}:"]
            case Claim():
                lines += [f"    claim ({call.kind}) of {call.agent}: {_indent(call.text)[6:]}"]
            case Malformed():
                lines += [f"    malformed reply of {call.agent}: expected {call.expected}"]
            case Spawn() | Stop():
                lines += [f"    {call.by} {'spawns' if type(call) is Spawn else 'stops'} {call.agent}"]
        if reply is not None:
            lines += [_indent(reply.text)]
    if session.status is not None:
        why = f" ({session.why})" if session.why else ""
        lines += ["", f"status: {outcome.status if outcome else session.status}{why}"]
        lines += [f"answer: {_indent(str(session.answer))[6:]}"]
    if outcome is not None:
        lines += [f"score: {outcome.team.value:g} ({outcome.team.why})"]
    return "\n".join(lines) + "\n"


def _indent(text: str) -> str:
    return "\n".join(f"    | {line}" for line in text.split("\n"))

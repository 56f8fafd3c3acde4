"""The graded result of a finished session: every claim with its grade, the team's score, and what each agent spent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.protocol import Ask, Claim, Malformed
from llm_marl_envs.session import Event, Session, Status
from llm_marl_envs.task import Problem, Score, Task


@dataclass(frozen=True, slots=True)
class Outcome:
    """The graded result of an episode: the team's score, every claim with its grade in order, and what each agent spent."""

    status: Status
    team: Score
    claims: tuple[tuple[Claim, Score], ...]
    agents: tuple[str, ...]  # the whole roster
    calls: Mapping[str, int]  # agent -> replies
    tokens: Mapping[str, int]  # agent -> prompt and reply tokens
    malformed: int  # calls in which at least one reading failed
    session: Session | None = field(
        default=None, repr=False, compare=False
    )  # the events, for rules that need more than grades
    unread: Mapping[str, int] = field(default_factory=dict, compare=False)  # agent -> its part of `malformed`

    @property
    def events(self) -> Sequence[Event]:
        """The session's events, in order; empty if the session was not kept."""
        return self.session.events if self.session else ()

    def own(self, agent: str) -> float | None:
        """The mean grade of an agent's own claims, or None if it claimed nothing."""
        grades = [score.value for claim, score in self.claims if claim.agent == agent]
        return sum(grades) / len(grades) if grades else None


def outcome_of(session: Session, task: Task, problem: Problem) -> Outcome:
    """Grade a session that is over. A grader that crashes makes the episode FAILED, not wrong.

    A call counts as malformed once, however many of its readings failed: the workflow says so (`Malformed`), or there is
    nothing to read in what its agent then claimed, be it an answer, a verdict or evidence.
    """
    status = session.status
    if status is None:
        raise ValueError(f"{session!r} is not over; only finished episodes have an outcome")
    calls: dict[str, int] = {}
    tokens: dict[str, int] = {}
    answers: dict[str, Score] = {}  # drafts are often claimed, judged and returned: each text is graded once
    claims: list[tuple[Claim, Score]] = []
    unreadable: set[tuple[str, int]] = set()  # (agent, which of its calls)
    try:
        call: Any
        reply: Any
        for call, reply, _ in session.events:
            kind = type(call)
            if kind is Ask:
                agent = call.agent
                if agent in calls:
                    calls[agent] += 1
                    tokens[agent] += reply[1] + reply[2]
                else:
                    calls[agent], tokens[agent] = 1, reply[1] + reply[2]
            elif kind is Claim:
                text = call.about if call.kind == "verdict" else call.text
                if call.kind == "evidence":
                    score = task.grade(problem, text, "evidence")
                elif (score := answers.get(text)) is None:
                    score = answers[text] = task.grade(problem, text)
                if call.kind == "verdict":
                    score = _VERDICTS.get((call.text, score.value >= 1.0), _NO_VERDICT)
                claims.append((call, score))
                if score.read is None and call.agent in calls:
                    unreadable.add((call.agent, calls[call.agent]))
            elif kind is Malformed and call.agent in calls:
                unreadable.add((call.agent, calls[call.agent]))
        answer = session.answer
        if answer is None:
            team = Score(0.0, session.why or "the team gave no answer")
        elif (team := answers.get(answer)) is None:
            team = task.grade(problem, answer)
    except Exception as bad:  # a grader's bug must not count for or against an answer
        status, team, claims = Status.FAILED, Score(0.0, f"the grader failed: {type(bad).__name__}: {bad}"), []
    roster, unread = session.play.workflow.roster.names, Counter(agent for agent, _ in unreadable)
    return Outcome(status, team, tuple(claims), roster, calls, tokens, len(unreadable), session, unread)


_VERDICTS = {
    ("right", True): Score(1.0, "said right, it was right", "right"),
    ("right", False): Score(0.0, "said right, it was wrong", "right"),
    ("wrong", False): Score(1.0, "said wrong, it was wrong", "wrong"),
    ("wrong", True): Score(0.0, "said wrong, it was right", "wrong"),
}
_NO_VERDICT = Score(0.0, "expected the verdict 'right' or 'wrong'")

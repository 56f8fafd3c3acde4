"""A trace in the public orchestration-trace schema (survey of RL for LLM teams, arXiv 2605.02801): events and what led to what.

The schema leaves extra fields on events to us; ours are `wave`, `seconds`, `prompt`, `text`, `prompt_tokens`, `reply_tokens`,
`args`, `worked`, `choices`, `claims`, `malformed`, `alternatives` and `refused`, on the first event `question` and, for a fork, `parent`, and on the last one
`status`, `why` and `answer`. Events of agents in `meta["people"]` are `human`. For the edges between events see `graph`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from math import isfinite
from typing import Any

from llm_marl_envs.catalog import find_class
from llm_marl_envs.errors import TraceError, UnknownName
from llm_marl_envs.graph import Graph, graph_of
from llm_marl_envs.orchestration.metrics import metrics_of
from llm_marl_envs.orchestration.schema import View, view_of
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.rewards import leads, orchestration, tool_use
from llm_marl_envs.traces.trace import Trace


def to_orchestration(trace: Trace, outcome: Outcome | None = None, *, texts: bool = True) -> View:
    """The episode in the public schema, as JSON data. Raises TraceError for an episode in which nothing happened.

    outcome: its grades go into the claims and the reward channels: `team`, the mean of each kind of claim, and, by the rules of
    `rewards` with their defaults, `tool` (the reward for using tools) and `orchestration` (the bonus for how the work was
    organised); without it there is only the claimed team score, and no metric that needs grades. texts: False leaves out
    prompts, replies and arguments; `content_ref` keeps a digest of each text.
    """
    graph = graph_of_trace(trace, outcome)
    if not graph.events:
        raise TraceError(
            f"trace {trace.id} has no events ({trace.why or 'nothing was asked'}): there is nothing to export"
        )
    view = view_of(
        graph,
        trace_id=trace.id,
        task_id=trace.question.id,
        system=trace.env_id,
        topology=topology_of(trace.spec.workflow),
    )
    first, last = view["events"][0], _last_call(view)
    first["question"] = trace.question.text
    if parent := trace.parent:
        first["parent"] = {"trace_id": parent[0], "turn": parent[1]}
    last["status"], last["answer"] = trace.status and str(trace.status), trace.answer
    if trace.why:
        last["why"] = trace.why
    view["rewards"] = _channels(trace, outcome)
    view["metrics"] = metrics_of(graph, outcome)
    return view if texts else without_texts(view)


def without_texts(view: View) -> View:
    """Orchestration data without prompts, replies and arguments; `content_ref` keeps a digest of each text."""
    for event in view["events"]:
        for name in ("prompt", "text", "args", "question", "answer", "alternatives"):
            event.pop(name, None)
        for claim in event.get("claims", ()):
            for name in ("text", "about", "read"):
                claim.pop(name, None)
    return view


def graph_of_trace(trace: Trace, outcome: Outcome | None = None) -> Graph:
    """The graph of a trace's events, with the grades of an outcome."""
    seats = trace.meta.get("people") if isinstance(trace.meta, Mapping) else None
    people = frozenset(seat for seat in seats if isinstance(seat, str)) if isinstance(seats, list) else frozenset[str]()
    grades = outcome.claims if outcome else ()
    return graph_of(trace.events, trace.question, answer=trace.answer, people=people, grades=grades)


def _last_call(view: View) -> dict[str, Any]:
    """The event on which an episode ended: its last call, or, if there were no calls, its last event."""
    moves = ("spawn", "despawn", "tool_call")
    called = [event for event in view["events"] if event["type"] not in moves]
    return max(called, key=lambda event: int(event["id"][1:]), default=view["events"][-1])


def _channels(trace: Trace, outcome: Outcome | None) -> dict[str, float]:
    if outcome is None:
        return {} if trace.score is None or not isfinite(trace.score) else {"team": trace.score}
    channels = {"team": outcome.team.value}
    for kind in ("answer", "verdict", "evidence"):
        if grades := [score.value for claim, score in outcome.claims if claim.kind == kind]:
            channels[kind] = sum(grades) / len(grades)
    if any(type(event.call) is UseTool for event in trace.events):
        channels["tool"] = sum(tool_use()(outcome).values())
    if leading := leads(outcome):
        organised = orchestration()(outcome)
        channels["orchestration"] = organised[min(leading)] - outcome.team.value  # the same for all who lead
    return channels


@lru_cache(maxsize=256)
def topology_of(workflow: str) -> str:
    """The schema's topology of a workflow, from its attribute `topology`. Modules that a trace names are not loaded."""
    try:
        if ":" in workflow:
            return "unknown"
        return getattr(find_class("llm_marl_envs.workflows", workflow), "topology", "unknown")
    except UnknownName:
        return "unknown"

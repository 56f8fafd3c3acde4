"""Figures of orchestration data, ours or imported: pure functions of one view in the public schema.

The survey (arXiv 2605.02801) names `task_success`, `parallelism_efficiency`, `protocol_overhead` and `error_amplification`
without defining them; METRICS defines them, and more. Two follow other papers: correction and preservation (TRACER), and
abstention accuracy (DAC, arXiv 2606.10684, its generator's reward).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import fmean
from typing import Any

from llm_marl_envs.reading import is_abstention

METRICS = {
    "task_success": "The team's score, from 0 to 1.",
    "critical_path_calls": "Calls of agents and tools on the longest chain of causes: the fewest that must wait for one another.",
    "critical_path_s": "Seconds of the chain of causes that takes longest. Only where calls were timed.",
    "speed_up": "All work over the critical path: in seconds where calls were timed, in calls elsewhere. 1 is one after the other.",
    "parallelism_efficiency": "speed_up over the most calls that were ever open at once: 1 if parallel branches are equally long.",
    "protocol_overhead": "Share of agents' tokens spent on decisions (whom to ask, when to stop), not on the work. In calls where no tokens were counted.",
    "malformed_rate": "Replies that could not be read as what was asked for, per agents' call.",
    "error_amplification": "How much worse the team is than its average member: max(0, mean of the members' last answers' grades - team's score).",
    "correction": "1 if the first readable answer was wrong and the team's is right, else 0. Averages count all episodes.",
    "preservation": "1 if the first readable answer was right and the team's is right, else 0. Averages count all episodes.",
    "abstention_accuracy": "Answers given on evidence: share that abstained if and only if the evidence was insufficient.",
    "free_riding": "Share of answers and reports of evidence that no other agent read and that are not the team's answer.",
    "records_skipped": "Of imported data: records that were not understood.",
}
_READ = frozenset(("message", "return", "aggregate", "tool_dependency"))
_CALLS = frozenset(("message", "orchestrator_decision", "return", "aggregate"))


def metrics_of(view: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of one episode; those that do not apply (no grades, no evidence, no tokens) are absent.

    Worked example: three workers of 2, 3 and 4 s at once, then an aggregator of 1 s: 10 s of work on a critical path of 5 s
    give speed_up 2 and, three calls wide, parallelism_efficiency 2/3.
    """
    events, edges = view["events"], view["edges"]
    found: dict[str, float] = {}
    if "team" in view["rewards"]:
        found["task_success"] = view["rewards"]["team"]
    calls = [event for event in events if event["type"] in _CALLS]
    work = [event for event in events if event["type"] in _CALLS or event["type"] == "tool_call"]
    found |= _shape(events, edges, work)
    if calls:
        found["protocol_overhead"] = _overhead(calls)
        found["malformed_rate"] = sum("malformed" in event for event in calls) / len(calls)
    found |= dict(_graded(view))
    return found


def _shape(events: list[dict[str, Any]], edges: list[dict[str, str]], work: list[dict[str, Any]]) -> dict[str, float]:
    if not work:
        return {}
    count = _longest(events, edges, {event["id"]: 1.0 for event in work})
    found = {"critical_path_calls": count}
    total = sum(event.get("seconds", 0.0) for event in work)
    if total > 0:
        longest = _longest(events, edges, {event["id"]: event.get("seconds", 0.0) for event in work})
        found["critical_path_s"] = longest
        found["speed_up"] = total / longest
        width = _widest([(event["t"], event["t"] + event["seconds"]) for event in work if event.get("seconds")])
    else:
        found["speed_up"] = len(work) / count
        width = _widest([(event["t"], event["t"] + 1.0) for event in work])
    found["parallelism_efficiency"] = min(1.0, found["speed_up"] / width)
    return found


def _longest(events: list[dict[str, Any]], edges: list[dict[str, str]], weights: Mapping[str, float]) -> float:
    """The heaviest chain of causes. Edges go forward in time, so one pass in the events' order suffices; temporal edges say only
    what was recorded after what."""
    before: dict[str, list[str]] = {}
    for edge in edges:
        if edge["type"] != "temporal":
            before.setdefault(edge["dst"], []).append(edge["src"])
    chain: dict[str, float] = {}
    for event in events:
        id = event["id"]
        chain[id] = weights.get(id, 0.0) + max((chain.get(source, 0.0) for source in before.get(id, ())), default=0.0)
    return max(chain.values())


def _widest(spans: list[tuple[float, float]]) -> int:
    """The most spans that are open at once; one that ends where another begins is no longer open."""
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    widest = now = 0
    for _, step in steps:
        now += step
        widest = max(widest, now)
    return widest


def _overhead(calls: list[dict[str, Any]]) -> float:
    cost = [event.get("prompt_tokens", 0) + event.get("reply_tokens", 0) for event in calls]
    if not any(cost):
        cost = [1] * len(calls)
    deciding = sum(
        tokens for event, tokens in zip(calls, cost, strict=True) if event["type"] == "orchestrator_decision"
    )
    return deciding / sum(cost)


def _graded(view: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """What needs the grades of claims."""
    claims = [(event, claim) for event in view["events"] for claim in event.get("claims", ())]
    answer = next((event["answer"] for event in reversed(view["events"]) if "answer" in event), None)
    agent_of = {event["id"]: event["agent"] for event in view["events"]}
    shared = {e["src"] for e in view["edges"] if e["type"] in _READ and agent_of[e["src"]] != agent_of[e["dst"]]}
    work = [(event, claim) for event, claim in claims if claim["kind"] != "verdict"]
    if work:
        unused = [claim for event, claim in work if event["id"] not in shared and claim["text"] != answer]
        yield "free_riding", len(unused) / len(work)
    answers = [(event, claim) for event, claim in claims if claim["kind"] == "answer" and "grade" in claim]
    if not answers or "team" not in view["rewards"]:
        return
    team = view["rewards"]["team"]
    last = {event["agent"]: claim["grade"] for event, claim in answers}
    yield "error_amplification", max(0.0, fmean(last.values()) - team)
    if first := next((claim for _, claim in answers if claim["read"] is not None), None):
        yield "correction", float(first["grade"] < 1.0 <= team)
        yield "preservation", float(first["grade"] >= 1.0 and team >= 1.0)
    sufficient, right = None, []
    for _, claim in claims:
        if claim["kind"] == "evidence" and "grade" in claim:
            sufficient = claim["grade"] >= 1.0
        elif claim["kind"] == "answer" and "grade" in claim and sufficient is not None:
            right.append(is_abstention(claim["text"]) != sufficient)
    if right:
        yield "abstention_accuracy", fmean(right)

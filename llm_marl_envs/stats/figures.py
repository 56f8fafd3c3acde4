"""The figures of episodes: each is defined here, once, for one episode and for many.

An `Outcome` gives what needs grades (`counts`), a `Graph` what follows from who waited for whom (`shape`). A figure of many
episodes is the sum over their cases divided by the number of cases, without failed episodes.

The survey of RL for LLM teams (arXiv 2605.02801) names `task_success`, `parallelism_efficiency`, `protocol_overhead` and
`error_amplification` without defining them; correction and preservation are TRACER's (arXiv 2605.28699), abstention accuracy
follows the reward of DAC's generator (arXiv 2606.10684).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from llm_marl_envs.graph import CALLS, Graph, GraphEvent, graph_of
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.reading import is_abstention
from llm_marl_envs.session import Status

FIGURES = {
    "task_success": "The team's score, from 0 to 1.",
    "calls": "Agents' calls per episode.",
    "tokens": "Prompt and reply tokens per episode, as reported.",
    "malformed": "Share of agents' calls in which at least one reading failed (of what the workflow asked for, or of a claimed answer, verdict or evidence).",
    "truncated": "Share of episodes that ran out of their budget.",
    "first_draft": "The score of the first answer that was claimed.",
    "accept_if_right": "Share of verdicts on right answers that said right.",
    "reject_if_wrong": "Share of verdicts on wrong answers that said wrong.",
    "correction": "Share of episodes whose first readable answer was wrong and the team's is right. All episodes count.",
    "preservation": "Share of episodes whose first readable answer was right and the team's is right. All episodes count.",
    "error_amplification": "How much worse the team is than its average member: max(0, mean of the members' last answers' grades - team's score).",
    "abstention_accuracy": "Share of answers from evidence that abstained if and only if the evidence was insufficient.",
    "critical_path_calls": "Calls of agents and tools on the longest chain of causes: the least number that must run one after another.",
    "critical_path_s": "Seconds of the slowest chain of causes. Only if calls were timed.",
    "speed_up": "All work divided by the critical path: in seconds if calls were timed, else in calls. 1 means one call after another. Not for imported logs without times.",
    "parallelism_efficiency": "speed_up divided by the largest number of calls at the same time: 1 if parallel branches are equally long.",
    "protocol_overhead": "Share of agents' tokens spent on decisions (whom to ask, when to stop), not on the work. Share of calls if tokens were not counted.",
    "free_riding": "Share of answers and reports of evidence that no other agent read and that are not the team's answer.",
}
SHARES = frozenset(FIGURES) - {"calls", "tokens", "critical_path_calls", "critical_path_s", "speed_up"}  # from 0 to 1
CASES = {"malformed": "calls"}  # figures with more than one case per episode, and the field that counts them
_READ = frozenset(("message", "return", "aggregate", "tool_dependency"))


class Count(NamedTuple):
    """A figure before it is divided: a sum over cases. (3.0, 4): three of four."""

    total: float
    cases: float


def counts(outcome: Outcome) -> dict[str, Count]:
    """The counts of one episode for each figure that needs no graph; figures without a case are left out.

    Worked example: drafts wrong and then right, the one verdict true, 3 calls, all readable -> first_draft 0 of 1, correction 1 of
    1, preservation 0 of 1, reject_if_wrong 1 of 1, malformed 0 of 3.
    """
    team, calls = outcome.team.value, sum(outcome.calls.values())
    found = {
        "calls": Count(calls, 1),
        "tokens": Count(sum(outcome.tokens.values()), 1),
        "truncated": Count(outcome.status is Status.TRUNCATED, 1),
    }
    if calls:
        found["malformed"] = Count(outcome.malformed, calls)
    answers = [(claim, score) for claim, score in outcome.claims if claim.kind == "answer"]
    readable = next((score.value for _, score in answers if score.read is not None), None)
    found["correction"] = Count(readable is not None and readable < 1 <= team, 1)
    found["preservation"] = Count(readable is not None and readable >= 1 and team >= 1, 1)
    if answers:
        found["first_draft"] = Count(answers[0][1].value, 1)
        last = {claim.agent: score.value for claim, score in answers}
        found["error_amplification"] = Count(max(0.0, fmean(last.values()) - team), 1)
    verdicts: dict[str, list[float]] = defaultdict(list)
    sufficient, justified = None, []
    for claim, score in outcome.claims:
        if claim.kind == "verdict" and score.read is not None:
            of_right = (claim.text == "right") == (score.value >= 1)
            verdicts["accept_if_right" if of_right else "reject_if_wrong"].append(score.value)
        elif claim.kind == "evidence":
            sufficient = score.value >= 1.0
        elif claim.kind == "answer" and sufficient is not None:
            justified.append(is_abstention(claim.text) != sufficient)
    found |= {name: Count(sum(grades), len(grades)) for name, grades in verdicts.items()}
    if justified:
        found["abstention_accuracy"] = Count(fmean(justified), 1)
    return found


def team_figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """The figures of episodes that did not fail, and `failed`, the number of those that did. Figures without a case are left out."""
    played = [counts(outcome) for outcome in outcomes if outcome.status is not Status.FAILED]
    return ratios(played) | {"failed": float(len(outcomes) - len(played))}


def ratios(episodes: Iterable[Mapping[str, Count]]) -> dict[str, float]:
    """Sums over cases, divided."""
    totals: dict[str, float] = defaultdict(float)
    cases: dict[str, float] = defaultdict(float)
    for episode in episodes:
        for name, (total, number) in episode.items():
            totals[name] += total
            cases[name] += number
    return {name: totals[name] / cases[name] for name in totals}


def speed_up(outcome: Outcome) -> float:
    """All work of an episode divided by its critical path, at least 1: the `speed_up` of its graph.

    Worked example: three workers of 2, 3 and 4 s at once, then one of 1 s -> 10 / 5 = 2.
    """
    if outcome.session is None:
        return 1.0
    return shape(graph_of(outcome.session.events, outcome.session.play.question)).get("speed_up", 1.0)


def shape(graph: Graph) -> dict[str, float]:
    """The figures of one graph; those that do not apply (no calls, no times, no claims) are absent.

    Worked example: three workers of 2, 3 and 4 s at once, then an aggregator of 1 s: 10 s of work on a critical path of 5 s
    give speed_up 2 and, three calls wide, parallelism_efficiency 2/3.
    """
    ours = [event for event in graph.events if not event.outside]
    work = [event for event in ours if event.type in CALLS or event.type == "tool_call"]
    found: dict[str, float] = {}
    if work:
        found |= _path(graph, work)
    if calls := [event for event in ours if event.type in CALLS]:
        found["protocol_overhead"] = _overhead(calls)
    claims = [(event, claim) for event in graph.events for claim, _ in event.claims if claim.kind != "verdict"]
    if claims:
        agent_of = {event.number: event.agent for event in graph.events}
        read = {e.source for e in graph.edges if e.type in _READ and agent_of[e.source] != agent_of[e.target]}
        unused = [claim for event, claim in claims if event.number not in read and claim.text != graph.answer]
        found["free_riding"] = len(unused) / len(claims)
    return found


def _path(graph: Graph, work: Sequence[GraphEvent]) -> dict[str, float]:
    causes = _causes(graph)
    count = _longest(graph, causes, dict.fromkeys((event.number for event in work), 1.0))
    found = {"critical_path_calls": count}
    total = sum(event.seconds for event in work)
    if graph.axis == "calls":
        return found
    if total > 0:
        longest = _longest(graph, causes, {event.number: event.seconds for event in work})
        found["critical_path_s"] = longest
        found["speed_up"] = total / longest
        width = _widest([(event.t, event.t + event.seconds) for event in work if event.seconds])
    else:
        found["speed_up"] = len(work) / count
        width = _widest([(event.t, event.t + 1.0) for event in work])
    found["parallelism_efficiency"] = min(1.0, found["speed_up"] / width)
    return found


def _causes(graph: Graph) -> Mapping[int, Sequence[int]]:
    """What led to each event. Temporal edges only give the order of the record, so they do not count."""
    before: dict[int, list[int]] = {}
    for source, target, kind in graph.edges:
        if kind != "temporal":
            before.setdefault(target, []).append(source)
    return before


def _longest(graph: Graph, causes: Mapping[int, Sequence[int]], weights: Mapping[int, float]) -> float:
    """The weight of the heaviest chain of causes. Edges go forward in time, so one pass in the events' order suffices."""
    chain: dict[int, float] = {}
    for event in graph.events:
        led = max([chain.get(source, 0.0) for source in causes.get(event.number, ())], default=0.0)
        chain[event.number] = weights.get(event.number, 0.0) + led
    return max(chain.values())


def _widest(spans: list[tuple[float, float]]) -> int:
    """The largest number of spans that overlap; one that ends where another begins does not overlap it."""
    steps = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    widest = now = 0
    for _, step in steps:
        now += step
        widest = max(widest, now)
    return widest


def _overhead(calls: Sequence[GraphEvent]) -> float:
    cost = [event.tokens for event in calls]
    if not any(cost):
        cost = [1] * len(calls)
    deciding = sum(tokens for event, tokens in zip(calls, cost, strict=True) if event.type == "orchestrator_decision")
    return deciding / sum(cost)

"""The metrics of an episode in the public schema: those figures of `stats` that one episode has."""

from __future__ import annotations

from llm_marl_envs.graph import Graph
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.session import Status
from llm_marl_envs.stats.figures import FIGURES, counts, ratios, shape

_ELSEWHERE = ("calls", "tokens", "truncated")  # among the costs, and in the status
_OF_MANY = ("first_draft", "accept_if_right", "reject_if_wrong")  # claims and verdicts stand on the events
METRICS = {name: what for name, what in FIGURES.items() if name not in (*_ELSEWHERE, *_OF_MANY)} | {
    "records_skipped": "Of imported data: records that were not understood."
}


def metrics_of(graph: Graph, outcome: Outcome | None = None) -> dict[str, float]:
    """The figures of one episode. What needs grades is there only with an outcome, and not where the episode failed; what does
    not apply (no evidence, no verdict, no call) is absent."""
    graded: dict[str, float] = {}
    if outcome is not None and outcome.status is not Status.FAILED:
        graded = ratios([counts(outcome)]) | {"task_success": outcome.team.value}
    found = graded | shape(graph)
    return {name: found[name] for name in METRICS if name in found}

"""The metrics of an episode in the public schema: the figures of `stats` that are defined for one episode."""

from __future__ import annotations

from llm_marl_envs.graph import Graph
from llm_marl_envs.outcome import Outcome
from llm_marl_envs.session import Status
from llm_marl_envs.stats.figures import FIGURES, counts, ratios, shape

_ELSEWHERE = ("calls", "tokens", "truncated")  # in the costs and the status
_OF_MANY = ("first_draft", "accept_if_right", "reject_if_wrong")  # claims and verdicts stand on the events
METRICS = {name: what for name, what in FIGURES.items() if name not in (*_ELSEWHERE, *_OF_MANY)} | {
    "records_skipped": "In imported data: records that were not understood."
}


def metrics_of(graph: Graph, outcome: Outcome | None = None) -> dict[str, float]:
    """The figures of one episode. Those that need grades are there only with an outcome, and not if the episode failed; those that
    do not apply (no evidence, no verdict, no call) are absent."""
    graded: dict[str, float] = {}
    if outcome is not None and outcome.status is not Status.FAILED:
        graded = ratios([counts(outcome)]) | {"task_success": outcome.team.value}
    found = graded | shape(graph)
    return {name: found[name] for name in METRICS if name in found}

"""Figures of episodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from llm_marl_envs.outcome import Outcome
from llm_marl_envs.session import Status


def team_figures(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """How a team came to its answers, over episodes that did not fail. Rates without a case are left out.

    first_draft: the first answer claimed was right. accept_if_right, reject_if_wrong: verdicts on right and wrong answers
    that were true. correction, preservation (TRACER): first wrong and final right, first right and final right, as shares of
    all episodes. calls, tokens: per episode. malformed: unreadable replies per call.
    """
    played = [o for o in outcomes if o.status is not Status.FAILED]
    shares: dict[str, list[float]] = defaultdict(list)
    calls = 0
    for outcome in played:
        spent = sum(outcome.calls.values())
        calls += spent
        shares["calls"].append(spent)
        shares["tokens"].append(sum(outcome.tokens.values()))
        first = next((score.value for claim, score in outcome.claims if claim.kind == "answer"), None)
        if first is not None:
            shares["first_draft"].append(first)
            shares["correction"].append(float(first < 1 <= outcome.team.value))
            shares["preservation"].append(float(first >= 1 <= outcome.team.value))
        for claim, score in outcome.claims:
            if claim.kind == "verdict":
                was_right = (claim.text == "right") == (score.value >= 1)
                shares["accept_if_right" if was_right else "reject_if_wrong"].append(score.value)
    figures = {name: sum(values) / len(values) for name, values in shares.items()}
    figures["malformed"] = sum(o.malformed for o in played) / calls if calls else 0.0
    figures["truncated"] = sum(o.status is Status.TRUNCATED for o in played) / len(played) if played else 0.0
    figures["failed"] = float(len(outcomes) - len(played))
    return figures

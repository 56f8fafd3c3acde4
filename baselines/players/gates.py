"""The controllers of propose-review as one player: they learn in regret tables when to speak, or follow a fixed rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from baselines.credit.propose_review import GATES, Counterfactual, decisions, role_of
from baselines.players.regret import RegretTables
from baselines.types import Completion, Episode, Request
from llm_marl_envs.protocol import Ask
from llm_marl_envs.seeds import seed_of

GateRule = Literal["regret", "uniform", "keep", "refresh", "protected", "votes"]


@dataclass
class Gates:
    """Every controller has a table of its own, with a row per infoset. In training it plays the current strategy; where the
    request is greedy the average one: its likelier choice (of equals the first, which costs nothing), or sampled from it.

    The strategy of a step is the one that its episodes were played with: all of a step's regrets are taken against it.
    """

    rule: GateRule = "regret"
    counterfactual: Counterfactual = "call"
    evaluation: Literal["greedy", "sampled"] = "greedy"
    tables: RegretTables = field(default_factory=RegretTables)

    def fixed(self, ask: Ask) -> int | None:
        """The choice that the rule prescribes; None where the table decides."""
        if role_of(ask.agent) == "reviewercontroller":
            return 1 if self.rule == "votes" else None
        if self.rule in ("keep", "refresh"):
            return int(self.rule == "refresh")
        if self.rule in ("protected", "votes"):
            against = ask.infoset[0].startswith("vote_minus")
            return None if against and self.rule == "protected" else int(against)
        return None

    def learns_from(self, ask: Ask) -> bool:
        return self.rule != "uniform" and self.fixed(ask) is None

    def generate(self, requests: list[Request]) -> list[Completion]:
        return [Completion(request.ask.choices[self._pick(request)]) for request in requests]

    def _pick(self, request: Request) -> int:
        ask = request.ask
        if (fixed := self.fixed(ask)) is not None:
            return fixed
        key, evaluated = _key(ask), request.sampling.greedy
        shares = self.tables.average(key, ask.choices) if evaluated else self.tables.current(key, ask.choices)
        if evaluated and self.evaluation == "greedy":
            return shares.index(max(shares))
        return int(Random(seed_of("gate", request.seed)).random() >= shares[0])

    def learn(self, episodes: Sequence[Episode], step: int) -> Mapping[str, float]:
        """Returns, for each row, the current and average probability of the second choice; the largest average regret; how
        many decisions there were to learn from, and how many of them could not be valued (the budget ended before)."""
        futures: dict[int, list[Episode]] = defaultdict(list)
        for episode in episodes:
            if episode.origin is not None:
                futures[id(episode.origin[0])].append(episode)
        visits: dict[str, tuple[Ask, list[tuple[float, float]]]] = {}
        seen = left_out = 0
        for episode in episodes:
            for decision in (
                decisions(episode, futures[id(episode)], self.counterfactual) if episode.origin is None else ()
            ):
                if not self.learns_from(decision.call):
                    continue
                seen += 1
                if decision.values is None:
                    left_out += 1
                else:
                    visits.setdefault(_key(decision.call), (decision.call, []))[1].append(decision.values)
        for key, (ask, values) in visits.items():
            self.tables.update(key, ask.choices, values)
        return self._figures() | {"decisions": seen, "not_valued": left_out}

    def _figures(self) -> dict[str, float]:
        figures = {"regret": max((row.average_regret for row in self.tables.rows.values()), default=0.0)}
        for key, row in sorted(self.tables.rows.items()):
            figures[f"current {row.choices[1]} {key}"] = row.current[1]
            figures[f"average {row.choices[1]} {key}"] = row.average[1]
        return figures

    def state(self) -> Mapping[str, Any]:
        return self.tables.state()

    def load(self, state: Mapping[str, Any]) -> None:
        self.tables.load(state)


def _key(ask: Ask) -> str:
    assert role_of(ask.agent) in GATES
    return " ".join((ask.agent, *ask.infoset))

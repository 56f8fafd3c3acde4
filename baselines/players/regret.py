"""Regret matching in tables: one row of numbers per information set, any number of choices (Hart and Mas-Colell 2000; the
controllers of TRACER, arXiv 2605.28699). Average regret falls as 1 / sqrt(visits).

    R(a)   += v(a) - sum_b p(b) v(b)          for every visit; v are the values of the choices, p the current strategy
    p(a)    = max(R(a), 0) / sum_b max(R(b), 0), uniform if no regret is positive
    average = all p that were played, each visit weighing 1 (or the probability of the player's own way there)

Play by p while learning; what converges is the average, not p.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class RegretRow:
    """One information set: its choices, their summed regrets, and how much of the played strategies fell to each."""

    choices: tuple[str, ...]
    regret: list[float]
    played: list[float]
    visits: int = 0

    @property
    def current(self) -> list[float]:
        """What is played next."""
        return _shares([max(regret, 0.0) for regret in self.regret])

    @property
    def average(self) -> list[float]:
        """What has been played on average."""
        return _shares(self.played)

    @property
    def average_regret(self) -> float:
        """How much more, per visit, the best single choice would have earned than what was played (at least 0)."""
        return max(0.0, *self.regret) / self.visits if self.visits else 0.0


@dataclass
class RegretTables:
    """The rows by the information set's name. What was never visited is played uniformly."""

    rows: dict[str, RegretRow] = field(default_factory=dict)

    def current(self, key: str, choices: Sequence[str]) -> list[float]:
        return self._row(key, choices).current

    def average(self, key: str, choices: Sequence[str]) -> list[float]:
        return self._row(key, choices).average

    def update(self, key: str, choices: Sequence[str], values: Sequence[Sequence[float]], reach: float = 1.0) -> None:
        """Learn from visits that were all played with the current strategy: for each, the value of every choice.

        reach: the probability with which the player's own choices lead here. It is 1 where visits are sampled by playing: how
        often they come is then the weight. In a traversal of the whole game tree the values are to be weighted with the
        probability of everybody else's. Raises ValueError for values that are no finite number per choice.
        """
        row = self.rows[key] = self._row(key, choices)
        current = row.current
        for visit in values:
            if len(visit) != len(current) or not all(map(math.isfinite, visit)):
                raise ValueError(f"{key} has choices {row.choices}: expected a finite value for each, got {visit}")
            expected = math.fsum(p * v for p, v in zip(current, visit, strict=True))
            row.regret = [regret + value - expected for regret, value in zip(row.regret, visit, strict=True)]
            row.played = [sum_ + reach * p for sum_, p in zip(row.played, current, strict=True)]
            row.visits += 1

    def _row(self, key: str, choices: Sequence[str]) -> RegretRow:
        """The row, or an empty one that is not kept: looking something up leaves no trace in a checkpoint."""
        row = self.rows.get(key)
        if row is None:
            return RegretRow(tuple(choices), [0.0] * len(choices), [0.0] * len(choices))
        if row.choices != tuple(choices):
            raise ValueError(
                f"{key} had the choices {row.choices} before, now {tuple(choices)}; give it a name of its own"
            )
        return row

    def __str__(self) -> str:
        """A table for people: visits, regret per visit, and the current and the average strategy."""
        lines: list[tuple[str, ...]] = [("state", "visits", "regret", "current", "average")]
        for key, row in sorted(self.rows.items()):
            shown = (_spelled(row.choices, strategy) for strategy in (row.current, row.average))
            lines.append((key, str(row.visits), f"{row.average_regret:.3f}", *shown))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)

    def state(self) -> Mapping[str, Any]:
        """As plain JSON."""
        return {
            key: [list(row.choices), list(row.regret), list(row.played), row.visits] for key, row in self.rows.items()
        }

    def load(self, state: Mapping[str, Any]) -> None:
        self.rows = {
            key: RegretRow(tuple(choices), list(regret), list(played), visits)
            for key, (choices, regret, played, visits) in state.items()
        }


def _shares(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [weight / total for weight in weights] if total > 0 else [1 / len(weights)] * len(weights)


def _spelled(choices: Sequence[str], strategy: Sequence[float]) -> str:
    return " ".join(f"{choice} {share:.2f}" for choice, share in zip(choices, strategy, strict=True))

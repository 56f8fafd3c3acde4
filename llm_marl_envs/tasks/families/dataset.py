"""Tasks whose problems are rows of a data set, and their cards."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from llm_marl_envs.data import DataSource, load_rows
from llm_marl_envs.errors import UnknownName
from llm_marl_envs.task import WHERE, Problem, Tool


@dataclass(frozen=True, slots=True)
class Card:
    """What a reader should know about a benchmark before using it; docs/tasks/ is generated from it.

    `splits` maps each split to its official size. `examples` are invented rows, at least one for each of the source's
    layouts, each with `right` and `wrong` replies: the card shows the first row, the tests grade all.
    """

    title: str
    source: DataSource
    splits: Mapping[str, int]
    licence: str
    citation: str
    metric: str
    examples: tuple[Example, ...]
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Example:
    """An invented row in a data set's layout, with replies that must score 1 and replies that must score 0."""

    row: Mapping[str, Any]
    right: tuple[str, ...]
    wrong: tuple[str, ...]


@dataclass(frozen=True)
class DatasetTask:
    """A task whose rows come from the hub or a local folder. A subclass has a `card`, reads a row and grades a text."""

    data_dir: str | None = field(default=None, metadata=WHERE)

    card: ClassVar[Card]

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {}

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self.card.splits)

    def problems(self, split: str) -> Sequence[Problem]:
        if split not in self.splits:
            raise UnknownName(f"split of {self.card.source.name}", split, self.splits)
        return _problems(self, os.environ.get("LLM_MARL_DATA"), split)

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split as they are in the data set."""
        return load_rows(self.card.source, split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem | None:
        """A row as a problem; None leaves the row out (say why in the card). Raises DataError for a malformed row."""
        raise NotImplementedError


@functools.lru_cache(maxsize=64)
def _problems(task: DatasetTask, shared: str | None, split: str) -> tuple[Problem, ...]:
    name = task.card.source.name
    read = (task.read(row, f"{name}/{split}/{i}") for i, row in enumerate(task.rows(split)))
    return tuple(problem for problem in read if problem is not None)

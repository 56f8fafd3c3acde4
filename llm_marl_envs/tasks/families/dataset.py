"""Tasks whose problems are rows of a data set, and their cards."""

from __future__ import annotations

import functools
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

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


class LeftOut(NamedTuple):
    """A row that is no problem: one without an answer, or with one that cannot be graded fairly."""

    why: str


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
        return _problems(self, os.environ.get("LLM_MARL_DATA"), split)[0]

    def left_out(self, split: str) -> Mapping[str, str]:
        """The rows of a split that are no problems: id -> why."""
        return _problems(self, os.environ.get("LLM_MARL_DATA"), split)[1]

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split as they are in the data set."""
        return load_rows(self.card.source, split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        """A row as a problem, or why it is none (say it in the card, too). Raises DataError for a malformed row."""
        raise NotImplementedError


@functools.lru_cache(maxsize=64)
def _problems(task: DatasetTask, shared: str | None, split: str) -> tuple[tuple[Problem, ...], Mapping[str, str]]:
    if split not in task.splits:
        raise UnknownName(f"split of {task.card.source.name}", split, task.splits)
    ids = (f"{task.card.source.name}/{split}/{i}" for i in itertools.count())
    read = {id: task.read(row, id) for row, id in zip(task.rows(split), ids, strict=False)}
    return (
        tuple(problem for problem in read.values() if isinstance(problem, Problem)),
        MappingProxyType({id: row.why for id, row in read.items() if isinstance(row, LeftOut)}),
    )

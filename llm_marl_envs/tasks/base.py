"""What a task is. What agents may see (`Question`) and what graders may see (`Problem`) are two types, so no prompt can
leak an answer."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

from llm_marl_envs.data import HubData, Source, load_rows
from llm_marl_envs.errors import UnknownName

__all__ = [
    "WHERE",
    "Benchmark",
    "Card",
    "HubData",
    "Problem",
    "Question",
    "Score",
    "Source",
    "Task",
    "Tool",
    "load_rows",
]

Tool = Callable[..., str]
WHERE: Mapping[str, Any] = {"where": True}  # metadata of a knob that says where things are, not what they are


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a workflow receives. `answer_format` tells an agent how to write its answer; `materials` are given texts."""

    id: str
    text: str
    domain: str = "math"
    answer_format: str = ""
    materials: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A question with its gold answer. It stays with the task and the drivers."""

    question: Question
    gold: Any


class Score(NamedTuple):
    """A grade in [0, 1], why, and the answer as the grader read it (None: there was nothing to grade)."""

    value: float
    why: str
    read: str | None = None


class Task(Protocol):
    """A frozen dataclass: its fields are the knobs. `tools` maps names to stateless functions from texts to a text; one
    with a parameter `question` is given the episode's `Question` by the driver, never by an agent."""

    @property
    def tools(self) -> Mapping[str, Tool]: ...

    @property
    def splits(self) -> tuple[str, ...]: ...

    def problems(self, split: str) -> Sequence[Problem]:
        """The problems of a split, in a fixed order; ids are unique over all splits."""
        ...

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        """Grade a text as an answer to a problem. Never raises on a text, however strange."""
        ...


@dataclass(frozen=True, slots=True)
class Card:
    """What a reader should know of a benchmark before using it; docs/tasks/ is generated from it.

    `splits` maps each split to its official size. `examples` are invented rows, at least one in each of the source's
    layouts, each with `replies` that are right and `wrong` that are not: the card shows the first, the tests grade all.
    """

    title: str
    source: Source
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
class Benchmark:
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
        if split not in self.card.splits:
            raise UnknownName(f"split of {self.card.source.name}", split, self.card.splits)
        return _problems(self, os.environ.get("LLM_MARL_DATA"), split)

    def rows(self, split: str) -> list[dict[str, Any]]:
        """The rows of a split as they are in the data set."""
        return load_rows(self.card.source, split, self.data_dir)

    def read(self, row: dict[str, Any], id: str) -> Problem | None:
        """A row as a problem; None leaves the row out (say why in the card). Raises DataError for a row that makes no sense."""
        raise NotImplementedError


@functools.lru_cache(maxsize=64)
def _problems(task: Benchmark, shared: str | None, split: str) -> tuple[Problem, ...]:
    name = task.card.source.name
    read = (task.read(row, f"{name}/{split}/{i}") for i, row in enumerate(task.rows(split)))
    return tuple(problem for problem in read if problem is not None)

"""What a task is: the contract. What agents may see (`Question`) and what graders may see (`Problem`) are two types, so no prompt
can leak an answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

# Metadata of knobs. One that says where data is, not what it is; and the largest values of those that may be more, or cost more,
# than most (`catalog.MOST`): a record names knobs, and whoever reads it makes what it names.
WHERE: Mapping[str, Any] = {"where": True}
ANY: Mapping[str, Any] = {"most": math.inf}
MANY: Mapping[str, Any] = {"most": 1_000_000}
LENGTH: Mapping[str, Any] = {"most": 100}
CPU_S: Mapping[str, Any] = {"most": 60}


class ToolResult(NamedTuple):
    """What a tool says to the agent, and how well it worked, from 0 to 1: 0 if nothing was found or the program failed, the share
    of examples that pass, otherwise 1. Rewards use the number, never the text."""

    text: str
    worked: float = 1.0


Tool = Callable[..., ToolResult | str]  # a plain text counts as worked = 1


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
    """A frozen dataclass: its fields are the knobs. `tools` maps names to stateless functions from texts to a `ToolResult`; if one
    has a parameter `question`, the driver (never an agent) passes the episode's `Question`. A task whose tools take long to make
    gives their names as `offers`, too."""

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

"""Programs that are graded once: a group's episodes often end with the same, and running one takes longer than sampling it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import Lock

from llm_marl_envs.reading import find_program
from llm_marl_envs.task import Problem, Score, Task, Tool
from llm_marl_envs.tasks.families.code import Checks


class GradedOnce:
    """A task that grades each program of a code problem once, as long as it lives; other problems are graded as ever. Threads
    that need the same grade wait for it. What a grader raises is not kept: the next one asks again."""

    def __init__(self, task: Task):
        self.task = task
        self._grades: dict[tuple[int, str, str | None], tuple[Problem, Score]] = {}
        self._locks: dict[tuple[int, str, str | None], Lock] = {}

    @property
    def tools(self) -> Mapping[str, Tool]:
        return self.task.tools

    @property
    def splits(self) -> tuple[str, ...]:
        return self.task.splits

    def problems(self, split: str) -> Sequence[Problem]:
        return self.task.problems(split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        """As the task does."""
        if not isinstance(problem.gold, Checks):
            return self.task.grade(problem, text, kind)
        key = (id(problem), kind, find_program(text or ""))
        if (known := self._grades.get(key)) is None:
            with self._locks.setdefault(key, Lock()):
                if (known := self._grades.get(key)) is None:
                    known = self._grades[key] = problem, self.task.grade(problem, text, kind)
        return known[1]

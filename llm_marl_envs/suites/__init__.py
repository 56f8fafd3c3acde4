"""Frozen lists of problems on which teams are compared: which tasks with which knobs, which problems, how often, with which limits.

A suite is a file, `llm_marl_envs/suites/<name>.json`, and never changes once it has been published: a change is a new version. It names each
problem by a digest of its question: wherever a copy of a data set has it, it is found, and one that was changed is not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import ConfigError, DataError, UnknownName
from llm_marl_envs.session import Limits
from llm_marl_envs.spec import VERSION, EnvSpec, reads_data
from llm_marl_envs.task import Problem, Question, Task

FOLDER = Path(__file__).parent
DIGITS = 12  # hexadecimal, of a question's digest
NO_MORE = Limits()  # than an environment has by itself


@dataclass(frozen=True)
class SuitePart:
    """A task of a suite. workflows: those that teams may play it with, the first is the usual one. problems: digests of their questions.
    samples: episodes for each problem. limits: the budget of an episode."""

    name: str
    family: str
    task: str
    split: str
    workflows: tuple[str, ...]
    problems: tuple[str, ...] = field(repr=False)
    task_knobs: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = NO_MORE
    samples: int = 1
    seed: int = 0

    @property
    def env_ids(self) -> tuple[str, ...]:
        return tuple(f"{self.task}/{workflow}-{VERSION}" for workflow in self.workflows)

    def make_task(self, data_dir: str | Path | None = None, places: Mapping[str, Any] = {}) -> Task:
        """The task; `places` say where its corpus or retriever is."""
        return EnvSpec(self.task, self.workflows[0], self.task_knobs).make_task(data_dir, places)

    def chosen(self, task: Task) -> list[Problem]:
        """The suite's problems, in its order. Raises DataError if one is not there, or is not the one that was frozen."""
        have: dict[str, Problem] = {}
        for problem in task.problems(self.split):
            have.setdefault(question_digest(problem.question, self.task), problem)
        if missing := [digest for digest in self.problems if digest not in have]:
            raise DataError(
                f"{self.name}: {len(missing)} of {len(self.problems)} problems are not in {self.task}/{self.split}, such as the one with "
                f"digest {missing[0]}; get the data set that its card names (docs/tasks/{self.task}.md)"
            )
        return [have[digest] for digest in self.problems]


@dataclass(frozen=True)
class Suite:
    """Parts under one name and version, as `smoke-v1`."""

    name: str
    about: str
    parts: tuple[SuitePart, ...]

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that no other content has."""
        return blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    def to_json(self) -> str:
        parts = [
            {
                "name": p.name, "family": p.family, "task": p.task, "split": p.split, "workflows": list(p.workflows),
                "task_knobs": dict(p.task_knobs), "limits": asdict(p.limits),
                "samples": p.samples, "seed": p.seed, "problems": list(p.problems),
            }
            for p in self.parts
        ]  # fmt: skip
        return json.dumps({"name": self.name, "about": self.about, "parts": parts}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Suite:
        """Raises ConfigError for what is no suite."""
        try:
            data = json.loads(text)
            parts = tuple(
                SuitePart(
                    **{
                        **p,
                        "workflows": tuple(p["workflows"]),
                        "problems": tuple(p["problems"]),
                        "limits": Limits(**p["limits"]),
                    }
                )
                for p in data["parts"]
            )
            return cls(data["name"], data["about"], parts)
        except (ValueError, KeyError, TypeError, AttributeError) as bad:
            raise ConfigError(
                f"expected a suite's JSON with name, about and parts; {type(bad).__name__}: {bad}"
            ) from bad


def question_digest(question: Question, task: str) -> str:
    """Twelve hexadecimal digits of a question. Its id counts where a task makes its problems up (in `atlas` the same text is another
    question in another world), and not where it reads them: a copy of a data set may number them in another way."""
    said = json.dumps(
        [
            "" if reads_data(task) else question.id,
            question.text,
            question.domain,
            question.answer_format,
            [str(m) for m in question.materials],
        ]
    )
    return blake2b(said.encode("utf-8", "surrogatepass"), digest_size=DIGITS // 2).hexdigest()


def suite_names() -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in FOLDER.glob("*.json")))


def load_suite(name: str) -> Suite:
    """A suite by its name, or a file of one's own that ends in .json."""
    path = Path(name) if name.endswith(".json") else FOLDER / f"{name}.json"
    if not path.is_file():
        raise UnknownName("suite", name, suite_names())
    return Suite.from_json(path.read_text(encoding="utf-8"))


def frozen(
    name: str,
    family: str,
    task: Task,
    task_name: str,
    split: str,
    workflows: Sequence[str],
    count: int | None = None,
    **rest: Any,
) -> SuitePart:
    """A part with the first `count` problems of a split as they are now."""
    found = dict.fromkeys(question_digest(problem.question, task_name) for problem in task.problems(split))
    if not found:
        raise ConfigError(f"{task_name}/{split} has no problems")
    return SuitePart(name, family, task_name, split, tuple(workflows), tuple(found)[:count], **rest)

"""Chain of agents: workers read one part after another and pass on what matters; a manager answers (arXiv 2406.02818; MARTI)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar

from llm_marl_envs.protocol import Ask, Claim, Roster, Talk
from llm_marl_envs.task import Question

READ = (
    "Question: {question}\nFrom the part before: {notes}\nNew part:\n{part}\nWrite down all that helps to answer, old and new, "
    "for the next reader. Do not answer."
)
WORK = "Problem: {question}\nThe work so far: {notes}\nCheck it and take it one step further, for the next one."
MANAGE = "Problem: {question}\nYour team's notes: {notes}\nAnswer. {form}"


@dataclass(frozen=True)
class Chain:
    """Each worker sees its predecessor's notes and its own share of the materials; the manager sees the last notes only.

    workers: their number; the materials are split into contiguous shares of nearly equal length. For a question without
    materials, the workers work step by step on the problem itself.
    """

    workers: int = 3
    topology: ClassVar[str] = "mixed"

    def __post_init__(self):
        if self.workers < 1:
            raise ValueError(f"workers starts at 1; got {self.workers}")

    @cached_property
    def roster(self) -> Roster:
        return Roster(worker=self.workers, manager=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        notes, parts = "(nothing)", question.materials
        for i, worker in enumerate(self.roster.of("worker")):
            share = parts[i * len(parts) // self.workers : (i + 1) * len(parts) // self.workers]
            if parts and not share:
                continue  # fewer parts than workers
            ask = READ if parts else WORK
            notes = yield Ask(worker, ask.format(question=question.text, notes=notes, part="\n".join(share)))
        ask = MANAGE.format(question=question.text, notes=notes, form=question.answer_format)
        answer = yield Ask("manager_0", ask, kind="aggregate")
        yield Claim("manager_0", answer)
        return answer

"""Debate: agents answer, read one another and answer again; a judge or the majority decides (Du et al. 2023, arXiv 2305.14325)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import ClassVar, Literal

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk
from llm_marl_envs.reading import final_answer, same_answer
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import options_of, solve

OTHERS = (
    "Other agents answered:\n{others}\nYou answered: {mine}\nUse their reasoning where it is right, and answer again."
)
JUDGE = "Problem: {question}\n{answers}\nThe debate is over. Decide, and write the final answer. {form}"


@dataclass(frozen=True)
class Debate:
    """`debaters` answer at the same time; in each later round, each sees the others' last answers and its own, and answers again.

    rounds: answers of each debater. decide: "majority" takes the answer that most debaters end with (the first, in a tie),
    "judge" asks a judge. early: the debate ends as soon as all give the same answer.
    """

    debaters: int = 3
    rounds: int = 2
    decide: Literal["majority", "judge"] = "majority"
    early: bool = False
    topology: ClassVar[str] = "debate"

    def __post_init__(self):
        if self.debaters < 1 or self.rounds < 1:
            raise ValueError(f"debaters and rounds start at 1; got {self.debaters} and {self.rounds}")
        if self.decide not in ("majority", "judge"):
            raise ValueError(f"decide is 'majority' or 'judge'; got {self.decide!r}")

    @cached_property
    def roster(self) -> Roster:
        judged = self.decide == "judge"
        return Roster(debater=self.debaters, judge=1) if judged else Roster(debater=self.debaters)

    def talk(self, question: Question, rng: Random) -> Talk:
        names, options = self.roster.of("debater"), options_of(question)
        said: tuple[str, ...] = ()
        for round in range(self.rounds):
            asks = [solve(question, self._others(said, i) if round else "") for i in range(self.debaters)]
            said = yield tuple(Ask(name, ask) for name, ask in zip(names, asks, strict=True))
            for name, text in zip(names, said, strict=True):
                yield Claim(name, text)
            answers = [final_answer(text, options) for text in said]
            if self.early and all(same_answer(answers[0], answer) for answer in answers):
                break
        if self.decide == "majority":
            return self._majority(said, options)
        listed = "\n".join(f"Agent {i}: {text}" for i, text in enumerate(said, 1))
        ask = JUDGE.format(question=question.text, answers=listed, form=question.answer_format)
        verdict = yield Ask("judge_0", ask, kind="aggregate")
        yield Claim("judge_0", verdict)
        if final_answer(verdict, options) is None:
            yield Malformed("judge_0", "a final answer")
        return verdict

    def _others(self, said: tuple[str, ...], me: int) -> str:
        others = "\n".join(f"Agent {i}: {text}" for i, text in enumerate(said, 1) if i != me + 1)
        return OTHERS.format(others=others or "(nobody)", mine=said[me])

    def _majority(self, said: tuple[str, ...], options: tuple[str, ...]) -> str:
        """The first reply with the answer that most debaters give; if no reply has an answer, the first reply."""
        answers = [final_answer(text, options) for text in said]
        votes = [sum(same_answer(answer, other) for other in answers) for answer in answers]
        return said[votes.index(max(votes))]

"""Small workflows and a small task that show what the built-in ones do not: tools, memory, menus, hiring in two waves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.protocol import Ask, Claim, DecisionSpace, Roster, Spawn, Stop, Talk, UseTool, together
from llm_marl_envs.task import Problem, Question, Score, Tool

CITIES = {"France": "Paris", "Peru": "Lima", "Chad": "N'Djamena"}


@dataclass(frozen=True)
class Capitals:
    """Three questions and a tool that looks one up; `down` is a tool that cannot run, `buggy` a grader that crashes."""

    down: bool = False
    buggy: bool = False
    splits: ClassVar[tuple[str, ...]] = ("train",)

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {"find": self._find}

    def _find(self, country: str) -> str:
        if self.down:
            raise ToolFailed("the atlas is out of reach")
        return CITIES.get(country, "nothing found")

    def problems(self, split: str) -> Sequence[Problem]:
        return [Problem(Question(f"capitals/{c}", f"The capital of {c}?"), city) for c, city in CITIES.items()]

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        if self.buggy:
            raise ZeroDivisionError("an oversight")
        return Score(float(text == problem.gold), "compared", text or None)


@dataclass(frozen=True)
class Lookup:
    """A searcher names a country, a tool finds something, the searcher answers in the same conversation."""

    roster: ClassVar[Roster] = Roster(searcher=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        country = yield Ask("searcher_0", f"Name the country. {question.text}", system="Be brief.")
        found = yield UseTool("searcher_0", "find", {"country": country})
        yield Claim("searcher_0", found, "evidence")
        answer = yield Ask("searcher_0", f"Found: {found}. Answer?", system="Unused.", fresh=False)
        yield Claim("searcher_0", answer)
        return answer


@dataclass(frozen=True)
class Crew:
    """A boss hires two helpers, lets the first go, hires a third beside the second, and picks an answer from a menu."""

    roster: ClassVar[Roster] = Roster(boss=1, spawned={"helper": 3})
    decisions: ClassVar[Mapping[str, DecisionSpace]] = {"boss": DecisionSpace(("0", "1", "2", "3"), (("pick",), int))}

    def talk(self, question: Question, rng: Random) -> Talk:
        yield Ask("boss_0", "Whom do you hire?")
        yield Spawn("helper_0", by="boss_0")
        yield Spawn("helper_1", by="boss_0")
        first, second = yield Ask("helper_0", "Say A."), Ask("helper_1", "Say B.")
        yield Stop("helper_0", by="boss_0")
        yield Spawn("helper_2", by="boss_0")
        third, fourth = yield Ask("helper_2", f"You see {first}."), Ask("helper_1", f"You see {second}.", fresh=False)
        said = (first, second, third, fourth)
        choice = yield Ask("boss_0", "Pick.", choices=("0", "1", "2", "3"), infoset=("pick", 4), kind="decision")
        return said[int(choice)] if choice in ("0", "1", "2", "3") else None


@dataclass(frozen=True)
class Interviews:
    """Two talks of different length side by side, then a lottery between them."""

    roster: ClassVar[Roster] = Roster(guest=2)

    def talk(self, question: Question, rng: Random) -> Talk:
        results = yield from together(self._interview("guest_0", 1), self._interview("guest_1", 3))
        return rng.choice(results)

    def _interview(self, guest: str, rounds: int) -> Talk:
        said = []
        for i in range(rounds):
            said.append((yield Ask(guest, f"{guest}, round {i}", fresh=i == 0)))
        yield Claim(guest, said[-1])
        return "/".join(said)


@dataclass(frozen=True)
class Listed:
    """Tuples and lists, nested, where JSON knows only lists."""

    roster: ClassVar[Roster] = Roster(searcher=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        found = yield UseTool("searcher_0", "find", {"country": "Peru", "ids": (1, [2, (3,)]), "by": {"page": (4, 5)}})
        return (yield Ask("searcher_0", found, infoset=(1, (2, [3]), None, True, 0.5)))

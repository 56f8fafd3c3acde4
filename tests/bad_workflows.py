"""Workflows that each break one rule of the protocol, and tasks that break theirs: the checks must catch every one."""

from __future__ import annotations

import datetime
import functools
import os
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

import numpy as np

from llm_marl_envs.protocol import Ask, Claim, Roster, Spawn, Stop, Talk
from llm_marl_envs.task import Problem, Question, Score, Tool

TALKS_SO_FAR: list[str] = []
FIRST_REPLY: dict[str, str] = {}
HOME_WHEN_IMPORTED = os.environ.get("HOME", "")


@dataclass(frozen=True)
class Base:
    roster: ClassVar[Roster] = Roster(solver=2, spawned={"helper": 2})

    def talk(self, question: Question, rng: Random) -> Talk:
        first = yield Ask("solver_0", f"{question.text} {self.extra()}")
        answer = yield Ask("solver_1", f"{first} {self.extra()}")
        yield Claim("solver_1", answer)
        return answer

    def extra(self) -> object:
        return ""


class Good(Base):
    """Breaks nothing: draws from its own generator, remembers within the talk, hires once, iterates over a sorted set."""

    def talk(self, question: Question, rng: Random) -> Talk:
        first = yield Ask("solver_0", f"{question.text} {rng.random()} {sorted({'a', 'b', 'c'})}")
        yield Spawn("helper_0", by="solver_0")
        second = yield (Ask("helper_0", first), Ask("solver_1", first))
        yield Stop("helper_0", by="solver_0")
        return rng.choice(second)


# Rule 1: a talk is a function of (knobs, question, rng, replies).


class GlobalRandom(Base):
    def extra(self) -> object:
        return random.random()


class GlobalNumpy(Base):
    def extra(self) -> object:
        return np.random.rand()


class FreshEntropy(Base):
    def extra(self) -> object:
        return Random().random()


class FreshIdentifier(Base):
    def extra(self) -> object:
        return uuid.uuid4()


class ReseedsGlobally(Base):
    """Draws nothing itself, but changes the random numbers of all others."""

    def extra(self) -> object:
        random.seed(0)
        return ""


class Clock(Base):
    def extra(self) -> object:
        return time.time()


class CoarseClock(Base):
    """The same all day long."""

    def extra(self) -> object:
        return int(time.time() / 86400)


class Stopwatch(Base):
    def extra(self) -> object:
        return time.monotonic_ns()


class Now(Base):
    def extra(self) -> object:
        return datetime.datetime.now()


class Year(Base):
    def extra(self) -> object:
        return datetime.datetime.now(datetime.UTC).year


class Today(Base):
    def extra(self) -> object:
        return datetime.date.today()


class Calendar(Base):
    def extra(self) -> object:
        return time.strftime("%Y-%m-%d")


class LocalTime(Base):
    def extra(self) -> object:
        return time.localtime().tm_year


class SetOrder(Base):
    def extra(self) -> object:
        return " ".join({"add", "subtract", "count", "draw", "guess", "look up", "ask", "estimate"})


class SmallSetOrder(Base):
    """Two strings have only two orders."""

    def extra(self) -> object:
        return next(iter({"right", "wrong"}))


class StringHash(Base):
    def extra(self) -> object:
        return hash("question") % 2


class DrawnAnswer(Base):
    """All events agree; only the answer does not."""

    def talk(self, question: Question, rng: Random) -> Talk:
        yield Ask("solver_0", question.text)
        return str(Random().random())


class AnswerBySetOrder(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        yield Ask("solver_0", question.text)
        return " ".join({"red", "green", "blue", "yellow", "black", "white"})


class MutableDefault(Base):
    def talk(self, question: Question, rng: Random, seen: list[str] = []) -> Talk:  # noqa: B006
        seen.append(question.id)
        return (yield Ask("solver_0", f"problem number {len(seen)}"))


class GlobalCount(Base):
    def extra(self) -> object:
        TALKS_SO_FAR.append("")
        return len(TALKS_SO_FAR)


class GlobalCache(Base):
    """Forks agree with it: only an episode replayed without the earlier ones differs."""

    def talk(self, question: Question, rng: Random) -> Talk:
        reply = yield Ask("solver_0", question.text)
        return (yield Ask("solver_1", FIRST_REPLY.setdefault(question.id, reply)))


@functools.cache
def _remembered(question: Question) -> list[str]:
    return []


class SharedCache(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        notes = _remembered(question)
        notes.append((yield Ask("solver_0", question.text)))
        return (yield Ask("solver_1", notes[-1] + str(len(notes))))


@dataclass(frozen=True)
class OwnState(Base):
    notes: list[str] = field(default_factory=list)

    def extra(self) -> object:
        self.notes.append("")
        return len(self.notes)


class Environment(Base):
    def extra(self) -> object:
        return os.environ.get("HOME", "")


class UnsetEnvironment(Base):
    def extra(self) -> object:
        return os.getenv("A_VARIABLE_THAT_NOBODY_HAS_SET", "3")


class EnvironmentWhenImported(Base):
    def extra(self) -> object:
        return HOME_WHEN_IMPORTED


class ProcessId(Base):
    def extra(self) -> object:
        return os.getpid()


class Folder(Base):
    def extra(self) -> object:
        return os.getcwd()


class ReadsFile(Base):
    """A relative path: the talk depends on where it is played."""

    def extra(self) -> object:
        return os.path.exists("pyproject.toml")


# Rules 3 and 4: waves, names and the roster.


class RespawnedName(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        for _ in range(2):
            yield Spawn("helper_0", by="solver_0")
            said = yield Ask("helper_0", question.text)
            yield Stop("helper_0", by="solver_0")
        return said


class SpeaksAfterStop(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        yield Spawn("helper_0", by="solver_0")
        yield Stop("helper_0", by="solver_0")
        return (yield Ask("helper_0", question.text))


class ClaimsAfterStop(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        yield Spawn("helper_0", by="solver_0")
        said = yield Ask("helper_0", question.text)
        yield Stop("helper_0", by="solver_0")
        yield Claim("helper_0", said)
        return said


class AskedTwice(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        one, _ = yield (Ask("solver_0", "once"), Ask("solver_0", "twice"))
        return one


class Stranger(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        return (yield Ask("solver_2", question.text))


class NeverSpawned(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        return (yield Ask("helper_0", question.text))


class AnswersNumber(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        return len((yield Ask("solver_0", question.text)))  # type: ignore[return-value]


# Rule 5, and text from a model never raises.


class OutlivesBudget(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        try:
            return (yield Ask("solver_0", question.text))
        finally:
            yield Ask("solver_1", "One last word.")


class RaisesOnGarbage(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        reply = yield Ask("solver_0", "How many rounds?")
        return "x" * int(reply)


class UndeclaredMenu(Base):
    def talk(self, question: Question, rng: Random) -> Talk:
        return (yield Ask("solver_0", "Which?", choices=("a", "b")))


# Tasks.


@dataclass(frozen=True)
class GoodTask:
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {}

    def problems(self, split: str) -> Sequence[Problem]:
        return [Problem(Question(f"sums/{split}/{i}", f"{i} + 1?"), str(i + 1)) for i in range(3)]

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float(text == problem.gold), "compared", text)


class OffersMore(GoodTask):
    offers: ClassVar[tuple[str, ...]] = ("search",)


class DuplicateIds(GoodTask):
    def problems(self, split: str) -> Sequence[Problem]:
        return [Problem(Question("sums/0", f"{split} {i}?"), "0") for i in range(2)]


class SharedIds(GoodTask):
    """Unique in each split, but the splits share them."""

    def problems(self, split: str) -> Sequence[Problem]:
        return [Problem(Question(f"sums/{i}", f"{split} {i}?"), str(i)) for i in range(2)]


class NoProblems(GoodTask):
    def problems(self, split: str) -> Sequence[Problem]:
        return [] if split == "test" else super().problems(split)


_CALLS = iter(range(1, 10**6))  # seeds 1 and 2, and all that are asked for in turn, give different orders


class Shuffles(GoodTask):
    def problems(self, split: str) -> Sequence[Problem]:
        return Random(next(_CALLS)).sample(super().problems(split), 3)


class RaisesOnText(GoodTask):
    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float((text or "").encode() == problem.gold.encode()), "compared bytes")


class RaisesOnNone(GoodTask):
    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float(text.strip() == problem.gold), "compared")  # type: ignore[union-attr]


class PaysEmpty(GoodTask):
    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float((text or "") in problem.gold), "contained")


class PaysEcho(GoodTask):
    """Scores 1 for a copy of the question, which does not contain the answer."""

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float(text == problem.question.text), "compared with the wrong text")


class PaysNothing(GoodTask):
    """Scores 1 for no answer at all."""

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float(text is None), "kind")


class PaysTooMuch(GoodTask):
    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(0.0 if text is None else -1.0, "a malus")


class GradesBare(GoodTask):
    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return 0.0  # type: ignore[return-value]

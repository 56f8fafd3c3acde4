"""Swarm: an orchestrator whose five sub-decisions are separate asks (orchestration-trace survey, arXiv 2605.02801).

O1 how many workers to spawn, O2 what to delegate to whom, O3 who reads whose report, O4 how to aggregate, O5 when to stop.
Each is a role, so each can have its own policy, reward and control, or share them with the others.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random
from typing import Any, ClassVar, TypeVar

from llm_marl_envs.protocol import Ask, Claim, DecisionSpace, Malformed, Roster, Spawn, Stop, Talk, UseTool, together
from llm_marl_envs.reading import chosen, final_answer, same_answer, tagged
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import TOOL_ARGUMENTS, options_of

SPAWN = "Problem: {question}\nRound {round} of {rounds}. Workers: {alive}. How many more should be hired? From 0 to {most}, one number."
DELEGATE = (
    "Problem: {question}\nWorkers: {alive}\n{reports}\nGive each worker you still need one line `worker_k: what to do`. Who gets "
    "none is dismissed."
)
WORK = "You are {me}, one of {alive}. The team's problem: {question}\nYour part: {part}\n{inbox}{tools}Work on it and report. {form}"
AGAIN = "Your part now: {part}\n{inbox}Work on it and report. {form}"
COMMUNICATE = "Problem: {question}\n{reports}\nWho should read whose report? Lines `worker_a -> worker_b`, or none."
STOP = "Problem: {question}\nRound {round} of {rounds} is over.\n{reports}\nIs the team done? Reply stop or continue."
AGGREGATE = "Problem: {question}\n{reports}\nWrite the team's final answer. {form}"
AGREEMENT = ("none", "split", "agree")  # of the workers' answers
_T = TypeVar("_T")
Deciding = Generator[Any, Any, _T]  # a part of a talk, and its result
_PART = re.compile(r"(?m)^[ \t*#-]{0,8}(worker_[0-9]{1,3})[ \t*]{0,4}:[ \t]{0,4}(\S[^\n]{0,2000})")
_LINK = re.compile(r"(worker_[0-9]{1,3})[ \t]{0,4}->[ \t]{0,4}(worker_[0-9]{1,3}|all)\b")
_LETTER = re.compile(r"(?m)^[ \t]{0,8}TO[ \t]{1,4}(worker_[0-9]{1,3})[ \t]{0,4}:[ \t]{0,4}(\S[^\n]{0,2000})")


@dataclass(frozen=True)
class Swarm:
    """Workers are hired, get their parts, work at the same time, may use tools and write to one another, and are dismissed; at the
    end the aggregator answers.

    workers: maximum number hired in an episode. rounds: maximum number. tools: the task's tools that workers may use, as in
    `("search",)`; tool_calls: a worker's maximum number per round. messages: False leaves out O3 and the workers' own messages
    (`TO worker_k: ...`). If a decision cannot be read: O1 hires one worker if there is none, O2 gives everybody the whole
    problem, O3 sends nobody a report, O5 stops.
    """

    workers: int = 4
    rounds: int = 3
    tools: tuple[str, ...] = ()
    tool_calls: int = 2
    messages: bool = True
    topology: ClassVar[str] = "swarm"

    def __post_init__(self):
        if self.workers < 1 or self.rounds < 1 or self.tool_calls < 0:
            raise ValueError(f"workers and rounds start at 1, tool_calls at 0; got {self}")
        if isinstance(self.tools, str):
            raise ValueError(f"tools is a tuple of names, as in ({self.tools!r},)")
        if unknown := [tool for tool in self.tools if tool not in TOOL_ARGUMENTS]:
            raise ValueError(f"tools are some of {', '.join(TOOL_ARGUMENTS)}; got {unknown[0]!r}")

    @cached_property
    def roster(self) -> Roster:
        return Roster(
            spawner=1, delegator=1, communicator=1, stopper=1, aggregator=1, spawned={"worker": self.workers}
        )  # fmt: skip

    @cached_property
    def needs(self) -> frozenset[str]:
        return frozenset(self.tools)

    @property
    def decisions(self) -> Mapping[str, DecisionSpace]:
        """The infosets: the round (not the communicator's), how many workers there are, and how far the stopper's agree."""
        return {
            "spawner": DecisionSpace(tuple(map(str, range(self.workers + 1))), (int, int)),
            "communicator": DecisionSpace((), (int,)),
            "stopper": DecisionSpace(("stop", "continue"), (int, int, AGREEMENT)),
        }

    def talk(self, question: Question, rng: Random) -> Talk:
        alive: list[str] = []
        options = options_of(question)
        hired = 0
        reports: dict[str, str] = {}
        inbox: dict[str, list[str]] = {}
        for round in range(1, self.rounds + 1):
            new = yield from self._spawn(question, round, alive, hired)
            hired, alive = hired + len(new), [*alive, *new]
            if not alive:
                break
            parts = yield from self._delegate(question, alive, reports)
            for worker in [worker for worker in alive if worker not in parts]:
                yield Stop(worker, by="delegator_0")
            alive = list(parts)
            team = _names(alive)
            texts = yield from together(
                *(
                    self._work(question, options, worker, team, parts[worker], inbox.get(worker, []), worker in new)
                    for worker in alive
                )
            )
            reports |= zip(alive, texts, strict=True)
            if round == self.rounds:
                break
            said = yield Ask(
                "stopper_0",
                STOP.format(question=question.text, round=round, rounds=self.rounds, reports=_listed(reports)),
                choices=("stop", "continue"),
                infoset=(round, len(alive), _agree([reports[worker] for worker in alive], options)),
                kind="decision",
            )
            decision = chosen(said, ("stop", "continue"))
            if decision is None:
                yield Malformed("stopper_0", "stop or continue")
            if decision != "continue":
                break
            talking = self.messages and len(alive) > 1
            inbox = (yield from self._communicate(question, alive, reports)) if talking else {}
        for worker in alive:
            yield Stop(worker, by="stopper_0")
        ask = AGGREGATE.format(question=question.text, reports=_listed(reports), form=question.answer_format)
        answer = yield Ask("aggregator_0", ask, kind="aggregate")
        yield Claim("aggregator_0", answer)
        return answer

    def _spawn(self, question: Question, round: int, alive: list[str], hired: int) -> Deciding[list[str]]:
        """O1. Returns the new workers."""
        most = self.workers - hired
        if most == 0:
            return []
        prompt = SPAWN.format(
            question=question.text, round=round, rounds=self.rounds, alive=_names(alive) or "none", most=most
        )
        choices = tuple(map(str, range(most + 1)))
        said = yield Ask("spawner_0", prompt, choices=choices, infoset=(round, len(alive)), kind="decision")
        number = chosen(said, choices)
        if number is None:
            yield Malformed("spawner_0", f"a number from 0 to {most}")
        new = self.roster.of("worker")[hired : hired + int(number if number is not None else not alive)]
        for worker in new:
            yield Spawn(worker, by="spawner_0")
        return list(new)

    def _delegate(self, question: Question, alive: list[str], reports: dict[str, str]) -> Deciding[dict[str, str]]:
        """O2. Returns each worker's part; workers without one are not in it."""
        prompt = DELEGATE.format(question=question.text, alive=_names(alive), reports=_listed(reports))
        said = yield Ask("delegator_0", prompt, kind="decision")
        wanted = dict(_PART.findall(said[:20_000]))
        parts = {worker: wanted[worker].strip() for worker in alive if worker in wanted}
        if not parts:
            yield Malformed("delegator_0", "lines `worker_k: what to do`")
            parts = dict.fromkeys(alive, "the whole problem")
        return parts

    def _work(
        self, question: Question, options: tuple[str, ...], me: str, team: str, part: str, inbox: list[str], new: bool
    ) -> Talk:
        """One worker's round: it may use tools, then reports."""
        letters = "".join(f"{letter}\n" for letter in inbox)
        tools = "".join(f"You may write <{tool}>...</{tool}>. " for tool in self.tools if self.tool_calls)
        if self.messages and team != me:
            tools += "A line `TO worker_k: ...` is a message. "
        text = "\n".join((question.text, *question.materials))
        fill = {"me": me, "alive": team, "question": text, "part": part, "inbox": letters, "tools": tools}
        said = yield Ask(
            me, (WORK if new else AGAIN).format(**fill, form=question.answer_format), fresh=new, kind="return"
        )
        for _ in range(self.tool_calls):
            wanted = [(tool, inside) for tool in self.tools if (inside := tagged(said, tool))]
            if not wanted:
                break
            tool, inside = wanted[0]
            found = yield UseTool(me, tool, {TOOL_ARGUMENTS[tool]: inside})
            said = yield Ask(me, f"<result>{found}</result>", fresh=False, kind="return")
        if final_answer(said, options) is not None:  # a part of the work is not an answer
            yield Claim(me, said)
        return said

    def _communicate(
        self, question: Question, alive: list[str], reports: dict[str, str]
    ) -> Deciding[dict[str, list[str]]]:
        """O3. Returns what each worker reads next: reports that the communicator sends it, and messages from other workers."""
        prompt = COMMUNICATE.format(question=question.text, reports=_listed(reports))
        said = yield Ask("communicator_0", prompt, infoset=(len(alive),), kind="decision")
        links = _LINK.findall(said[:20_000])
        if not links and chosen(said, ("none",)) is None:
            yield Malformed("communicator_0", "lines `worker_a -> worker_b`, or none")
        inbox: dict[str, list[str]] = {worker: [] for worker in alive}
        for source, target in dict.fromkeys(links):
            for worker in alive:
                if source in reports and worker != source and target in (worker, "all"):
                    inbox[worker].append(f"{source} reports: {reports[source]}")
        for source in alive:
            for target, letter in _LETTER.findall(reports[source][:20_000]):
                if target in inbox and target != source:
                    inbox[target].append(f"{source} writes to you: {letter}")
        return inbox


def _names(alive: list[str]) -> str:
    """All names; in a team of more than ten, neighbours as `worker_0 to worker_99`, so that prompts grow with the work alone."""
    runs: list[list[str]] = []
    for name in alive:
        if len(alive) > 10 and runs and int(name[7:]) == int(runs[-1][-1][7:]) + 1:
            runs[-1].append(name)
        else:
            runs.append([name])
    return ", ".join(run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def _listed(reports: dict[str, str]) -> str:
    return "\n".join(f"{worker} reports: {text}" for worker, text in reports.items()) or "No reports yet."


def _agree(texts: list[str], options: tuple[str, ...]) -> str:
    """Whether the workers' answers are the same: "agree", "split", or "none" if a worker has no answer."""
    answers = [final_answer(text, options) for text in texts]
    if any(answer is None for answer in answers):
        return "none"
    return "agree" if all(same_answer(answers[0], answer) for answer in answers) else "split"

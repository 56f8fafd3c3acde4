"""Sessions to episodes, in waves: every waiting call of every live session goes to the engine in one batch.

Sessions share nothing, so neither the width nor the order of the batch changes what a call is asked; its sampling seed is
named by (run, start, turn), so it does not change what is answered either.

Tools run in threads while the engine generates. Grading does so where it is worth it, which is measured, so that no task
has to say it. An episode is graded at once, in the loop; but when two in a row take longer than CHEAP_S (they wait for a
sandbox or for Math-Verify; one alone may only have been held up by a busy machine), threads grade the next episodes, as many
as make up for the shorter one's time at CHEAP_S each. So graders that are slow keep all of their processes busy, while the
engine generates for the sessions that go on, and graders that are fast pay for no threads. Graded episodes are collected in the order in which they finished: nothing but the
time depends on who graded what. A program is graded once in a rollout for each problem that it answers.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Protocol, overload

from baselines.grades import GradedOnce
from baselines.policies import PolicyRouter
from baselines.threads import Threads
from baselines.types import Completion, Engine, Episode, Request, Sampling, Turn
from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.protocol import Ask, UseTool, Workflow
from llm_marl_envs.rewards import Rule, rewards_of, team
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Limits, Play, Session
from llm_marl_envs.task import Problem, Task, ToolResult
from llm_marl_envs.tools.run import run_tool

TOOLS_AT_ONCE = 32  # tools wait for servers and processes more than they compute
GRADERS = 8  # threads; the pools of processes that they wait for have 4 at most
CHEAP_S = 0.0002  # of grading an episode: about ten times what it costs to hand one to a thread and back


@dataclass(frozen=True, slots=True)
class Start:
    """Where an episode begins or goes on: a session and its turns so far. `seed` names its sampling. Playing it uses it up."""

    session: Session
    problem: Problem
    group: int
    sample: int
    seed: int
    turns: tuple[Turn, ...] = ()
    origin: tuple[Episode, int] | None = None


def groups(
    workflow: Workflow, problems: Sequence[Problem], samples: int, seed: int, limits: Limits = Limits()
) -> list[Start]:
    """`samples` independent starts for each problem. The same problem twice in a batch makes two groups."""
    starts = []
    with collector_paused():
        for group, problem in enumerate(problems):
            for sample in range(samples):
                named = seed_of(seed, problem.question.id, group, sample)
                session = Session(Play(workflow, problem.question, named, limits))
                starts.append(Start(session, problem, group, sample, named))
    return starts


@contextmanager
def collector_paused() -> Iterator[None]:
    """No cyclic garbage collection inside: thousands of live sessions hold no cycles, and scanning them takes longer than
    playing them. It runs again while the engine works."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def libraries_kept() -> Iterator[None]:
    """Cyclic garbage collection inside leaves alone what is there now: going through torch's and transformers' million objects takes
    half a second, and a training of a small model does so every few steps."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def forks(parent: Episode | Start, turn: int, samples: int, seed: int) -> list[Start]:
    """`samples` new futures of an episode, or of one that is not over, from just before its reply number `turn`; they form one
    group of their own."""
    here = _here("fork", parent, turn, seed)
    return [_branch(parent, turn, parent.session.fork(turn), here, k, seed) for k in range(samples)]


def forced(parent: Episode | Start, turn: int, said: str, seed: int, samples: int = 1) -> list[Start]:
    """`samples` futures in which an agent's reply number `turn` is `said`: counterfactuals, in one group of their own.

    The reply is in the session and in what the agent remembers, but it is no turn of the episode: nobody sampled it, so nothing
    is trained on it. All later replies, of the same wave too, are sampled anew. Raises ValueError if it is not an agent's reply.
    """
    here = _here("forced", parent, turn, seed, said)
    starts = []
    for k in range(samples):
        session = parent.session.fork(turn)
        if type(session.call) is not Ask:
            raise ValueError(f"reply {turn} of {session!r} is that of {session.call}; only an agent's can be forced")
        session.reply(said)
        starts.append(_branch(parent, turn, session, here, k, seed))
    return starts


def cut(start: Start, calls: int) -> Start:
    """The same start with a budget of `calls` more calls at most: where the talk would go on, it ends as TRUNCATED and is graded.

    One call of a fork shows what a reply is worth by itself, at the price of one. A start that has no budget left is over.
    """
    session, limits = start.session, start.session.play.limits
    most = session.calls + calls if limits.calls is None else min(limits.calls, session.calls + calls)
    play = replace(session.play, limits=replace(limits, calls=most))
    return replace(start, session=Session(play, session.replies))


def _here(kind: str, parent: Episode | Start, turn: int, *names: object) -> int:
    """A name of its own for the futures of one parent at one turn: forks of forks have the play's seed in common, and siblings
    may have said the same, so it takes the parent's place among its siblings and a digest of all replies."""
    replies = [reply.text for reply in parent.session.replies]
    return seed_of(kind, parent.session.play.seed, parent.group, parent.sample, turn, *names, replies)


def _branch(parent: Episode | Start, turn: int, session: Session, group: int, sample: int, seed: int) -> Start:
    kept = tuple(t for t in parent.turns if t.index < turn)
    origin = (parent, turn) if isinstance(parent, Episode) else parent.origin
    return Start(session, parent.problem, group, sample, seed_of(seed, group, sample), kept, origin)


class PlayFn(Protocol):
    """How a method has its starts played: to their end, or for some waves."""

    @overload
    def __call__(self, starts: Iterable[Start]) -> list[Episode]: ...
    @overload
    def __call__(self, starts: Iterable[Start], *, waves: int) -> list[Start]: ...


class _Running:
    """A live session with its turns so far and, per agent, the token ids of its conversation and how many of its later replies
    have none."""

    __slots__ = ("contexts", "replied", "session", "start", "turns", "until")

    def __init__(self, start: Start, waves: int | None):
        self.start, self.session = start, start.session
        self.turns = list(start.turns)
        self.until = None if waves is None else start.session.turns + waves
        self.contexts: dict[str, tuple[tuple[int, ...], int]] = {}
        replies = [event.call for event in start.session.events if event.reply is not None]
        self.replied = len(replies)
        sampled = {turn.index: turn for turn in start.turns}
        for index, call in enumerate(replies):
            if type(call) is Ask:
                turn = sampled.get(index)
                ids, new = ((), 0) if call.fresh else self.contexts.get(call.agent, ((), 0))
                self.contexts[call.agent] = (ids, new + 2) if turn is None else (_ids(turn.completion), 0)

    @property
    def resting(self) -> bool:
        """Whether it is over, or has played its waves."""
        return self.session.status is not None or (self.until is not None and self.session.turns >= self.until)

    def rest(self) -> Start:
        """Where it can go on."""
        return replace(self.start, turns=tuple(self.turns))


def _ids(completion: Completion) -> tuple[int, ...]:
    return completion.prompt_ids + completion.token_ids


@overload
def rollout(
    starts: Iterable[Start], route: PolicyRouter, engine: Engine, task: Task, *,
    sampling: Sampling | Mapping[str, Sampling] = ..., rule: Rule = ..., width: int = ...,
    on_done: Callable[[Episode], None] | None = ..., waves: None = None,
) -> list[Episode]: ...  # fmt: skip
@overload
def rollout(
    starts: Iterable[Start], route: PolicyRouter, engine: Engine, task: Task, *,
    sampling: Sampling | Mapping[str, Sampling] = ..., width: int = ..., waves: int,
) -> list[Start]: ...  # fmt: skip
def rollout(
    starts: Iterable[Start],
    route: PolicyRouter,
    engine: Engine,
    task: Task,
    *,
    sampling: Sampling | Mapping[str, Sampling] = Sampling(),
    rule: Rule = team,
    width: int = 4096,
    on_done: Callable[[Episode], None] | None = None,
    waves: int | None = None,
) -> list[Episode] | list[Start]:
    """Play all starts to their end, `width` at a time; a finished one frees its place. Episodes come in the starts' order.

    sampling: how every role decodes, or one for each. waves: play only so many waves (tool waves included) of each and return
    starts, which can be played on, as if there had been no stop, or forked; one whose talk is over is graded when it is played.

    `on_done` is called in this thread, once per episode, in the order in which they finished. An interrupt, or whatever
    `engine`, `rule` or `on_done` raise, ends the rollout at once: what has not begun in the threads never does.
    """
    queue = iter(enumerate(starts))
    live: list[tuple[int, _Running]] = []
    rested: dict[int, Start] = {}
    how = sampling if isinstance(sampling, Mapping) else dict.fromkeys(route.by_role, sampling)
    with closing(Threads(TOOLS_AT_ONCE)) as tools, closing(Threads(GRADERS)) as graders:
        graded = _Graded(GradedOnce(task), rule, on_done, graders)
        while True:
            for i, start in islice(queue, width - len(live)):
                live.append((i, _Running(start, waves)))
            if not live:
                graded.collect(wait=True)
                done = rested if waves is not None else graded.episodes
                return [done[i] for i in range(len(done))]  # type: ignore[return-value]
            sessions = [running for _, running in live if not running.resting]
            found = _run_tools(sessions, task, tools)
            with collector_paused():
                requests, roles = _requests(sessions, route, how)
            completions = engine.generate(requests) if requests else []
            wait(found)
            with collector_paused():
                _reply(sessions, zip(requests, completions, roles, strict=True), iter(found))
                still = []
                for i, running in live:
                    if not running.resting:
                        still.append((i, running))
                    elif waves is not None:
                        rested[i] = running.rest()
                    else:
                        graded.add(i, running)
                live = still
            graded.collect()


def _requests(
    live: list[_Running], route: PolicyRouter, sampling: Mapping[str, Sampling]
) -> tuple[list[Request], list[str]]:
    """Every waiting ask of every session, and the roles that they go to."""
    requests: list[Request] = []
    roles: list[str] = []
    policy_of = route.by_role
    for running in live:
        session = running.session
        role_of = session.play.workflow.roster.role
        for k, call in enumerate(session.waiting):
            if type(call) is Ask:
                role = role_of(call.agent)
                roles.append(role)
                context, unknown = ((), 0) if call.fresh else running.contexts.get(call.agent, ((), 0))
                seed = seed_of(running.start.seed, running.replied + k)
                messages = session.messages(call)
                requests.append(Request(policy_of[role], messages, seed, call, context, sampling[role], unknown + 1))
    return requests, roles


def _run_tools(live: list[_Running], task: Task, threads: Threads) -> list[Future[ToolResult]]:
    """Begin every waiting tool call of every session. Tools are stateless, so the order does not matter."""
    waiting = [
        (c, running.session.play.question) for running in live for c in running.session.waiting if type(c) is UseTool
    ]
    tools = task.tools if waiting else {}
    return [threads.submit(run_tool, call, question, tools) for call, question in waiting]


def _reply(
    live: list[_Running], answers: Iterator[tuple[Request, Completion, str]], found: Iterator[Future[ToolResult]]
) -> None:
    """Answer each session's wave in its own order: asks with the engine's completions, tools with what they found."""
    for running in live:
        session = running.session
        for call in session.waiting:
            if type(call) is Ask:
                request, completion, role = next(answers)
                if session.status is not None:  # the budget ran out, or somebody failed, earlier in this wave
                    continue
                if completion.failure:
                    session.fail(f"{call.agent}: {completion.failure}")
                    running.replied += 1
                    continue
                turn = Turn(running.replied, call.agent, role, request.policy, completion, request.sampling)
                running.turns.append(turn)
                running.contexts[call.agent] = _ids(completion), 0
                session.reply(completion.text, *completion.tokens)
            elif type(call) is UseTool:
                result = next(found)
                if session.status is None:
                    try:
                        text, worked = result.result()
                        session.reply(text, worked=worked)
                    except ToolFailed as bad:
                        session.fail(f"tool {call.tool}: {bad}")
            running.replied += 1


def _episode(running: _Running, task: Task, rule: Rule) -> Episode:
    start = running.start
    outcome = outcome_of(running.session, task, start.problem)
    rewards = rewards_of(outcome, rule)
    return Episode(
        running.session, start.problem, start.group, start.sample, tuple(running.turns), outcome, rewards, start.origin
    )


class _Graded:
    """Finished episodes, by their place among the starts. See the module's docstring for who grades them."""

    def __init__(self, task: Task, rule: Rule, on_done: Callable[[Episode], None] | None, threads: Threads):
        self.task, self.rule, self.on_done, self.threads = task, rule, on_done, threads
        self.episodes: dict[int, Episode] = {}
        self.under_way: deque[tuple[int, Episode | Future[Episode]]] = deque()
        self.last_s = self.behind_s = 0.0  # of the last grading in the loop; and what is to be made up for

    def add(self, place: int, running: _Running) -> None:
        """Grade it, or have it graded."""
        if self.behind_s > 0:
            self.under_way.append((place, self.threads.submit(_episode, running, self.task, self.rule)))
        else:
            began = perf_counter()
            self.under_way.append((place, _episode(running, self.task, self.rule)))
            took = perf_counter() - began
            self.behind_s += min(took, self.last_s)
            self.last_s = took
        self.behind_s = max(0.0, self.behind_s - CHEAP_S)

    def collect(self, wait: bool = False) -> None:
        """Take in the episodes that are graded, up to the first that is not; or wait for it, and for all."""
        while self.under_way:
            place, episode = self.under_way[0]
            if isinstance(episode, Future):
                if not wait and not episode.done():
                    return
                episode = episode.result()
            self.under_way.popleft()
            self.episodes[place] = episode
            if self.on_done is not None:
                self.on_done(episode)

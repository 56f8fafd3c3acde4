"""Whether a trace is what it claims to be: replay it, look up its question, grade its answer again, compare.

Nothing that the trace says about itself is believed, and nothing in it is obeyed: where corpora and retrievers are is the
verifier's to say. What passes is self-consistent, not authentic: that a model really said these texts is not shown, and token
counts and seconds stay as reported. A trace that would cost more than the verifier's budget is refused.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from llm_marl_envs.allowance import Allowance, OverBudget, unmetered
from llm_marl_envs.errors import ConfigError, DataError, MissingExtra, OlderRules, ReplayMismatch
from llm_marl_envs.outcome import Outcome, outcome_of
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.session import Session, Status
from llm_marl_envs.spec import VERSION, EnvSpec, reads_data
from llm_marl_envs.task import Problem, Question, Task
from llm_marl_envs.tools.run import run_tool
from llm_marl_envs.traces.files import READ_MB
from llm_marl_envs.traces.trace import Trace

CPU_S = 4.0  # of one trace
KEPT = 16  # splits of problems
LEAST_S = 0.05  # CPU seconds that every trace may take, whatever others took
_Found = TypeVar("_Found", bound="Verified | Refused | None")


@dataclass(frozen=True, slots=True)
class Verified:
    """A trace that passed, with its outcome as graded here. The outcome of a FAILED one is not a score."""

    trace: Trace
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Refused:
    """A trace that failed; each complaint says what was claimed and what was found."""

    trace: Trace
    complaints: tuple[str, ...]

    def __str__(self) -> str:
        return f"trace {self.trace.id}, question {self.trace.question.id}: {'; '.join(self.complaints)}"


def verified(
    trace: Trace, task: Task, problems: Mapping[str, Problem] | None = None, *, tools: bool = False
) -> Verified | Refused:
    """Check a trace of `task`: its question, every event, its answer, status and score.

    `problems` are those of the trace's split by id, for a caller with many traces. tools: run the tools again and compare their
    results with the trace's, which only makes sense for deterministic tools; a tool that cannot run here is a complaint. The
    tool at which an episode is said to have failed is always run again. Raises DataError if the task's data is not there.
    """
    if problems is None:
        try:
            problems = problems_by_id(task, trace.split)
        except (DataError, MissingExtra):
            raise
        except Exception as bad:  # a trace is untrusted: whatever goes wrong is a complaint, not a crash
            return Refused(trace, (str(bad),))
    problem = problems.get(trace.question.id) if isinstance(trace.question.id, str) else None
    if problem is None:
        return Refused(trace, (f"split {trace.split!r} has no question {trace.question.id!r}",))
    if wrong := _altered(trace.question, problem.question):
        return Refused(trace, wrong)
    try:
        session = trace.session()
    except (ReplayMismatch, OlderRules) as bad:
        return Refused(trace, (str(bad),))
    except Exception as bad:
        return Refused(trace, (f"replay stopped: {type(bad).__name__}: {bad}",))
    if session.status is None:
        return Refused(trace, ("the episode is not over",))
    outcome = outcome_of(session, task, problem)
    wrong = _claims(trace, session, outcome) or _not_failed(session, task, outcome)
    if tools and not wrong:
        wrong = tuple(_invented(trace, session, task))
    return Refused(trace, wrong) if wrong else Verified(trace, outcome)


def problems_by_id(task: Task, split: str) -> dict[str, Problem]:
    """A split's problems by question id. Raises UnknownName if there is no such split."""
    return {problem.question.id: problem for problem in task.problems(split)}


def _altered(said: Question, true: Question) -> tuple[str, ...]:
    """A changed text could be an easier question under the same id, so all of the question must be the task's."""
    differ = [f.name for f in fields(Question) if getattr(said, f.name) != getattr(true, f.name)]
    return tuple(
        f"the question's {name} is {str(getattr(said, name))[:80]!r}, in the task it is {str(getattr(true, name))[:80]!r}"
        for name in differ
    )


def _claims(trace: Trace, session: Session, outcome: Outcome) -> tuple[str, ...]:
    wrong = []
    if trace.status != outcome.status:
        why = f" ({outcome.team.why})" if outcome.status is Status.FAILED else ""
        wrong.append(f"claims status {_named(trace.status)}, replay gives {_named(outcome.status)}{why}")
    if trace.answer != session.answer:
        wrong.append(f"claims the answer {str(trace.answer)[:80]!r}, replay gives {str(session.answer)[:80]!r}")
    if outcome.status is Status.FAILED:
        # Only tools and graders can fail. Otherwise a wrong episode could be cut short and called failed, to be left out.
        waiting = session.fork(len(session.replies)).call
        if waiting is not None and type(waiting) is not UseTool:
            said = (
                f", and could not answer ({trace.why[:200]}), which nobody can verify: play it again"
                if trace.why
                else ""
            )
            wrong.append(f"claims to have failed, but no tool was at work: {waiting.agent} was asked{said}")
    elif trace.score != outcome.team.value:
        wrong.append(f"claims score {trace.score}, graded {outcome.team.value:g} ({outcome.team.why})")
    return tuple(wrong)


def _not_failed(session: Session, task: Task, outcome: Outcome) -> tuple[str, ...]:
    """Whether the tool at which an episode is said to have failed works here. (A tool that this verifier does not have, such as
    a retriever elsewhere, cannot be tried: the episode counts as failed.)"""
    if outcome.status is not Status.FAILED:
        return ()
    call = session.fork(len(session.replies)).call
    try:
        if type(call) is not UseTool or call.tool not in task.tools:
            return ()
        run_tool(call, session.play.question, task.tools)
    except Exception:  # arguments that no tool takes included: an honest run would have failed as well
        return ()
    return (f"claims that the tool {call.tool!r} failed, but it works here",)


def _invented(trace: Trace, session: Session, task: Task) -> Iterator[str]:
    """Tool results that differ from what the tools return. Version 1 recorded only their texts."""
    for i, (call, reply, _) in enumerate(session.events):
        if isinstance(call, UseTool) and reply is not None:
            try:
                again = run_tool(call, session.play.question, task.tools)
            except Exception as bad:  # a finding, and the next ones are looked for
                yield f"event {i}: {call.tool} could not be run again ({bad})"
                continue
            if again.text != reply.text:
                yield f"event {i}: {call.tool} says {again.text!r:.80}, not {reply.text!r:.80}"
            elif again.worked != reply.worked and trace.version > 1:
                yield f"event {i}: {call.tool} worked {again.worked:g}, not {reply.worked:g}"


def _named(status: Status | None) -> str:
    return "unfinished" if status is None else str(status)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a trace may cost its verifier. Beyond it, it is refused.

    cpu_s: CPU seconds, here and in worker processes (of these, at most `allowance.WORKERS`), to make the problems, replay and
    grade. memory_mb: megabytes to read a line, or for one program; replaying may gain `allowance.GAIN` of them. A program or a
    formula that does not end within what is left is wrong; a trace that claims otherwise is refused.
    What traces over the budget took is taken off what the next ones of the same file may take, down to LEAST_S; after so many
    `overruns`, the rest of the file is refused unseen, and so it is after `file_s` CPU seconds of all its traces.

    events: calls and notes of one trace. texts: characters of all prompts and replies together. problems: of a split that is made
    up (procedural tasks), and entities of the world it is made from. agents: that a workflow's knobs provide for.
    """

    cpu_s: float = CPU_S
    memory_mb: int = READ_MB
    overruns: int = 8
    file_s: float = 3_600.0
    events: int = 50_000
    texts: int = 200_000_000
    problems: int = 20_000
    agents: int = 10_000

    def __post_init__(self):
        if self.cpu_s <= 0 or self.memory_mb < 1:
            raise ConfigError(f"a budget has CPU seconds and megabytes above 0; got {self.cpu_s} and {self.memory_mb}")


class Verifier:
    """Verifies traces of any environments; each task and each split's problems are looked up once.

    A trace names its task and workflow, and loading one from a module outside this package runs that module. So only those of
    this package and of the modules named in `plugins` are loaded. With `tools`, tools are run again. `places` are this
    verifier's own corpus or retriever, for tasks that have such a knob.
    """

    def __init__(
        self,
        data_dir: str | Path | None = None,
        plugins: tuple[str, ...] = (),
        *,
        tools: bool = False,
        places: Mapping[str, Any] = {},
        budget: Budget = Budget(),
    ):
        self.data_dir, self.plugins, self.tools, self.places, self.budget = data_dir, plugins, tools, places, budget
        self._tasks: dict[str, Task] = {}
        self._problems: dict[tuple[str, str], dict[str, Problem]] = {}
        self._dear: set[tuple[str, str]] = set()  # splits that take too much to make
        self._over: defaultdict[Hashable, int] = defaultdict(int)  # by source: traces over the budget,
        self._wasted: defaultdict[Hashable, float] = defaultdict(float)  # the CPU seconds that they took,
        self._took: defaultdict[Hashable, float] = defaultdict(float)  # and those of all traces, and of reading them
        self._last: tuple[Hashable, float] = ("", time.thread_time())  # source, and when its last trace was begun

    def __call__(self, trace: Trace, source: Hashable = "") -> Verified | Refused:
        """`source` is the file that the trace is from: what traces over the budget take is taken from others of that file.

        Raises DataError or MissingExtra, naming the environment, if the task's data is not available here."""
        return self._within_budget(trace, source, self._checked)

    def replayed(self, trace: Trace, source: Hashable = "") -> Refused | None:
        """Replay only, without the task's problems and grades: what is wrong, or None."""
        return self._within_budget(trace, source, self._replayed)

    def _within_budget(self, trace: Trace, source: Hashable, check: Callable[[Trace], _Found]) -> _Found | Refused:
        budget = self.budget
        allowance = Allowance(max(budget.cpu_s - self._wasted[source], LEAST_S), budget.memory_mb)
        self._took[self._last[0]] += allowance.began - self._last[1]
        self._last = source, allowance.began
        if self._over[source] >= budget.overruns or self._took[source] > budget.file_s:
            return Refused(trace, ("not looked at: others from the same file took too much",))
        try:
            with allowance:
                if why := self._refusal(trace):
                    return Refused(trace, (why,))
                return check(trace)
        except OverBudget as over:
            allowance.stop()
            rest = ", which is what others from its file left" if self._over[source] else ""
            self._over[source] += 1
            self._wasted[source] += allowance.used
            return Refused(trace, (f"to verify it {over}{rest}; if you trust it, allow more (--cpu-s, --memory-mb)",))
        finally:
            self._took[source] += allowance.spent

    def _refusal(self, trace: Trace) -> str:
        """Why a trace is not looked into; "" if it is."""
        if name := self.untrusted_module(trace.spec):
            return f"{name!r} comes from a module outside this package; name its module in plugins to load it"
        if trace.spec.version != VERSION:
            return str(OlderRules(trace.spec.version, VERSION))
        try:
            return self._too_dear(trace)
        except Exception as bad:  # unknown names, impossible knobs
            return f"{trace.env_id} cannot be made: {bad}"

    def _replayed(self, trace: Trace) -> Refused | None:
        try:
            trace.session()
        except Exception as bad:  # a trace is untrusted data
            return Refused(trace, (str(bad),))
        return None

    def _checked(self, trace: Trace) -> Verified | Refused:
        key = _key(trace.spec)
        task, problems = self._tasks.get(key), self._problems.get((key, trace.split))
        tools = self.tools or trace.status is Status.FAILED
        if task is None or problems is None or tools:
            try:
                task, problems = self._looked_up(trace, key, tools)
            except DataError as bad:
                raise DataError(f"cannot score {trace.env_id}: {bad}") from bad
            except MissingExtra:
                raise
            except Exception as bad:  # a split that is not there, a knob that fits no data
                return Refused(trace, (f"{trace.env_id} cannot be made: {bad}",))
        return verified(trace, task, problems, tools=self.tools)

    def _looked_up(self, trace: Trace, key: str, tools: bool) -> tuple[Task, dict[str, Problem]]:
        ours = not trace.spec.task_knobs or reads_data(trace.spec.task)  # not of the trace's making
        with unmetered() if ours else nullcontext():
            if key not in self._tasks:
                self._tasks[key] = trace.spec.make_task(self.data_dir, self.places)
            task = self._tasks[key]
            if tools:
                with suppress(Exception):  # a tool that is not to be had here is a finding, not the end
                    assert task.tools is not None  # the index of a corpus is made now
            return task, self._problems_of(task, key, trace.split)

    def _problems_of(self, task: Task, key: str, split: str) -> dict[str, Problem]:
        if (key, split) in self._dear:
            raise ConfigError("its problems take more to make than is allowed (--cpu-s, --memory-mb)")
        if (key, split) not in self._problems:
            try:
                found = problems_by_id(task, split)
            except OverBudget:
                self._dear.add((key, split))
                raise
            if len(self._problems) >= KEPT:
                del self._problems[next(iter(self._problems))]
            self._problems[key, split] = found
        return self._problems[key, split]

    def _too_dear(self, trace: Trace) -> str:
        """Why a trace would cost more than the budget; "" if it would not."""
        budget = self.budget
        if len(trace.events) > budget.events:
            return f"{len(trace.events)} events; at most {budget.events} are verified"
        size = sum(len(e.reply.text) for e in trace.events if e.reply) + sum(
            len(getattr(e.call, "prompt", "")) for e in trace.events
        )
        if size > budget.texts:
            return f"{size} characters; at most {budget.texts} are verified"
        for name in ("train_size", "test_size", "size"):
            value = trace.spec.task_knobs.get(name)
            if isinstance(value, int) and value > budget.problems:
                return f"{name}={value} of {trace.spec.task}; at most {budget.problems} are verified"
        agents = len(trace.spec.make_workflow().roster.names)
        if agents > budget.agents:
            return f"{trace.spec.workflow} for up to {agents} agents; at most {budget.agents} are verified"
        return ""

    def split_size(self, trace: Trace) -> int:
        """How many problems the split of a trace that was verified here has."""
        return len(self._problems.get((_key(trace.spec), trace.split), ()))

    def untrusted_module(self, spec: EnvSpec) -> str:
        """The task or workflow of `spec` whose module is outside this package and not in `plugins`; "" if there is none."""
        for name in (spec.task, spec.workflow):
            module, colon, _ = name.partition(":")
            if colon and module not in self.plugins:
                return name
        return ""


def _key(spec: EnvSpec) -> str:
    return json.dumps([spec.task, dict(spec.task_knobs)], sort_keys=True)

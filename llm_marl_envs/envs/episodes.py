"""What every view of a (task, workflow) pair has: which problem comes next, tools, grades, records.

The views differ in who acts when and in whose bookkeeping that is: `aec`, `parallel`, `role` and `vector`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypedDict, Unpack

from llm_marl_envs.envs.spaces import Observation, chat_space
from llm_marl_envs.errors import SessionOver, ToolFailed, UnknownName
from llm_marl_envs.outcome import Outcome, outcome_of
from llm_marl_envs.protocol import Ask, UseTool, Workflow
from llm_marl_envs.rewards import Rule, reward_rule, rewards_of
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Event, Limits, Play, Session, Status
from llm_marl_envs.spec import EnvSpec, check_tools
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.terminal import printable
from llm_marl_envs.tools.run import use_tool
from llm_marl_envs.traces.text import transcript
from llm_marl_envs.traces.trace import Trace

REDRAWS = 10  # failed episodes in a row after which something is wrong with the tool, not with the problem
Shaping = Callable[[Event], float]


class Recorder(Protocol):
    """What is given the trace of every episode that ends, such as a `TraceWriter`; closed with the environment."""

    def write(self, trace: Trace) -> None: ...

    def close(self) -> None: ...


class EnvOptions(TypedDict, total=False):
    """What every view takes beside its task and workflow. split: the training split, or the only one. reward: a rule or its name."""

    split: str | None
    reward: str | Rule
    limits: Limits
    render_mode: str | None
    spec: EnvSpec | None


class Episodes:
    """A sequence of episodes. `session`, `problem` and `outcome` are those of the current one.

    for_learners: an episode that FAILED teaches nothing, so the next problem is begun in its place, unseen by the learner, and
    counted in `failed`; and a budget that ran out is an end (the answer counts as wrong), not a cut after which there was more to
    come. Otherwise both are TRUNCATED.
    """

    render_mode: str | None

    def __init__(self, task: Task, workflow: Workflow, **options: Unpack[EnvOptions]):
        super().__init__()
        split, render_mode = options.get("split"), options.get("render_mode")
        if render_mode not in (None, "ansi", "human"):
            raise UnknownName("render mode", str(render_mode), ("ansi", "human"))
        if split is None:
            split = "train" if "train" in task.splits else task.splits[0]
        if split not in task.splits:
            raise UnknownName(f"split of {type(task).__name__}", split, task.splits)
        check_tools(task, workflow)
        self.task, self.workflow, self.split = task, workflow, split
        self.limits = options.get("limits", Limits())
        self.env_spec = options.get("spec") or EnvSpec.of(task, workflow)
        self.rule = reward_rule(options.get("reward", "team"))
        self.render_mode = render_mode
        self.for_learners = False
        self.shaping: Shaping | None = None
        self.recorders: list[Recorder] = []
        self.failed = 0
        self.session: Session | None = None
        self.problem: Problem | None = None
        self.outcome: Outcome | None = None
        self._problems: Sequence[Problem] | None = None
        self._index: dict[str, int] | None = None
        self._seed: int | None = None
        self._episode = self._in_a_row = self._shown = self._shaped = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_problems": None, "_index": None}  # the task can load them again

    def begin(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode. `options={"problem": id or index}` picks the problem; without it the seed does.

        Without a seed, episodes continue the sequence of the last seed given (or of a random one, if none was given).
        """
        if seed is not None:
            self._seed, self._episode = seed, 0
        elif self._seed is None:
            self._seed = secrets.randbits(63)
        else:
            self._episode += 1
        episode = seed_of("episode", self._seed, self._episode)
        self.problem = self._pick(options.get("problem") if options else None, episode)
        self.session = Session(Play(self.workflow, self.problem.question, episode, self.limits))
        self.outcome = None
        self._shown = self._shaped = 0

    def settle(self) -> Ask | None:
        """Run the tools that are first waiting. Returns the ask that then is, or None: the episode is over and graded."""
        while True:
            session = self.session
            assert session is not None
            call = session.call
            while type(call) is UseTool:
                use_tool(session, self.task.tools)
                call = session.call
            if call is not None:
                return call  # type: ignore[return-value]
            assert self.problem is not None
            if self.finish(outcome_of(session, self.task, self.problem)):
                return None

    def finish(self, outcome: Outcome) -> bool:
        """Take in how the episode ended. False if it failed and another was begun in its place; raises ToolFailed after 10 in a row."""
        self.outcome = outcome
        for recorder in self.recorders:
            recorder.write(self.trace())
        if outcome.status is not Status.FAILED or not self.for_learners:
            self._in_a_row = 0
            return True
        self.failed += 1
        self._in_a_row += 1
        if self._in_a_row >= REDRAWS:
            self._in_a_row = 0
            raise ToolFailed(f"{REDRAWS} episodes in a row could not be played. The last: {outcome.team.why}")
        self.begin()
        return False

    @property
    def ended_well(self) -> bool:
        """Whether the end of the episode is one of the talk itself, as learners see it; otherwise it was cut off."""
        assert self.outcome is not None
        return self.outcome.status is Status.FINISHED or self.for_learners

    def graded(self) -> tuple[dict[str, float], dict[str, Any]]:
        """Every agent's reward for the episode, and what its info says about the end."""
        outcome = self.outcome
        assert outcome is not None
        return rewards_of(outcome, self.rule), {
            "status": outcome.status.value,
            "score": outcome.team.value,
            "why": outcome.team.why,
        }

    def shaped(self) -> dict[str, float]:
        """What the shaping rule gives each agent for the events since it was last asked."""
        given: dict[str, float] = {}
        if self.shaping is not None and self.session is not None:
            for event in self.session.events[self._shaped :]:
                given[event.call.agent] = given.get(event.call.agent, 0.0) + self.shaping(event)
            self._shaped = len(self.session.events)
        return given

    def state(self) -> Observation:
        """The whole team's transcript so far, for central critics: one message per reply, with the agent's name as role."""
        assert self.session is not None, "call reset() first"
        said = ((e.call.agent, e.reply.text) for e in self.session.events if e.reply is not None)
        return {"messages": tuple({"role": agent, "content": text} for agent, text in said)}

    @property
    def state_space(self):
        return chat_space()

    def render(self) -> str | None:
        """`ansi`: the transcript so far. `human`: print what is new since the last call."""
        if self.session is None:
            raise SessionOver("call reset() before render()")
        if self.render_mode == "ansi":
            return transcript(self.session, self.outcome)
        if self.render_mode == "human":
            text = transcript(self.session, self.outcome)
            print(printable(text[self._shown :], None, lines=True), end="", flush=True)
            self._shown = len(text)
        return None

    def trace(self, **meta: Any) -> Trace:
        """The episode so far as a record that can be written, replayed and re-graded. `meta` is stored with it."""
        if self.session is None:
            raise SessionOver("call reset() before trace()")
        return Trace.of(self.session, self.env_spec, self.outcome, split=self.split, meta=meta)

    def close(self) -> None:
        for recorder in self.recorders:
            recorder.close()

    def _pick(self, wanted: str | int | None, episode: int) -> Problem:
        problems = self._problems = self._problems or self.task.problems(self.split)
        if wanted is None:
            return problems[episode % len(problems)]
        if isinstance(wanted, str):
            if self._index is None:
                self._index = {p.question.id: i for i, p in enumerate(problems)}
            if wanted not in self._index:
                raise UnknownName(f"problem in split {self.split!r}", wanted, list(self._index)[:5])
            return problems[self._index[wanted]]
        if not 0 <= wanted < len(problems):
            raise UnknownName(f"problem in split {self.split!r}", str(wanted), (f"0 to {len(problems) - 1}",))
        return problems[wanted]


def asked(call: Ask, turn: int) -> dict[str, Any]:
    """What the info of an agent says when it is asked."""
    return {"kind": call.kind, "choices": call.choices, "infoset": call.infoset, "turn": turn}

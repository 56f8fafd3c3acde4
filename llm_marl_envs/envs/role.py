"""The same episodes for one learner, as a Gymnasium environment: one role, or one seat of it, or the whole team, is the agent;
everybody else is played by partners that do not learn.

`Seats` plays a session up to the next ask of the learner's. It is a generator that says what it needs (a partner's text, a tool's
result, a grade) and is sent it, so that one environment and a batch of a thousand are driven by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, Unpack

import gymnasium

from llm_marl_envs.envs.episodes import EnvOptions, Episodes, asked
from llm_marl_envs.envs.spaces import Observation, UnicodeText, chat_space
from llm_marl_envs.errors import (
    AgentFailed,
    ConfigError,
    InvalidAction,
    SessionOver,
    ToolFailed,
    UnknownName,
    WorkflowError,
)
from llm_marl_envs.outcome import Outcome, outcome_of
from llm_marl_envs.protocol import Ask, UseTool, Workflow
from llm_marl_envs.session import Message
from llm_marl_envs.task import Task, ToolResult
from llm_marl_envs.tools.run import run_tool

Partner = Callable[
    [str, tuple[Message, ...], dict[str, Any]], str
]  # (agent, messages, info) -> text, or raises AgentFailed
Partners = Partner | Mapping[str, Partner]  # for everybody, or by role or seat
Need = tuple[Ask, Partner] | UseTool | None  # a partner's text, a tool's result, or (None) the grade of what is over
NEVER_ASKED = 1000  # episodes


class Seats(Episodes):
    """Episodes of which a learner sees its own asks alone.

    role: a role (all its agents are the learner), a seat such as `voter_1`, or None for the whole team. partners: who plays the others,
    one for all or by role or seat; ConfigError if somebody has nobody. They are told what PettingZoo's agents are, and must take
    any text.

    Episodes are `for_learners`. One in which the learner is never asked is passed over and counted in `skipped`. The reward is the mean over
    the learner's seats, at the end; with a shaping rule also in between.
    """

    def __init__(
        self,
        task: Task,
        workflow: Workflow,
        role: str | None = None,
        partners: Partners | None = None,
        **options: Unpack[EnvOptions],
    ):
        super().__init__(task, workflow, **options)
        self.for_learners = True
        roster = workflow.roster
        if role is None:
            self.seats = roster.names
        elif role in roster.roles or role in roster:
            self.seats = roster.of(role) or (role,)
        else:
            raise UnknownName(f"role or seat of {type(workflow).__name__}", role, (*roster.roles, *roster.names))
        if isinstance(partners, Mapping):
            for name in partners:
                if name not in roster.roles and name not in roster:
                    raise UnknownName(
                        f"role or seat of {type(workflow).__name__}", name, (*roster.roles, *roster.names)
                    )
        self.partners = {seat: partner_of(partners, roster.role(seat), seat) for seat in roster.names}
        if missing := [seat for seat in roster.names if seat not in self.seats and self.partners[seat] is None]:
            raise ConfigError(
                f"nobody plays {missing[0]}: give partners=callable(agent, messages, info) -> text, or a mapping from role or seat "
                f"to one; role=None is the whole team"
            )
        self.call: Ask | None = None
        self.skipped = 0
        self._acted = False

    def until_mine(self) -> Generator[Need, Any, bool]:
        """Play on until the learner is asked (True; `call` is the ask) or its episode is over (False)."""
        while True:
            session = self.session
            assert session is not None
            call = session.call
            if call is None:
                began = self.session
                if self.finish((yield None)):
                    if self._acted:
                        self.call = None
                        return False
                    self._skip()
                self._acted = self._acted and self.session is began
            elif type(call) is UseTool:
                result: ToolResult | ToolFailed = yield call
                if isinstance(result, ToolFailed):
                    session.fail(f"tool {call.tool}: {result}")
                else:
                    session.reply(result.text, worked=result.worked)
            elif call.agent in self.seats:
                self.call = call  # type: ignore[assignment]
                return True
            else:
                partner = self.partners[call.agent]
                assert partner is not None
                text: str | AgentFailed = yield call, partner  # type: ignore[misc]
                if isinstance(text, AgentFailed):
                    session.fail(f"{call.agent}: {text}")
                else:
                    session.reply(text)

    def start(self, seed: int | None, options: dict[str, Any] | None) -> Generator[Need, Any, bool]:
        """Begin an episode and play it until the learner is asked."""
        self.begin(seed, options)
        self.skipped, self._acted = 0, False
        return self.until_mine()

    def act(self, action: object) -> Generator[Need, Any, bool]:
        """Take the learner's text and play on."""
        if not isinstance(action, str):
            raise InvalidAction(
                f"{self.call.agent if self.call else 'the learner'}'s action is {type(action).__name__}; expected a str (any "
                f"text, '' included). For token ids, decode them first, or use numeric(...)"
            )
        if self.session is None:
            raise SessionOver("call reset() before step()")
        if self.call is None:
            raise SessionOver("the episode is over; call reset() to start another")
        self._acted = True
        self.session.reply(action)
        return self.until_mine()

    def answer(self, need: Need) -> str | AgentFailed | ToolResult | ToolFailed | Outcome:
        """What was needed."""
        assert self.session is not None
        assert self.problem is not None
        if need is None:
            return outcome_of(self.session, self.task, self.problem)
        if isinstance(need, UseTool):
            try:
                return run_tool(need, self.session.play.question, self.task.tools)
            except ToolFailed as bad:
                return bad
        call, partner = need
        try:
            text = partner(call.agent, self.session.messages(call), asked(call, self.session.turns))
        except AgentFailed as bad:
            return bad
        return said(text, call.agent)

    def seen(self) -> Observation:
        """What the learner sees: the chat of the agent that is asked; a dict of its own each time, for TorchRL writes into it."""
        return {"messages": self.session.messages(self.call) if self.session and self.call else ()}

    def rewarded(self) -> float:
        """The learner's reward since it was last rewarded."""
        given = self.shaped()
        if self.call is None:
            graded, _ = self.graded()
            given = {seat: given.get(seat, 0.0) + graded[seat] for seat in self.seats}
        return sum(given.get(seat, 0.0) for seat in self.seats) / len(self.seats) if given else 0.0

    def told(self) -> dict[str, Any]:
        """The info: who is asked, and how; at the end status, score, why and `rewards` of the whole team."""
        info: dict[str, Any] = {"skipped": self.skipped, "failed": self.failed}
        if self.call is None:
            rewards, ended = self.graded()
            return info | ended | {"rewards": rewards}
        assert self.session is not None
        role = self.workflow.roster.role(self.call.agent)
        return info | {"agent": self.call.agent, "role": role, **asked(self.call, self.session.turns)}

    def _skip(self) -> None:
        self.skipped += 1
        if self.skipped >= NEVER_ASKED:
            raise WorkflowError(f"{' and '.join(self.seats)} was not asked in {NEVER_ASKED} episodes in a row")
        self.begin()


class RoleEnv(Seats, gymnasium.Env[Observation, str]):
    """One learner as a Gymnasium environment: see `Seats`. Observation: `{"messages": chat}`, empty at the end; action: a str."""

    metadata = {"render_modes": ["ansi", "human"]}  # noqa: RUF012

    def __init__(
        self,
        task: Task,
        workflow: Workflow,
        role: str | None = None,
        partners: Partners | None = None,
        **options: Unpack[EnvOptions],
    ):
        super().__init__(task, workflow, role, partners, **options)
        self.observation_space = chat_space()  # type: ignore[assignment]
        self.action_space = UnicodeText()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: see `begin`."""
        gymnasium.Env.reset(self, seed=seed)
        self._drive(self.start(seed, options))
        return self.seen(), self.told()

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Give the learner's text. Never truncated: a budget that ran out is an end."""
        over = not self._drive(self.act(action))
        return self.seen(), self.rewarded(), over, False, self.told()

    def _drive(self, playing: Generator[Need, Any, bool]) -> bool:
        given = None
        try:
            while True:
                given = self.answer(playing.send(given))
        except StopIteration as done:
            if self.render_mode == "human":
                self.render()
            return done.value


def said(text: object, agent: str) -> str | AgentFailed:
    """A partner's text, or why it has none. InvalidAction if it is neither."""
    if isinstance(text, AgentFailed):
        return text
    if not isinstance(text, str):
        raise InvalidAction(f"the partner that plays {agent} returned {type(text).__name__}; expected a str")
    return text


def partner_of(partners: Partners | None, role: str, seat: str) -> Partner | None:
    """Who plays a seat: what is said of the seat goes before what is said of its role."""
    if isinstance(partners, Mapping):
        return partners.get(seat, partners.get(role))
    return partners

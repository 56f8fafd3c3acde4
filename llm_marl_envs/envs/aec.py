"""A (task, workflow) pair as a PettingZoo AEC environment: roles are agents, texts are actions.

All of PettingZoo's bookkeeping sits in `_settle`; the protocol lives in `Session`, the grading in `rewards`.
"""

from __future__ import annotations

from typing import Any, Unpack

from pettingzoo import AECEnv

from llm_marl_envs.envs.episodes import EnvOptions, Episodes, asked
from llm_marl_envs.envs.spaces import Observation, UnicodeText, chat_space
from llm_marl_envs.errors import InvalidAction, SessionOver
from llm_marl_envs.protocol import Ask, Workflow
from llm_marl_envs.session import Message, Session
from llm_marl_envs.task import Task


class WorkflowEnv(Episodes, AECEnv[str, Observation, str]):  # type: ignore[misc]
    """Plays a workflow on a task, one agent at a time.

    Observation: `{"messages": chat}` for the agent whose turn it is (the others see their last chat, or none). Action: a str.
    `infos[agent]` of the agent to act: `kind`, `choices`, `infoset`, `turn`; at the end, for all: `status`, `score`, `why`.
    Rewards come at the end, by the rule, to the agents still present; `outcome` also covers those that were stopped earlier.
    `agents` holds the whole roster from the start: agents that will be spawned are silent until then, stopped ones leave at once
    (`for_learners`: at the end, so that they get their rewards, and an episode that is drawn again has them).
    Agents of one wave act one after the other on prompts that were fixed before any of them spoke.
    """

    def __init__(self, task: Task, workflow: Workflow, **options: Unpack[EnvOptions]):
        super().__init__(task, workflow, **options)
        self.metadata = {"name": self.env_spec.env_id, "render_modes": ["ansi", "human"], "is_parallelizable": False}
        self.possible_agents = list(self.workflow.roster.names)
        self.agents: list[str] = []
        self.action_spaces = {agent: UnicodeText() for agent in self.possible_agents}
        self.observation_spaces = {agent: chat_space() for agent in self.possible_agents}  # type: ignore[assignment]

    def observation_space(self, agent: str):
        return self.observation_spaces[agent]

    def action_space(self, agent: str):
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Start an episode: see `begin`."""
        self.begin(seed, options)
        self.agents = self.possible_agents[:]
        self.rewards: dict[str, float] = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards: dict[str, float] = self.rewards.copy()
        self.terminations: dict[str, bool] = dict.fromkeys(self.agents, False)
        self.truncations: dict[str, bool] = self.terminations.copy()
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._chats: dict[str, tuple[Message, ...]] = {}
        self._terminated = 0
        self._wave = -1
        self._skip_agent_selection = None
        self.agent_selection = self.agents[0]
        self._settle()

    def step(self, action: str | None) -> None:
        """Give the selected agent's text (None only for an agent that is already done)."""
        session = self.session
        if session is None:
            raise SessionOver("call reset() before step()")
        if not self.agents:
            raise SessionOver("the episode is over; call reset() to start another")
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            return self._was_dead_step(action)  # type: ignore[arg-type]
        if not isinstance(action, str):
            raise InvalidAction(
                f"{agent}'s action is {type(action).__name__}; expected a str (any text, '' included). "
                f"For token ids, decode them first."
            )
        self._cumulative_rewards[agent] = 0.0
        session.reply(action)
        self._settle()

    def give_up(self, why: str) -> None:
        """End the episode as FAILED: whoever plays the selected agent cannot answer, for a reason that is not its own."""
        if self.session is None or self.session.status is not None:
            raise SessionOver("there is no episode to give up")
        self.session.fail(f"{self.agent_selection}: {why}")
        self._settle()

    def last(self, observe: bool = True) -> tuple[Observation | None, float, bool, bool, dict[str, Any]]:
        """The same as PettingZoo's, but faster: that one takes half of the time of a scripted step."""
        agent = self.agent_selection
        return (
            {"messages": self._chats.get(agent, ())} if observe else None,
            self._cumulative_rewards[agent],
            self.terminations[agent],
            self.truncations[agent],
            self.infos[agent],
        )

    def _was_dead_step(self, action: str | None) -> None:
        """Remove the selected agent, which is done. When the episode is over, all agents are done, so the next one follows at once."""
        assert self.session is not None
        if self.session.status is None or action is not None:
            return super()._was_dead_step(action)  # type: ignore[arg-type]
        agent = self.agents.pop(0)
        for of_agent in (self.rewards, self._cumulative_rewards, self.terminations, self.truncations, self.infos):
            del of_agent[agent]
        if self.agents:
            self.agent_selection = self.agents[0]
            self._clear_rewards()

    def observe(self, agent: str) -> Observation:
        return {"messages": self._chats.get(agent, ())}

    def _settle(self) -> None:
        """After a reply: run tools, mark stopped agents terminated, and either pass the turn on or end the episode."""
        before = self.session
        call = self.settle()
        session = self.session
        assert session is not None
        if session is not before:  # the one before failed
            self._chats, self._wave = {}, -1
        stopped = not self.for_learners and len(session.stopped) > self._terminated
        if stopped:
            for agent in session.stopped[self._terminated :]:
                self.terminations[agent] = True
            self._terminated = len(session.stopped)
        if self.shaping is not None:
            self._shape()
        if call is not None:
            self._hand_on(session, call)
            if stopped:
                self._deads_step_first()  # PettingZoo expects one last, empty step from each
        else:
            self._finish()
        if self.render_mode == "human":
            self.render()

    def _hand_on(self, session: Session, call: Ask) -> None:
        if self._wave != session.turns:  # a new wave: its prompts are fixed now
            self._wave = session.turns
            for other in session.waiting:
                if type(other) is Ask:
                    self._chats[other.agent] = session.messages(other)
        self.agent_selection = call.agent
        self.infos[call.agent] = asked(call, session.turns)

    def _shape(self) -> None:
        given = self.shaped()
        for agent in self.agents:
            self.rewards[agent] = given.get(agent, 0.0)
            self._cumulative_rewards[agent] += self.rewards[agent]

    def _finish(self) -> None:
        rewards, info = self.graded()
        ended = self.terminations if self.ended_well else self.truncations
        for agent in self.agents:
            reward = rewards[agent]
            self.rewards[agent] += reward
            self._cumulative_rewards[agent] += reward
            ended[agent] = True
            self.infos[agent] = info.copy()
        self.agent_selection = self.agents[0]

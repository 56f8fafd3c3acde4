"""The same episodes as a PettingZoo parallel environment: a step is a wave, all of whose agents speak at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Unpack

from pettingzoo import ParallelEnv

from llm_marl_envs.envs.episodes import EnvOptions, Episodes, asked
from llm_marl_envs.envs.spaces import Observation, UnicodeText, chat_space
from llm_marl_envs.errors import InvalidAction, SessionOver
from llm_marl_envs.protocol import Ask, UseTool, Workflow
from llm_marl_envs.session import Message
from llm_marl_envs.task import Task
from llm_marl_envs.tools.run import use_tool


class WaveEnv(Episodes, ParallelEnv[str, Observation, str]):  # type: ignore[misc]
    """Everybody observes and acts in every step; `infos[agent]["asked"]` says whose action counts.

    Who is not asked sees its last chat (or none) and its action is ignored, whatever it is. `agents` holds the whole roster from the
    start; stopped agents leave with the step in which they were stopped (`for_learners`: at the end). Rewards come with the last step.
    A wave that only tools take part in is no step.
    """

    def __init__(self, task: Task, workflow: Workflow, **options: Unpack[EnvOptions]):
        super().__init__(task, workflow, **options)
        self.metadata = {"name": self.env_spec.env_id, "render_modes": ["ansi", "human"]}
        self.possible_agents = list(self.workflow.roster.names)
        self.agents: list[str] = []
        self.action_spaces = {agent: UnicodeText() for agent in self.possible_agents}
        self.observation_spaces = {agent: chat_space() for agent in self.possible_agents}  # type: ignore[assignment]
        self._chats: dict[str, tuple[Message, ...]] = {}

    def observation_space(self, agent: str):
        return self.observation_spaces[agent]

    def action_space(self, agent: str):
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Start an episode: see `begin`."""
        self.begin(seed, options)
        self.agents = self.possible_agents[:]
        self._chats = {}
        self.settle()
        return self._shown_to(self.agents)

    def step(
        self, actions: Mapping[str, str]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Give every asked agent's text. InvalidAction, and nothing is done, if one is missing or is no str."""
        session = self.session
        if session is None or not self.agents:
            raise SessionOver("call reset() before step()" if session is None else "the episode is over; call reset()")
        for agent in self.asks():
            if not isinstance(actions.get(agent), str):
                got = type(actions[agent]).__name__ if agent in actions else "missing"
                raise InvalidAction(f"{agent} is asked and its action is {got}; expected a str (any text, '' included)")
        wave = session.turns
        while (call := session.call) is not None and session.turns == wave:
            if type(call) is UseTool:
                use_tool(session, self.task.tools)
            else:
                session.reply(actions[call.agent])
        over, here = self.settle() is None, self.agents
        if self.session is not session:  # it failed, and another was begun
            self._chats = {}
        ended = {agent: over and self.ended_well for agent in here}
        cut = {agent: over and not self.ended_well for agent in here}
        rewards = dict.fromkeys(here, 0.0) | {a: r for a, r in self.shaped().items() if a in here}
        observations, infos = self._shown_to(here)
        if over:
            graded, said = self.graded()
            rewards = {agent: rewards[agent] + graded[agent] for agent in here}
            infos = {agent: {"asked": False, **said} for agent in here}
        elif not self.for_learners:
            ended |= {agent: True for agent in session.stopped if agent in here}
        self.agents = [agent for agent in here if not (ended[agent] or cut[agent])]
        if self.render_mode == "human":
            self.render()
        return observations, rewards, ended, cut, infos

    def asks(self) -> dict[str, Ask]:
        """Who is asked now, and what."""
        return {c.agent: c for c in self.session.waiting if type(c) is Ask} if self.session else {}

    def _shown_to(self, agents: list[str]) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        session, asks = self.session, self.asks()
        assert session is not None
        self._chats |= {agent: session.messages(call) for agent, call in asks.items()}
        infos = {a: {"asked": True, **asked(asks[a], session.turns)} if a in asks else {"asked": False} for a in agents}
        return {a: {"messages": self._chats.get(a, ())} for a in agents}, infos

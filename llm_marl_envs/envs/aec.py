"""A (task, workflow) pair as a PettingZoo AEC environment: roles are agents, texts are actions.

All of PettingZoo's bookkeeping sits in `_settle`; the protocol lives in `Session`, the grading in `rewards`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

from pettingzoo import AECEnv

from llm_marl_envs.envs.spaces import UnicodeText, chat_space
from llm_marl_envs.errors import InvalidAction, SessionOver, UnknownName
from llm_marl_envs.outcome import Outcome, outcome_of
from llm_marl_envs.protocol import Ask, UseTool, Workflow
from llm_marl_envs.rewards import Rule, reward_rule, rewards_of
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Limits, Message, Play, Session, Status
from llm_marl_envs.spec import EnvSpec, check_tools
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.terminal import printable
from llm_marl_envs.tools.run import use_tool
from llm_marl_envs.traces.text import transcript
from llm_marl_envs.traces.trace import Trace

Observation = dict[str, tuple[Message, ...]]


class WorkflowEnv(AECEnv[str, Observation, str]):
    """Plays a workflow on a task, one agent at a time.

    Observation: `{"messages": chat}` for the agent whose turn it is (the others see their last chat, or none). Action: a str.
    `infos[agent]` of the agent to act: `kind`, `choices`, `infoset`, `turn`; at the end, for all: `status`, `score`, `why`.
    Rewards come at the end, by the rule, to the agents still present; `outcome` also covers those that were stopped earlier.
    `agents` holds the whole roster from the start: agents that will be spawned are silent until then, stopped ones leave at once.
    Agents of one wave act one after the other on prompts that were fixed before any of them spoke.
    """

    def __init__(
        self,
        task: Task,
        workflow: Workflow,
        *,
        split: str | None = None,
        reward: str | Rule = "team",
        limits: Limits = Limits(),
        render_mode: str | None = None,
        spec: EnvSpec | None = None,
    ):
        super().__init__()
        if render_mode not in (None, "ansi", "human"):
            raise UnknownName("render mode", str(render_mode), ("ansi", "human"))
        if split is None:
            split = "train" if "train" in task.splits else task.splits[0]
        if split not in task.splits:
            raise UnknownName(f"split of {type(task).__name__}", split, task.splits)
        check_tools(task, workflow)
        self.task, self.workflow, self.split, self.limits = task, workflow, split, limits
        self.env_spec = spec or EnvSpec.of(task, workflow)
        self.rule = reward_rule(reward)
        self.render_mode = render_mode
        self.metadata = {"name": self.env_spec.env_id, "render_modes": ["ansi", "human"], "is_parallelizable": False}
        self.possible_agents = list(workflow.roster.names)
        self.agents: list[str] = []
        self.action_spaces = {agent: UnicodeText() for agent in self.possible_agents}
        self.observation_spaces = {agent: chat_space() for agent in self.possible_agents}  # type: ignore[assignment]
        self.state_space = chat_space()
        self.session: Session | None = None
        self.problem: Problem | None = None
        self.outcome: Outcome | None = None
        self._problems: Sequence[Problem] | None = None
        self._index: dict[str, int] | None = None
        self._seed: int | None = None
        self._episode = 0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_problems": None, "_index": None}  # the task can load them again

    def observation_space(self, agent: str):
        return self.observation_spaces[agent]

    def action_space(self, agent: str):
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
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
        self.agents = self.possible_agents[:]
        self.rewards: dict[str, float] = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards: dict[str, float] = self.rewards.copy()
        self.terminations: dict[str, bool] = dict.fromkeys(self.agents, False)
        self.truncations: dict[str, bool] = self.terminations.copy()
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._chats: dict[str, tuple[Message, ...]] = {}
        self._terminated = self._shown = 0
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

    def state(self) -> Observation:  # type: ignore[override]
        """The whole team's transcript so far, for central critics: one message per reply, with the agent's name as role."""
        assert self.session is not None, "call reset() first"
        said = ((e.call.agent, e.reply.text) for e in self.session.events if e.reply is not None)
        return {"messages": tuple({"role": agent, "content": text} for agent, text in said)}

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
        pass

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

    def _settle(self) -> None:
        """After a reply: run tools, mark stopped agents terminated, and either pass the turn on or end the episode."""
        session = self.session
        assert session is not None
        call = session.call
        while type(call) is UseTool:
            use_tool(session, self.task.tools)
            call = session.call
        stopped = len(session.stopped) > self._terminated
        if stopped:
            for agent in session.stopped[self._terminated :]:
                self.terminations[agent] = True
            self._terminated = len(session.stopped)
        if call is not None:
            assert type(call) is Ask
            self._hand_on(session, call)
            if stopped:
                self._deads_step_first()  # PettingZoo expects one last, empty step from each
        else:
            self._finish(session)
        if self.render_mode == "human":
            self.render()

    def _hand_on(self, session: Session, call: Ask) -> None:
        if self._wave != session.turns:  # a new wave: its prompts are fixed now
            self._wave = session.turns
            for asked in session.waiting:
                if type(asked) is Ask:
                    self._chats[asked.agent] = session.messages(asked)
        self.agent_selection = call.agent
        self.infos[call.agent] = {
            "kind": call.kind,
            "choices": call.choices,
            "infoset": call.infoset,
            "turn": session.turns,
        }

    def _finish(self, session: Session) -> None:
        assert self.problem is not None
        outcome = self.outcome = outcome_of(session, self.task, self.problem)
        rewards = rewards_of(outcome, self.rule)
        status, score, why = outcome.status.value, outcome.team.value, outcome.team.why
        ended = self.terminations if outcome.status is Status.FINISHED else self.truncations
        for agent in self.agents:
            reward = self.rewards[agent] = rewards[agent]
            self._cumulative_rewards[agent] += reward
            ended[agent] = True
            self.infos[agent] = {"status": status, "score": score, "why": why}
        self.agent_selection = self.agents[0]

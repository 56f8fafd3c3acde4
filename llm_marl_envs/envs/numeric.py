"""Any view in arrays: `numeric(env, obs, act)` puts codecs between a view and a learner that knows no texts.

Observations are `{"observation": ..., "action_mask": int8 (actions,)}`, PettingZoo's own form; without anything to mask `{"observation":
...}`; with `flat` the codec's element alone, and masks by `action_mask(agent)` or, as sb3-contrib asks for them, `action_masks()`.
Infos hold numbers only, always the same ones, for TorchRL makes a tensor of each. All views are for learners (see `Episodes`): agents stay
until the end, a budget that ran out terminates, and what failed is drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv

from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.envs.codecs import ActCodec, Messages, ObsCodec
from llm_marl_envs.envs.episodes import Episodes
from llm_marl_envs.envs.parallel import WaveEnv
from llm_marl_envs.envs.role import RoleEnv
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.protocol import Ask


class _Coded:
    """What the three shells share: a view, its codecs, and what they make of an agent's moment."""

    def __init__(self, env: Episodes, obs: ObsCodec, act: ActCodec, flat: bool):
        super().__init__()
        if env.session is not None:
            raise ConfigError(
                "numeric(env) takes an environment that was not reset before, for it changes how episodes end"
            )
        env.for_learners = True
        self.env: Any = env
        self.obs, self.act, self.flat = obs, act, flat
        self.metadata, self.render_mode = env.metadata, env.render_mode  # type: ignore[attr-defined]
        self.role_of = env.workflow.roster.role
        self.state_space = obs.space

    def _space(self, role: str) -> spaces.Space[Any]:
        mask = self.act.mask(role, None)
        if self.flat:
            return self.obs.space
        masked = {} if mask is None else {"action_mask": spaces.Box(0, 1, mask.shape, np.int8)}
        return spaces.Dict({"observation": self.obs.space} | masked)

    def _seen(self, role: str, messages: Messages, ask: Ask | None) -> Any:
        """What an agent sees: nothing of its chat unless it is asked, so that a policy that ignores masks learns no noise."""
        seen = self.obs(messages if ask else (), ask)
        if self.flat:
            return seen
        mask = self.act.mask(role, ask)
        return {"observation": seen} if mask is None else {"observation": seen, "action_mask": mask}

    def _info(self, asked: bool) -> dict[str, float]:
        """asked: 0 or 1. turn: waves so far. failed: episodes that were drawn again. over: 0 or 1. score: the team's, 0 before."""
        env = self.env
        outcome = env.outcome
        score = outcome.team.value if outcome else 0.0
        numbers = asked, env.session.turns, env.failed, outcome is not None, score
        return dict(zip(("asked", "turn", "failed", "over", "score"), map(float, numbers), strict=True))

    @property
    def unwrapped(self) -> Any:
        return self

    def state(self) -> Any:
        """The transcript, as the observation codec sees it."""
        return self.obs(self.env.state()["messages"], None)

    def render(self) -> Any:
        return self.env.render()

    def close(self) -> None:
        self.env.close()


class NumericAEC(_Coded, AECEnv[str, Any, Any]):
    """`WorkflowEnv` in arrays."""

    def __init__(self, env: WorkflowEnv, obs: ObsCodec, act: ActCodec, *, flat: bool = False):
        super().__init__(env, obs, act, flat)
        self.possible_agents = env.possible_agents
        self.observation_spaces = {a: self._space(self.role_of(a)) for a in self.possible_agents}  # type: ignore[assignment]
        self.action_spaces = {a: act.space(self.role_of(a)) for a in self.possible_agents}  # type: ignore[assignment]

    def observation_space(self, agent: str):
        return self.observation_spaces[agent]

    def action_space(self, agent: str):
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        self.env.reset(seed=seed, options=options)
        self._look()

    def step(self, action: Any) -> None:
        agent = self.env.agent_selection
        self.env.step(None if action is None else self.act.decode(self.role_of(agent), action, self._ask(agent)))
        self._look()

    def observe(self, agent: str) -> Any:
        return self._seen(self.role_of(agent), self.env.observe(agent)["messages"], self._ask(agent))

    def last(self, observe: bool = True):
        _, reward, termination, truncation, _ = self.env.last(observe=False)
        agent = self.agent_selection
        return self.observe(agent) if observe else None, reward, termination, truncation, self.infos[agent]

    def action_mask(self, agent: str) -> np.ndarray | None:
        return self.act.mask(self.role_of(agent), self._ask(agent))

    def _ask(self, agent: str) -> Ask | None:
        call = self.env.session.call
        return call if call is not None and call.agent == agent else None

    def _look(self) -> None:
        """Take over the view's bookkeeping, which is its own."""
        env = self.env
        self.agents, self.agent_selection = env.agents, env.agent_selection
        self.rewards, self._cumulative_rewards = env.rewards, env._cumulative_rewards
        self.terminations, self.truncations = env.terminations, env.truncations
        self.infos = {agent: self._info(agent == env.agent_selection and env.outcome is None) for agent in env.agents}


class NumericParallel(_Coded, ParallelEnv[str, Any, Any]):
    """`WaveEnv` in arrays."""

    def __init__(self, env: WaveEnv, obs: ObsCodec, act: ActCodec, *, flat: bool = False):
        super().__init__(env, obs, act, flat)
        self.possible_agents, self.agents = env.possible_agents, env.agents
        self.observation_spaces = {a: self._space(self.role_of(a)) for a in self.possible_agents}  # type: ignore[assignment]
        self.action_spaces = {a: act.space(self.role_of(a)) for a in self.possible_agents}  # type: ignore[assignment]

    def observation_space(self, agent: str):
        return self.observation_spaces[agent]

    def action_space(self, agent: str):
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None):
        observations, _ = self.env.reset(seed=seed, options=options)
        self.agents = self.env.agents
        return self._look(observations)

    def step(self, actions: Mapping[str, Any]):
        asks = self.env.asks()
        texts = {a: self.act.decode(self.role_of(a), actions[a], asks[a]) for a in asks if a in actions}
        observations, rewards, terminations, truncations, _ = self.env.step(texts)
        self.agents = self.env.agents
        seen, infos = self._look(observations)
        return seen, rewards, terminations, truncations, infos

    def action_mask(self, agent: str) -> np.ndarray | None:
        return self.act.mask(self.role_of(agent), self.env.asks().get(agent))

    def _look(self, observations: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        asks = self.env.asks()
        seen = {a: self._seen(self.role_of(a), o["messages"], asks.get(a)) for a, o in observations.items()}
        return seen, {agent: self._info(agent in asks) for agent in observations}


class NumericRole(_Coded, gymnasium.Env[Any, Any]):
    """`RoleEnv` in arrays: of one role, or of a team all of whose roles have the same actions (`Menu(..., same_spaces=True)`, `Tokens`)."""

    def __init__(self, env: RoleEnv, obs: ObsCodec, act: ActCodec, *, flat: bool = False):
        super().__init__(env, obs, act, flat)
        roles = list(dict.fromkeys(map(self.role_of, env.seats)))
        self.action_space = act.space(roles[0])
        if other := [role for role in roles if act.space(role) != self.action_space]:
            raise ConfigError(
                f"{roles[0]} and {other[0]} have different actions, and a Gymnasium environment has one space: choose one role, or "
                f"Menu(..., same_spaces=True)"
            )
        self.observation_space = self._space(roles[0])
        self._first = roles[0]

    @property
    def unwrapped(self) -> Any:
        return self

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        gymnasium.Env.reset(self, seed=seed)
        seen, _ = self.env.reset(seed=seed, options=options)
        return self._look(seen), self._info(True)

    def step(self, action: Any):
        seen, reward, over, cut, _ = self.env.step(self.act.decode(self._role, action, self.env.call))
        return self._look(seen), reward, over, cut, self._info(not over)

    def action_masks(self) -> np.ndarray | None:
        """bool (actions,): what sb3-contrib's MaskablePPO asks for."""
        mask = self.act.mask(self._role, self.env.call)
        return None if mask is None else mask.astype(bool)

    @property
    def _role(self) -> str:
        return self.role_of(self.env.call.agent) if self.env.call else self._first

    def _look(self, observation: Any) -> Any:
        return self._seen(self._role, observation["messages"], self.env.call)


@overload
def numeric(env: WorkflowEnv, obs: ObsCodec, act: ActCodec, *, flat: bool = False) -> NumericAEC: ...
@overload
def numeric(env: WaveEnv, obs: ObsCodec, act: ActCodec, *, flat: bool = False) -> NumericParallel: ...
@overload
def numeric(env: RoleEnv, obs: ObsCodec, act: ActCodec, *, flat: bool = False) -> NumericRole: ...
def numeric(env: Any, obs: ObsCodec, act: ActCodec, *, flat: bool = False) -> Any:
    """A view in arrays. obs, act: what a chat is in numbers, and a number as a text (`codecs`). flat: observations are bare arrays.

    The environment is taken over. Raises ConfigError for one that was reset, or that is no AEC, parallel or role view.
    """
    if isinstance(env, WorkflowEnv):
        return NumericAEC(env, obs, act, flat=flat)
    if isinstance(env, WaveEnv):
        return NumericParallel(env, obs, act, flat=flat)
    if isinstance(env, RoleEnv):
        return NumericRole(env, obs, act, flat=flat)
    raise ConfigError(
        f"numeric() takes what make, make_parallel or make_role returned; got {type(env).__name__}. For many at once: "
        f"gymnasium.vector.SyncVectorEnv([lambda: numeric(make_role(...), obs, act)] * n)"
    )

"""A reply token by token: every symbol is a step, for learners with one small discrete action."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from llm_marl_envs.envs.codecs import ObsCodec
from llm_marl_envs.envs.role import RoleEnv
from llm_marl_envs.errors import ConfigError


class TokenByToken(gymnasium.Env[np.ndarray, int]):
    """`RoleEnv`, a symbol a step. Action 0 ends the reply, i adds alphabet[i - 1]; after `length` symbols it ends by itself.

    Observation: what the codec says of the chat, then the reply so far as one-hots, (codec + length x (symbols + 1),) float32, so that the
    state is Markov. The reply stands between `prefix` and `suffix`. Rewards and ends come with a reply's last symbol.
    """

    def __init__(
        self, env: RoleEnv, obs: ObsCodec, alphabet: Sequence[str], length: int, prefix: str = "", suffix: str = ""
    ):
        if not isinstance(obs.space, spaces.Box) or len(obs.space.shape) != 1:
            raise ConfigError(f"TokenByToken needs a codec whose space is a flat Box; got {obs.space}")
        if not alphabet or length < 1:
            raise ConfigError(f"an alphabet of symbols and a length from 1 on; got {len(alphabet)} and {length}")
        self.env, self.obs, self.alphabet, self.length = env, obs, tuple(alphabet), length
        self.prefix, self.suffix = prefix, suffix
        self.metadata, self.render_mode = env.metadata, env.render_mode
        ones = np.ones(length * (len(alphabet) + 1), np.float32)
        low, high = np.concatenate([obs.space.low, 0 * ones]), np.concatenate([obs.space.high, ones])
        self.observation_space = spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)
        self.action_space = spaces.Discrete(len(alphabet) + 1)  # type: ignore[assignment]
        self._said: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._chat = self.env.reset(seed=seed, options=options)[0]["messages"]
        self._said = []
        return self._seen(), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._said.append(int(action))
        if action != 0 and len(self._said) < self.length:
            return self._seen(), 0.0, False, False, self._info()
        text = "".join(self.alphabet[i - 1] for i in self._said if i)
        seen, reward, over, cut, _ = self.env.step(f"{self.prefix}{text}{self.suffix}")
        self._chat, self._said = seen["messages"], []
        return self._seen(), reward, over, cut, self._info()

    def render(self) -> Any:
        return self.env.render()

    def _seen(self) -> np.ndarray:
        said = np.zeros((self.length, len(self.alphabet) + 1), np.float32)
        for place, symbol in enumerate(self._said):
            said[place, symbol] = 1.0
        return np.concatenate([self.obs(self._chat, self.env.call), said.ravel()]).astype(np.float32)

    def _info(self) -> dict[str, float]:
        outcome = self.env.outcome
        return {"symbols": float(len(self._said)), "score": outcome.team.value if outcome else 0.0}

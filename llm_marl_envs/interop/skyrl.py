"""SkyRL-Gym: one learner's conversation of an episode as a text environment; partners play the others.

    skyrl_gym.register("llm_marl", entry_point="llm_marl_envs.interop.skyrl:ConversationTextEnv")
    skyrl_gym.make("llm_marl", env_config={"env_id": "arithmetic/eval_opt-v1", "role": "generator", "knobs": {"memory": True},
                                           "team": ["evaluator=run:runs/first"]}, extras={"problem": "arithmetic/train/3"})

SkyRL appends what `step` returns to the row, so the learner has one conversation: roles with fresh asks are refused (ConfigError).
"""

# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput

from llm_marl_envs.conversation import make_conversation


class ConversationTextEnv(BaseTextEnv):
    """env_config: `env_id` and, where the learner is not alone, `role` and `team` (see `make_conversation`); `knobs` are those of `make_role`. extras: `problem`, a problem's id, so that all rows of a group play the same one; `seed`; and
    `max_turns` of the learner's, after which the row ends and its answer counts as wrong.
    """

    def __init__(self, env_config: Mapping[str, Any], extras: Mapping[str, Any] = {}):
        super().__init__()
        knobs = dict(env_config.get("knobs") or {})
        self.env = make_conversation(env_config["env_id"], env_config.get("role"), env_config.get("team"), **knobs)
        self.problem, self.seed = extras.get("problem"), extras.get("seed")
        self.max_turns = extras.get("max_turns")  # type: ignore[assignment]  # here None is no limit

    def init(self, prompt: Any) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Begin the episode. What the learner is asked takes the place of the row's prompt."""
        seen, info = self.env.reset(seed=self.seed, options=None if self.problem is None else {"problem": self.problem})
        self.turns = 0
        return list(seen["messages"]), info

    def step(self, action: str) -> BaseTextEnvStepOutput:
        self.turns += 1
        seen, reward, over, _, info = self.env.step(action)
        done = over or (self.max_turns is not None and self.turns >= self.max_turns)
        new = [] if done else [seen["messages"][-1]]
        return BaseTextEnvStepOutput(observations=new, reward=reward, done=done, metadata=info)

    def close(self) -> None:
        self.env.close()

"""What can be added to any view: records of its episodes, and rewards for what happens on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from llm_marl_envs.envs.episodes import Episodes, Shaping
from llm_marl_envs.envs.vector import VecEnv
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.traces.files import TraceWriter

View = TypeVar("View")


def record_traces(env: View, path: str | Path) -> View:
    """Append the trace of every episode that ends, failed ones too, to a file (.jsonl or .jsonl.gz); returns the same environment,
    whose close() closes it. What is written is what `llm-marl score` and `llm-marl trace check` read."""
    writer = TraceWriter(path)
    for episodes in _episodes(env):
        episodes.recorders.append(writer)
    return env


def shape_rewards(env: View, shaping: Shaping) -> View:
    """Give the agent of every event what `shaping(event)` says, at once and beside the rule's reward at the end; returns the same
    environment. Events are replies, and notes such as `Malformed` and `Claim`, which name no grade: outcomes do not change."""
    for episodes in _episodes(env):
        episodes.shaping = shaping
    return env


def _episodes(env: Any) -> list[Episodes]:
    """What a view, or a numeric shell around it, plays by."""
    found = env
    while not isinstance(found, Episodes | VecEnv):
        if not hasattr(found, "env"):
            raise ConfigError(f"expected a view of llm_marl_envs, or one in numeric(...); got {type(env).__name__}")
        found = found.env
    return list(found.envs) if isinstance(found, VecEnv) else [found]

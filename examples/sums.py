"""What the examples with classical learners play: one-digit sums, answered with one of five candidates.

A team of a generator and an evaluator. The generator chooses among the five numbers of the block (0 to 4, 5 to 9, ...) in which the
sum lies, so a random one is right in 20 %; the evaluator says Correct or Incorrect. An evaluator that is always right is `judge`.
"""

from __future__ import annotations

import re
from typing import Any

from llm_marl_envs import Ask, make_parallel, make_role, numeric
from llm_marl_envs.envs.codecs import Candidates, Hashed

KNOBS: dict[str, Any] = {"digits": 1, "train_size": 100, "rounds": 2}
SUM = re.compile(r"What is (\d) \+ (\d)\?")
BOX = re.compile(r"boxed\{(-?\d+)\}")


def options(ask: Ask) -> tuple[str, ...]:
    """What whoever is asked can choose from."""
    if ask.agent.startswith("evaluator"):
        return r"\boxed{Correct}", r"\boxed{Incorrect}"
    start = total(ask.prompt) // 5 * 5
    return tuple(rf"\boxed{{{start + i}}}" for i in range(5))


def judge(agent: str, messages: Any, info: Any) -> str:
    """An evaluator that does the sum."""
    seen = messages[-1]["content"]
    said = BOX.findall(seen)
    return r"\boxed{Correct}" if said and int(said[0]) == total(seen) else r"\boxed{Incorrect}"


def total(prompt: str) -> int:
    found = SUM.search(prompt)
    return int(found[1]) + int(found[2]) if found else 0


def generator(*, flat: bool = True) -> Any:
    """A Gymnasium environment: the generator learns, the evaluator is always right."""
    env = make_role("arithmetic/eval_opt-v1", "generator", judge, **KNOBS)
    return numeric(env, Hashed(256), Candidates(options, 5), flat=flat)


def team(*, flat: bool = False) -> Any:
    """A PettingZoo parallel environment: both learn, and have the same spaces."""
    return numeric(make_parallel("arithmetic/eval_opt-v1", **KNOBS), Hashed(256), Candidates(options, 5), flat=flat)

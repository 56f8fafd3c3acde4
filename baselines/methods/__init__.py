"""Methods: one file each; the module name is the method name.

A method says how it differs (`base.Method`): how roles map to policies, which episodes to collect, how credit is assigned, which
loss it minimises. The loop in `baselines/train.py` never asks which it is.
"""

from __future__ import annotations

from typing import Any

from baselines.methods.base import Method
from llm_marl_envs.catalog import announced, build, find_class, home_of


def make_method(name: str, **knobs: Any) -> Method:
    """A method by name, for example `make_method("shared", std=True)`: ours, or one of a package that is announced by an entry
    point in the group `llm_marl.methods`."""
    return build(_home(name), name, knobs)


def find_method(name: str) -> type:
    """The class of a method by name."""
    return find_class(_home(name), name)


def _home(name: str) -> str:
    return home_of("method", tuple(dict.fromkeys((__name__, *announced("llm_marl.methods")))), name)

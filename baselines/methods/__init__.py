"""Methods: one file each; the module name is the method name.

A method defines how it differs: how roles map to policies (`route`), which episodes to collect (`collect`), how credit is
assigned (`credit`), and which loss it minimises (`loss`, `normaliser`). The loop in `baselines/train.py` never asks which it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from llm_marl_envs.catalog import announced, build, find_class, home_of
from llm_marl_envs.protocol import Roster

if TYPE_CHECKING:
    from baselines.learner import Normaliser
    from baselines.losses import Loss
    from baselines.policies import PolicyRouter
    from baselines.rollout import Start
    from baselines.types import Credit, Episode


class Method(Protocol):
    learns: ClassVar[bool]

    def route(self, roster: Roster) -> PolicyRouter: ...

    def collect(self, starts: Sequence[Start], play: Callable[[Sequence[Start]], list[Episode]]) -> list[Episode]: ...

    def credit(self, episodes: Sequence[Episode], seed: int) -> Credit: ...

    def loss(self) -> Loss: ...

    @property
    def normaliser(self) -> Normaliser: ...


def make_method(name: str, **knobs: Any) -> Method:
    """A method by name, for example `make_method("shared", std=True)`: ours, or one of a package that is announced by an entry
    point in the group `llm_marl.methods`."""
    return build(_home(name), name, knobs)


def find_method(name: str) -> type:
    """The class of a method by name."""
    return find_class(_home(name), name)


def _home(name: str) -> str:
    return home_of("method", tuple(dict.fromkeys((__name__, *announced("llm_marl.methods")))), name)

"""What a method is: the questions that the loop in `baselines/train.py` asks, with the plainest answer to each.

A method is a frozen dataclass of its knobs that answers some of them in its own way: `class Mine(Method)`, or, where it is a
variant of another method, a subclass of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from llm_marl_envs.protocol import Roster, Workflow
from llm_marl_envs.task import Task

if TYPE_CHECKING:
    from baselines.batch import Normaliser
    from baselines.evaluate import EvaluateFn, Evaluation
    from baselines.losses import Loss
    from baselines.policies import PolicyRouter
    from baselines.rollout import PlayFn, Start
    from baselines.types import Credit, Episode, Player, Sample, Values
    from llm_marl_envs.rewards import Rule


class Method(Protocol):
    """`route`, `credit` and `loss` have no plain answer; all else has. `learns` is False for controls without training."""

    learns: ClassVar[bool] = True
    plays: ClassVar[str] = ""  # the workflow that it stands for in a study; "" is the study's

    def route(self, roster: Roster) -> PolicyRouter:
        """Which policy speaks for each role."""
        ...

    def players(self, roster: Roster, seed: int) -> Mapping[str, Player]:
        """What speaks for policies that are no language models. They learn from every step's episodes and are checkpointed."""
        return {}

    @property
    def critics(self) -> tuple[str, ...]:
        """The policies that have a value head."""
        return ()

    def training(self, workflow: Workflow) -> Workflow:
        """The workflow that is played in training; the given one is what is evaluated."""
        return workflow

    @property
    def rule(self) -> Rule | None:
        """The method's own reward rule; None takes the run's `--reward`."""
        return None

    def presets(self, roster: Roster) -> Mapping[str, Any]:
        """Settings of policies and roles, as in `--per` (`baselines/settings.py`), which what a person gives overrides."""
        return {}

    def collect(self, starts: Sequence[Start], play: PlayFn, task: Task) -> list[Episode]:
        """The episodes of a step, from its starts: those alone, or also forks, counterfactuals, a tree, other sessions."""
        return play(starts)

    def credit(self, episodes: Sequence[Episode], values: Values, seed: int) -> Credit:
        """What each reply is trained with. Replies that are not in it are not trained on. `values` are the critics'."""
        ...

    def lessons(self, episodes: Sequence[Episode]) -> list[Sample]:
        """Replies to imitate: samples whose spans have no log-probs; the advantage is their weight."""
        return []

    def figures(self, episodes: Sequence[Episode]) -> Mapping[str, float]:
        """Figures of its own about a step's episodes, for the metrics."""
        return {}

    def warnings(self, held_out: Sequence[Episode]) -> Sequence[str]:
        """What should be said before the first step about the team as it plays the held-out problems."""
        return ()

    def evaluate(self, play: EvaluateFn) -> Evaluation:
        """How the team answers held-out problems."""
        return play()

    def loss(self, policy: str) -> Loss:
        """The loss of a policy."""
        ...

    @property
    def normaliser(self) -> Normaliser:
        """What the loss of a step is averaged over."""
        return "tokens"

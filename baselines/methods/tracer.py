"""TRACER (arXiv 2605.28699): gates learn by regret matching when to speak, proposers and reviewers learn by GSPO what to say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from baselines.credit.propose_review import (
    GATES,
    WRITERS,
    Counterfactual,
    candidates_relative,
    decisions,
    needs_call,
    role_of,
    role_rewards,
)
from baselines.methods.base import Method
from baselines.players.gates import GateRule, Gates
from baselines.policies import PolicyRouter
from baselines.rollout import PlayFn, Start, cut, forced, forks
from baselines.types import Credit, Episode, Player, Values
from llm_marl_envs import rewards
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.protocol import Roster, Workflow
from llm_marl_envs.session import Status
from llm_marl_envs.task import Task

if TYPE_CHECKING:
    from baselines.batch import Normaliser
    from baselines.losses import Loss

PLAYER = "gates"
MOST_LOG_RATIO = 2.0


@dataclass(frozen=True)
class Tracer(Method):
    """Of `propose_review`; the constants are the release's unless said otherwise in `docs/methods/tracer.md`.

    gates: "regret" learns. The rest are ablations: "uniform" never learns; "keep" and "refresh" are the proposer's only choice;
    "protected" keeps whatever has not more votes against than for it; "votes" refreshes exactly that, and always reviews.
    counterfactual: how the choice that was not made is valued (`credit.propose_review.decisions`). evaluation: gates play
    their average strategy's likelier choice, or sample it. text: whose replies are trained. shared: one policy writes
    for both roles. candidates: replies that are compared (the one that was played is one of them). min_std: candidates
    whose rewards differ by less teach nothing. clip: of the ratio of a whole reply.
    """

    gates: GateRule = "regret"
    counterfactual: Counterfactual = "call"
    evaluation: Literal["greedy", "sampled"] = "greedy"
    text: Literal["both", "proposer", "reviewer", "none"] = "both"
    shared: bool = False
    candidates: int = 4
    min_std: float = 0.05
    clip: float = 0.1

    def __post_init__(self):
        for name, known in {
            "gates": get_args(GateRule),
            "counterfactual": get_args(Counterfactual),
            "evaluation": ("greedy", "sampled"),
            "text": ("both", "proposer", "reviewer", "none"),
        }.items():
            if (got := getattr(self, name)) not in known:
                raise ValueError(f"{name} is one of {', '.join(known)}; got {got!r}")
        if type(self.candidates) is not int or self.candidates < 2:
            raise ValueError(f"candidates are at least 2, for one has none to be compared with; got {self.candidates}")
        if self.min_std <= 0 or not 0 < self.clip < 1:
            raise ValueError(f"min_std is above 0, clip between 0 and 1; got {self.min_std} and {self.clip}")

    def route(self, roster: Roster) -> PolicyRouter:
        if lost := [role for role in (*WRITERS, *GATES) if role not in roster.roles]:
            raise ConfigError(
                f"tracer plays propose_review; the roles {', '.join(lost)} are not in {', '.join(roster.roles)}: give "
                "--workflow propose_review"
            )
        return PolicyRouter(
            {role: PLAYER if role in GATES else "shared" if self.shared else role for role in roster.roles}
        )

    def players(self, roster: Roster, seed: int) -> Mapping[str, Player]:
        return {PLAYER: self._gates()}

    def _gates(self) -> Gates:
        return Gates(self.gates, self.counterfactual, self.evaluation)

    def training(self, workflow: Workflow) -> Workflow:
        if self.gates in ("protected", "votes") and getattr(workflow, "state", None) == "time":
            raise ConfigError(f"gates={self.gates} needs votes, which state=time hides; give state=both or state=vote")
        return workflow

    @property
    def rule(self) -> rewards.Rule:
        return role_rewards

    @property
    def trained(self) -> tuple[str, ...]:
        """The roles whose replies are trained."""
        return {"both": WRITERS, "none": ()}.get(self.text, (self.text,))

    def collect(self, starts: Sequence[Start], play: PlayFn, task: Task) -> list[Episode]:
        """The team's episodes; for each reply that is trained the other candidates; for each choice of a gate that needs it
        the future in which it was the other one. Candidates and futures end after one call."""
        episodes = play(starts)
        others: list[Start] = []
        for episode in episodes:
            if episode.outcome.status is Status.FAILED:
                continue
            seed = episode.session.play.seed
            others += self._futures(episode, seed)
            for turn in episode.turns:
                if turn.role in self.trained:
                    others += [cut(s, 1) for s in forks(episode, turn.index, self.candidates - 1, seed)]
        return episodes + play(others)

    def _futures(self, episode: Episode, seed: int) -> list[Start]:
        gates, found = self._gates(), []
        for turn, call, taken, _ in decisions(episode, (), self.counterfactual):
            if gates.learns_from(call) and needs_call(role_of(call.agent), taken, self.counterfactual):
                (start,) = forced(episode, turn, call.choices[1], seed)
                future = cut(start, 1)
                found += [] if future.session.over else [future]  # no budget for it: the gates count it as not valued
        return found

    def credit(self, episodes: Sequence[Episode], values: Values, seed: int) -> Credit:
        return candidates_relative(episodes, self.trained, self.min_std)

    def loss(self, policy: str) -> Loss:
        from baselines import losses

        return losses.gspo(self.clip, self.clip, MOST_LOG_RATIO)

    @property
    def normaliser(self) -> Normaliser:
        return "sequences"

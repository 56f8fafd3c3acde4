"""Play a split with fixed policies and measure how good the team is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Protocol

from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from baselines.types import Engine, Episode, Sampling
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.session import Limits, Status
from llm_marl_envs.spec import EnvSpec, knobs_of
from llm_marl_envs.stats.figures import team_figures
from llm_marl_envs.stats.intervals import Interval, accuracy_of
from llm_marl_envs.task import Problem, Task
from llm_marl_envs.traces.trace import Trace


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Accuracy over the problems that did not fail, the team's figures, the episodes, and the score of each problem by its id."""

    accuracy: Interval
    figures: Mapping[str, float]
    episodes: Sequence[Episode]
    scores: Mapping[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, float]:
        """As flat metrics: accuracy, accuracy_low, accuracy_high and the team's figures."""
        a = self.accuracy
        return {"accuracy": a.mean, "accuracy_low": a.low, "accuracy_high": a.high, **self.figures}


def evaluate(
    task: Task,
    workflow: Workflow,
    problems: Sequence[Problem],
    route: PolicyRouter,
    engine: Engine,
    *,
    sampling: Sampling | Mapping[str, Sampling] = Sampling(temperature=0.0),
    samples: int = 1,
    limits: Limits = Limits(),
    seed: int = 0,
) -> Evaluation:
    """Play each problem `samples` times (greedily by default)."""
    starts = groups(workflow, problems, samples, seed, limits)
    episodes = rollout(starts, route, engine, task, sampling=sampling)
    tries: dict[str, list[float]] = defaultdict(list)
    for e in episodes:
        if e.outcome.status is not Status.FAILED:
            tries[e.problem.question.id].append(e.outcome.team.value)
    accuracy = accuracy_of((problem, score) for problem, scores in tries.items() for score in scores)
    scores = {problem: fmean(found) for problem, found in tries.items()}
    return Evaluation(accuracy, team_figures([e.outcome for e in episodes]), episodes, scores)


class EvaluateFn(Protocol):
    """How a method has the held-out problems played: greedily, once each, or several times at a temperature."""

    def __call__(self, *, samples: int = 1, temperature: float = 0.0) -> Evaluation: ...


def majority(evaluation: Evaluation) -> Evaluation:
    """Several tries of each problem as one: the answer that most of them gave, as the grader reads answers; of equally frequent ones
    the first. Tries without a readable answer have no vote. `calls` and `tokens` are those of a problem's tries together, the other
    figures those of single tries, `votes` is their number."""
    tries: dict[str, list[Episode]] = defaultdict(list)
    for e in evaluation.episodes:
        if e.outcome.status is not Status.FAILED:
            tries[e.problem.question.id].append(e)
    scores = {}
    for problem, episodes in tries.items():
        votes = Counter(e.outcome.team.read for e in episodes if e.outcome.team.read is not None)
        chosen = max(votes, key=votes.__getitem__, default=None)  # Counter keeps the order of first votes
        scores[problem] = next((e.outcome.team.value for e in episodes if e.outcome.team.read == chosen), 0.0)
    each = len(evaluation.episodes) / max(1, len({e.group for e in evaluation.episodes}))
    costs = {name: evaluation.figures[name] * each for name in ("calls", "tokens") if name in evaluation.figures}
    figures = {**evaluation.figures, **costs, "votes": each}
    return replace(evaluation, accuracy=accuracy_of(scores.items()), figures=figures, scores=scores)


def traces_of(
    episodes: Sequence[Episode], spec: EnvSpec, split: str, meta: Mapping[str, Any], judged: Sequence[bool | None] = ()
) -> list[Trace]:
    """The episodes as traces; `meta` says where they come from (entry, policy, step, ...), `judged` what a judge said of each. Forks name their parents; those that were
    cut, which have limits of their own and so another beginning, name what they were cut from in `meta`. A session that a
    method played beside, of a workflow with other knobs, is traced with these and is nobody's fork."""
    made: dict[int, Trace] = {}
    opinions = {id(e): verdict for e, verdict in zip(episodes, judged, strict=False)}  # there may be none

    def trace(e: Episode) -> Trace:
        if id(e) not in made:
            play, parent = e.session.play, None
            whose = {**meta, "sample": e.sample, "group": e.group}
            if e.origin and replace(play, limits=(its := e.origin[0].session.play).limits) == its:
                parent = (trace(e.origin[0]).id, e.origin[1])
                if play.limits != its.limits:
                    whose["cut_from"], parent = list(parent), None
            if id(e) in opinions:
                whose["judged"] = opinions[id(e)]
            own = replace(spec, workflow_knobs=knobs_of(play.workflow))
            made[id(e)] = Trace.of(e.session, own, e.outcome, split=split, meta=whose, parent=parent)
        return made[id(e)]

    return [trace(e) for e in episodes]

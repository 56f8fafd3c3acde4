"""Play a split with fixed policies and measure how good the team is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

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
    """Accuracy over the problems that did not fail, the team's figures, and the episodes."""

    accuracy: Interval
    figures: Mapping[str, float]
    episodes: Sequence[Episode]

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
    played = [e for e in episodes if e.outcome.status is not Status.FAILED]
    accuracy = accuracy_of((e.problem.question.id, e.outcome.team.value) for e in played)
    return Evaluation(accuracy, team_figures([e.outcome for e in episodes]), episodes)


def traces_of(episodes: Sequence[Episode], spec: EnvSpec, split: str, meta: Mapping[str, Any]) -> list[Trace]:
    """The episodes as traces; `meta` says where they come from (entry, policy, step, ...). Forks name their parents; those that were
    cut, which have limits of their own and so another beginning, name what they were cut from in `meta`. A session that a
    method played beside, of a workflow with other knobs, is traced with these and is nobody's fork."""
    made: dict[int, Trace] = {}

    def trace(e: Episode) -> Trace:
        if id(e) not in made:
            play, parent = e.session.play, None
            whose = {**meta, "sample": e.sample, "group": e.group}
            if e.origin and replace(play, limits=(its := e.origin[0].session.play).limits) == its:
                parent = (trace(e.origin[0]).id, e.origin[1])
                if play.limits != its.limits:
                    whose["cut_from"], parent = list(parent), None
            own = replace(spec, workflow_knobs=knobs_of(play.workflow))
            made[id(e)] = Trace.of(e.session, own, e.outcome, split=split, meta=whose, parent=parent)
        return made[id(e)]

    return [trace(e) for e in episodes]

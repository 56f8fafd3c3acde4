"""Playing a whole suite with one team: its policies are loaded once, and every part's roles are given to them."""

from __future__ import annotations

import dataclasses
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from baselines.evaluate import evaluate, traces_of
from baselines.policies import PolicyRouter
from baselines.progress import Progress
from baselines.team import Team
from baselines.types import Sampling
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.files import write_lines
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.spec import EnvSpec, make_workflow
from llm_marl_envs.suites import Suite, SuitePart
from llm_marl_envs.traces.files import TornTrace, TraceWriter, read_traces
from llm_marl_envs.traces.json import canonical
from llm_marl_envs.traces.trace import Trace

CHUNK = 64  # problems that are played together, and written before the next ones


def play_suite(
    team: Team,
    suite: Suite,
    out: Path,
    progress: Progress,
    *,
    sampling: Mapping[str, Sampling],
    workflow: str | None = None,
    places: Mapping[str, Any] = {},
    meta: Mapping[str, Any] = {},
) -> list[Path]:
    """Play all parts and write `out/<part>.jsonl.gz`; what is there already, of this suite, is not played again.

    A part is played with `workflow`, else with the team's own where the part allows it, else with the part's usual one. A role that the team
    has no policy for is played by its first. sampling: by role; other roles are sampled as the first. places: where a task's corpus or
    retriever is. Raises ConfigError, before anything is played, for a part that cannot be played so.
    """
    chosen = [(part, _workflow(part, team, workflow)) for part in suite.parts]
    files = []
    for part, flow in chosen:
        task = part.make_task(places=places)
        problems = part.chosen(task)
        knobs = team.spec.workflow_knobs if flow == team.spec.workflow else {}
        played = make_workflow(flow, **knobs)
        route, how = (
            _cast(team, played.roster.roles),
            {r: sampling.get(r, next(iter(sampling.values()))) for r in played.roster.roles},
        )
        spec = EnvSpec.of(task, played)
        path = out / f"{part.name}.jsonl.gz"
        about = {**meta, "suite": suite.name, "suite_digest": suite.digest, "part": part.name}
        chunks = [problems[i : i + CHUNK] for i in range(0, len(problems), CHUNK)]
        done = _kept(path, chunks, part.samples, spec, about)
        with progress.run(f"{suite.name} {part.name} ({flow})", len(chunks), done), TraceWriter(path) as writer:
            for i, chunk in enumerate(chunks[done:], done):
                found = evaluate(
                    task, played, chunk, route, team.engine,
                    sampling=how, samples=part.samples, limits=part.limits, seed=seed_of("suite", part.seed, i),
                )  # fmt: skip
                for trace in traces_of(found.episodes, spec, part.split, about):
                    writer.write(trace)
                progress.step(i + 1, {**found.figures, "accuracy": found.accuracy.mean})
        files.append(path)
    return files


def _workflow(part: SuitePart, team: Team, wanted: str | None) -> str:
    if wanted is None:
        return team.spec.workflow if team.spec.workflow in part.workflows else part.workflows[0]
    if wanted not in part.workflows:
        raise ConfigError(f"{part.name} is not played with {wanted!r}; expected one of {', '.join(part.workflows)}")
    return wanted


def _cast(team: Team, roles: Sequence[str]) -> PolicyRouter:
    """Who plays the roles of another workflow."""
    return PolicyRouter({role: team.route.by_role.get(role, team.route.policies[0]) for role in roles})


def _kept(path: Path, chunks: Sequence[Sequence[Any]], samples: int, spec: EnvSpec, about: Mapping[str, Any]) -> int:
    """How many chunks are in a file already; what a killed run left of another is dropped. ConfigError for somebody else's file."""
    if not path.exists():
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTrace)  # that episode is played again
        traces = list(read_traces(path))
    for trace in traces:
        said = {key: trace.meta.get(key) for key in about}
        if said != dict(about) or canonical(dataclasses.asdict(trace.spec)) != canonical(dataclasses.asdict(spec)):
            differ = next((key for key in about if said[key] != about[key]), "environment")
            raise ConfigError(
                f"{path} has episodes with another {differ} ({said.get(differ, trace.env_id)!r:.80}); give another --out, or remove it"
            )
    have = Counter(trace.question.id for trace in traces)
    done = 0
    while done < len(chunks) and all(have[problem.question.id] == samples for problem in chunks[done]):
        done += 1
    kept = {problem.question.id for chunk in chunks[:done] for problem in chunk}
    left: list[Trace] = [trace for trace in traces if trace.question.id in kept]
    if len(left) < len(traces):
        write_lines(path, (trace.to_json().encode() for trace in left))
    return done

"""What a large swarm costs: playing it as an environment, replaying and exporting its record, per call.

python tests/benchmarks/swarm.py docs/swarm.png      the table and the picture of docs/performance.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import NamedTuple

from llm_marl_envs import Limits, Trace, make
from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.orchestration.export import to_orchestration

SIZES = ((38, 12), (76, 12), (150, 13), (300, 13), (300, 27), (300, 53))  # workers, rounds: 500 to 16,000 calls
DECISIONS = {"stopper_0": "continue", "communicator_0": "none"}


class Costs(NamedTuple):
    """CPU microseconds per call of an agent."""

    calls: int
    play: float
    replay: float
    export: float


def played(workers: int, rounds: int) -> WorkflowEnv:
    """All workers are hired in the first round and work in every round; their reports differ."""
    env = make("arithmetic/swarm-v1", workers=workers, rounds=rounds)
    env.limits = Limits(calls=None, turns=None)
    env.reset(seed=0)
    for number, agent in enumerate(env.agent_iter(sys.maxsize)):
        _, _, terminated, truncated, _ = env.last()
        text = str(workers) if agent == "spawner_0" else f"Turn {number}: I found \\boxed{{{number * 7 % 99}}}"
        env.step(None if terminated or truncated else DECISIONS.get(agent, text))
    return env


def costs(workers: int, rounds: int, times: int = 5) -> Costs:
    """Medians of several measurements."""
    found = []
    for _ in range(times):
        play, env = _timed(lambda: played(workers, rounds))
        assert env.session is not None
        trace = Trace.from_json(env.trace().to_json())
        replay, session = _timed(trace.session)
        assert session.answer is not None
        export, view = _timed(lambda: to_orchestration(trace))  # noqa: B023
        assert len(view["edges"]) >= len(view["events"]) - 1
        calls = env.session.calls
        found.append(Costs(calls, *(1e6 * seconds / calls for seconds in (play, replay, export))))
    return Costs(*(median(column) for column in zip(*found, strict=True)))


def _timed(what: Callable) -> tuple:
    began = process_time()
    result = what()
    return process_time() - began, result


def draw(rows: list[Costs], path: Path) -> None:
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    calls = [row.calls for row in rows]
    for name, label in (("play", "play (env.step)"), ("replay", "replay"), ("export", "export")):
        axes.plot(calls, [getattr(row, name) * row.calls / 1e6 for row in rows], marker="o", label=label)
    axes.set(xlabel="calls of an episode", ylabel="CPU seconds", title="A swarm of up to 300 workers", ylim=0, xlim=0)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    table = [costs(*size) for size in SIZES]
    print("| workers | rounds | calls | play, µs per call | replay | export |\n|---|---|---|---|---|---|")
    for (workers, rounds), row in zip(SIZES, table, strict=True):
        print(f"| {workers} | {rounds} | {row.calls:,} | {row.play:.0f} | {row.replay:.0f} | {row.export:.0f} |")
    if sys.argv[1:]:
        draw(table, Path(sys.argv[1]))

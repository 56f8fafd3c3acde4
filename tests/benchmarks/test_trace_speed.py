"""Speed of sessions, forks and exports, as ratios to a floor in the same run."""

from __future__ import annotations

import json
import time

from benchmarks.ratio import compare
from knob_grid import GRID

from llm_marl_envs import EnvSpec, Play, Session, Trace, make_workflow
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.task import Question
from llm_marl_envs.testing import play_randomly

QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")
PARTS = "\n".join(f"worker_{i}: part {i}" for i in range(8))
SCRIPT = {"spawner_0": "8", "delegator_0": PARTS, "stopper_0": "continue", "communicator_0": "worker_0 -> all"}


def swarm(rounds: int) -> Session:
    """A swarm of eight workers, all of whom work in every round."""
    session = Session(Play(make_workflow("swarm", workers=8, rounds=rounds), QUESTION))
    while session.waiting:
        for call in session.waiting:
            session.reply(SCRIPT.get(call.agent, "3 x 4 = 12. \\boxed{12}"))
    return session


def floor(calls: int) -> list[str]:
    """A bare generator asked as often, that formats a prompt and keeps what it is told."""

    def talk():
        heard = []
        for i in range(calls):
            heard.append((yield f"worker_{i % 8}: {QUESTION.text} Work on it and report. {QUESTION.answer_format}"))
        return heard

    asks, said = talk(), []
    next(asks)
    try:
        while True:
            said.append(asks.send("3 x 4 = 12. \\boxed{12}"))
    except StopIteration as stop:
        return stop.value


def rate(what, times: int, each: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        what()
    return times * each / (time.perf_counter() - began)


def test_a_swarm_of_eight(benchmark):
    """Calls a second through the whole protocol: prompts, waves, spawns, reports, record."""
    calls = swarm(4).calls
    ratio = compare(
        benchmark,
        lambda: rate(lambda: swarm(4), 100, calls),
        lambda: rate(lambda: floor(calls), 1000, calls),
        "calls/s, swarm / bare generator",
    )
    assert ratio > 0.01


def test_a_fork_at_turn_sixty(benchmark):
    """Milliseconds of a fork against those of playing the same sixty turns as a driver does."""
    session = swarm(8)
    assert len(session.replies) > 60
    lived = session.replies[:60]

    def played() -> None:
        again = Session(session.play)
        for reply in lived:
            assert again.waiting
            again.reply(*reply)

    ratio = compare(
        benchmark,
        lambda: 1000 / rate(lambda: session.fork(60), 100, 1),
        lambda: 1000 / rate(played, 100, 1),
        "ms, fork at turn 60 / playing 60 turns",
    )
    assert ratio < 1.5


def test_export(benchmark):
    """Traces of all workflows a second, against reading them from their lines."""
    lines = []
    for number in range(10_000):
        name, knobs = GRID[number % len(GRID)]
        session = play_randomly(make_workflow(name, **knobs), number, QUESTION)
        if session.events:
            lines.append(Trace.of(session, EnvSpec("arithmetic", name, {}, knobs), None).to_json())
    traces = [Trace.from_json(line) for line in lines]

    def export() -> float:
        began = time.perf_counter()
        for trace in traces:
            to_orchestration(trace)
        return len(traces) / (time.perf_counter() - began)

    def read() -> float:
        began = time.perf_counter()
        for line in lines:
            json.loads(line)
        return len(lines) / (time.perf_counter() - began)

    ratio = compare(benchmark, export, read, "traces/s, export / json.loads of their lines")
    assert ratio > 0.05

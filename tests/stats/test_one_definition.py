"""Every place that shows a figure shows the same number: golden playthroughs, and random episodes of every workflow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import ClassVar

import pytest
from fitting import ENVS, made
from hypothesis import given, settings
from hypothesis import strategies as st
from knob_grid import GRID
from playthroughs import SCRIPTS

from baselines.evaluate import Evaluation
from baselines.types import Episode
from leaderboard.score import score
from llm_marl_envs import EnvSpec, Outcome, Play, Problem, Question, Score, Session, Trace, TraceWriter, make_workflow
from llm_marl_envs.cli.trace import trace as trace_command
from llm_marl_envs.graph import graph_of
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.reading import final_answer
from llm_marl_envs.rewards import leads, orchestration
from llm_marl_envs.stats.figures import FIGURES, SHARES, counts, ratios, shape, team_figures
from llm_marl_envs.stats.intervals import accuracy_of
from llm_marl_envs.testing import GARBAGE, WELL_FORMED, play_randomly, random_reply


@dataclass(frozen=True)
class Twelve:
    """Any question, whose answer is twelve. A reply without a marked answer cannot be read."""

    splits: ClassVar = ("test",)
    tools: ClassVar = {}

    def problems(self, split):
        return ()

    def grade(self, problem, text, kind="answer"):
        answer = final_answer(text or "")
        return Score(float(answer == "12"), "", answer)


def shown_by_stats(session: Session, outcome: Outcome) -> dict[str, float]:
    graph = graph_of(session.events, session.play.question, answer=session.answer)
    return ratios([counts(outcome)]) | shape(graph) | {"task_success": outcome.team.value}


def shown_by_reports(outcome: Outcome) -> dict[str, float]:
    """metrics.jsonl, which the learning curve, the report and the progress bar read."""
    problem = Problem(Question("q", ""), None)
    episode = Episode(outcome.session, problem, 0, 0, (), outcome, {})
    figures = team_figures([outcome])
    record = Evaluation(accuracy_of([("q", outcome.team.value)]), figures, [episode]).record()
    return record | {"task_success": record["accuracy"]}


def shown_by_an_export(trace: Trace, outcome: Outcome) -> dict[str, float]:
    view = to_orchestration(trace, outcome)
    return view["metrics"] | {name: view["costs"][name] for name in ("calls", "tokens")}


def shown_by_rewards(outcome: Outcome) -> dict[str, float]:
    """The bonus for being faster, of those who lead."""
    found = orchestration(faster=1.0, coverage=0.0, gain=0.0)(outcome)
    return {"speed_up": found[min(leading)] - outcome.team.value + 1.0} if (leading := leads(outcome)) else {}


def check_places(session: Session, outcome: Outcome, trace: Trace, **more: dict[str, float]) -> int:
    places = more | {
        "stats": shown_by_stats(session, outcome),
        "reports": shown_by_reports(outcome),
        "export": shown_by_an_export(trace, outcome),
        "rewards": shown_by_rewards(outcome),
    }
    compared = 0
    for name in FIGURES:
        values = {place: shown[name] for place, shown in places.items() if name in shown}
        compared += max(0, len(values) - 1)
        first = next(iter(values.values()), 0.0)
        assert all(value == pytest.approx(first) for value in values.values()), f"{name}: {values}"
    for place, shown in places.items():
        wrong = {name: shown[name] for name in SHARES & shown.keys() if not 0 <= shown[name] <= 1}
        assert not wrong, f"{place}: {wrong}"
    return compared


@pytest.mark.parametrize("name", SCRIPTS)
def test_golden_playthroughs(name):
    script = SCRIPTS[name]
    session = Session(Play(make_workflow(name), script.question), script.replies)
    outcome = outcome_of(session, Twelve(), Problem(script.question, "12"))
    assert check_places(session, outcome, Trace.of(session, EnvSpec("arithmetic", name), outcome)) >= 8


@pytest.mark.parametrize(("name", "knobs"), GRID, ids=str)
def test_random_episodes_of_every_setting(name, knobs):
    question = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")
    for seed in range(10):
        session = play_randomly(make_workflow(name, **knobs), seed, question, reply=with_twelve)
        outcome = outcome_of(session, Twelve(), Problem(question, "12"))
        check_places(session, outcome, Trace.of(session, EnvSpec("arithmetic", name, {}, knobs), outcome))


def with_twelve(rng: Random, choices) -> str:
    return "\\boxed{12}" if rng.random() < 0.2 else random_reply(rng, choices)


@pytest.mark.parametrize("workflow", ENVS)
def test_scores_and_statistics_of_files(workflow, tmp_path):
    """Ten random episodes: written, scored and measured by their commands, together and one by one."""
    env = made(ENVS[workflow], split="test")
    played: list[tuple[Trace, Session, Outcome]] = []
    for seed in range(10):
        env.reset(seed=seed)
        rng = Random(seed)
        for _ in env.agent_iter():
            _, _, terminated, truncated, info = env.last()
            env.step(None if terminated or truncated else random_reply(rng, info["choices"]))
        played.append((env.trace(entry=workflow, sample=seed, step=0), env.session, env.outcome))
    for traces in (played, *([one] for one in played[:3])):
        file = tmp_path / f"{traces[0][0].id}-{len(traces)}.jsonl"
        with TraceWriter(file) as writer:
            for trace, _, _ in traces:
                writer.write(trace)
        (row,) = score([file])
        trace_command("stats", (file,), out=tmp_path / "stats.jsonl")
        lines = [json.loads(line) for line in (tmp_path / "stats.jsonl").read_text().splitlines()]
        measured = {line["figure"]: line["mean"] for line in lines if line["kind"] in ("cost", "metric")}
        outcomes = [outcome for _, _, outcome in traces]
        together = team_figures(outcomes)
        assert row.failed == together["failed"] == 0
        assert (row.malformed, row.calls, row.tokens) == (
            together["malformed"], together["calls"], together["tokens"],
        )  # fmt: skip
        for name in ("malformed", "calls", "tokens", "correction", "preservation", "error_amplification"):
            if name in together:
                assert measured[name] == pytest.approx(together[name]), name
        assert row.truncated == together["truncated"] * len(traces)
        if len(traces) == 1:
            trace, session, outcome = traces[0]
            scored = {"malformed": row.malformed, "calls": row.calls, "task_success": row.accuracy.mean}
            check_places(session, outcome, trace, score=scored, trace_stats=measured)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_rates_are_rates_whatever_is_said(data):
    name, knobs = data.draw(st.sampled_from(GRID))
    question = Question("q/0", "How many legs have 3 cats?")
    session = Session(Play(make_workflow(name, **knobs), question))
    texts = st.sampled_from((*WELL_FORMED, *GARBAGE[:6], "\\boxed{12}")) | st.text(max_size=30)
    while session.waiting:
        session.reply(data.draw(texts), data.draw(st.integers(0, 9)), 1, data.draw(st.sampled_from((0.0, 0.5, 2.0))))
    outcome = outcome_of(session, Twelve(), Problem(question, "12"))
    check_places(session, outcome, Trace.of(session, EnvSpec("arithmetic", name, {}, knobs), outcome))

"""The metrics of exported episodes."""

from __future__ import annotations

import pytest
from places import ROOT

from llm_marl_envs import EnvSpec, Play, Session, Trace, make, make_workflow
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.orchestration.metrics import METRICS
from llm_marl_envs.task import Question


def test_a_voter_that_nobody_reads_rides_free():
    """Nobody reads a voter's empty reply."""
    session = Session(Play(make_workflow("voting"), Question("q", "What is 3 + 4?")))
    for text in ("It is \\boxed{7}", "I say \\boxed{8}", "", "Solution 1"):
        session.reply(text)
    found = to_orchestration(Trace.of(session, EnvSpec("arithmetic", "voting"), None))["metrics"]
    assert found["free_riding"] == pytest.approx(1 / 4)


def test_a_graded_episode_has_them_all():
    env = make("arithmetic/eval_opt-v1")
    env.reset(seed=3)
    for text in (
        "\\boxed{0}",
        "\\boxed{Incorrect}",
        f"\\boxed{{{env.problem.gold}}}",
        "so so",
        f"\\boxed{{{env.problem.gold}}}",
    ):
        env.step(text)
    found = to_orchestration(env.trace(), env.outcome)["metrics"]
    assert (found["task_success"], found["correction"], found["preservation"]) == (1.0, 1.0, 0.0)
    assert (found["error_amplification"], found["malformed"]) == (0.0, 1 / 5)
    ungraded = to_orchestration(env.trace())["metrics"]
    assert not ungraded.keys() & {"task_success", "correction", "preservation", "malformed"}, (
        "what is not known is not 0"
    )


def test_every_metric_is_in_the_docs():
    docs = (ROOT / "docs" / "traces.md").read_text()
    assert [name for name, what in METRICS.items() if f"| `{name}` | {what} |" not in docs] == []

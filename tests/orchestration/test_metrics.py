"""The metrics of orchestration data, by hand."""

from __future__ import annotations

import pytest
from places import ROOT

from llm_marl_envs import EnvSpec, Play, Session, Trace, make, make_workflow
from llm_marl_envs.orchestration.metrics import METRICS, metrics_of
from llm_marl_envs.task import Question


def event(id: str, agent: str = "a", t: float = 0.0, type: str = "message", **extra) -> dict:
    return {"id": id, "t": t, "type": type, "agent": agent} | extra


def view(events: list[dict], *edges: tuple[str, str, str], **rewards: float) -> dict:
    return {
        "trace_id": "t", "task_id": "q", "events": events, "rewards": rewards, "costs": {"tokens": 0, "wall_clock_s": 0},
        "edges": [{"src": source, "dst": target, "type": type} for source, target, type in edges],
    }  # fmt: skip


def test_two_branches_of_unequal_length():
    """A plan of 1 s; branches of 2 + 3 s and 4 s; joined for 2 s: 12 s of work, critical path 1 + 5 + 2 = 8 s, two wide."""
    found = metrics_of(
        view(
            [
                event("plan", "boss", 0.0, "orchestrator_decision", seconds=1.0),
                event("b1", "b", 1.0, seconds=2.0),
                event("c1", "c", 1.0, seconds=4.0),
                event("b2", "b", 3.0, seconds=3.0),
                event("join", "boss", 6.0, "aggregate", seconds=2.0),
            ],
            ("plan", "b1", "causal"), ("plan", "c1", "causal"), ("b1", "b2", "causal"), ("b2", "join", "return"),
            ("c1", "join", "return"), ("c1", "b2", "temporal"),
        )
    )  # fmt: skip
    assert found == {
        "critical_path_calls": 4.0,
        "critical_path_s": 8.0,
        "speed_up": 12 / 8,
        "parallelism_efficiency": 12 / 8 / 2,
        "protocol_overhead": 1 / 5,
        "malformed_rate": 0.0,
    }


def test_overhead_counts_tokens_where_there_are_some():
    events = [
        event("e0", type="orchestrator_decision", prompt_tokens=10, reply_tokens=2, malformed="a number"),
        event("e1", t=1.0, prompt_tokens=20, reply_tokens=28),
    ]
    found = metrics_of(view(events, ("e0", "e1", "causal")))
    assert found["protocol_overhead"] == 12 / 60
    assert found["malformed_rate"] == 0.5


def claim(grade: float, text: str = "7", kind: str = "answer", read: str | None = "7") -> dict:
    return {"kind": kind, "text": text, "grade": grade, "read": read}


def test_members_right_and_team_wrong():
    """Members' last answers 1, 1 and 0; the team 0: error amplified by 2/3; the first answer was right and was not preserved."""
    events = [
        event("e0", "a", claims=[claim(1.0)]),
        event("e1", "b", claims=[claim(0.0, "8")]),
        event("e2", "b", 1.0, claims=[claim(1.0)]),
        event("e3", "judge", 2.0, "aggregate", claims=[claim(0.0, "9")], answer="9"),
    ]
    found = metrics_of(
        view(events, ("e0", "e3", "aggregate"), ("e1", "e2", "causal"), ("e2", "e3", "aggregate"), team=0.0)
    )
    assert found["error_amplification"] == pytest.approx(2 / 3)
    assert (found["correction"], found["preservation"]) == (0.0, 0.0)
    assert found["free_riding"] == 0.25  # nobody but its author was told of e1


@pytest.mark.parametrize(
    ("first", "team", "correction", "preservation"),
    [(0.0, 1.0, 1.0, 0.0), (1.0, 1.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (0.5, 1.0, 1.0, 0.0)],
)
def test_correction_and_preservation(first, team, correction, preservation):
    """TRACER: both over all episodes; an unreadable answer is no first answer."""
    events = [event("e0", claims=[claim(0.0, "?", read=None)]), event("e1", t=1.0, claims=[claim(first)])]
    found = metrics_of(view(events, ("e0", "e1", "causal"), team=team))
    assert (found["correction"], found["preservation"]) == (correction, preservation)


@pytest.mark.parametrize(
    ("evidence", "answer", "right"),
    [(1.0, "<answer>unknown</answer>", 0.0), (0.0, "<answer>Unknown</answer>", 1.0), (1.0, "<answer>Oslo</answer>", 1.0), (0.0, "<answer>Oslo</answer>", 0.0)],
)  # fmt: skip
def test_abstention(evidence, answer, right):
    """DAC: abstain if and only if the evidence is insufficient, whether the answer is right or not."""
    events = [
        event("e0", claims=[claim(evidence, "passages", "evidence")]),
        event("e1", t=1.0, claims=[claim(0.0, answer)]),
    ]
    assert metrics_of(view(events, ("e0", "e1", "causal"), team=0.0))["abstention_accuracy"] == right


def test_evidence_counts_only_until_there_is_more():
    events = [
        event("e0", claims=[claim(0.0, "one", "evidence"), claim(0.0, "unknown"), claim(1.0, "both", "evidence"), claim(1.0, "Oslo")])
    ]  # fmt: skip
    assert metrics_of(view(events, team=1.0))["abstention_accuracy"] == 1.0


def test_what_does_not_apply_is_absent():
    assert metrics_of(view([event("e0", type="spawn")])) == {}
    assert set(metrics_of(view([event("e0")]))) == {
        "critical_path_calls", "speed_up", "parallelism_efficiency", "protocol_overhead", "malformed_rate",
    }  # fmt: skip


def test_all_at_once_is_all_efficient():
    found = metrics_of(
        view([event("e0"), event("e1"), event("e2")], ("e0", "e1", "temporal"), ("e1", "e2", "temporal"))
    )
    assert (found["critical_path_calls"], found["speed_up"], found["parallelism_efficiency"]) == (1.0, 3.0, 1.0)


def test_a_voter_that_nobody_reads_rides_free():
    """A voter's empty reply says nothing to anybody."""
    session = Session(Play(make_workflow("voting"), Question("q", "What is 3 + 4?")))
    for text in ("It is \\boxed{7}", "I say \\boxed{8}", "", "Solution 1"):
        session.reply(text)
    found = Trace.of(session, EnvSpec("arithmetic", "voting"), None).to_orchestration()["metrics"]
    assert found["free_riding"] == pytest.approx(1 / 4)


def test_a_graded_episode_has_them_all():
    env = make("arithmetic/eval_opt-v0")
    env.reset(seed=3)
    for text in ("\\boxed{0}", "\\boxed{Incorrect}", f"\\boxed{{{env.problem.gold}}}", "\\boxed{Correct}"):
        if env.agents:
            env.step(text)
    found = env.trace().to_orchestration(env.outcome)["metrics"]
    assert (found["task_success"], found["correction"], found["preservation"]) == (1.0, 1.0, 0.0)
    assert found["error_amplification"] == 0.0


def test_every_metric_is_in_the_docs():
    docs = (ROOT / "docs" / "traces.md").read_text()
    assert [name for name, what in METRICS.items() if f"| `{name}` | {what} |" not in docs] == []

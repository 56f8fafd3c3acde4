"""Figures against values worked out by hand."""

from __future__ import annotations

import pytest
from test_rewards import NO, PROBLEM, TASK, YES, outcome, refined

from llm_marl_envs import Claim, Outcome, Score, Status, make_workflow
from llm_marl_envs.graph import Costs, EdgeType, Graph, GraphEvent, graph_of
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.session import Play, Reply, Session
from llm_marl_envs.stats.figures import FIGURES, SHARES, counts, shape, speed_up, team_figures

NOTHING = Costs(0, 0, 0, 0, 0.0)


def event(number: int, agent: str = "a", t: float = 0.0, type: str = "message", **more) -> GraphEvent:
    return GraphEvent(number, type, agent, t, **more)  # type: ignore[arg-type]


def graph(
    *events: GraphEvent, edges: dict[tuple[int, int], EdgeType] | None = None, answer: str | None = None
) -> Graph:
    return Graph.of(events, edges or {}, NOTHING, answer)


# Who waits for whom.


def test_two_branches_of_unequal_length():
    """A plan of 1 s; branches of 2 + 3 s and 4 s; joined for 2 s: 12 s of work, critical path 1 + 5 + 2 = 8 s, two wide."""
    found = shape(
        graph(
            event(0, "boss", 0.0, "orchestrator_decision", seconds=1.0),
            event(1, "b", 1.0, seconds=2.0),
            event(2, "c", 1.0, seconds=4.0),
            event(3, "b", 3.0, seconds=3.0),
            event(4, "boss", 6.0, "aggregate", seconds=2.0),
            edges={(0, 1): "causal", (0, 2): "causal", (1, 3): "causal", (3, 4): "return", (2, 4): "return", (2, 3): "temporal"},
        )
    )  # fmt: skip
    assert found == {
        "critical_path_calls": 4.0,
        "critical_path_s": 8.0,
        "speed_up": 12 / 8,
        "parallelism_efficiency": 12 / 8 / 2,
        "protocol_overhead": 1 / 5,
    }


def test_all_at_once_is_all_efficient():
    found = shape(graph(event(0), event(1), event(2)))
    assert (found["critical_path_calls"], found["speed_up"], found["parallelism_efficiency"]) == (1.0, 3.0, 1.0)


def test_overhead_counts_tokens_where_there_are_some():
    deciding = event(0, type="orchestrator_decision", prompt_tokens=10, reply_tokens=2)
    talking = event(1, t=1.0, prompt_tokens=20, reply_tokens=28)
    assert shape(graph(deciding, talking, edges={(0, 1): "causal"}))["protocol_overhead"] == 12 / 60


def test_what_does_not_apply_is_absent():
    assert shape(graph(event(0, type="spawn"))) == {}
    assert set(shape(graph(event(0)))) == {
        "critical_path_calls", "speed_up", "parallelism_efficiency", "protocol_overhead",
    }  # fmt: skip


def test_work_that_nobody_reads_rides_free():
    """Of four answers two were read by others and one is the team's; a verdict is no work."""
    mine = lambda text: [(Claim("a", text), None)]  # noqa: E731
    events = (
        event(0, "a", claims=mine("7")),
        event(1, "b", claims=mine("8")),
        event(2, "b", 1.0, claims=mine("7")),
        event(3, "judge", 2.0, "aggregate", claims=[*mine("9"), (Claim("judge", "right", "verdict"), None)]),
    )
    edges: dict[tuple[int, int], EdgeType] = {(0, 3): "aggregate", (1, 2): "causal", (2, 3): "aggregate"}
    assert shape(graph(*events, edges=edges, answer="9"))["free_riding"] == 1 / 4


def test_the_critical_path_of_waves_is_the_slowest_call_of_each():
    timed = [Reply(text, 0, 0, seconds) for text, seconds in (("Lima", 2.0), ("Lima", 3.0), ("Lima", 4.0), ("1", 1.0))]
    found = outcome(make_workflow("voting"), *timed)
    assert speed_up(found) == 10 / 5
    figures = shape(graph_of(found.events, PROBLEM.question))
    assert (figures["critical_path_s"], figures["parallelism_efficiency"]) == (5.0, pytest.approx(2 / 3))


# What needs grades.


def result(*claims, value=1.0, status=Status.FINISHED, calls=3, malformed=0) -> Outcome:
    return Outcome(
        status, Score(value, ""), tuple(claims), ("generator_0", "evaluator_0"), {"generator_0": calls}, {"generator_0": 10 * calls}, malformed
    )  # fmt: skip


def draft(value: float, read: str | None = "x", agent: str = "generator_0"):
    return Claim(agent, "x"), Score(float(value), "", read)


def said(verdict: str, true: bool):
    return Claim("evaluator_0", verdict, "verdict"), Score(float(true), "", verdict)


def test_team_figures_by_hand():
    outcomes = [
        result(draft(0), said("wrong", True), draft(1), said("right", True), value=1.0, calls=4),  # corrected
        result(draft(1), said("right", True), value=1.0, calls=2),  # preserved
        result(draft(0), said("right", False), value=0.0, calls=2, malformed=1),  # a wrong answer accepted
        result(draft(1), said("wrong", False), draft(0), value=0.0, calls=4, status=Status.TRUNCATED),
        result(status=Status.FAILED, value=0.0),
    ]
    figures = team_figures(outcomes)
    assert figures["first_draft"] == 2 / 4
    assert figures["correction"] == 1 / 4
    assert figures["preservation"] == 1 / 4
    # verdicts on right answers: right (true), right (true), wrong (false); on wrong ones: wrong (true), right (false)
    assert figures["accept_if_right"] == pytest.approx(2 / 3)
    assert figures["reject_if_wrong"] == pytest.approx(1 / 2)
    assert figures["calls"] == 3.0
    assert figures["tokens"] == 30.0
    assert figures["malformed"] == 1 / 12
    assert figures["truncated"] == 1 / 4
    assert figures["failed"] == 1.0


def test_team_figures_of_nothing():
    assert team_figures([]) == {"failed": 0.0}


@pytest.mark.parametrize(
    ("first", "team", "correction", "preservation"),
    [(0.0, 1.0, 1, 0), (1.0, 1.0, 0, 1), (1.0, 0.0, 0, 0), (0.0, 0.0, 0, 0), (0.5, 1.0, 1, 0)],
)
def test_correction_and_preservation_begin_with_the_first_readable_answer(first, team, correction, preservation):
    """TRACER: both over all episodes; an unreadable answer is no first answer."""
    found = counts(result(draft(0.0, None), draft(first), value=team))
    assert (found["correction"], found["preservation"]) == ((correction, 1), (preservation, 1))
    assert found["first_draft"] == (0.0, 1), "the first one claimed, readable or not"


def test_episodes_without_a_readable_answer_count_as_neither():
    for claims in ((), (draft(0.0, None),)):
        found = team_figures([result(*claims, value=1.0), result(draft(1.0), value=1.0)])
        assert (found["correction"], found["preservation"]) == (0.0, 0.5)


def test_members_right_and_team_wrong():
    """Members' last answers 1, 1 and 0; the team 0: error amplified by 2/3."""
    claims = draft(1, agent="a"), draft(0, agent="b"), draft(1, agent="b"), draft(0, agent="judge")
    assert counts(result(*claims, value=0.0))["error_amplification"] == (pytest.approx(2 / 3), 1)


@pytest.mark.parametrize(
    ("evidence", "answer", "right"),
    [(1.0, "<answer>unknown</answer>", 0.0), (0.0, "<answer>Unknown</answer>", 1.0), (1.0, "<answer>Oslo</answer>", 1.0), (0.0, "<answer>Oslo</answer>", 0.0)],
)  # fmt: skip
def test_abstention(evidence, answer, right):
    """DAC: abstain if and only if the evidence is insufficient, whether the answer is right or not."""
    claims = (Claim("s", "passages", "evidence"), Score(evidence, "", "")), (Claim("g", answer), Score(0.0, "", ""))
    assert counts(result(*claims, value=0.0))["abstention_accuracy"] == (right, 1)
    assert "abstention_accuracy" not in counts(result(claims[1]))


def test_evidence_counts_only_until_there_is_more():
    one, both = ((Claim("s", text, "evidence"), Score(value, "", "")) for text, value in (("one", 0.0), ("both", 1.0)))
    unknown, oslo = ((Claim("g", text), Score(0.0, "", "")) for text in ("unknown", "Oslo"))
    assert counts(result(one, unknown, both, oslo))["abstention_accuracy"] == (1.0, 1)


def test_a_call_is_malformed_once():
    """Both the workflow's note and the claim of the same reply say that it cannot be read."""
    assert counts(outcome(make_workflow("debate", debaters=1, rounds=1, decide="judge"), "", ""))["malformed"] == (2, 2)
    assert counts(refined("", YES))["malformed"] == (1, 2)
    assert counts(refined("Lima", "?", "Lima", NO, "Lima"))["malformed"] == (1, 5)
    session = Session(Play(make_workflow("propose_review"), PROBLEM.question))
    while session.waiting:
        session.reply("")
    found = counts(outcome_of(session, TASK, PROBLEM))["malformed"]
    assert found == (found.cases, found.cases), "all of them, and none of them twice"


def test_evidence_with_nothing_in_it_counts_too():
    """One call asks for what is not there, the other answers."""
    searched = Session(Play(make_workflow("search_answer", turns=1), PROBLEM.question))
    searched.reply("<search>Peru</search>")
    searched.reply("No passage was found.", worked=0.0)
    searched.reply("Lima")
    found = outcome_of(searched, TASK, PROBLEM)
    assert [score.read for _, score in found.claims] == [None, "Lima"]
    assert counts(found)["malformed"] == (1, 2)


def test_every_figure_is_explained():
    named = {
        *counts(
            result(
                draft(1),
                said("right", True),
                said("wrong", True),
                (Claim("s", "", "evidence"), Score(1.0, "")),
                draft(1),
            )
        )
    }
    named |= {*shape(graph(event(0, seconds=1.0, claims=[(Claim("a", "x"), None)]))), "task_success"}
    assert named == set(FIGURES)
    assert set(FIGURES) > SHARES

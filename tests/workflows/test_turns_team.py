"""Solve-verify, debate, chain, mixture, code-and-tests and topology, turn by turn."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from llm_marl_envs import Ask, Claim, Malformed, Session, UseTool, make_workflow
from llm_marl_envs.session import Limits, Play
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve
from llm_marl_envs.workflows.topology import ACTIONS, graph_of, layers_of

QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")
LONG = Question("q/1", "Who?", answer_format="Name.", materials=("part A", "part B", "part C", "part D", "part E"))


def played(name: str, *replies: str, question: Question = QUESTION, **knobs: Any) -> Session:
    return Session(Play(make_workflow(name, **knobs), question, limits=Limits(None, None)), replies)


def waves(session: Session) -> list[list[str]]:
    """Who acts in each wave."""
    found: dict[int, list[str]] = {}
    for call, _, wave in session.events:
        if isinstance(call, Ask | UseTool):
            found.setdefault(wave, []).append(call.agent)
    return list(found.values())


def prompts(session: Session, agent: str) -> list[str]:
    return [call.prompt for call, _, _ in session.events if type(call) is Ask and call.agent == agent]


def notes(session: Session) -> list[Any]:
    return [call for call, reply, _ in session.events if reply is None]


# Solve and verify (Dr. MAS).

APPROVE, REJECT = "Fine. <verify>approve</verify>", "Cats have four. <verify>reject</verify>"


def test_a_rejected_solution_is_solved_again_with_both_texts_in_view():
    session = played("solve_verify", "six", REJECT, "twelve")
    assert waves(session) == [["solver_0"], ["verifier_0"], ["solver_0"]]
    assert notes(session) == [
        Claim("solver_0", "six"),
        Claim("verifier_0", "wrong", "verdict", "six"),
        Claim("solver_0", "twelve"),
    ]
    again = prompts(session, "solver_0")[1]
    for part in (QUESTION.text, "auxiliary", "Solver: six", f"Verifier: {REJECT}", QUESTION.answer_format):
        assert part in again
    assert session.answer == "twelve", "the last solution is not verified"


def test_an_approved_solution_stands():
    session = played("solve_verify", "twelve", APPROVE, loops=5)
    assert (session.answer, notes(session)[-1]) == ("twelve", Claim("verifier_0", "right", "verdict", "twelve"))


@pytest.mark.parametrize(("missing", "over"), [("approve", True), ("reject", False)])
def test_a_missing_verdict(missing, over):
    session = played("solve_verify", "six", "Looks good.", missing=missing)
    assert session.over is over
    assert notes(session)[1:] == [Malformed("verifier_0", "<verify>approve</verify> or <verify>reject</verify>")]


# Debate.


def test_debaters_answer_at_once_then_read_the_others():
    session = played(
        "debate", "a \\boxed{6}", "b \\boxed{12}", "c \\boxed{6}", "d \\boxed{12}", "e \\boxed{12}", "f \\boxed{6}"
    )
    names = ["debater_0", "debater_1", "debater_2"]
    assert waves(session) == [names, names]
    assert {prompts(session, name)[0] for name in names} == {solve(QUESTION)}
    second = prompts(session, "debater_1")[1]
    assert "Agent 1: a \\boxed{6}\nAgent 3: c \\boxed{6}" in second
    assert "You answered: b \\boxed{12}" in second
    assert "Agent 2" not in second
    assert session.answer == "d \\boxed{12}", "two of three, the first of them speaks for them"
    assert len(notes(session)) == 6


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (("\\boxed{1}", "\\boxed{2}", "\\boxed{3}"), "\\boxed{1}"),
        (("none", "\\boxed{2}", "none"), "\\boxed{2}"),
        (("none", "x", ""), "none"),
        (("\\boxed{A b}", "\\boxed{c}", "\\boxed{a B}"), "\\boxed{A b}"),
    ],
)
def test_the_majority(said, answer):
    assert played("debate", *said, rounds=1).answer == answer


def test_a_debate_that_agrees_may_end_early():
    assert played("debate", "\\boxed{1}", "\\boxed{1}", debaters=2, rounds=4, early=True).answer == "\\boxed{1}"
    assert not played("debate", "\\boxed{1}", "\\boxed{2}", debaters=2, rounds=4, early=True).over
    assert not played("debate", "no", "no", debaters=2, rounds=4, early=True).over, "no answer is no agreement"


def test_a_judge_decides_from_the_last_answers():
    session = played("debate", "a", "b", "\\boxed{9}", debaters=2, rounds=1, decide="judge")
    assert "Agent 1: a\nAgent 2: b" in prompts(session, "judge_0")[0]
    assert session.answer == "\\boxed{9}"
    assert played("debate", "a", "b", "Neither.", debaters=2, rounds=1, decide="judge").events[-1].call == Malformed(
        "judge_0", "a final answer"
    )


# Chain.


def test_workers_read_one_share_each_and_pass_their_notes_on():
    session = played("chain", "n1", "n2", "n3", "Ann", question=LONG)
    assert waves(session) == [["worker_0"], ["worker_1"], ["worker_2"], ["manager_0"]]
    shares = [("part A",), ("part B", "part C"), ("part D", "part E")]
    for i, (share, before) in enumerate(zip(shares, ("(nothing)", "n1", "n2"), strict=True)):
        (prompt,) = prompts(session, f"worker_{i}")
        assert all((part in prompt) == (part in share) for part in LONG.materials)
        assert f"before: {before}" in prompt
    (manager,) = prompts(session, "manager_0")
    assert "n3" in manager
    assert not any(text in manager for text in ("n1", "n2", "part"))
    assert notes(session) == [Claim("manager_0", "Ann")]


def test_a_chain_longer_than_the_materials_leaves_workers_out():
    session = played(
        "chain", "n1", "n2", "Ann", question=Question("q", "Who?", answer_format="", materials=("A", "B")), workers=4
    )
    assert sum(len(wave) for wave in waves(session)) == 3
    assert session.answer == "Ann"


def test_without_materials_the_work_is_passed_on():
    session = played("chain", "step 1", "step 2", workers=2)
    assert "work so far: step 1" in prompts(session, "worker_1")[0]
    assert "step 2" in session.call.prompt


# Mixture.


def test_layers_read_the_layer_before():
    session = played("mixture", "a1", "b1", "a2", "b2", "done", proposers=2)
    assert waves(session) == [["proposer_0", "proposer_1"], ["proposer_0", "proposer_1"], ["aggregator_0"]]
    first, second = prompts(session, "proposer_0")
    assert first == solve(QUESTION)
    assert "Answer 1: a1\nAnswer 2: b1" in second
    (last,) = prompts(session, "aggregator_0")
    assert "Answer 1: a2\nAnswer 2: b2" in last
    assert "a1" not in last
    assert session.answer == "done"


# Code and tests (PettingLLMs).

CODE, TESTS = "```python\ndef f(x):\n    return x\n```", "Tests:\n```python\nassert f(1) == 2\n```"


def test_coder_and_tester_write_at_once_and_are_run_against_each_other():
    session = played("code_and_tests", CODE, TESTS)
    assert waves(session) == [["coder_0", "tester_0"]]
    assert "assert" not in prompts(session, "coder_0")[0]
    assert "def f" not in prompts(session, "tester_0")[0]
    program = 'def f(x):\n    return x\n\nassert f(1) == 2\nprint("all tests passed")\n'
    assert session.call == UseTool("tester_0", "python", {"code": program})
    session.reply("AssertionError")
    assert notes(session) == [Claim("coder_0", CODE), Claim("tester_0", "wrong", "verdict", CODE)]
    for call in session.waiting:
        assert "def f(x)" in call.prompt
        assert "assert f(1) == 2" in call.prompt
        assert "AssertionError" in call.prompt
    for reply in (CODE, "```python\nassert f(1) == 1\n```", "all tests passed"):
        session.reply(reply)
    assert notes(session)[-1] == Claim("tester_0", "right", "verdict", CODE)
    assert session.answer == CODE


def test_rounds_bound_code_and_tests():
    session = played("code_and_tests", *[CODE, TESTS, "no"] * 2, rounds=2)
    assert session.over
    assert session.answer == CODE


# Topology (Agent Q-Mix).


@pytest.mark.parametrize(
    ("actions", "edges"),
    [
        (["solo_process"] * 3, []),
        (["broadcast_all", "solo_process", "solo_process"], [(0, 1), (0, 2)]),
        (["solo_process", "selective_query", "solo_process"], [(1, 2)]),
        (["solo_process", "solo_process", "execute_verify"], [(2, 0)]),
        (["solo_process", "aggregate_refine", "solo_process"], [(0, 1), (2, 1)]),
        (["debate_check", "solo_process", "solo_process"], [(0, 1)]),  # (1, 0) would close a cycle
        (["selective_query"] * 3, [(0, 1), (1, 2)]),  # as would (2, 0)
        (["broadcast_all"] * 3, [(0, 1), (0, 2), (1, 2)]),
    ],
)
def test_edges(actions, edges):
    assert graph_of(actions) == edges


def test_graphs_of_random_actions_have_no_cycle():
    rng = Random(0)
    for _ in range(500):
        n = rng.randint(2, 6)
        edges = graph_of([rng.choice(ACTIONS) for _ in range(n)])
        layers = layers_of(edges, n)
        depth = {i: d for d, layer in enumerate(layers) for i in layer}
        assert sorted(depth) == list(range(n))
        assert all(depth[i] < depth[j] for i, j in edges)


def test_agents_act_along_the_graph():
    session = played("topology", "broadcast_all", "solo_process", "solo_process", rounds=2)
    assert [call.agent for call in session.waiting] == ["solver_0"]
    session.reply("s0")
    assert [call.agent for call in session.waiting] == ["solver_1", "analyzer_0"]
    assert all("solver_0: s0" in call.prompt for call in session.waiting)
    for reply in ("s1", "a0", "solo_process", "Hm.", "aggregate_refine"):
        session.reply(reply)
    assert notes(session)[-1] == Malformed("linker_1", " or ".join(ACTIONS))
    assert [call.agent for call in session.waiting] == ["solver_0", "solver_1"], "an unreadable action is solo_process"
    assert "Your last answer: s1" in session.waiting[1].prompt
    assert "You are told:\n(nothing)" in session.waiting[1].prompt
    for reply in ("t0", "t1"):
        session.reply(reply)
    assert "solver_0: t0\nsolver_1: t1" in session.call.prompt
    session.reply("b0")
    assert "solver_0: t0\nsolver_1: t1\nanalyzer_0: b0" in session.call.prompt
    session.reply("done")
    assert session.answer == "done"


def test_linkers_have_a_menu_and_an_infoset():
    session = played("topology", agents=4)
    assert [(call.choices, call.infoset) for call in session.waiting] == [(ACTIONS, (i, 1, False)) for i in range(4)]

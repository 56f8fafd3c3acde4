"""The four workflows of arXiv 2605.24202, turn by turn: who is asked in which order, who sees what, what ends it."""

from __future__ import annotations

from typing import Any

import pytest

from llm_marl_envs import Ask, Claim, Malformed, Session, Spawn, Status, Stop, make_workflow
from llm_marl_envs.reading import accepts
from llm_marl_envs.session import Limits, Play
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import solve

QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")
YES, NO = "\\boxed{Correct}", "Count again. \\boxed{Incorrect}"


def played(name: str, *replies: str, **knobs: Any) -> Session:
    return Session(Play(make_workflow(name, **knobs), QUESTION, limits=Limits(None, None)), replies)


def asked(session: Session) -> list[str]:
    return [call.agent for call, _, _ in session.events if type(call) is Ask]


def prompts(session: Session, agent: str) -> list[str]:
    return [call.prompt for call, _, _ in session.events if type(call) is Ask and call.agent == agent]


def notes(session: Session) -> list[Any]:
    return [call for call, reply, _ in session.events if reply is None]


# Solo.


def test_solo_is_one_call():
    session = played("solo", "12")
    assert asked(session) == ["generator_0"]
    assert prompts(session, "generator_0") == ["How many legs have 3 cats?\nAnswer in \\boxed{}."]
    assert notes(session) == [Claim("generator_0", "12")]
    assert session.answer == "12"


# Evaluator-optimizer.


def test_a_draft_is_judged_refined_and_judged_again_until_the_rounds_are_used_up():
    session = played("eval_opt", "ten", NO, "eleven", NO, "twelve")
    assert asked(session) == ["generator_0", "evaluator_0", "generator_0", "evaluator_0", "generator_0"]
    assert notes(session) == [
        Claim("generator_0", "ten"),
        Claim("evaluator_0", "wrong", "verdict", about="ten"),
        Claim("generator_0", "eleven"),
        Claim("evaluator_0", "wrong", "verdict", about="eleven"),
        Claim("generator_0", "twelve"),
    ]
    assert (session.status, session.answer) == (Status.FINISHED, "twelve"), "the last draft is not judged"


@pytest.mark.parametrize(("rounds", "calls"), [(1, 1), (2, 3), (3, 5), (7, 13)])
def test_rounds_bound_the_calls(rounds, calls):
    session = played("eval_opt", rounds=rounds)
    while not session.over:
        session.reply(NO)
    assert session.calls == calls


@pytest.mark.parametrize(("replies", "answer"), [(("ten", YES), "ten"), (("ten", NO, "twelve", YES), "twelve")])
def test_acceptance_ends_it(replies, answer):
    session = played("eval_opt", *replies)
    assert session.answer == answer
    assert notes(session)[-1] == Claim("evaluator_0", "right", "verdict", about=answer)


def test_who_sees_what():
    session = played("eval_opt", "my ten", NO, "my twelve", NO)
    first, second = prompts(session, "evaluator_0")
    for prompt, draft, other in ((first, "my ten", "my twelve"), (second, "my twelve", "my ten")):
        assert QUESTION.text in prompt
        assert draft in prompt
        assert other not in prompt
        assert "without giving the answer" in prompt
        assert "\\boxed{Correct} or \\boxed{Incorrect}" in prompt
    refinement = prompts(session, "generator_0")[1]
    for part in (QUESTION.text, "my ten", NO, "keep what is right", QUESTION.answer_format):
        assert part in refinement
    assert all(call.fresh and not call.system for call, _, _ in session.events if type(call) is Ask)
    assert [call.kind for call, _, _ in session.events if type(call) is Ask][:2] == ["message", "decision"]


def test_a_different_method_is_asked_for_without_the_reviewers_words():
    session = played("eval_opt", "my ten", NO, refine="different")
    prompt = session.call.prompt
    assert "different method" in prompt
    assert "my ten" in prompt
    assert "Count again" not in prompt


def test_memory_continues_the_generators_conversation():
    session = played("eval_opt", "my ten", NO, "my twelve", NO, memory=True)
    chat = session.messages(session.call)
    assert [m["role"] for m in chat] == ["user", "assistant", "user", "assistant", "user"]
    assert [m["content"] for m in chat[1::2]] == ["my ten", "my twelve"]
    assert QUESTION.text in chat[0]["content"]
    assert all(QUESTION.text not in m["content"] and NO in m["content"] for m in chat[2::2]), "nothing is said twice"
    assert session.fork(3).messages(session.fork(3).call)[-1]["content"].count("my twelve") == 1


@pytest.mark.parametrize("verdict", ["", "It is right.", "\\boxed{yes}", "\\boxed{Correct", "Correct? Who knows."])
@pytest.mark.parametrize("unparseable", ["reject", "accept"])
def test_an_unreadable_verdict(verdict, unparseable):
    session = played("eval_opt", "ten", verdict, unparseable=unparseable)
    assert notes(session)[1] == Malformed("evaluator_0", "\\boxed{Correct} or \\boxed{Incorrect}")
    assert not any(type(n) is Claim and n.kind == "verdict" for n in notes(session)), "there is no verdict to grade"
    if unparseable == "accept":
        assert session.answer == "ten"
    else:
        assert session.call.agent == "generator_0"
        assert verdict in session.call.prompt


@pytest.mark.parametrize(
    ("verdict", "accepted"),
    [
        ("\\boxed{Correct}", True),
        ("Fine. \\boxed{ correct }", True),
        ("\\boxed{INCORRECT}", False),
        ("\\boxed{Correct} at first, but \\boxed{Incorrect}", False),
        ("\\boxed{Incorrect} no: \\boxed{Correct}.", True),
        ("Correct", True),
        ("\\boxed{\\text{Correct}}", True),
        ("\\boxed{\\mathbf{Incorrect}.}", False),
        ("\\boxed{Correct.}", True),
        ("**Incorrect**", False),
        ("The sum is 7, not 8.\n\n**Verdict:** Incorrect.", False),
        ("So the final verdict is: *correct*", True),
        ("<think>\\boxed{Correct}</think>\\boxed{Incorrect}", False),
        ("<think>\\boxed{Correct}", None),
        ("\\boxed{Correct} or \\boxed{Incorrect}", None),
        ("Incorrect would be too strong", None),
        ("It is not correct", None),
        ("Incorrect\nor maybe not", None),
        ("\\boxed{not correct}", None),
        ("\\boxed{Correct or Incorrect}", None),
        ("\\boxed{Correct} \\boxed{}", None),
    ],
)
def test_verdicts(verdict, accepted):
    assert accepts(verdict) is accepted


# Voting.


def test_votes_are_independent_and_the_aggregator_picks_one():
    session = played("voting", "ten", "twelve", "six", "\\boxed{2}")
    assert asked(session) == ["generator_0", "generator_1", "generator_2", "aggregator_0"]
    assert {p for i in range(3) for p in prompts(session, f"generator_{i}")} == {solve(QUESTION)}
    assert [event.wave for event in session.events if event.reply] == [0, 0, 0, 1]
    (prompt,) = prompts(session, "aggregator_0")
    assert prompt == (
        "Problem: How many legs have 3 cats?\nSolution 1: ten\nSolution 2: twelve\nSolution 3: six\n"
        "Which solution is right? End with \\boxed{N}, N from 1 to 3."
    )
    assert notes(session) == [
        Claim("generator_0", "ten"),
        Claim("generator_1", "twelve"),
        Claim("generator_2", "six"),
        Claim("aggregator_0", "twelve"),
    ]
    assert session.answer == "twelve"


@pytest.mark.parametrize(
    ("reply", "chosen"),
    [
        ("\\boxed{1}", 1),
        ("\\boxed{ 3 }", 3),
        ("1? No. \\boxed{03}", 3),
        ("\\boxed{1} was my first choice, but \\boxed{2}", 2),
    ],
)
def test_a_readable_choice(reply, chosen):
    session = played("voting", "a", "b", "c", reply)
    assert session.answer == "abc"[chosen - 1]
    assert not any(type(note) is Malformed for note in notes(session))


@pytest.mark.parametrize(
    ("reply", "digit"),
    [
        ("", 1),
        ("all of them", 1),
        ("Solution 3 beats 1.", 3),
        ("\\boxed{Solution 2}", 2),
        ("\\boxed{4}", 1),
        ("\\boxed{0}", 1),
        ("9, or maybe 2", 1),
        ("\\boxed{-2}", 2),
        ("\\boxed{٣}", 1),
        ("I take \\boxed{3", 3),
    ],
)
def test_an_unreadable_choice(reply, digit):
    for fallback, answer in (("digit", "abc"[digit - 1]), ("first", "a"), ("none", None)):
        session = played("voting", "a", "b", "c", reply, fallback=fallback)
        assert (session.status, session.answer) == (Status.FINISHED, answer), fallback
        rest = notes(session)[3:]
        assert rest[0] == Malformed("aggregator_0", "\\boxed{N} with N from 1 to 3")
        assert rest[1:] == ([] if answer is None else [Claim("aggregator_0", answer)])


def test_the_number_of_votes():
    session = played("voting", *map(str, range(12)), "\\boxed{12}", votes=12)
    assert session.play.workflow.roster.of("generator")[-1] == "generator_11"
    assert session.answer == "11"
    assert played("voting", "only", "no idea", votes=1).answer == "only"


# Orchestrator and workers.

PLAN = "STRATEGY 1: count by fours\nSTRATEGY 2: multiply\nSTRATEGY 3: draw them"


def test_a_worker_is_spawned_for_each_strategy_and_solves_the_whole_problem():
    session = played("orch_workers", PLAN, "4+4+4", "3x4", "|||| |||| ||||", "twelve")
    workers = ["worker_0", "worker_1", "worker_2"]
    assert asked(session) == ["orchestrator_0", *workers, "synthesizer_0"]
    assert [event.wave for event in session.events if event.reply] == [0, 1, 1, 1, 2]
    (plan,) = prompts(session, "orchestrator_0")
    assert QUESTION.text in plan
    assert "up to 3" in plan
    assert "Do not solve it yourself" in plan
    for worker, strategy in zip(workers, ("count by fours", "multiply", "draw them"), strict=True):
        assert prompts(session, worker) == [
            f"How many legs have 3 cats?\nStrategy: {strategy}\nAnswer in \\boxed{{}}.",
        ]
    (synthesis,) = prompts(session, "synthesizer_0")
    assert synthesis == (
        "Problem: How many legs have 3 cats?\nSolution 1: 4+4+4\nSolution 2: 3x4\nSolution 3: |||| |||| ||||\n"
        "Compare the solutions and write the final one. Answer in \\boxed{}."
    )
    boss = "orchestrator_0"
    assert notes(session) == [
        *(Spawn(worker, by=boss) for worker in workers),
        *(
            n
            for w, s in zip(workers, ("4+4+4", "3x4", "|||| |||| ||||"), strict=True)
            for n in (Claim(w, s), Stop(w, boss))
        ),
        Claim("synthesizer_0", "twelve"),
    ]
    assert session.answer == "twelve"
    assert [call.kind for call, _, _ in session.events if type(call) is Ask] == [
        "decision",
        *["return"] * 3,
        "aggregate",
    ]


def test_fewer_strategies_mean_fewer_workers():
    session = played("orch_workers", "STRATEGY 1: multiply", "12", "12!")
    assert asked(session) == ["orchestrator_0", "worker_0", "synthesizer_0"]
    assert session.agents == ["orchestrator_0", "synthesizer_0"]


@pytest.mark.parametrize(
    ("plan", "strategies"),
    [
        ("**STRATEGY 1:** add", ["add"]),
        ("Here you are:\n- Strategy 1) add\n# strategy 2. count\n", ["add", "count"]),
        ("STRATEGY 7: add", ["add"]),
        ("STRATEGY 1:    \nSTRATEGY 2: add", ["add"]),
        ("STRATEGY 1: add STRATEGY 2: count", ["add STRATEGY 2: count"]),
    ],
)
def test_readable_plans(plan, strategies):
    session = played("orch_workers", plan)
    assert [call.prompt.split("\n")[1] for call in session.waiting] == [f"Strategy: {s}" for s in strategies]
    assert not any(type(note) is Malformed for note in notes(session))


@pytest.mark.parametrize("plan", ["", "12", "I would use STRATEGY 1: add", "STRATEGY: add", "STRATEGY 1:\n", "\ud800"])
def test_a_plan_without_a_strategy(plan):
    session = played("orch_workers", plan)
    assert notes(session) == [
        Malformed("orchestrator_0", "1 to 3 lines 'STRATEGY k: ...'"),
        Spawn("worker_0", by="orchestrator_0"),
    ]
    assert session.waiting == (Ask("worker_0", solve(QUESTION), kind="return"),), "one worker, without advice"
    failed = played("orch_workers", plan, unparseable="fail")
    assert (failed.status, failed.answer, failed.calls) == (Status.FINISHED, None, 1)
    assert type(notes(failed)[-1]) is Malformed


def test_too_many_strategies():
    plan = f"{PLAN}\nSTRATEGY 4: guess"
    failed = played("orch_workers", plan)
    assert (failed.status, failed.answer, failed.calls) == (Status.FINISHED, None, 1), "no answer: the team gets 0"
    assert notes(failed) == [Malformed("orchestrator_0", "1 to 3 lines 'STRATEGY k: ...'")]
    cut = played("orch_workers", plan, too_many="cut")
    assert [call.agent for call in cut.waiting] == ["worker_0", "worker_1", "worker_2"]
    assert "draw them" in cut.waiting[-1].prompt
    assert len(played("orch_workers", plan, workers=4).waiting) == 4

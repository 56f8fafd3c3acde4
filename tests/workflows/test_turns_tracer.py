"""Propose-review (TRACER, arXiv 2605.28699): whose turn, which state, what the votes do, what each knob changes."""

from __future__ import annotations

from typing import Any

import pytest

from llm_marl_envs import Ask, Claim, Malformed, Session, make_workflow
from llm_marl_envs.reading import verdict_of
from llm_marl_envs.session import Limits, Play
from llm_marl_envs.task import Question

QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")
SIX, TWELVE, BAD = "\\boxed{6}", "\\boxed{12}", "no idea"


def played(*replies: str, **knobs: Any) -> Session:
    return Session(Play(make_workflow("propose_review", **knobs), QUESTION, limits=Limits(None, None)), replies)


def asked(session: Session) -> list[str]:
    return [call.agent for call, _, _ in session.events if type(call) is Ask]


def notes(session: Session) -> list[Any]:
    return [call for call, reply, _ in session.events if reply is None]


def test_five_rounds_of_two_bundles():
    """Round t is bundle (t - 1) mod 2's; the first proposal is forced, all else is a controller's choice."""
    session = played(SIX, "speak", "WRONG\n4 legs each.", "refresh", TWELVE, "speak", "RIGHT\nYes.", "keep")
    assert asked(session) == [
        "proposer_0",
        "reviewercontroller_1", "reviewer_1",
        "proposercontroller_0", "proposer_0",
        "reviewercontroller_1", "reviewer_1",
        "proposercontroller_0",
    ]  # fmt: skip
    assert notes(session) == [
        Claim("proposer_0", SIX),
        Claim("reviewer_1", "wrong", "verdict", SIX),
        Claim("proposer_0", TWELVE),
        Claim("reviewer_1", "right", "verdict", TWELVE),
    ]
    assert session.answer == TWELVE


def infosets(session: Session) -> list[tuple[Any, ...]]:
    return [call.infoset for call, _, _ in session.events if type(call) is Ask and call.choices]


def test_infosets_are_vote_bucket_and_time_bucket():
    session = played(SIX, "speak", "WRONG", "keep", "speak", "WRONG", "keep")
    assert infosets(session) == [
        ("vote_0", "not_last"),
        ("vote_minus_1", "not_last"),
        ("vote_minus_1", "last"),
        ("vote_minus_2", "last"),
    ]
    assert session.answer == SIX
    refreshed = played(SIX, "speak", "RIGHT", "refresh", TWELVE)
    assert refreshed.call.infoset == ("vote_0", "last"), "a new solution starts without votes"
    up = played(SIX, "speak", "RIGHT")
    assert (up.call.agent, up.call.infoset, up.call.choices) == (
        "proposercontroller_0",
        ("vote_plus_1", "not_last"),
        ("keep", "refresh"),
    )
    assert played(SIX, state="vote").call.infoset == ("vote_0",)
    assert played(SIX, state="time").call.infoset == ("not_last",)


def test_a_solution_without_an_answer_is_refreshed_by_force():
    session = played(BAD)
    assert (session.call.agent, session.call.infoset) == ("reviewercontroller_1", ("invalid_pending", "not_last"))
    session.reply("skip")
    assert session.call.agent == "proposer_0", "no controller is asked"
    assert notes(session)[1] == Malformed("proposer_0", "a final answer")


def test_reviews_never_change_the_answer_and_skips_nothing():
    session = played(SIX, "skip", "keep", "skip", "keep")
    assert asked(session).count("reviewer_1") == 0
    assert session.answer == SIX


@pytest.mark.parametrize("reply", ["", "maybe", "keep refresh", "refreshing"])
def test_an_unreadable_choice_is_the_cheap_one(reply):
    session = played(SIX, "skip", reply)
    assert notes(session)[-1] == Malformed("proposercontroller_0", "keep or refresh")
    assert session.call.agent == "reviewercontroller_1"


@pytest.mark.parametrize("reply", ["Refresh.", " REFRESH \n", '"refresh"'])
def test_choices_are_read_generously(reply):
    assert played(SIX, "skip", reply).call.agent == "proposer_0"


@pytest.mark.parametrize(
    ("review", "verdict"),
    [
        ("RIGHT\nfine", True), ("\n\n  Correct.", True), ("**Wrong**: no", False), ("incorrect", False), ("rightly", None),
        ("It is right", None), ("", None), ("maybe\nRIGHT", None),
    ],
)  # fmt: skip
def test_the_first_line_decides(review, verdict):
    assert verdict_of(review) is verdict
    session = played(SIX, "speak", review)
    assert session.call.infoset[0] == {True: "vote_plus_1", False: "vote_minus_1", None: "vote_0"}[verdict]


def test_who_sees_what():
    session = played(SIX, "speak", "WRONG\nCount legs.", "refresh")
    prompt = session.call.prompt
    for part in (QUESTION.text, f"Current solution: {SIX}", "Round 2, reviewer_1: WRONG\nCount legs."):
        assert part in prompt
    deaf = played(SIX, "speak", "WRONG\nCount legs.", "refresh", feedback=False)
    assert "Count legs" not in deaf.call.prompt
    assert f"Round 1, proposer_0: {SIX}" in deaf.call.prompt
    short = played(SIX, "speak", "WRONG\nCount legs.", "refresh", history=0)
    assert "Round" not in short.call.prompt


def test_only_the_last_turns_are_shown():
    session = played(
        *["A \\boxed{1}", "speak", "RIGHT B", "refresh", "C \\boxed{2}", "speak", "RIGHT D", "refresh"], history=2
    )
    assert "RIGHT B" not in session.call.prompt
    assert "Round 3, proposer_0: C" in session.call.prompt
    assert "Round 4, reviewer_1: RIGHT D" in session.call.prompt


@pytest.mark.parametrize(
    ("knobs", "agents"),
    [
        ({"controllers": "none"}, ["proposer_0", "reviewer_1", "proposer_0", "reviewer_1", "proposer_0"]),
        ({"review": False}, ["proposer_0", "proposercontroller_0", "proposer_0", "proposercontroller_0", "proposer_0"]),
        ({"controllers": "reviewer", "rounds": 3}, ["proposer_0", "reviewercontroller_1", "reviewer_1", "proposer_0"]),
        ({"controllers": "proposer", "rounds": 3}, ["proposer_0", "reviewer_1", "proposercontroller_0", "proposer_0"]),
        ({"bundles": 1, "rounds": 2}, ["proposer_0", "reviewercontroller_0", "reviewer_0"]),
        ({"bundles": 3, "controllers": "none"}, ["proposer_0", "reviewer_1", "proposer_2", "reviewer_0", "proposer_1"]),
    ],
)
def test_ablations(knobs, agents):
    session = played(**knobs)
    while not session.over:
        agent = session.call.agent
        session.reply(
            "refresh" if agent.startswith("proposerc") else "speak" if "controller" in agent else "RIGHT \\boxed{1}"
        )
    assert asked(session) == agents


def test_early_stop():
    session = played(SIX, "speak", "RIGHT", stop_votes=1)
    assert session.over
    assert session.answer == SIX
    assert not played(SIX, "speak", "RIGHT", stop_votes=2).over


def test_a_refresh_without_an_answer_can_be_dropped():
    replies = (SIX, "skip", "refresh", BAD, "skip", "keep")
    assert played(*replies, keep_answer=True).answer == SIX
    assert played(SIX, "skip", "refresh", BAD, "skip").call.agent == "proposer_0", "refreshed by force"

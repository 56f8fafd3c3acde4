"""The workflows that search, turn by turn: who is asked in which order, who sees what, what is claimed, what ends it."""

from __future__ import annotations

from typing import Any

import pytest

from llm_marl_envs import Ask, Claim, Malformed, Session, Status, UseTool, make_workflow
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.reading import final_answer, passages_in, tagged, verdict_in
from llm_marl_envs.session import Limits, Play
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import listed

QUESTION = Question("q/0", "Where was the author of Emma born?", answer_format="Write <answer>...</answer>.")
AUSTEN = 'Doc 1(Title: "Emma") A novel by Jane Austen.\nDoc 2(Title: "Oslo") A city.'
STEVENTON = 'Doc 1(Title: "Jane Austen") Born in Steventon.\nDoc 2(Title: "Oslo") A city.'
EMMA, OSLO, BORN = '(Title: "Emma") A novel by Jane Austen.', '(Title: "Oslo") A city.', '(Title: "Jane Austen") Born in Steventon.'  # fmt: skip


def played(name: str, *replies: str, **knobs: Any) -> Session:
    return Session(Play(make_workflow(name, **knobs), QUESTION, limits=Limits(None, None)), replies)


def turns(session: Session) -> list[str]:
    """Who acts, in order; a tool's use as agent:tool."""
    calls = [call for call, _, _ in session.events if isinstance(call, Ask | UseTool)]
    return [call.agent if isinstance(call, Ask) else f"{call.agent}:{call.args['query']}" for call in calls]


def prompts(session: Session, agent: str) -> list[str]:
    return [call.prompt for call, _, _ in session.events if type(call) is Ask and call.agent == agent]


def notes(session: Session) -> list[Any]:
    return [call for call, reply, _ in session.events if reply is None]


# Search and answer (DAC).

FIRST, SECOND, STOP = "<think>Who wrote it?</think><search>Emma author</search>", "<think>SECRET</think><search>Austen born</search>", "<think>Enough.</think><stop>"  # fmt: skip
SAID = "<answer>Steventon</answer>"
ANSWER = f"<think>Doc 3.</think>{SAID}"  # the thinking is in the record, but no part of the answer


def test_the_searcher_searches_until_it_stops_and_the_generator_answers():
    session = played("search_answer", FIRST, AUSTEN, SECOND, STEVENTON, STOP, ANSWER)
    assert turns(session) == [
        "searcher_0", "searcher_0:Emma author", "searcher_0", "searcher_0:Austen born", "searcher_0", "generator_0",
    ]  # fmt: skip
    assert notes(session) == [
        Claim("searcher_0", f"{EMMA}\n{OSLO}", "evidence"),
        Claim("searcher_0", f"{EMMA}\n{OSLO}\n{BORN}", "evidence"),
        Claim("generator_0", SAID),
    ]
    assert (session.status, session.answer) == (Status.FINISHED, SAID)


def test_short_prompts_leave_out_how_to_reply():
    session = played("search_answer", FIRST, AUSTEN, STOP, ANSWER, style="short", abstain=True)
    asked = f"Question: {QUESTION.text}\nSearch or stop."
    assert prompts(session, "searcher_0") == [asked, AUSTEN]
    passages = f"[1] {EMMA}\n[2] {OSLO}"
    declining = " If the passages do not suffice, answer unknown."
    assert prompts(session, "generator_0") == [f"Question: {QUESTION.text}\n{passages}\nAnswer.{declining}"]
    plain = played("search_answer", FIRST, AUSTEN, STOP, ANSWER, style="short")
    assert prompts(plain, "generator_0") == [f"Question: {QUESTION.text}\n{passages}\nAnswer."]
    with pytest.raises(ConfigError, match="style is 'full' or 'short'; got 'long'"):
        make_workflow("search_answer", style="long")


def test_the_generator_sees_question_and_passages_and_nothing_of_the_searchers():
    session = played("search_answer", FIRST, AUSTEN, SECOND, STEVENTON, STOP)
    (prompt,) = (session.call.prompt,)
    for part in (QUESTION.text, "[1] " + EMMA, "[2] " + OSLO, "[3] " + BORN, QUESTION.answer_format):
        assert part in prompt
    for hidden in ("SECRET", "Who wrote it", "Emma author", "Austen born", "Enough"):
        assert hidden not in prompt
    assert "unknown" not in prompt
    assert session.messages(session.call) == ({"role": "user", "content": prompt},)


def test_the_searcher_goes_on_with_its_own_conversation():
    session = played("search_answer", FIRST, AUSTEN, SECOND, STEVENTON)
    chat = session.messages(session.call)
    assert [m["content"] for m in chat[1::2]] == [FIRST, SECOND]
    assert chat[2]["content"] == f"<information>{AUSTEN}</information>"
    assert chat[4]["content"] == f"<information>{STEVENTON}</information>"
    assert "4 searches" in chat[0]["content"]
    assert QUESTION.answer_format not in chat[0]["content"], "it does not answer"


@pytest.mark.parametrize("limit", [1, 2, 4])
def test_the_searchers_turns_are_bounded(limit):
    session = played("search_answer", turns=limit)
    while not session.over:
        session.reply(FIRST if session.call.agent == "searcher_0" else ANSWER)
    assert turns(session) == ["searcher_0", "searcher_0:Emma author"] * limit + ["generator_0"]


def test_the_generator_can_be_asked_after_every_search():
    """Turn-level rewards (DAC, section 3.2): evidence and answer are claimed at each turn, and the last answer is the team's."""
    session = played(
        "search_answer", FIRST, AUSTEN, "<answer>unknown</answer>", SECOND, STEVENTON, ANSWER, STOP, every_turn=True
    )
    assert [(n.agent, n.kind) for n in notes(session)] == [("searcher_0", "evidence"), ("generator_0", "answer")] * 2
    assert session.answer == SAID
    assert prompts(session, "generator_0")[0].count("Title") == 2
    assert prompts(session, "generator_0")[1].count("Title") == 3
    at_once = played("search_answer", STOP, every_turn=True)
    assert at_once.call.agent == "generator_0", "without a search it is asked once"


def test_abstention_is_for_training():
    assert "answer unknown" in played("search_answer", STOP, abstain=True).call.prompt
    assert "unknown" not in played("search_answer", STOP).call.prompt


@pytest.mark.parametrize(
    ("reply", "query"),
    [
        ("<stop>", ""),
        ("<stop> <search>x</search>", ""),
        ("<search>x</search><stop>", "x"),
        ("<search> two words </search>", "two words"),
        ("<search></search>", None),
        ("<search>never closed", None),
        ("Search for x.", None),
        ("", None),
    ],
)
def test_what_a_searcher_says(reply, query):
    session = played("search_answer", reply)
    if query:
        assert session.call == UseTool("searcher_0", "search", {"query": query})
    else:
        assert session.call.agent == "generator_0"
        assert "(none)" in session.call.prompt
        assert notes(session) == ([] if query == "" else [Malformed("searcher_0", "<search>query</search> or <stop>")])


def test_an_unreadable_reply_can_be_asked_for_again():
    session = played("search_answer", "Hm.", "Hm.", unparseable="retry", turns=3)
    assert session.call.agent == "searcher_0"
    assert session.messages(session.call)[-1]["content"] == "Write <search>query</search>, or <stop>."
    session.reply("Hm.")
    assert session.call.agent == "generator_0", "three turns are used up"


def test_hard_positives_are_given_passages():
    session = played("search_answer", ANSWER, given=(BORN, OSLO, EMMA))
    assert turns(session) == ["generator_0"]
    assert f"[1] {BORN}\n[2] {OSLO}\n[3] {EMMA}" in prompts(session, "generator_0")[0]
    assert session.answer == SAID


# Route and search (Dr. MAS).

YES, NO = "Clear. <verify>yes</verify>", "Unclear. <verify>no</verify>"


def test_the_verifier_routes_to_search_or_answer():
    session = played("route_search", NO, FIRST, AUSTEN, NO, SECOND, STEVENTON, YES, ANSWER)
    assert turns(session) == [
        "verifier_0", "searcher_0", "searcher_0:Emma author", "verifier_0", "searcher_0", "searcher_0:Austen born",
        "verifier_0", "answerer_0",
    ]  # fmt: skip
    assert [(n.agent, n.kind) for n in notes(session)] == [("searcher_0", "evidence")] * 2 + [("answerer_0", "answer")]
    assert "(none)" in prompts(session, "verifier_0")[0]
    assert f"[3] {BORN}" in prompts(session, "verifier_0")[2]
    assert f"[3] {BORN}" in prompts(session, "answerer_0")[0]
    assert "SECRET" not in "".join(prompts(session, "verifier_0") + prompts(session, "answerer_0"))
    assert session.answer == SAID


def test_routing_ends():
    session = played("route_search", turns=2)
    while not session.over:
        session.reply({"verifier_0": NO, "searcher_0": FIRST, "answerer_0": ANSWER}[session.call.agent])
    assert [t for t in turns(session) if ":" not in t] == ["verifier_0", "searcher_0"] * 2 + ["answerer_0"]


@pytest.mark.parametrize(("missing", "then"), [("yes", "answerer_0"), ("no", "searcher_0")])
def test_a_missing_verdict_of_the_router(missing, then):
    session = played("route_search", "I think so.", missing=missing)
    assert session.call.agent == then
    assert notes(session) == [Malformed("verifier_0", "<verify>yes</verify> or <verify>no</verify>")]


def test_a_searcher_without_a_query_costs_its_turn():
    session = played("route_search", NO, "Let me think.")
    assert notes(session) == [Malformed("searcher_0", "<search>query</search>")]
    assert session.call.agent == "verifier_0"


# Rewrite, rerank, answer (MHGPO).


def test_queries_run_at_once_and_the_reranker_orders_what_they_find():
    session = played(
        "rewrite_rerank_answer",
        "<search>one</search> <search>two</search>",
        AUSTEN,
        STEVENTON,
        "<keep>3, 1</keep>",
        ANSWER,
    )
    assert turns(session) == ["rewriter_0", "rewriter_0:one", "rewriter_0:two", "reranker_0", "answerer_0"]
    assert [wave for call, _, wave in session.events if type(call) is UseTool] == [1, 1]
    assert f"[1] {EMMA}\n[2] {OSLO}\n[3] {BORN}" in prompts(session, "reranker_0")[0], "each passage once"
    assert f"[1] {BORN}\n[2] {EMMA}" in prompts(session, "answerer_0")[0]
    assert OSLO not in prompts(session, "answerer_0")[0]
    assert notes(session) == [
        Claim("rewriter_0", f"{EMMA}\n{OSLO}\n{BORN}", "evidence"),
        Claim("reranker_0", f"{BORN}\n{EMMA}", "evidence"),
        Claim("answerer_0", SAID),
    ]


def test_what_cannot_be_read_falls_back():
    session = played("rewrite_rerank_answer", "Find Emma.", keep=1)
    assert session.call == UseTool("rewriter_0", "search", {"query": QUESTION.text})
    session.reply(AUSTEN)
    session.reply("<keep>9, 77777</keep>")
    assert f"[1] {EMMA}\n" in session.call.prompt
    assert OSLO not in session.call.prompt
    assert [n.agent for n in notes(session) if type(n) is Malformed] == ["rewriter_0", "reranker_0"]


def test_nothing_found_is_not_reranked():
    session = played("rewrite_rerank_answer", "<search>x</search>", "No passage was found.")
    assert session.call.agent == "answerer_0"
    assert "(none)" in session.call.prompt


def test_queries_and_passages_are_bounded():
    many = "".join(f"<search>{i}</search>" for i in range(50))
    assert len(played("rewrite_rerank_answer", many, queries=2).waiting) == 2
    session = played("rewrite_rerank_answer", "<search>x</search>", AUSTEN, "<keep>2, 2, 1</keep>", keep=1)
    assert f"[1] {OSLO}\n" in session.call.prompt
    assert EMMA not in session.call.prompt


# Readers.


def test_readers():
    assert tagged("<a>1</a><a>2</a>", "a") == "1"
    assert tagged("<a> </a>", "a") is None
    assert tagged("<a>" + "x" * 2001 + "</a>", "a") is None
    assert verdict_in("<verify>no</verify> then <verify> YES </verify>", "verify", "yes", "no") is True
    assert verdict_in("<verify>yes</verify><verify>", "verify", "yes", "no") is None
    assert passages_in("one\n\ntwo\n") == ["one", "two"]
    assert passages_in("No passage was found.") == []
    assert listed([]) == "(none)"
    for reply, answer in [
        ("so \\boxed{4}", "4"), ("<answer>a</answer> <answer>b</answer>", "b"), ("**Final answer:** 7.", "7"), ("x", None),
        ("```python\nx = 1\n```", "x = 1"), ("\\boxed{}", None), ("Final answer:", None),
    ]:  # fmt: skip
        assert final_answer(reply) == answer

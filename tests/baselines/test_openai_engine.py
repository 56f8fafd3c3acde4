"""Endpoints: what is asked of them, what is read, and that nothing is lost or counted wrongly when they fail."""

from __future__ import annotations

import re
import time

import pytest

httpx = pytest.importorskip("httpx")

from chat_server import reply, serving  # noqa: E402

from baselines.engines import openai  # noqa: E402
from baselines.engines.openai import OpenAIEngine  # noqa: E402
from baselines.types import Request, Sampling  # noqa: E402
from llm_marl_envs import Ask  # noqa: E402
from llm_marl_envs.errors import ConfigError  # noqa: E402


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(openai, "sleep", waits.append)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return waits


def ask(text: str = "What is 1 + 1?", seed: int = 5, **sampling) -> Request:
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": text})
    return Request(
        "p",
        messages,
        seed,
        Ask("solver_0", text),
        sampling=Sampling(**{"temperature": 0.5, "max_tokens": 9, **sampling}),
    )


def engine(server, **settings) -> OpenAIEngine:
    return OpenAIEngine(server.url, **settings)


def test_what_is_asked_and_what_is_read():
    with serving(lambda body, n: reply("two")) as server:
        done = engine(server, key="secret").generate([ask(top_p=0.9, top_k=5, stop=("</s>",))])
        assert done[0].text == "two"
        assert (done[0].counted, done[0].tokens, done[0].token_ids, done[0].finish) == ((7, 3), (7, 3), (), "stop")
        assert server.asked == [
            {
                "model": "served",
                "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 1 + 1?"}],
                "temperature": 0.5, "max_tokens": 9, "seed": 5, "stream": False, "top_p": 0.9, "top_k": 5, "stop": ["</s>"],
            }
        ]  # fmt: skip
        assert server.keys == ["Bearer secret"]
        plain = engine(server, model="mine", extra={"chat_template_kwargs": {"enable_thinking": False}})
        assert "secret" not in repr(engine(server, key="secret"))
        plain.generate([ask(temperature=0.0, seed=2**40)])
        assert server.asked[1].keys() == {
            "model",
            "messages",
            "temperature",
            "max_tokens",
            "seed",
            "stream",
            "chat_template_kwargs",
        }
        assert (server.asked[1]["model"], server.asked[1]["temperature"], server.keys[1]) == ("mine", 0.0, None)
        assert 0 <= server.asked[1]["seed"] < 2**31
        assert plain.generate([]) == []


def test_thinking_that_is_sent_apart_is_recorded_as_thinking():
    with serving(lambda body, n: reply("4", **{("reasoning_content", "reasoning")[n]: "2 + 2"})) as server:
        one = engine(server)
        assert [one.generate([ask()])[0].text for _ in range(2)] == ["<think>2 + 2</think>4"] * 2


def test_answers_come_in_order_and_as_many_at_once_as_allowed():
    def slow(body, n):
        time.sleep(0.03)
        return reply(body["messages"][-1]["content"])

    with serving(slow) as server:
        done = engine(server, at_once=3).generate([ask(str(i)) for i in range(12)])
        assert [c.text for c in done] == [str(i) for i in range(12)]
        assert server.most_at_once == 3


@pytest.mark.parametrize(
    "bad",
    [(500, b"oops"), (429, {"error": "slow down"}), (503, b""), (0, b""), (200, b"<html>"), (200, {"choices": []}), (200, {"choices": [{}]}),
     (200, []), (200, b"null"), (200, {"choices": [{"message": {"content": 3}}]}), (200, b"\xff\xfe"), (408, b"")],
)  # fmt: skip
def test_another_try_helps(bad, no_waiting):
    with serving(lambda body, n: bad if n < 2 else reply("two")) as server:
        one = engine(server)
        assert one.generate([ask()])[0].text == "two"
        assert (one.usage.tries, one.usage.replies, one.usage.failures, one.usage.tokens) == (3, 1, 0, 10)
        assert len(no_waiting) == 2
        assert 0.25 <= no_waiting[0] <= 0.5 <= no_waiting[1] <= 1.0


def test_the_server_says_how_long_to_wait(no_waiting):
    waits = ["3", "0.5", "1000", "Fri, 27 Nov 2026 10:00:00 GMT"]
    with serving(lambda body, n: (429, b"", {"Retry-After": waits[n]}) if n < 4 else reply("two")) as server:
        engine(server).generate([ask()])
    assert no_waiting[:3] == [3.0, 0.5, 30.0]
    assert 2.0 <= no_waiting[3] <= 4.0


@pytest.mark.parametrize(
    ("bad", "says", "tries"),
    [((500, b"oops"), r"v1: 500 oops", 3), ((0, b""), "RemoteProtocolError", 3), ((400, {"error": "prompt too long"}), "400 .*prompt too long", 1),
     ((413, b"large"), "413 large", 1), ((200, b"nothing"), "an answer that is no reply", 3)],
)  # fmt: skip
def test_an_ask_that_fails_says_why_and_the_others_go_on(bad, says, tries):
    with serving(lambda body, n: bad if "1" in body["messages"][-1]["content"] else reply("fine")) as server:
        one = engine(server, tries=3)
        first, second, third = one.generate([ask("0"), ask("1"), ask("2")])
        assert (first.text, third.text, second.text, first.failure) == ("fine", "fine", "", "")
        assert re.search(says, second.failure)
        assert (one.usage.failures, one.usage.replies, one.usage.tries) == (1, 2, 2 + tries)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_every_ask_would_get_is_the_callers_mistake(status):
    with (
        serving(lambda body, n: (status, b"no")) as server,
        pytest.raises(ConfigError, match=rf"refuses 'served': {status} no\. Check the address"),
    ):
        engine(server).generate([ask()])


def test_settings_are_checked_before_anything_is_sent():
    with pytest.raises(ConfigError, match="starts with http:// or https://"):
        OpenAIEngine("localhost:8000")
    with pytest.raises(ConfigError, match="at_once and tries start at 1"):
        OpenAIEngine("http://x/v1", tries=0)
    with serving(lambda body, n: reply("x"), models=("a", "b")) as server:
        with pytest.raises(ConfigError, match=r"serves a, b; name one of them"):
            engine(server).generate([ask()])
        gone = engine(server)
    with pytest.raises(ConfigError, match=r"does not say which models it serves \(ConnectError.*\); is it up"):
        gone.generate([ask()])
    assert engine(server, model="m", tries=2).generate([ask()])[0].failure.startswith(server.url)


def test_a_budget_ends_asks_unsent():
    with serving(lambda body, n: reply("x")) as server:
        one = engine(server, budget=25, at_once=1)
        done = one.generate([ask(str(i)) for i in range(6)])
        assert [bool(c.failure) for c in done] == [False, False, False, True, True, True], "30 tokens after the third"
        assert "the budget of 25 tokens is used up" in done[3].failure
        assert (len(server.asked), one.usage.failures) == (3, 3)


def test_half_a_character_is_sent_as_a_question_mark():
    with serving(lambda body, n: reply("\ud83d")) as server:
        assert engine(server).generate([ask("a\ud800b")])[0].text == "\ud83d"
        assert server.asked[0]["messages"][1]["content"] == "a?b"

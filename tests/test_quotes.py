"""Who read whom, as far as a prompt's text shows it."""

from __future__ import annotations

import pytest
from cases import every

from llm_marl_envs.quotes import Said, Sayings, Shown, parts_of

SAID = [
    Said(0, "worker_0", "I found 12", frozenset({"I found 12"})),
    Said(1, "worker_1", "I found 12", frozenset({"I found 12"})),
    Said(2, "worker_0", "I found 7 of them", frozenset({"I found 7 of them"})),
    Said(3, "worker_0", "I found 12", frozenset({"I found 12"})),
    Said(4, "worker_2", "12", frozenset()),
    Said(5, "worker_3", "\\boxed{3}\nI am sure.", frozenset({"I am sure."})),
]


@every(
    ("prompt", "events"),
    {
        "all who said it, each by the latest": ("They say:\nI found 12", [1, 3, 4]),
        "named in the line": ("worker_1 reports: I found 12\nworker_2 reports: nothing", [1, 4]),
        "two named in two lines": ("worker_1 reports: I found 12\nworker_0 reports: I found 12", [1, 3, 4]),
        "named in another line only": ("worker_1 is here.\nSomebody: I found 12", [1, 3, 4]),
        "a line among others": ("Look:\n  I am sure.  \nWell?", [5]),
        "quoted inside a line": ("Is 'I found 7 of them' right?", [2]),
        "over two lines": ("It says \\boxed{3}\nI am sure. Is it?", [5]),
        "not inside a word": ("There are 312 or 120 or x12.", []),
        "not the beginning of a longer number": ("I found 123", []),
        "beside punctuation": ("(12)", [4]),
        "beside letters of a script without spaces": ("答案是12吗", [4]),
        "nothing": ("", []),
    }.values(),
)
def test_what_a_prompt_holds(prompt, events):
    sayings = Sayings()
    for said in SAID:
        sayings.add(said)
    assert [number for number, _ in sayings.held_by(prompt, parts_of(prompt))] == events


def test_lines_and_what_follows_a_colon():
    assert parts_of("worker_1 says: 3 x 4 = 12\nshort\nA longer line") == {
        "worker_1 says: 3 x 4 = 12\nshort\nA longer line": "",
        "worker_1 says: 3 x 4 = 12": "",
        "3 x 4 = 12": " worker_1 says",
        "A longer line": "",
    }


def test_the_same_text_after_two_names():
    assert parts_of("worker_1: I found 12\nworker_2: I found 12")["I found 12"].split() == ["worker_1", "worker_2"]


@pytest.mark.parametrize("text", ["12", "a\n12", "ab", ""])
def test_short_texts_that_prompts_have_held(text):
    shown = Shown()
    assert ("12" in shown) is False
    shown.add("He said 12, not 3.\nab")
    assert text in shown
    assert "4" not in shown
    shown.add("Then 4.")
    assert "4" in shown

"""Thinking is not the answer: every reader, grader, menu and vote sees only what is said outside it."""

from __future__ import annotations

import pytest
from cases import cpu_s, every
from code_programs import fenced, program_of
from hypothesis import given
from hypothesis import strategies as st

from llm_marl_envs import Play, Session, make_task, make_workflow
from llm_marl_envs.grading.mathematics import grade_math
from llm_marl_envs.grading.numbers import final_number
from llm_marl_envs.grading.spans import Gold, grade_span
from llm_marl_envs.reading import (
    accepts,
    boxed,
    chosen,
    final_answer,
    find_program,
    is_abstention,
    spoken,
    tagged,
    thought_left_open,
    verdict_in,
    verdict_of,
)
from llm_marl_envs.task import Question

PROGRAM = "```python\nprint(1)\n```"


@every(
    ("reply", "said"),
    [
        # closed
        ("<think>a</think>b", "b"),
        ("<think>\n\n</think>\n\nstop", "stop"),
        ("<THINK>a</Think>b", "b"),
        ("< think >a</ think >b", "b"),
        ('<think duration="3 s">a</think>b', "b"),
        ("a<think>b</think>c", "a\nc"),
        ("<think>a</think>b<think>c</think>d", "b\nd"),
        ("b <think>a</think>", "b"),
        *((f"<{name}>a</{name}>b", "b") for name in ("thought", "thoughts", "reason", "reasoning", "thinking", "scratchpad")),
        ("[THINK]a[/THINK]b", "b"),
        ("◁think▷a◁/think▷b", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|>b", "b"),
        ("<seed:think>a</seed:think>b", "b"),
        ("<think/>b", "b"),
        # of its own kind
        ("<think>a</reason>b", ""),
        ("<think>a <reason>b</reason> c</think>d", "d"),
        ("<think>a</thinking>b", "b"),
        # unclosed
        ("<think>a", ""),
        ("b<think>a", "b"),
        ("<think>a</think>b<think>c", "b"),
        # only closed: the prompt opened it
        ("a</think>b", "b"),
        ("a\n</reasoning>\nb", "b"),
        ("</think>b", "b"),
        # slips
        ("<think><think>a</think>b", "b"),
        ("<think>a <think>b</think> c</think>d", "d"),
        ("<think>a</think>b</think>", "b"),
        # fences
        (f"<think>```python\nx</think>\n{PROGRAM}", PROGRAM),
        (f"x\n```python\ntorn\n</think>\n{PROGRAM}", PROGRAM),
        (f"<think>{PROGRAM}</think>", ""),
        ('```python\ns = "<think>"\n```', '```python\ns = "<think>"\n```'),
        ('```python\nprint(s.split("</think>")[1])\n```', '```python\nprint(s.split("</think>")[1])\n```'),
        ('```python\nre.sub(r"<think>.*?</think>", "", s)\n```', '```python\nre.sub(r"<think>.*?</think>", "", s)\n```'),
        ("```\n<think>\n```\nb", "```\n<think>\n```\nb"),
        ("```\nnever closed <think>a", "```\nnever closed"),
        # mentioned
        ("I write no `<think>` here", "I write no `<think>` here"),
        ("<think>Then I say '</think>' and go on</think>b", "b"),
        # not marks at all
        ("a < b and think > c", "a < b and think > c"),
        ("<thinker>a</thinker>b", "<thinker>a</thinker>b"),
        ("  as it was  ", "  as it was  "),
        ("", ""),
    ],
)  # fmt: skip
def test_what_is_said(reply, said):
    assert spoken(reply) == said


MARKS = ("<think>", "</think>", "<reason>", "</reason>", "[THINK]", "[/THINK]", "```", "```python", "\n", "a", '"', "<", "`", "\\boxed{7}")  # fmt: skip


@given(st.lists(st.sampled_from(MARKS), max_size=14).map("".join))
def test_what_is_said_holds_no_more_thinking_than_it_mentions(reply):
    said = spoken(reply)
    assert len(said) <= len(reply)
    assert spoken(said) == spoken(spoken(said))
    if not set("`\"'") & set(reply):
        assert spoken(said) == said


@pytest.mark.parametrize(
    "reply",
    ["<think>" * 100_000, "</think>" * 100_000, "<think></think>" * 60_000, "```\n<think></think>\n" * 40_000, "<" * 1_000_000,
     "```x\n<think></think>\n" * 40_000, "<think " * 100_000, '"<think>' * 100_000, "```\n" + '</think>"' * 100_000 + "\n```"],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_a_megabyte_takes_no_time(reply):
    assert cpu_s(lambda: spoken(reply)) < 2.0


@every(
    ("prompt", "mark"),
    [
        ("<|im_start|>assistant\n<think>\n", "<think>"),
        ("<|im_start|>assistant\n<think>\n\n</think>\n\n", ""),
        ("<|im_start|>assistant\n", ""),
        ("Reason inside <think> and </think>.<|im_end|>\n<|im_start|>assistant\n", ""),
        ("[THINK]", "[THINK]"),
    ],
)
def test_whether_a_prompt_opens_a_thought(prompt, mark):
    assert thought_left_open(prompt) == mark


# Every reader.

THOUGHT = "<think>I get \\boxed{17}. No.</think>The answer is 18."


def test_the_answer_is_18():
    assert final_number(THOUGHT).value == 18
    assert grade_math("18", THOUGHT).value == 1.0
    assert grade_math("17", THOUGHT).value == 0.0
    assert grade_span(Gold(("18",)), THOUGHT.replace("The answer is 18.", "18")).value == 1.0
    assert grade_span(Gold(("17",)), THOUGHT.replace("The answer is 18.", "18")).value == 0.0


@every("thought", ["<think>{}", "<think>a</think><think>{}", "<reason>\n{}", "{}</think>", "<think>{}</think>"])
def test_nothing_in_a_thought_counts(thought):
    def only(text: str) -> str:
        return thought.format(text)

    boxes = only("\\boxed{7} so \\boxed{7}. \\boxed{7}")
    assert boxed(boxes) is final_answer(boxes) is final_number(boxes).value is None
    assert grade_math("7", boxes).value == grade_span(Gold(("7",)), boxes).value == 0.0
    assert final_number(only("7")).value is None
    assert final_number(only("#### 7")).value is None
    assert find_program(only(f"\n{PROGRAM}\n")) is None
    assert final_answer(only(f"\n{PROGRAM}\n")) is None
    assert tagged(only("<search>q</search>"), "search") is None
    assert accepts(only("\\boxed{Correct}")) is None
    assert verdict_of(only("RIGHT")) is None
    assert verdict_in(only("<verify>yes</verify>"), "verify", "yes", "no") is None
    assert chosen(only("stop"), ("stop", "continue")) is None
    assert not is_abstention(only("unknown"))


@pytest.mark.parametrize("name", ["arithmetic", "snippets", "atlas"])
def test_graders_of_tasks_read_past_thoughts(name):
    task = make_task(name, train_size=3)
    problem = task.problems("train")[0]
    gold = getattr(problem.gold, "answers", (str(problem.gold),))[0]
    if name == "snippets":
        right, wrong = fenced(program_of(problem)), fenced("def solve(value):\n    return 0")
    else:
        right, wrong = f"\\boxed{{{gold}}}", "\\boxed{12345}"
    assert task.grade(problem, f"<think>{wrong}</think>\n{right}").value == 1.0
    assert task.grade(problem, f"<think>{right}</think>\n{wrong}").value == 0.0
    assert task.grade(problem, f"<think>{right}").value == 0.0


# Workflows.

QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")


def played(name: str, *replies: str, **knobs: object) -> Session:
    return Session(Play(make_workflow(name, **knobs), QUESTION), replies)


def test_no_agent_reads_what_another_one_thinks():
    """But what it thought stands in the record, and in its own conversation."""
    session = played(
        "eval_opt", "<think>secret</think>\\boxed{10}", "<think>hidden</think>\\boxed{Incorrect}", memory=True
    )
    assert not [
        e
        for e in session.events
        if "secret" in getattr(e.call, "prompt", "") or "hidden" in getattr(e.call, "prompt", "")
    ]
    assert [r.text[:7] for r in session.replies] == ["<think>"] * 2
    assert "secret" in session.messages(session.call)[1]["content"]
    session = played("debate", *["<think>secret</think>\\boxed{12}", "\\boxed{13}", "\\boxed{14}"])
    assert not any("secret" in call.prompt for call in session.waiting)
    assert "\\boxed{12}" in session.waiting[1].prompt


def test_a_search_and_a_menu_after_a_thought():
    session = played("search_answer", "<think>...not <stop> yet...</think><search>q</search>")
    assert session.call.args == {"query": "q"}
    session = played("search_answer", "<reason>Peru? <search>a</search></reason>\n<search>b</search>", tag="reason")
    assert session.call.args == {"query": "b"}
    session = played("search_answer", "<think>Enough.</think><stop>", "<think>Lima?</think><answer>Oslo</answer>")
    assert session.answer == "<answer>Oslo</answer>"
    session = played("swarm", "<think>\n\n</think>\n\n2")
    assert [e.call.agent for e in session.events if type(e.call).__name__ == "Spawn"] == ["worker_0", "worker_1"]


def test_a_debate_agrees_on_nested_boxes():
    half = "So it is \\boxed{\\frac{1}{2}}."
    session = played("debate", half, "\\boxed{2}", half, half, half, "\\boxed{2}", decide="majority")
    assert session.answer == half

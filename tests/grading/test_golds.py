"""Golds that can be graded fairly, golds that cannot, and graders for which none could."""

from __future__ import annotations

import json

import pytest
from cases import every

from llm_marl_envs import make_task
from llm_marl_envs.grading import golds
from llm_marl_envs.grading.golds import unfair
from llm_marl_envs.task import Score

FAIR = (
    r"N=n", r"221,$8", r"m_{\max }=n^{2}-n-1", r"x=5", r"f(x)=2 x", r"k=1, n=2", r"(1,1),(2,3)", r"\frac{1}{2 n+2}",
    r"n \geq 3", r"x \in \mathbb{R}", r"-1 \leq a<0", r"(-\infty, 3)", r"2^{2012}", r"\frac{1}{2004!}", r"\{1,2,3\}",
    r"p=2 \text{ or } p=3", r"\text{No}", r"\left(1,8,19\right), (2,7,13)", r"(x, y)=(1,2)", r"\binom{n}{2}",
    r"\lfloor n/2 \rfloor", r"45^{\circ}", r"60\%", r"\$18", r"10:30", r"1-\frac{1}{e}", r"5 \text{ or } 7", r"a_n=n",
    r"\pm \sqrt{3}", r"1,000,000", r"1{,}000", "-3", "7/8", "all even n",
)  # fmt: skip


@every("gold", FAIR)
def test_fair(gold):
    assert unfair((gold,), (None,)) == ""


def test_several_golds_are_all_needed():
    assert unfair(("1", "-2"), (None, None)) == ""
    assert unfair(("$4\\pi$".strip("$"),), (0.1,)) == ""


@every(
    ("gold", "why"),
    [
        ("5\u200b x", "refuses the spelling"),
        ("(" * 20 + "x" + ")" * 20, "refuses the spelling"),
    ],
)
def test_golds_that_their_own_grader_refuses(gold, why):
    assert why in unfair((gold,), (None,))


@every(
    ("grader", "gold", "why"),
    [
        (lambda golds, reply: reply == f"\\boxed{{{golds[0]}}}", "x = 3", "refuses the spelling 'x=3'"),
        (lambda golds, reply: "0=1" not in reply, "N=n", "accepts '1=1'"),
        (lambda golds, reply: "1" not in reply.replace("12", ""), "N=n", "accepts 'n=n'"),
        (lambda golds, reply: "0=1" not in reply and "1=1" not in reply, "12,x", "accepts '12'"),
        (lambda golds, reply: True, "x", "accepts '0=1'"),
    ],
)
def test_graders_that_are_not_fair(grader, gold, why):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(golds, "grade_math", lambda gold, reply, tolerance: Score(float(grader(gold, reply)), ""))
        assert why in unfair((gold,), (None,))


def test_rows_with_such_golds_are_left_out_and_listed(tmp_path):
    rows = [{"problem": "What?", "answer": answer} for answer in ("5", "5\u200b x", "N=n")]
    (tmp_path / "math500").mkdir()
    (tmp_path / "math500" / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = make_task("math500", data_dir=str(tmp_path))
    assert [problem.question.id for problem in task.problems("test")] == ["math500/test/0", "math500/test/2"]
    (only,) = task.left_out("test").items()
    assert only[0] == "math500/test/1"
    assert "refuses the spelling" in only[1]

"""The arithmetic task: splits that share nothing, knobs that mean what they say, answers that Python agrees with."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from llm_marl_envs import make_task
from llm_marl_envs.errors import UnknownName
from llm_marl_envs.tasks import arithmetic
from llm_marl_envs.tasks.arithmetic import SPLITS, Arithmetic, split_of, value_of
from llm_marl_envs.testing import check_task


def sums(task: Arithmetic, split: str) -> list[tuple[str, ...]]:
    """The problems as their terms and operators: ("47", "+", "58")."""
    return [tuple(p.question.text.removeprefix("What is ").rstrip("?").split(" ")) for p in task.problems(split)]


KNOBS = [
    {},
    {"digits": 1},
    {"digits": 1, "terms": 3, "operators": "+-*"},
    {"digits": 3},
    {"terms": 4, "operators": "-"},
    {"digits": 2, "terms": 3, "operators": "*+"},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_the_contract(knobs):
    check_task(make_task("arithmetic", train_size=300, test_size=50, **knobs), sample=20)


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_knobs_and_answers(knobs):
    task = Arithmetic(train_size=300, test_size=50, **knobs)
    digits, terms, operators = task.digits, task.terms, task.operators
    for split in SPLITS:
        for problem, expression in zip(task.problems(split), sums(task, split), strict=True):
            numbers, signs = expression[::2], expression[1::2]
            assert len(numbers) == terms
            assert all(len(n) == digits and n.isdecimal() and n[0] != "0" for n in numbers)
            assert set(signs) <= set(operators)
            gold = eval(" ".join(expression))
            assert problem.gold == gold
            assert task.grade(problem, f"So \\boxed{{{gold}}}").value == 1.0
            assert task.grade(problem, f"So \\boxed{{{gold + 1}}}").value == 0.0
    assert {sign for e in sums(task, "train") for sign in e[1::2]} == set(operators), "every operator is used"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ((2, "+", 3, "*", 4), 14),
        ((2, "*", 3, "+", 4), 10),
        ((9, "-", 2, "-", 3), 4),
        ((9, "-", 2, "*", 3, "*", 2, "+", 1), -2),
        ((5,), 5),
    ],
)
def test_precedence(expression, value):
    assert value_of(expression) == value


def test_splits_share_nothing_whatever_the_seed_and_the_order_of_terms():
    content: dict[str, set[tuple[str, ...]]] = {split: set() for split in SPLITS}
    for seed in range(4):
        for operators in ("+", "+-"):
            for split in SPLITS:
                task = Arithmetic(seed=seed, operators=operators, train_size=2000, test_size=400)
                content[split] |= {tuple(sorted(expression)) for expression in sums(task, split)}
    assert all(len(found) > 500 for found in content.values())
    assert not content["train"] & content["test"]
    assert not content["train"] & content["validation"]
    assert not content["validation"] & content["test"]


def test_commuted_terms_are_in_one_split():
    for a in range(10, 40):
        for b in range(10, 40):
            assert split_of((a, "+", b)) == split_of((b, "+", a))
    assert split_of((11, "+", 12, "*", 13)) == split_of((13, "*", 11, "+", 12))


def test_shares_of_the_splits():
    every = [split_of((a, "+", b)) for a in range(10, 100) for b in range(a, 100)]
    for split, share in SPLITS.items():
        assert 100 * every.count(split) / len(every) == pytest.approx(share, abs=2)


def test_a_small_space_is_listed_without_repeats():
    task = Arithmetic(digits=1)
    found = [expression for split in SPLITS for expression in sums(task, split)]
    assert sorted(found) == sorted((str(a), "+", str(b)) for a in range(1, 10) for b in range(1, 10))


def test_a_large_space_is_drawn_without_repeats():
    found = sums(Arithmetic(digits=4, train_size=3000), "train")
    assert len(set(found)) == len(found) == 3000


def test_drawing_stops_when_nothing_new_is_found(monkeypatch):
    monkeypatch.setattr(arithmetic, "ENUMERABLE", 0)
    task = Arithmetic(digits=1, seed=77)  # nobody else's: problems are made once and kept
    drawn = {split: sums(task, split) for split in SPLITS}
    listed = [(str(a), "+", str(b)) for a in range(1, 10) for b in range(1, 10)]
    assert sorted(e for found in drawn.values() for e in found) == sorted(listed)


def test_ids_are_shared_by_no_two_seeds_or_splits():
    ids = [
        problem.question.id
        for seed in (-1, 0, 1, 2, 11)
        for split in SPLITS
        for problem in Arithmetic(seed=seed, train_size=200, test_size=50).problems(split)
    ]
    assert len(set(ids)) == len(ids) == 5 * 300


def test_neighbouring_seeds_are_no_shifted_copies():
    found = [sums(Arithmetic(seed=seed, digits=3, train_size=300), "train") for seed in (0, 1, 2)]
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert len(set(found[one]) & set(found[other])) <= 5
    listed = [sums(Arithmetic(seed=seed, train_size=300), "train") for seed in (0, 1)]
    assert sum(a == b for a, b in zip(*listed, strict=True)) <= 3


def test_a_task_is_a_pure_function_of_its_knobs():
    here = [(p.question.id, p.question.text) for p in Arithmetic(digits=3, train_size=40).problems("train")]
    code = (
        "from llm_marl_envs.tasks.arithmetic import Arithmetic; "
        "print([(p.question.id, p.question.text) for p in Arithmetic(digits=3, train_size=40).problems('train')])"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == str(here)
    assert (
        Arithmetic(digits=3, train_size=20).problems("train")
        == Arithmetic(digits=3, train_size=40).problems("train")[:20]
    )


def test_a_question_holds_no_answer():
    (problem, *_) = Arithmetic(digits=3).problems("train")
    assert str(problem.gold) not in repr(problem.question)
    assert problem.question.answer_format == "Give the answer in \\boxed{}."


def test_unknown_splits_are_named():
    with pytest.raises(UnknownName, match=r"no split of arithmetic 'tests'\. Did you mean 'test'"):
        Arithmetic().problems("tests")


# Grading, as far as it is the tasks' own.


@pytest.mark.parametrize("name", ["arithmetic", "gsm8k"])
def test_grades(name, gsm8k_dir):
    task = make_task(name, gsm8k_dir)
    problem = task.problems("train")[0]
    gold = problem.gold
    for paid in (f"\\boxed{{{gold}}}", f"The answer is {gold}.", f"#### {gold}", f"{gold}.0"):
        assert task.grade(problem, paid).value == 1.0, paid
    every = " ".join(f"\\boxed{{{i}}}" for i in range(200))
    for unpaid in (
        None,
        "",
        "a",
        problem.question.text,
        f"\\boxed{{{gold}}} or \\boxed{{{gold + 1}}}",
        every,
        f"not {gold}",
    ):
        assert task.grade(problem, unpaid).value == 0.0, unpaid
    assert task.grade(problem, str(gold)).read == str(gold)
    assert task.grade(problem, "none").read is None
    other = task.grade(problem, str(gold), "evidence")
    assert (other.value, other.why) == (0.0, "this task grades answers, not evidence")


def test_no_tolerance():
    problem = Arithmetic().problems("train")[0]
    for near in (problem.gold + Fraction(1, 10**9), -problem.gold):
        assert Arithmetic().grade(problem, f"\\boxed{{{float(near):.12f}}}").value == 0.0

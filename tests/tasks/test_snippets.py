"""Snippets: every problem does what its words say, differs from others in its examples, and is in one split only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from cases import sizes
from code_programs import (
    cases_of,
    dict_program,
    expression_of,
    fenced,
    program_of,
    shown_of,
)

from llm_marl_envs import make_task
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.tasks import snippets
from llm_marl_envs.testing import check_task


def test_every_step_of_snippets_does_what_its_words_say():
    tried = 0
    for name, family in snippets.families().items():
        for step in family.steps:
            expression = expression_of(step.words)
            for value in snippets.pool(name, "test", 60):
                assert step.does(value) == eval(expression, {"value": value}), (step.words, value)
                tried += 1
    assert tried > 5000


@pytest.mark.parametrize("steps", [1, 2])
def test_snippets_keep_the_contract(steps):
    check_task(make_task("snippets", steps=steps, train_size=60, test_size=20), sample=20)


@sizes("count", 20, 200)
def test_programs_by_the_words_pass(count):
    task = make_task("snippets", train_size=count)
    for problem in task.problems("train"):
        score = task.grade(problem, fenced(program_of(problem)))
        assert score.value == 1.0, (problem.question.text, score)
        by_heart = dict_program(shown_of(problem))
        assert task.grade(problem, fenced(by_heart)).value == 0.0
        assert task.tools["run_examples"](by_heart, question=problem.question) == ("3 of 3 examples pass.", 1.0)


def test_no_constant_and_no_copy_passes():
    for problem in make_task("snippets").problems("test"):
        cases = cases_of(problem.gold.graded[0].text)
        hidden = [case for case in cases if case not in shown_of(problem)]
        assert len(hidden) == snippets.HIDDEN
        results = [repr(wanted) for _, wanted in hidden]
        assert max(map(results.count, results)) <= 5
        assert any(given != wanted for given, wanted in cases)


@pytest.mark.parametrize("described", [True, False])
def test_the_examples_tell_the_function_from_all_others(described):
    """By brute force over everything the family can do in two steps, whether or not it is another way to say the same."""
    task = make_task("snippets", described=described, seed=5, train_size=40)
    for problem in task.problems("train"):
        name = next(n for n, f in snippets.families().items() if f"Its value is {f.takes}." in problem.question.text)
        steps = snippets.families()[name].steps
        shown, cases = shown_of(problem), cases_of(problem.gold.graded[0].text)
        others = [(a,) for a in steps] + [(a, b) for a in steps if not a.ends for b in steps] + [()]
        agree = [f for f in others if all(snippets.apply(f, given) == wanted for given, wanted in shown)]
        assert agree
        for function in agree:
            assert all(snippets.apply(function, given) == wanted for given, wanted in cases)
        assert ("It must do this" in problem.question.text) is described


@sizes("seeds", 1, 4)
def test_splits_share_no_function_over_seeds(seeds):
    words = {split: set() for split in snippets.SPLITS}
    ids = []
    for seed in range(seeds):
        task = make_task("snippets", seed=seed, train_size=5000, test_size=5000)
        for split, found in words.items():
            problems = task.problems(split)
            found |= {re.search(r"It must do this: (.*)\nExamples", p.question.text)[1] for p in problems}
            ids += [p.question.id for p in problems]
            assert all(p.question.id.startswith(f"snippets/{split}/{seed}/") for p in problems)
    assert len(ids) == len(set(ids))
    assert not words["train"] & words["test"]
    assert not words["train"] & words["validation"]
    assert not words["validation"] & words["test"]
    assert len(words["train"]) > 1000
    assert len(words["test"]) > 100


def test_snippets_are_a_pure_function_of_their_knobs():
    here = [p.question.text for p in make_task("snippets", seed=3, train_size=50).problems("train")]
    assert here != [p.question.text for p in make_task("snippets", seed=4, train_size=50).problems("train")]
    asked = "import json; from llm_marl_envs import make_task; print(json.dumps([p.question.text for p in make_task('snippets', seed=3, train_size=50).problems('train')]))"
    run = subprocess.run(
        [sys.executable, "-c", asked],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONHASHSEED": "77"},
        check=True,
    )
    assert json.loads(run.stdout) == here
    longer = make_task("snippets", seed=3, train_size=80).problems("train")
    assert [p.question.text for p in longer[:50]] == here
    with pytest.raises(ValueError, match="steps are 1 to 3"):
        snippets.Snippets(steps=4)


@pytest.mark.parametrize("examples", [0, 1, 2, 8])
def test_fewer_examples_are_shown_and_all_are_graded(examples):
    for whole, problem in zip(
        *(make_task("snippets", train_size=12, examples=n).problems("train") for n in (None, examples)), strict=True
    ):
        assert problem.gold.graded == whole.gold.graded
        assert problem.gold.shown == whole.gold.shown[:examples]
        assert problem.question.text.count("assert solve(") == min(examples, len(whole.gold.shown))
        assert whole.question.text.startswith(problem.question.text.removesuffix("\n```"))
        assert ("Examples" in problem.question.text) is (examples > 0)
    task = make_task("snippets", train_size=12, examples=examples)
    shown = min(examples, len(whole.gold.shown))
    said = (
        f"{shown} of {shown} examples pass." if examples else "The problem statement shows no example that can be run."
    )
    assert task.tools["run_examples"](fenced(program_of(whole)), question=problem.question).text == said


def test_examples_that_cannot_be():
    for knobs in (
        {"examples": 2, "described": False},
        {"examples": 0, "described": False},
        {"examples": -1},
        {"examples": 101},
    ):
        with pytest.raises(ConfigError, match="snippets does not accept"):
            make_task("snippets", **knobs)


def test_the_code_of_the_steps_passes():
    task = make_task("snippets", train_size=8)
    for problem in task.problems("train"):
        program = snippets.program_of(problem.gold.code)
        assert len(program.splitlines()) == 2 + len(problem.gold.code)
        assert task.grade(problem, fenced(program)).value == 1.0
        assert snippets.families()[problem.gold.takes].takes in problem.question.text

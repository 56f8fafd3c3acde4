"""Code tasks on the real data sets, where LLM_MARL_DATA points to a folder that has them."""

from __future__ import annotations

import ast
import functools
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import sizes

from llm_marl_envs import make_task

HUMANEVAL, MBPP = {"test": 164}, {"prompt": 10, "train": 374, "validation": 90, "test": 500}


@functools.cache
def real(name: str, splits: tuple[str, ...]):
    """(task, [(problem, reference program, the functions under test)])."""
    folder = os.environ.get("LLM_MARL_DATA")
    if not folder or not (Path(folder) / name).is_dir():
        pytest.skip(f"needs LLM_MARL_DATA with a folder {name}")
    task, found = make_task(name), []
    for split in splits:
        for problem, row in zip(task.problems(split), task.rows(split), strict=True):
            if name == "humaneval":
                found.append((problem, row["prompt"] + row["canonical_solution"], {row["entry_point"]}))
            else:
                called = {n.id for n in ast.walk(quietly("\n".join(row["test_list"]))) if isinstance(n, ast.Name)}
                found.append((problem, row["code"], called))
    return task, found


def quietly(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the data sets' own escapes
        return ast.parse(text)


def gutted(program: str, names: set[str], body: str) -> str:
    """The program with another body of the functions under test."""
    tree, changed = quietly(program), 0
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in names:
            node.body = ast.parse(body).body
            changed += 1
    assert changed, f"none of {names} is defined by {program!r:.200}"
    return ast.unparse(tree)


def passing(name: str, splits, change: Callable[[str, set[str]], str], step: int = 1) -> tuple[int, list[str]]:
    """How many programs there are, and the ids of those that pass after a change; of every `step`th task."""
    task, found = real(name, tuple(splits))
    found = found[::step]
    replies = [(problem, f"So:\n```python\n{change(program, names)}\n```\n") for problem, program, names in found]
    return len(found), [problem.question.id for problem, reply in replies if task.grade(problem, reply).value == 1.0]


# Every seventh task of MBPP, all in the slow tests: a task takes 25 ms.
SOME = sizes(("step", "size"), (7, 140), (1, 974))


def test_every_reference_of_humaneval_passes():
    count, passed = passing("humaneval", HUMANEVAL, lambda program, names: program)
    assert count == len(passed) == 164


@SOME
def test_every_reference_of_mbpp_passes(step, size):
    count, passed = passing("mbpp", MBPP, lambda program, names: program, step)
    assert count == len(passed) == size


@sizes(("step", "size"), (4, 41), (1, 164))
@pytest.mark.parametrize("body", ["pass", "return 'a wrong constant'"])
def test_no_humaneval_program_without_its_body_passes(body, step, size):
    count, passed = passing("humaneval", HUMANEVAL, lambda program, names: gutted(program, names, body), step)
    assert count == size
    assert passed == []


@SOME
def test_no_mbpp_program_without_its_body_passes(step, size):
    count, passed = passing("mbpp", MBPP, lambda program, names: gutted(program, names, "pass"), step)
    assert count == size
    assert passed == []


@pytest.mark.slow
@pytest.mark.parametrize("constant", ["'a wrong constant'", "0", "1", "True", "False", "[]", "''"])
def test_which_mbpp_programs_with_a_constant_pass(constant):
    """See CONSTANT: all three tests of task 899 (can the array be sorted?) expect True."""
    _, passed = passing("mbpp", MBPP, lambda program, names: gutted(program, names, f"return {constant}"))
    assert passed == (["mbpp/train/298"] if constant in ("1", "True") else [])


@pytest.mark.slow
@pytest.mark.parametrize("constant", ["0", "1", "True", "False", "[]", "''"])
def test_no_humaneval_program_with_a_constant_passes(constant):
    _, passed = passing("humaneval", HUMANEVAL, lambda program, names: gutted(program, names, f"return {constant}"))
    assert passed == []


# What the statements themselves get wrong: a median of 15.0, and a pair of brackets that makes no tuple.
WRONGLY_SHOWN = {"humaneval/test/47", "humaneval/test/148"}


@sizes(("step", "having", "examples"), (4, 28, 86), (1, 126, 349))
def test_the_shown_examples_of_humaneval_are_those_of_its_references(step, having, examples):
    task, found = real("humaneval", tuple(HUMANEVAL))
    run = task.tools["run_examples"]
    said = {p.question.id: run(program, question=p.question).text for p, program, _ in found[::step]}
    counts = {id: re.match(r"(\d+) of (\d+) examples pass", text) for id, text in said.items()}
    assert sum(match is not None for match in counts.values()) == having
    assert sum(int(match[2]) for match in counts.values() if match) == examples
    assert {id for id, match in counts.items() if match and match[1] != match[2]} == WRONGLY_SHOWN & said.keys()


# Tasks whose tests all expect the same value: a constant is right by them.
CONSTANT = ["train/66", "train/73", "train/215", "train/298", "test/26", "test/192", "test/328"]


@pytest.mark.slow
def test_a_program_that_knows_mbpps_shown_test_by_heart_fails():
    """The shown test's result, whatever the arguments."""
    task, found = real("mbpp", tuple(MBPP))
    passed = []
    for problem, program, names in found:
        test = quietly(problem.gold.shown[0].name).body[0]
        assert isinstance(test, ast.Assert)
        assert isinstance(test.test, ast.Compare)
        reply = f"```python\n{gutted(program, names, f'return {ast.unparse(test.test.comparators[0])}')}\n```"
        assert task.tools["run_examples"](reply, question=problem.question) == ("1 of 1 examples pass.", 1.0)
        if task.grade(problem, reply).value == 1.0:
            passed.append(problem.question.id)
    assert passed == [f"mbpp/{id}" for id in CONSTANT]

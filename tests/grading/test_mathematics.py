"""Answers as mathematics: by hand, against Math-Verify itself, and under hostile replies and dying workers."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from cases import every, sizes

from llm_marl_envs.errors import WorkerFailed
from llm_marl_envs.grading import workers
from llm_marl_envs.grading.mathematics import grade_math, read_answers
from llm_marl_envs.grading.workers import Pool, compare

pytest.importorskip("math_verify")

RIGHT = [
    ("\\frac{1}{2}", "\\frac12"), ("\\frac{1}{2}", "0.5"), ("\\frac{1}{2}", "\\dfrac{2}{4}"), ("\\frac{1}{2}", "1/2"),
    ("0.5", "50\\%"), ("1,234", "1234"), ("10,\\!080", "10080"), ("5", "x=5"), ("x=5", "5"), ("5", "5.0"), ("36", "\\$36"),
    ("90^\\circ", "90"), ("90", "90^{\\circ}"), ("\\text{Evelyn}", "Evelyn"), ("\\text{(C)}", "C"), ("\\text{even}", "even"),
    ("(3, \\frac{\\pi}{2})", "\\left(3,\\frac{\\pi}{2}\\right)"), ("(3,4]", "(3, 4]"), ("p - q", "-q+p"), ("2k+2", "2(k+1)"),
    ("\\sqrt{51}", "\\sqrt{17 \\cdot 3}"), ("3\\sqrt{13}", "\\sqrt{117}"), ("1,-2", "-2,1"), ("\\pi", "\\pi "),
    ("x \\in [-2,7]", "[-2,7]"), ("y = 2x + 3", "2x+3"), ("864 \\mbox{ inches}^2", "864"), ("(2,\\infty)", "(2, \\infty)"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{bmatrix} 1 \\\\ 2 \\end{bmatrix}"), ("6 - 5i", "-5i+6"),
    ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}"), ("(x+1)^2", "x^2+2x+1"), ("\\frac43", "\\frac{4}{3}"), (".5", "0.50"),
    ("(x+1)^3", "x^3+3x^2+3x+1"), ("x^3+3x^2+3x+1", "(x+1)^3"), ("3/2", "1 1/2"), ("\\frac{3}{2}", "1 \\frac12"), ("1234", "1 234"),
    ("1234567", "1\\,234\\,567"), ("7", "7 \\text{ square centimetres}^2"), ("52_8", "52_{8}"), ("|x|", "|x|"), ("(2,3)", "(2, 3)"),
    ("7 \\text{ if it is odd}", "7 \\text{ if it is odd}"), ("e^{x^2}", "e^{x^{2}}"),
]  # fmt: skip
WRONG = [
    ("\\frac{1}{2}", "\\frac{2}{1}"), ("\\frac{1}{3}", "0.3333"), ("3", "1,2,3"), ("3", "3 or 4"), ("3", "2=3"), ("7", "\\pm 7"),
    ("7", "\\neq 7"), ("7", "not 7"), ("7", "7!"), ("7", "7\u200b"), ("even", "neve"), ("\\text{(C)}", "D"), ("C", "A, B, C, D"),
    ("(1,2)", "(2,1)"), ("(3,4]", "(3,4)"), ("1 \\pm \\sqrt{19}", "1-\\sqrt{19}"), ("1,-2", "1"), ("1,-2", "1,-2,3"),
    ("2k+2", "2k+3"), ("\\sqrt{51}", "7.14"), ("12", "1 2 3"), ("5", "five"), ("0.5", "0.51"), ("1234", "1,23,4"), ("10", "10x"),
    ("7", "9^{9^{9}}"), ("7", "9**9"), ("7", "1e999"), ("7", "7^{1000000}"), ("7", "(" * 50 + "7" + ")" * 50), ("7", ""),
    ("7", "3=7=7"), ("7", "\\boxed{6}7"), ("x", "\\int_0^1 \\sin(\\cos(\\exp(x^x))) dx"), ("7", "x" * 400), ("7", "7 \\lor 8"),
    ("\\{3, 500\\}", "3500"), ("(3,500)", "3500"), ("35", "3 5"), ("35", "3\\,5"), ("11/2", "1 1/2"), ("7", "\u0667"), ("7", "\uff17"),
    ("7", "8 | 7"), ("7", "8 \\to 7"), ("7", "8 \\mid 7"), ("7", "8 \\implies 7"), ("7", "8 \\Longleftrightarrow 7"), ("7", "8 -> 7"),
    ("7", "8 => 7"), ("7", "8 \u2192 7"), ("7", "8 & 7"), ("7", "8 \\\\ 7"), ("7", "7 \\text{ is wrong}"), ("7", "\\text{not }7"),
    ("7", "7 \\text{ would be what a careless reader says}"), ("7", "7_8"), ("52_8", "52_7"), ("7", "2^{2^{2^2}}"), ("7", "2^2^2"),
]  # fmt: skip


@every(("gold", "answer"), RIGHT)
def test_right(gold, answer):
    assert grade_math(gold, f"So it is $\\boxed{{{answer}}}$.").value == 1.0


@every(("gold", "answer"), WRONG)
def test_wrong(gold, answer):
    score = grade_math(gold, f"So it is $\\boxed{{{answer}}}$.")
    assert score.value == 0.0, score
    assert score.why


@every(
    ("reply", "answers"),
    [
        ("\\boxed{7}", ("7",)),
        ("first \\boxed{7}, so \\boxed{7}.", ("7",)),
        ("\\boxed{7} or \\boxed{8}", ("8", "7")),
        ("\\boxed{\\boxed{7}}", ("7",)),
        ("\\fbox{\\frac{1}{2}}", ("\\frac{1}{2}",)),
        ("\\boxed{7", ()),
        ("The answer is 7.", ("7",)),
        ("**Final answer:** $7$", ("$7$",)),
        ("#### 1,234", ("1,234",)),
        ("7", ("7",)),
        ("7\n8", ()),
        ("it is not \\boxed{7}", ()),
        ("", ()),
        ("x" * 300_000, ()),
    ],
)
def test_what_is_read_as_the_answer(reply, answers):
    assert read_answers(reply)[0] == answers


def test_boxes_must_agree_in_value():
    assert grade_math("\\frac{3}{2}", "\\boxed{1\\frac12} or \\boxed{\\frac32}").value == 1.0
    assert grade_math("\\frac{3}{2}", "\\boxed{\\frac12} or \\boxed{\\frac32}").value == 0.0


@every(
    ("golds", "answer", "value"),
    [
        (("1", "2"), "1, 2", 1.0), (("1", "2"), "2,1", 1.0), (("1", "2"), "1", 0.0), (("1", "2"), "1,2,3", 0.0),
        (("1", "2"), "1,1", 0.0), (("(1,2)", "(3,4)"), "(3,4), (1,2)", 1.0), (("(1,2)", "(3,4)"), "1,2,3,4", 0.0),
        (("\\frac12", "\\pi"), "\\pi \\text{ and } 0.5", 1.0),
    ],
)  # fmt: skip
def test_several_answers_are_all_needed(golds, answer, value):
    assert grade_math(golds, f"\\boxed{{{answer}}}").value == value


def test_tolerance():
    assert grade_math("\\pi", "\\boxed{3.14}", tolerance=0.01).value == 1.0
    assert grade_math("\\pi", "\\boxed{3.16}", tolerance=0.01).value == 0.0
    assert grade_math("\\pi", "\\boxed{3.14}").value == 0.0
    assert grade_math("2", "\\boxed{2.05}", tolerance=0.1).value == 1.0
    assert grade_math(("1.0", "2.0"), "\\boxed{2.04, 1.4}", tolerance=(0.5, 0.05)).value == 1.0
    assert grade_math(("1.0", "2.0"), "\\boxed{2.4, 1.04}", tolerance=(0.5, 0.05)).value == 0.0


def test_other_kinds():
    assert grade_math("7", "\\boxed{7}", "evidence").why == "this task grades answers, not evidence"


# Against Math-Verify, called directly.


def written(rng: Random, kind: str, n: int, d: int) -> str:
    """A number or a small structure in one of the ways that answers are written."""
    x = rng.choice("xyn")
    return {
        "integer": lambda: rng.choice([f"{n}", f"{n}", f"{n:,}", f"{n}.0", f" {n} ", f"${n}$"]),
        "decimal": lambda: rng.choice([f"{n / 8}", f"{n / 8:.4f}", f"{n}/8", f"\\frac{{{n}}}{{8}}"]),
        "ratio": lambda: rng.choice([f"\\frac{{{n}}}{{{d}}}", f"\\dfrac{{{n}}}{{{d}}}", f"{n}/{d}", f"\\frac{{{2 * n}}}{{{2 * d}}}", f"{n / d:.6f}", f"{n / d:.3f}"]),
        "percent": lambda: rng.choice([f"{n}\\%", f"{n / 100}", f"\\frac{{{n}}}{{100}}"]),
        "root": lambda: rng.choice([f"{d}\\sqrt{{2}}", f"\\sqrt{{{2 * d * d}}}", f"\\sqrt2 \\cdot {d}"]),
        "tuple": lambda: rng.choice([f"({n}, {d})", f"\\left({n},{d}\\right)", f"({d}, {n})"]),
        "set": lambda: rng.choice([f"\\{{{n}, {d}\\}}", f"\\{{{d}, {n}\\}}"]),
        "interval": lambda: rng.choice([f"[{n}, {n + d}]", f"({n}, {n + d}]", f"[{n}, {n + d})"]),
        "polynomial": lambda: rng.choice([f"{d}({x}+{n})", f"{d}{x}+{d * n}", f"{d * n}+{d}{x}", f"{x}^2+{n}{x}"]),
        "power": lambda: rng.choice([f"{d}^2", f"{d * d}", f"{d}^{{3}}"]),
    }[kind]()  # fmt: skip


def pairs(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    rng = Random(seed)
    kinds = ("integer", "decimal", "ratio", "percent", "root", "tuple", "set", "interval", "polynomial", "power")
    found = []
    for _ in range(count):
        kind, n, d = rng.choice(kinds), rng.randint(2, 60) * rng.choice((1, 1, 100, 12345)), rng.randint(2, 12)
        gold = written(rng, kind, n, d)
        same = rng.random() < 0.7
        answer = written(rng, kind, n if same else n + rng.randint(0, 1), d if same else d + 1)
        found.append((kind, gold, answer))
    return found


FEW_AND_MANY = [pytest.param(120, id="few"), pytest.param(3000, id="many", marks=pytest.mark.slow)]


def disagreements(written: Iterable[tuple[str, str]]) -> tuple[list[tuple[str, str, bool]], list[bool]]:
    """(gold, answer, our verdict) wherever Math-Verify, called directly, says otherwise; and all that it says."""
    differ, verdicts = [], []
    for gold, answer in written:
        ours, theirs = grade_math(gold, f"\\boxed{{{answer}}}").value == 1.0, compare(gold, answer)["equal"]
        verdicts.append(theirs)
        if ours != theirs:
            differ.append((gold, answer, ours))
    return differ, verdicts


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", FEW_AND_MANY)
def test_verdicts_are_math_verifys(caplog, count):
    caplog.set_level("CRITICAL")
    differ, verdicts = disagreements((gold, answer) for _, gold, answer in pairs(count))
    assert differ == []
    assert 0.25 < sum(verdicts) / count < 0.95, "both verdicts occur"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("count", FEW_AND_MANY)
def test_verdicts_on_plain_numbers_are_math_verifys(caplog, count):
    """These are mostly decided without asking Math-Verify."""
    caplog.set_level("CRITICAL")
    rng, written = Random(1), []
    while len(written) < count:
        n, d = rng.randint(-99, 99) * rng.choice((1, 1, 1000, 10**9)), rng.choice((1, 2, 4, 5, 8, 10, 100, 1000))
        forms = [f"{n}", f"{n}.0", f"{n / d}", f"\\frac{{{n}}}{{{d}}}", f"{n}/{d}" if n >= 0 else f"{n}"]
        gold, answer = rng.choice(forms), rng.choice([*forms, f"{n + 1}", f"{n + rng.choice((0.5, 0.1, 0.01))}"])
        if "e" not in gold + answer:
            written.append((gold, answer))
    differ, verdicts = disagreements(written)
    assert differ == []
    assert 0.2 < sum(verdicts) / count < 0.9, "both verdicts occur"


# Workers.

STUCK = "import sys, time; print('\"ready\"', flush=True); sys.stdin.readline(); time.sleep(600)"
DYING = "import sys, os; print('\"ready\"', flush=True); sys.stdin.readline(); os._exit(3)"


def test_a_killed_worker_is_replaced_and_its_item_tried_again():
    pool = Pool(1)
    try:
        assert pool.ask("x+1", "1+x")["equal"]
        (worker,) = [w for w in pool.idle.queue if w is not None]
        os.kill(worker.pid, signal.SIGKILL)
        assert pool.ask("x+2", "2+x")["equal"]
        (other,) = [w for w in pool.idle.queue if w is not None]
        assert other.pid != worker.pid
    finally:
        pool.close()
    with pytest.raises(ProcessLookupError):
        os.kill(other.pid, 0)


SLOW_ONCE = """
import json, sys, time
print('"ready"', flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if request["gold"] == "slow":
        time.sleep(1)
    print(json.dumps({"equal": request["gold"] == request["answer"], "read": True}), flush=True)
"""


def test_an_interrupted_question_is_not_answered_to_the_next_caller():
    pool = Pool(1, (sys.executable, "-c", SLOW_ONCE))
    try:
        assert pool.ask("x", "x")["equal"]
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            pool.ask("slow", "y")  # its answer would be: not equal
        signal.signal(signal.SIGALRM, old)
        assert [pool.ask("x", "x")["equal"], pool.ask("x", "y")["equal"], pool.ask("z", "z")["equal"]] == [
            True,
            False,
            True,
        ]
    finally:
        pool.close()


def test_a_child_that_dies_takes_only_its_item():
    """The worker's fork is killed at random during every other question, also while it is written to: every verdict is
    still right, and a kill costs one verdict at most."""
    pool = Pool(1)
    rng, kills = Random(0), []
    assert pool.ask("x+1", "1+x")["equal"]
    (worker,) = [w for w in pool.idle.queue if w is not None]
    children = f"/proc/{worker.pid}/task/{worker.pid}/children"

    def kill() -> None:
        with open(children) as file:
            for pid in file.read().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
                    kills.append(pid)

    def asked(i: int) -> dict:
        began = time.monotonic()
        verdict = pool.ask(f"x+{i}", f"{i + i % 2}+x")
        paces.append(time.monotonic() - began)
        return verdict

    paces: list[float] = []  # as things are now on this machine
    verdicts = [asked(0)]
    try:
        for i in range(1, 60):
            if i % 2:
                killer = threading.Timer(rng.random() * paces[-1], kill)
                killer.start()
                verdicts.append(asked(i))
                killer.join()
            else:
                verdicts.append(asked(i))
    finally:
        pool.close()
    assert [v.get("equal", "late") for v in verdicts if "late" not in v] == [
        i % 2 == 0 for i, v in enumerate(verdicts) if "late" not in v
    ]
    assert len(set(kills)) >= 12
    assert sum("late" in v for v in verdicts) <= len(kills)


@pytest.mark.parametrize("program", [DYING, "raise SystemExit", "print('nonsense')"])
def test_a_worker_that_cannot_be_had_is_said(program):
    pool = Pool(1, (sys.executable, "-c", program))
    with pytest.raises(WorkerFailed, match="was lost 2 times over one comparison"):
        pool.ask("x", "y")
    pool.close()


def test_a_stuck_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(workers, "WALL_S", -0.9)
    pool = Pool(1, (sys.executable, "-c", STUCK))
    began = time.monotonic()
    with pytest.raises(WorkerFailed, match="no answer"):
        pool.ask("x", "y")
    assert time.monotonic() - began < 40
    pool.close()


def test_a_slow_comparison_is_the_replys_fault_unless_the_gold_is_slow(monkeypatch):
    slow = "\\int_0^1 \\sin(\\cos(\\exp(x^x))) dx"
    score = grade_math("7", f"\\boxed{{{slow}}}")
    assert score.value == 0.0
    assert "takes more than" in score.why
    asked = []

    class Late:
        def ask(self, gold, answer, tolerance=None):
            asked.append((gold, answer))
            return {"late": "the comparison crashed"}

    monkeypatch.setattr(workers, "shared", Late)
    with pytest.raises(WorkerFailed, match="cannot be compared with itself"):
        grade_math("x+y", "\\boxed{x+z}")
    assert asked == [("x+y", "x+z"), ("x+y", "x+y")]


@sizes("count", 40, 10_000)
def test_eight_threads_grade_as_one(count):
    items = [(gold, f"\\boxed{{{answer}}}") for _, gold, answer in pairs(count, seed=5)]
    serial = [grade_math(*item) for item in items]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda item: grade_math(*item), items)) == serial
    assert {score.value for score in serial} == {0.0, 1.0}


def test_a_fork_has_workers_of_its_own():
    assert grade_math("x+1", "\\boxed{1+x}").value == 1.0
    ours = workers.shared()
    reading, writing = os.pipe()
    assert threading.active_count() >= 1
    child = os.fork()
    if child == 0:
        try:
            right = workers.shared() is not ours and grade_math("x+3", "\\boxed{3+x}").value == 1.0
            os.write(writing, b"right" if right else b"wrong")
            workers.shared().close()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"right"
    os.close(reading)
    os.close(writing)
    assert grade_math("x+4", "\\boxed{4+x}").value == 1.0

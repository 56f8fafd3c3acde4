"""What a program may try, and that it gains nothing by it."""

from __future__ import annotations

import itertools

import pytest
from cases import every, sizes
from code_programs import (
    HELPED,
    RIGHT_DECODED,
    fenced,
    three_problems,
)

from llm_marl_envs.tasks.families import code


@pytest.fixture(scope="module")
def problems():
    return three_problems()


# What a program may try before it answers wrongly, and that leaves a right answer right.
TAMPERING = {
    "prints passed": "print('passed'); print('OK'); import sys; print('Ran 3 tests in 0s\\n\\nOK', file=sys.stderr)",
    "patches unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\nunittest.main = lambda *a: None",
    "patches builtins": "import builtins\nbuiltins.AssertionError = type('A', (Exception,), {})\nbuiltins.all = lambda x: True\n"
    "builtins.abs = lambda x: 0\nbuiltins.check = lambda f: None",
    "defines check": "def check(candidate): pass\nMETADATA = {}\ncandidate = None",
    "defines math": "class math:\n    pi = 0.5\n    @staticmethod\n    def ceil(x): return 1",
    "patches modules": "import math, random, operator\nmath.pi = 0.5\nrandom.choice = lambda x: 'a'\noperator.eq = lambda a, b: True",
    "patches json": "import json\njson.dumps = lambda *a, **k: '[\"value\", 1]'\njson.loads = lambda *a, **k: None",
    "leaves an exit hook": "import atexit, os\natexit.register(lambda: print('passed'))",
    "catches signals": "import signal\ntry:\n    signal.signal(signal.SIGTERM, lambda *a: None)\nexcept Exception: pass",
    "closes nothing but traces": "import sys\nsys.settrace(lambda *a: None)\nsys.setrecursionlimit(3000)",
    "rewrites frames": "import sys\nframe = sys._getframe()\nwhile frame:\n    frame.f_globals['coded'] = lambda s: s\n    frame = frame.f_back",
    "looks for the tests": "import gc\nfound = [o for o in gc.get_objects() if isinstance(o, dict) and 'candidate' in o]",
    "reads its parent": "import os\nfor p in ('/proc/%d/mem' % os.getppid(), '/proc/self/environ', '/proc/1/cmdline'):\n"
    "    try: open(p, 'rb').read(100)\n    except OSError: pass",
}
# Programs that end early, or return something that is not an answer.
LYING = {
    "exits 0 at once": "import sys\nsys.exit(0)",
    "exits 0 without a word": "import os\nos._exit(0)",
    "raises SystemExit": "raise SystemExit",
    "exits when the module ends": "import atexit, os\natexit.register(os._exit, 0)\nimport sys\nsys.exit(0)",
    "sends its own verdict": "import os\nfor fd in (3, 4, 5):\n    for body in (b'[\"loaded\", null]', b'[\"value\", true]', b'[\"value\", 1]'):\n"
    "        try: os.write(fd, len(body).to_bytes(4, 'big') + body)\n        except OSError: pass\nos._exit(0)",
    "closes everything": "import os\nos.closerange(0, 100)",
    "does not parse": "def (:",
    "null bytes": "x = '\x00'",
    "lone surrogate": "x = '\ud800'",
    "a thousand brackets": "(" * 1000,
    "nothing": "",
}
ANSWERS = {
    "equal to all": "type('E', (), {'__eq__': lambda s, o: True, '__hash__': lambda s: 0, '__bool__': lambda s: True})()",
    "lying str": "type('S', (str,), {'__eq__': lambda s, o: True, '__ne__': lambda s, o: False, '__hash__': lambda s: 0})('q')",
    "lying int": "type('I', (int,), {'__eq__': lambda s, o: True, '__ne__': lambda s, o: False, '__hash__': lambda s: 0,"
    " '__sub__': lambda s, o: 0})(99)",
    "lying float": "type('F', (float,), {'__eq__': lambda s, o: True, '__lt__': lambda s, o: True, '__hash__': lambda s: 0})(9.9)",
    "lying list": "type('L', (list,), {'__eq__': lambda s, o: True, '__len__': lambda s: 1, '__hash__': None})([0])",
    "exit": "__import__('sys').exit(0)",
    "SystemExit": "(_ for _ in ()).throw(SystemExit(0))",
    "StopIteration": "next(iter(()))",
    "nothing": "None",
    "true": "True",
    "not a number": "float('nan')",
    "endless": "__import__('itertools').count()",
    "in itself": "(lambda l: l.append(l) or l)([])",
    "not implemented": "NotImplemented",
    "a mock": "__import__('unittest.mock').mock.MagicMock(return_value=1)",
    "any": "__import__('unittest.mock').mock.ANY",
}


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "apps"])
@every("trick", TAMPERING)
def test_tampering_changes_no_grade(problems, name, trick):
    task, problem, form = problems[name]
    assert task.grade(problem, fenced(f"{TAMPERING[trick]}\n{form.format(77)}")).value == 0.0
    if name != "apps" and trick not in ("defines math", "patches modules", "patches builtins", "patches json"):
        right = RIGHT_DECODED if name == "humaneval" else "def up(x):\n    return -int(-x // 1)"
        score = task.grade(problem, fenced(f"{TAMPERING[trick]}\n{right}"))
        assert score.value == 1.0, score  # so the trick did run, and the zero above is the answer's


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "apps"])
@every("trick", LYING)
def test_a_program_that_ends_early_is_wrong(problems, name, trick):
    task, problem, form = problems[name]
    score = task.grade(problem, fenced(f"{LYING[trick]}\n{form.format(77)}"))
    assert score.value == 0.0
    assert score.why
    assert score.read is not None


@pytest.mark.parametrize("name", ["humaneval", "mbpp", "apps"])
@every("answer", ANSWERS)
def test_an_answer_that_lies_is_wrong(problems, name, answer):
    task, problem, form = problems[name]
    assert task.grade(problem, fenced(form.format(ANSWERS[answer]))).value == 0.0


def test_the_tests_have_their_own_copy_of_a_prompts_functions(problems):
    task, problem, _ = problems["humaneval"]
    assert task.grade(problem, fenced(RIGHT_DECODED)).value == 1.0
    assert task.grade(problem, fenced("def coded(s): return s\ndef decoded(s): return s")).value == 0.0
    assert task.grade(problem, fenced(HELPED["prompt"] + HELPED["canonical_solution"])).value == 1.0
    uses = "def decoded(s):\n    return next(c for c in [''.join(chr(ord(x) - math.trunc(1.5)) for x in s)] if coded(c) == s)"
    assert task.grade(problem, fenced(uses)).value == 1.0  # which the prompt gave it
    assert task.grade(problem, fenced(f"from __future__ import annotations\n{uses}")).value == 1.0


def test_a_missing_function_is_not_pythons_own(tmp_path):
    from llm_marl_envs.tasks.mbpp import MBPP

    row = {
        "task_id": 3,
        "text": "Write a function sum that adds up a list.",
        "code": "def sum(xs):\n  t = 0\n  for x in xs: t += x\n  return t",
        "test_list": ["assert sum([1, 2]) == 3", "assert sum([]) == 0", "assert sum([5]) == 5"],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    task = MBPP()
    problem = task.read(row, "mbpp/test/0")
    assert task.grade(problem, fenced(row["code"])).value == 1.0
    assert task.grade(problem, fenced("x = 1")).value == 0.0
    assert task.grade(problem, fenced("def sum(xs): return 3")).value == 0.0


def test_an_exception_ends_no_loop_of_the_tests():
    from llm_marl_envs.tasks.mbpp import MBPP

    row = {
        "task_id": 4,
        "text": "Write a function that says whether a number is even.",
        "code": "def even(n):\n  return n % 2 == 0",
        "test_list": [
            "assert all(map(even, [2, 4]))",
            "assert list(filter(even, [1, 3])) == []",
            "assert [*map(even, ())] == []",
        ],
        "test_setup_code": "",
        "challenge_test_list": [],
    }
    task = MBPP()
    problem = task.read(row, "mbpp/test/0")
    assert task.grade(problem, fenced(row["code"])).value == 1.0
    for name in (
        "StopIteration",
        "StopAsyncIteration",
        "GeneratorExit",
        "IndexError",
        "SystemExit(0)",
        "KeyboardInterrupt",
    ):
        assert task.grade(problem, fenced(f"def even(n):\n    raise {name}")).value == 0.0


def test_what_is_graded_and_what_it_says(problems):
    task, problem, _ = problems["mbpp"]
    assert task.grade(problem, None) == (0.0, "no fenced block", None)
    assert task.grade(problem, "def up(x): return -int(-x // 1)") == (0.0, "no fenced block", None)
    assert task.grade(problem, fenced("import math\nup = math.ceil"), "evidence").value == 0.0
    right, wrong = fenced("def up(x):\n    return -int(-x // 1)"), fenced("def up(x):\n    return 1")
    assert task.grade(problem, f"{wrong}\n{right}").value == 1.0
    assert task.grade(problem, f"{right}\n{wrong}").value == 0.0
    assert task.grade(problem, right) == (1.0, "passes 1 of 1", "def up(x):\n    return -int(-x // 1)")
    assert "assert up(math.pi) == 4" in task.grade(problem, wrong).why
    assert "ZeroDivisionError" in task.grade(problem, fenced("def up(x):\n    return 1 / 0")).why
    assert "at most" in task.grade(problem, fenced("#" * (code.LONGEST + 1))).why


def test_cpu_time_decides_and_output_and_memory_are_limited(problems):
    from llm_marl_envs.tasks.apps import APPS

    task, (_, problem, _) = APPS(cpu_s=1.0), problems["apps"]
    right = "a, b = int(input()), int(input())\nprint((a + b) / 2)"
    assert task.grade(problem, fenced(f"import time\ntime.sleep(1.2)\n{right}")).value == 1.0
    assert "CPU" in task.grade(problem, fenced(f"while True: pass\n{right}")).why
    assert "kB" in task.grade(problem, fenced("while True: print('3.5' * 1000)")).why
    assert "memory" in task.grade(problem, fenced(f"x = bytearray(1 << 40)\n{right}")).why.lower()
    assert task.grade(problem, fenced(f"{right}\nprint('3.5')")).why.startswith(
        "test 1 of 3: expected '3.5', got '3.5\\n3.5'"
    )


STRANGE = {
    "(": 65_000,
    "1+": 32_000,
    "x=": 32_000,
    "not ": 16_000,
    "-": 65_000,
    "if 1:": 13_000,
    "def f():0\n": 6_500,
    "\u202e\u200b": 30_000,
    "\\boxed{": 9_000,
    "f'{": 20_000,
    "#": 65_000,
    "lambda:": 9_000,
    "[0,": 20_000,
    "'a'*9**9*": 7_000,
    "\t": 65_000,
    "x\n": 1_000_000,  # longer than what is run
}


@sizes("kinds", ("mbpp",), ("humaneval", "mbpp", "apps"))
def test_strange_programs_are_wrong_at_once(problems, kinds):
    for (task, problem, _), piece in itertools.product(map(problems.get, kinds), STRANGE):
        score = task.grade(problem, fenced(piece * STRANGE[piece] + "1"))
        assert score.value == 0.0
        assert "CPU time" not in score.why, "it ran into the limit"

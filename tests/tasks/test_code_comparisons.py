"""What tests compare: values from the program as they are, and nothing that numpy would stretch to fit."""

from __future__ import annotations

import pytest
from cases import every, sizes
from code_programs import fenced

from llm_marl_envs.tasks.humanevalplus import HumanEvalPlus
from llm_marl_envs.tasks.mbppplus import MBPPPlus
from llm_marl_envs.tools.sandbox import variants

pytestmark = pytest.mark.skipif(all(variants().values()), reason=f"no sandbox works here: {variants()}")

# The comparison of the hub's rows, and others that are as weak.
COMPARISONS = {
    "assert_allclose": "import numpy as np\ndef same(out, exp):\n    np.testing.assert_allclose(out, exp, atol=1e-6)\n",
    "allclose": "import numpy as np\ndef same(out, exp):\n    assert np.allclose(out, exp, atol=1e-6)\n",
    "isclose": "import numpy as np\ndef same(out, exp):\n    assert np.all(np.isclose(out, exp))\n",
    "almost equal": "import numpy\ndef same(out, exp):\n    numpy.testing.assert_array_almost_equal(out, exp)\n",
    "from numpy": "from numpy.testing import assert_allclose\ndef same(out, exp):\n    assert_allclose(out, exp)\n",
    "from numpy, allclose": "from numpy import allclose\ndef same(out, exp):\n    assert allclose(out, exp)\n",
}
CASES = ("2.8", "[0.5, 1.5]", "[[0.5], [1.5]]", "(0.5, 1.5)")
CHEATS = (
    "[]", "()", "range(0)", "[[]]", "{}", "set()", "''", "None", "iter(())", "Nothing()", "Everything()", "np.array([])", "np.zeros((0, 2))",
    "[2.8, 2.8]", "np.array([[2.8]])", "[None]", "np.empty((1, 0))", "Array()",
)  # fmt: skip
OBJECTS = """
import numpy as np
class Nothing:
    def __len__(self): return 0
    def __iter__(self): return iter(())
    def __getitem__(self, i): raise IndexError
class Everything:
    def __eq__(self, other): return True
    def __len__(self): return 1
    def __float__(self): return 2.8
    def __sub__(self, other): return 0.0
    __rsub__ = __sub__
    def __abs__(self): return 0.0
class Array:
    def __array__(self, *a, **k): return np.array([])
    __array_interface__ = {}
"""


def problem_of(comparison: str, expected: str):
    row = {
        "task_id": 2, "prompt": "Say it.", "code": f"def say():\n  return {expected}", "test_imports": [],
        "test_list": ["assert say() is not NotImplemented"], "test": f"{COMPARISONS[comparison]}\nsame(say(), {expected})",
    }  # fmt: skip
    return MBPPPlus().read(row, "mbppplus/test/0")


@sizes(("cases", "step"), (["2.8"], 3), (list(CASES), 1))
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_nothing_passes_that_numpy_would_stretch(comparison, cases, step):
    """Every third of the cheats with each comparison, another third with the next one; all of them in the slow tests."""
    task, first = MBPPPlus(), list(COMPARISONS).index(comparison) % step
    for expected in cases:
        problem = problem_of(comparison, expected)
        assert task.grade(problem, fenced(f"def say(): return {expected}")).value == 1.0
        some = CHEATS[first::step]
        paid = [cheat for cheat in some if task.grade(problem, fenced(f"{OBJECTS}\ndef say(): return {cheat}")).value]
        assert paid == [], expected


@every(
    ("expected", "said"),
    [
        ("2.8", "np.float64(2.8)"), ("2.8", "np.float32(2.8)"), ("2.0", "2"), ("[0.5, 1.5]", "(0.5, 1.5)"), ("[0.5, 1.5]", "np.array([0.5, 1.5])"),
        ("[[0.5], [1.5]]", "np.array([[0.5], [1.5]])"), ("[]", "[]"), ("[1.0, None]", "[1.0, None]"), ("[0.5, 1.5]", "[0.5 + 1e-9, 1.5]"),
    ],
)  # fmt: skip
def test_what_is_equal_passes(expected, said):
    task, comparison = MBPPPlus(), "assert_allclose" if "None" not in expected else "from numpy, allclose"
    problem = problem_of(comparison, expected)
    score = task.grade(problem, fenced(f"import numpy as np\ndef say(): return {said}"))
    assert score.value == (0.0 if "None" in expected else 1.0), score


VALUES = {
    "sorted(f()) == [1, 2]": "def f(): return {1: 'a', 2: 'b'}.keys()",
    "list(f()) == ['a', 'b']": "def f(): return {1: 'a', 2: 'b'}.values()",
    "dict(f()) == {1: 'a'}": "def f(): return {1: 'a'}.items()",
    "f() == {1, 2}": "def f(): return {1: 0, 2: 0}.keys()",
    "f() == {(1, 0)}": "def f(): return {1: 0}.items()",
    "sum(f()) == 6 and max(f()) == 3": "def f(): return {'a': 1, 'b': 2, 'c': 3}.values()",
    "1 in f() and 3 not in f()": "def f(): return {1: 0}.keys()",
    "len(f()) == 2": "def f(): return {1: 0, 2: 0}.items()",
    "sorted(f(2)) == [0, 1]": "def f(n): return (i for i in range(n))",
    "next(f()) == 1 and list(f()) == [1, 2, 3]": "import itertools\ndef f(): return itertools.chain([1], [2, 3])",
    "list(zip(f(), 'abc')) == [(0, 'a'), (1, 'b'), (2, 'c')]": "import itertools\ndef f(): return itertools.count()",
    "set(f()) == {(1, 2)}": "import itertools\ndef f(): return itertools.combinations([1, 2], 2)",
    "f()['a'] == 1": "import types\ndef f(): return types.MappingProxyType({'a': 1})",
    "f() == b'ab'": "def f(): return memoryview(b'ab')",
    "[*f().items()] == [(1, 2)]": "import collections\ndef f(): return collections.OrderedDict({1: 2})",
    "sorted(f()) == [1]": "import collections\ndef f(): return collections.OrderedDict({1: 2}).keys()",
}


@pytest.mark.timeout(120)
def test_one_way_values_are_values():
    from llm_marl_envs.tools.sandbox import shared

    box = shared()
    failed = [test for test, program in VALUES.items() if box.examine(program, f"assert {test}").status != "ok"]
    assert failed == []


@every(
    "tests",
    [
        "def once(xs):\n    freq_count = freq(xs)\n    return freq_count\nassert freq_count([1]) == {1: 1} == once([1])",
        "freq_count = freq_count([1])\nassert freq_count == {1: 1}",
        "assert [freq_count for freq_count in [1]] == [1]\nassert freq_count([1]) == {1: 1}",
        "for x in ([1], [2]):\n    assert freq_count(x) == {x[0]: 1}",
        "def check(candidate):\n    x = candidate\n    assert x([1]) == {1: 1}\ncheck(freq_count)",
    ],
)
def test_a_local_name_of_the_tests_may_be_the_programs(tests):
    """As in MBPP+ 88."""
    from llm_marl_envs.tools.sandbox import shared

    program = "def freq(xs): return {x: xs.count(x) for x in xs}\nfreq_count = freq"
    run = shared().examine(program, tests)
    assert run.status == "ok", run


def test_names_that_the_tests_define_are_not_the_programs():
    """A program cannot put its own things in the place of what tests define."""
    from llm_marl_envs.tools.sandbox import shared

    tests = "expected = 3\ndef same(a, b): return a == b\nassert same(f(), expected)"
    program = "expected = 1\ndef same(a, b): return True\ndef f(): return 1"
    assert shared().examine(program, tests).status == "failed"
    assert shared().examine("def f(): return 3", tests).status == "ok"


def test_a_row_whose_own_test_is_wrong_is_left_out_and_said():
    task, example = HumanEvalPlus(), HumanEvalPlus.card.examples[0].row
    assert task.read(example | {"task_id": "HumanEval/32"}, "humanevalplus/test/32").why.startswith("its test")
    assert (
        task.read(example | {"task_id": "HumanEval/33"}, "humanevalplus/test/33").question.id == "humanevalplus/test/33"
    )
    assert "HumanEval/32 (its test unpacks" in HumanEvalPlus.card.notes

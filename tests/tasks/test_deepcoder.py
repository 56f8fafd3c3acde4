"""DeepCoder's layouts: each kind of tests is read, or its row is left out. All rows are invented."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest
from cases import every
from code_programs import fenced

from llm_marl_envs import make_task
from llm_marl_envs.errors import ConfigError, DataError, UnknownName
from llm_marl_envs.tasks.deepcoder import DeepCoder, read_checks
from llm_marl_envs.tasks.families import code
from llm_marl_envs.tasks.families.code import Asserts, Exchange
from llm_marl_envs.tasks.families.dataset import LeftOut
from llm_marl_envs.tools.sandbox import JobLimits

CALL = {"type": "function_call", "fn_name": "f", "input": [[1, 2]], "output": [3]}


@every(
    ("tests", "name", "checks"),
    [
        ({"inputs": ["1\n"], "outputs": ["2\n"]}, None, [Exchange("1\n", "2\n", 1e-6)]),
        ({"inputs": [["1", "2"]], "outputs": [["3", "4"]], "fn_name": ""}, None, [Exchange("1\n2", "3\n4", 1e-6)]),
        ({"inputs": ["1"], "outputs": [["2"]], "fn_name": None}, None, [Exchange("1", "2", 1e-6)]),
        ([{"type": "stdin_stdout", "input": "1", "output": "2"}], None, [Exchange("1", "2", 1e-6)]),
        ([{"input": "1", "output": "2"}, {"input": "3", "output": "4"}], None, [Exchange("1", "2", 1e-6), Exchange("3", "4", 1e-6)]),
        ([{"input": "1", "output": "2", "testtype": "stdin_stdout"}], None, [Exchange("1", "2", 1e-6)]),
        ([{"input": "1", "output": "2", "testtype": "stdin", "metadata": {"func_name": None}}], None, [Exchange("1", "2")]),
        ({"input": "1", "output": "2", "testtype": "stdin"}, None, [Exchange("1", "2")]),
        ([], None, []),
        ({"inputs": [], "outputs": []}, None, []),
    ],
)  # fmt: skip
def test_tests_of_whole_programs(tests, name, checks):
    assert list(read_checks(tests, name, "x")) == checks


@every(
    ("tests", "name", "says"),
    [
        ([CALL], None, ["f([1, 2]) == [3]"]),
        ([{**CALL, "fn_name": None}], "g", ["g([1, 2]) == [3]"]),
        ([{**CALL, "input": "[1, 2]\n3", "output": 6}], None, ["f([1, 2], 3) == 6"]),
        ({"inputs": [[1, "a"], [{"1": 2}, "b"]], "outputs": [[2], 3], "fn_name": "h"}, None, ["h(1, 'a') == [2]", "h({1: 2}, 'b') == 3"]),
        ([{"input": "[1]\n2", "output": "[3]", "testtype": "functional"}], "k", ["k([1], 2) == [3]"]),
        ([{"input": "1", "output": "true", "testtype": "functional", "metadata": {"func_name": "m"}}], "k", ["m(1) == True"]),
        ([{"input": "1", "output": "2", "testtype": "functional", "metadata": '{"func_name": "m"}'}], None, ["m(1) == 2"]),
    ],
)  # fmt: skip
def test_tests_of_functions(tests, name, says):
    checks = read_checks(tests, name, "x")
    assert [check.name for check in checks if isinstance(check, Asserts)] == says
    assert len(checks) == len(says)


BROKEN = (
    None, "", "not JSON", "[" * 5000, "{}", "[]", '{"inputs": [], "outputs": []}', '{"inputs": ["1", "2"], "outputs": ["1"]}', '{"inputs": ["1"]}',
    '{"inputs": 3, "outputs": 4}', '{"inputs": [1], "outputs": [2]}', '{"inputs": ["x"], "outputs": ["y"], "fn_name": "f"}', "7", '"text"', "[7]", "[[]]",
    '[{"input": "1"}]', '[{"input": 1, "output": 2}]', '[{"input": "1", "output": "2", "type": "interactive"}]',
    '[{"input": "1", "output": "2", "testtype": "checker"}]', '[{"input": "1", "output": "2", "testtype": "functional"}]',
    '[{"input": "x y", "output": "2", "testtype": "functional", "metadata": {"func_name": "f"}}]', '[{"type": "function_call", "input": ["1"], "output": 2}]',
    '[{"type": "function_call", "fn_name": "not a name", "input": [1], "output": 2}]', '[{"type": "function_call", "fn_name": "f", "input": 1, "output": 2}]',
    '[{"type": "function_call", "fn_name": "f", "input": "one", "output": 2}]', '[{"input": "1", "output": "2"}, {"input": "1"}]',
    '{"inputs": [[1]], "outputs": [2], "fn_name": 5}', '{"inputs": [[[1]]], "outputs": ["2"]}',
)  # fmt: skip


@every("tests", BROKEN)
def test_rows_with_broken_tests_are_left_out(tests):
    assert isinstance(DeepCoder().read({"problem": "Do it.", "tests": tests}, "deepcoder/train/0"), LeftOut)


@every(
    "extra",
    [{"problem": ""}, {"problem": None}, {"metadata": "not JSON"}, {"metadata": 7, "problem": 8}],
)
def test_rows_without_a_statement_are_left_out(extra):
    row = {"problem": "Do it.", "tests": json.dumps([CALL])}
    assert not isinstance(DeepCoder().read(row, "x/train/0"), LeftOut)
    assert isinstance(DeepCoder().read(row | extra, "x/train/0"), LeftOut)


def test_what_a_question_says_and_what_it_shows():
    shown = {"input": "2\n3 4\n", "output": "7"}
    tests = [shown, {"input": "1\n5\n", "output": "5"}]
    row = {"problem": "Sum.\nInput\n2\n3 4\nOutput\n7\n", "tests": tests, "solutions": None, "starter_code": None}
    problem = DeepCoder().read(row, "deepcoder/test/0")
    assert problem is not None
    assert problem.gold.shown == (Exchange("2\n3 4\n", "7", 1e-6),)
    assert problem.question.text.endswith("Read standard input and write to standard output.")
    assert "\n5\n" not in problem.question.text
    call = DeepCoder().read({"problem": "Do it.", "tests": json.dumps([CALL])}, "deepcoder/train/0")
    assert call is not None
    assert call.question.text == "Do it.\n\nWrite the function f."


@every(
    ("solutions", "reference"),
    [
        (["print 1", "print(2)", "print(3)"], "print(2)"),
        (["```python\nprint(2)\n```"], "print(2)"),
        (["print 1"], ""),
        ([], ""),
        (None, ""),
        ([None, 7, "print(2)"], "print(2)"),
        ("print(2)", ""),
        (["(" * 10_000, "print(2)"], "print(2)"),
    ],
)
def test_the_reference_is_the_first_solution_in_python_3(solutions, reference):
    row = {"problem": "Do it.", "tests": json.dumps([{"input": "1", "output": "2"}]), "solutions": solutions}
    problem = DeepCoder().read(row, "deepcoder/train/0")
    assert problem is not None
    assert problem.gold.unpacked().reference == reference


@pytest.mark.slow
def test_limits_follow_a_reference_that_is_right():
    """A program of the reference's speed may take longer than `cpu_s`; where the reference is wrong, it may not."""
    slow = "s = 0\nfor i in range(12_000_000):\n    s += 1\nprint({})"
    for solution, value in (("s // s + 1", 1.0), ("s", 0.0)):
        row = {
            "problem": "Do it.",
            "tests": json.dumps([{"input": "1", "output": "2"}]),
            "solutions": [slow.format(solution)],
        }
        task = DeepCoder(cpu_s=0.3)
        problem = task.read(row, "deepcoder/train/0")
        assert problem is not None
        assert task.grade(problem, fenced(slow.format("1 + 1"))).value == value


def test_one_checks_limits_do_not_keep_the_others(monkeypatch):
    """What is remembered of a reference's need is by program and check; a problem's tests may be megabytes."""
    ran = []
    monkeypatch.setattr(code, "_run", lambda box, program, check, limits: (ran.append(check), ("ok", None, 1.0))[1])
    monkeypatch.setattr(code, "shared", lambda numpy=False: None)
    one, other = Exchange("1", "2", 0.125), Exchange("3", "4", 0.125)
    for checks in (
        code.Checks((one,), reference="never run elsewhere"),
        code.Checks((one, other), reference="never run elsewhere"),
    ):
        assert code._needed(checks, one, JobLimits(cpu_s=1.0), False).cpu_s == 4.0
    assert ran == [one]


# Folders in the hub's layout.


def rows_of(name: str) -> str:
    return json.dumps({"problem": name, "tests": [{"input": "1", "output": "2"}]}) + "\n"


def texts(task: DeepCoder, split: str) -> list[str]:
    return [problem.question.text.partition("\n")[0] for problem in task.problems(split)]


def test_configurations_in_a_folder(tmp_path):
    def put(place: str) -> None:
        file = tmp_path / "deepcoder" / f"{place}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(rows_of(place))

    for place in ("primeintellect/train", "taco/train", "lcbv5/test", "codeforces/test"):
        put(place)
    whole = DeepCoder(data_dir=str(tmp_path))
    assert texts(whole, "test") == ["codeforces/test", "lcbv5/test"]
    with pytest.raises(DataError, match=r"deepcoder/train\.jsonl"):
        whole.problems("train")
    put("lcbv5/train")
    assert texts(whole, "train") == ["primeintellect/train", "taco/train", "lcbv5/train"]
    assert texts(make_task("deepcoder", tmp_path, config="taco"), "train") == ["taco/train"]
    assert texts(make_task("deepcoder", tmp_path, config="lcbv5"), "test") == ["lcbv5/test"]
    put("train")
    assert texts(DeepCoder(data_dir=str(tmp_path), cpu_s=5.0), "train") == ["train"]


def test_splits_of_configurations(tmp_path):
    splits = {
        config: DeepCoder(config=config).splits for config in ("all", "primeintellect", "taco", "lcbv5", "codeforces")
    }
    assert splits == {
        "all": ("train", "test"),
        "primeintellect": ("train",),
        "taco": ("train",),
        "lcbv5": ("train", "test"),
        "codeforces": ("test",),
    }
    with pytest.raises(UnknownName, match="no split of deepcoder 'train'"):
        make_task("deepcoder", tmp_path, config="codeforces").problems("train")
    with pytest.raises(ConfigError, match="primeintellect"):
        DeepCoder(config="apps")


@pytest.mark.slow
def test_shards_of_configurations(tmp_path):
    parquet, table = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow").Table
    for place in ("codeforces/test-00000-of-00001", "lcbv5/test-00000-of-00002", "lcbv5/test-00001-of-00002"):
        file = tmp_path / "deepcoder" / f"{place}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        row = {"problem": place, "tests": '[{"input": "1", "output": "2"}]', "metadata": {"func_name": None}}
        parquet.write_table(table.from_pylist([row]), file)
    shards = ["lcbv5/test-00000-of-00002", "lcbv5/test-00001-of-00002"]
    assert texts(DeepCoder(data_dir=str(tmp_path)), "test") == ["codeforces/test-00000-of-00001", *shards]
    assert texts(DeepCoder(data_dir=str(tmp_path), config="lcbv5"), "test") == shards


def test_configurations_of_the_hub(monkeypatch):
    monkeypatch.delenv("LLM_MARL_DATA", raising=False)
    asked = []

    def load_dataset(repo, config, revision, split):
        asked.append((config, split))
        return [json.loads(rows_of(f"{config}/{split}"))]

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert texts(DeepCoder(cpu_s=7.0), "test") == ["codeforces/test", "lcbv5/test"]
    assert texts(DeepCoder(config="taco", cpu_s=7.0), "train") == ["taco/train"]
    assert asked == [("codeforces", "test"), ("lcbv5", "test"), ("taco", "train")]

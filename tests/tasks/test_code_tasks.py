"""Code tasks: how they are read, graded and given to agents."""

from __future__ import annotations

import base64
import json
import os
import pickle
import re
import zlib
from dataclasses import dataclass
from typing import ClassVar

import pytest
from code_programs import (
    fenced,
    program_of,
    three_problems,
)

from llm_marl_envs import make_task
from llm_marl_envs.envs.aec import WorkflowEnv
from llm_marl_envs.errors import ConfigError, DataError, ToolFailed
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.protocol import Ask, Roster, UseTool
from llm_marl_envs.session import Play, Session, Status
from llm_marl_envs.task import Question
from llm_marl_envs.tasks.families import code
from llm_marl_envs.tasks.families.dataset import LeftOut
from llm_marl_envs.tasks.livecodebench import unpack_tests
from llm_marl_envs.tools.sandbox import SandboxUnavailable
from llm_marl_envs.workflows.eval_opt import EvalOpt
from llm_marl_envs.workflows.solo import Solo


@pytest.fixture(scope="module")
def problems():
    return three_problems()


# Without a sandbox.


def refuse(numpy=False):
    raise SandboxUnavailable("no sandbox works here")


def test_without_a_sandbox_an_episode_fails(monkeypatch, problems):
    monkeypatch.setattr(code, "shared", refuse)
    task, problem, _ = problems["mbpp"]
    with pytest.raises(SandboxUnavailable):
        task.grade(problem, fenced("def up(x): return 1"))
    session = Session(Play(Solo(), problem.question, 0), [fenced("def up(x): return 1")])
    assert outcome_of(session, task, problem).status is Status.FAILED
    assert task.grade(problem, "no program").value == 0.0
    for tool in ("python", "run_examples"):
        given = {"question": make_task("snippets").problems("test")[0].question} if tool == "run_examples" else {}
        with pytest.raises(ToolFailed):
            make_task("snippets").tools[tool]("print(1)", **given)


# Claims.


def test_answers_and_verdicts_are_graded_by_the_truth():
    task = make_task("snippets")
    problem = task.problems("train")[0]
    right, wrong = fenced(program_of(problem)), fenced("def solve(value):\n    return value")
    replies = [wrong, "\\boxed{Incorrect}", right, "\\boxed{Incorrect}", right]
    outcome = outcome_of(Session(Play(EvalOpt(), problem.question, 0), replies), task, problem)
    assert outcome.team.value == 1.0
    verdicts = [score.value for claim, score in outcome.claims if claim.kind == "verdict"]
    answers = [score.value for claim, score in outcome.claims if claim.kind == "answer"]
    assert verdicts == [1.0, 0.0]
    assert answers[:2] == [0.0, 1.0]


# Tools.


def test_the_python_tool():
    run = make_task("snippets").tools["python"]
    assert run("print(6 * 7)") == ("42", 1.0)
    assert run("Sure!\n```python\nprint(6 * 7)\n```") == ("42", 1.0)
    assert run("") == ("(no output)", 0.0)
    text, worked = run("print(1)\n1 / 0")
    assert text.startswith("1\n")
    assert "ZeroDivisionError" in text
    assert worked == 0.0
    assert run("print(").worked == 0.0, "no traceback, and yet it does not run"
    text, worked = run("while True: pass")
    assert "Stopped: it takes more than 2 seconds of CPU time." in text
    assert worked == 0.0
    long, _ = run("print('a' * 5000); print('b' * 5000)")
    assert len(long) < 4200
    assert re.search(r"^a+ \[\.\.\. 6001 characters left out \.\.\.\] b+$", long)
    for strange in ("\x00", "\ud800", "```python", "(" * 100_000, "x" * 300_000, "\u202e", "import os; os._exit(0)"):
        assert isinstance(run(strange).text, str)


def test_run_examples_runs_what_the_question_shows_and_nothing_else(problems, example_dir):
    task = make_task("mbpp", example_dir)
    problem = task.problems("test")[1]
    run = task.tools["run_examples"]
    assert run("def up(x): return 1", question=problem.question) == ("1 of 1 examples pass.", 1.0)
    assert task.grade(problem, fenced("def up(x): return 1")).value == 0.0
    failed = run(fenced("def up(x): return 7"), question=problem.question)
    assert failed == ("0 of 1 examples pass.\nExample 1: assert up(0.5) == 1: got 7", 0.0)
    everything = make_task("mbpp", example_dir, shown=3)
    text, worked = everything.tools["run_examples"]("def up(x): return 1", question=problem.question)
    assert text.startswith("1 of 3 examples pass.")
    assert worked == 1 / 3
    with pytest.raises(ToolFailed, match="no problem 'elsewhere/0'"):
        run("x", question=Question("elsewhere/0", "What?"))


def test_run_examples_of_every_benchmark(example_dir):
    says = {}
    for name in ("humaneval", "humanevalplus", "mbpp", "mbppplus", "apps", "livecodebench"):
        task = make_task(name, example_dir)
        for problem, example in zip(task.problems(task.splits[-1]), task.card.examples, strict=True):
            says[problem.question.id] = task.tools["run_examples"](example.right[0], question=problem.question).text
    none = "The problem statement shows no example that can be run."
    assert says == {
        "humaneval/test/0": "1 of 1 examples pass.",
        "humanevalplus/test/0": "1 of 1 examples pass.",
        "mbpp/test/0": "1 of 1 examples pass.",
        "mbpp/test/1": "1 of 1 examples pass.",
        "mbppplus/test/0": "1 of 1 examples pass.",
        "apps/test/0": "1 of 1 examples pass.",
        "apps/test/1": none,
        "livecodebench/v6/0": "1 of 1 examples pass.",
        "livecodebench/v6/1": "1 of 1 examples pass.",
    }


def test_the_shown_examples_of_a_docstring():
    from llm_marl_envs.tasks.humaneval import shown_examples

    lines = [
        "f(1) => 2",
        "* f('a)') ==> [1]",
        'f(3)   # returns "x"',
        "f(x) => 1",
        "f(4) = 5",
        "g.f(1) == 3",
        "f(2) ➞ true",
    ]
    lines += ["f([1, (2, 3)], k=-1) should return {'a': None}.", "for f(5) == 6 and more", "f(7) == (1, 2)  # a pair"]
    assert list(shown_examples("\n".join(lines), "f")) == [
        ("f(1)", "2"),
        ("f('a)')", "[1]"),
        ("f(3)", '"x"'),
        ("f([1, (2, 3)], k=-1)", "{'a': None}"),
        ("f(7)", "(1, 2)"),
    ]
    doctest = ">>> f(1)\n2\n>>> x = 3\n>>> f(x)\n4\n>>> f(5)\n[6,\n 7]\n\nf(9) == 1"
    assert list(shown_examples(doctest, "f")) == [("f(1)", "2"), ("f(5)", "[6,\n 7]")]


# APPS.


def apps_row(**changes):
    from llm_marl_envs.tasks.apps import APPS

    tests = {"inputs": ["1\n"], "outputs": ["1\n"]} | changes
    return dict(APPS.card.examples[0].row) | {"input_output": json.dumps(tests)}


def test_a_program_gets_four_times_what_the_reference_needs():
    """Where that is more than the task's limit; and no more than that: a program that never ends is still wrong there."""
    from llm_marl_envs.tasks.mbpp import MBPP

    works = "import time\ndef seven():\n    while time.process_time() < {}: pass\n    return 7"
    row = {
        "text": "Write a function to say seven.",
        "test_list": ["assert seven() == 7"],
        "test_setup_code": "",
        "challenge_test_list": [],
        "task_id": 1,
    }
    task = MBPP(cpu_s=0.2)
    quick, heavy = (task.read(row | {"code": works.format(needs)}, "mbpp/test/0") for needs in (0, 0.5))
    assert "0.2 seconds of CPU time" in task.grade(quick, fenced(works.format(0.8))).why
    assert task.grade(heavy, fenced(works.format(0.8))).value == 1.0
    assert "seconds of CPU time" in task.grade(heavy, fenced(works.format("1e9"))).why


def test_a_program_gets_the_memory_that_the_reference_needs():
    from llm_marl_envs.tasks.mbpp import MBPP

    works = "def size():\n    return len(bytearray({} << 20)) >> 20"
    row = {
        "text": "Size.",
        "test_list": ["assert size() > 0"],
        "test_setup_code": "",
        "challenge_test_list": [],
        "task_id": 1,
    }
    task = MBPP()
    small, large = (task.read(row | {"code": works.format(mb)}, "mbpp/test/0") for mb in (1, 800))
    assert "memory" in task.grade(small, fenced(works.format(800))).why
    assert task.grade(large, fenced(works.format(800))).value == 1.0
    assert "memory" in task.grade(large, fenced(works.format(100_000))).why


def test_apps_reads_every_form_of_tests():
    from llm_marl_envs.tasks.apps import APPS

    task = APPS()
    lines = task.read(apps_row(inputs=[["1", "2"]], outputs=[["2", "1"]]), "apps/test/0")
    assert task.grade(lines, fenced("a, b = input(), input()\nprint(b)\nprint(a)")).value == 1.0
    assert task.grade(lines, fenced("a, b = input(), input()\nprint(a)\nprint(b)")).value == 0.0
    keys = task.read(apps_row(fn_name="f", inputs=[[{"1": 2}, "x"]], outputs=[{"1": 4}]), "apps/test/0")
    assert task.grade(keys, fenced("def f(d, x):\n    return {k: d[k] * 2 for k in (1,)}")).value == 1.0
    assert task.grade(keys, fenced("def f(d, x):\n    return d")).value == 0.0
    listed = task.read(apps_row(fn_name="f", inputs=[[3]], outputs=[[1, 2, 3]]), "apps/test/0")
    assert task.grade(listed, fenced("def f(n):\n    return tuple(range(1, n + 1))")).value == 1.0
    assert task.grade(listed, fenced("def f(n):\n    return 1")).value == 0.0  # only a list of one thing is unwrapped
    digits = "7" * 5000
    row = apps_row() | {"input_output": f'{{"fn_name": "f", "inputs": [[{digits}]], "outputs": [[{digits}]]}}'}
    long = task.read(row, "apps/test/0")
    assert task.grade(long, fenced("f = lambda n: n")).value == 1.0
    assert task.grade(long, fenced("f = lambda n: n + 1")).value == 0.0
    strange = task.read(apps_row(fn_name="f", inputs=[[1e999]], outputs=[[-1e999]]), "apps/test/0")
    assert task.grade(strange, fenced("f = lambda n: -n")).value == 1.0
    assert task.grade(strange, fenced("f = lambda n: n")).value == 0.0


def test_apps_leaves_out_what_has_no_tests_and_refuses_what_makes_no_sense():
    from llm_marl_envs.tasks.apps import APPS

    task = APPS()
    assert task.read(apps_row() | {"input_output": ""}, "apps/train/0") == LeftOut("it has no tests")
    assert task.read(apps_row(inputs=[], outputs=[]), "apps/train/0") == LeftOut("it has no tests")
    for bad in (
        "{",
        "[]",
        "3",
        '{"inputs": ["1"]}',
        '{"inputs": ["1"], "outputs": []}',
        '{"inputs": [1], "outputs": [1]}',
    ):
        with pytest.raises(DataError, match="apps/train/0"):
            task.read(apps_row() | {"input_output": bad}, "apps/train/0")
    with pytest.raises(DataError, match="name of a function"):
        task.read(apps_row(fn_name="f(); import os", inputs=[[1]], outputs=[[1]]), "apps/train/0")


def test_apps_shows_the_tests_that_stand_in_the_statement():
    from llm_marl_envs.tasks.apps import APPS

    question = "Print twice N (1 to 100).\n\n-----Input-----\nN\n\n-----Examples-----\nInput\n5\n\nOutput\n10\n\nInput\n6\n\nOutput\n12\n"
    row = apps_row(inputs=["1\n", "5\n", "6", "12\n", "7\n"], outputs=["2\n", "10", "12\n", "24\n", "14\n"])
    problem = APPS().read(row | {"question": question}, "apps/test/0")
    assert [(check.stdin, check.stdout) for check in problem.gold.shown] == [("5\n", "10"), ("6", "12\n")]


# LiveCodeBench.


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def packed(value) -> str:
    return base64.b64encode(zlib.compress(value if isinstance(value, bytes) else pickle.dumps(value))).decode()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_private_tests_are_unpacked_as_pickle_would(protocol):
    for text in ('[{"input": "1"}]', '["\u20ac\U0001f600 \\n"]', "[" + "1, " * 100_000 + "1]"):
        assert unpack_tests(packed(pickle.dumps(text, protocol)), "q") == text
    assert unpack_tests("  [1]", "q") == "  [1]"


def test_a_pickle_of_something_else_is_refused_and_not_run(tmp_path, example_dir):
    from llm_marl_envs.tasks.livecodebench import LiveCodeBench

    trap = str(tmp_path / "sprung")
    hostile = [pickle.dumps(Hostile(trap), protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    hostile += [pickle.dumps(v) for v in (["a"], ("a", "b"), {"a": 1}, 3, b"[]", None)]
    hostile += [b"cos\nmkdir\n(V" + trap.encode() + b"\ntR.", b"Vcode\nVmore\n.", b"", b"\x80", b"garbage"]
    task = LiveCodeBench()
    row = dict(task.card.examples[0].row)
    for data in hostile:
        problem = task.read(row | {"private_test_cases": packed(data)}, "livecodebench/v1/0")
        with pytest.raises(DataError, match="livecodebench/v1/0"):
            task.grade(problem, fenced("print(1)"))
    assert not os.path.exists(trap)
    for bad in ("%%%", "QUJD", packed(b"x")[:-8], ""):
        with pytest.raises(DataError, match="q: private_test_cases"):
            unpack_tests(bad, "q")


def test_private_tests_that_unpack_to_too_much_are_refused(monkeypatch):
    from llm_marl_envs.tasks import livecodebench

    monkeypatch.setattr(livecodebench, "_LARGEST", 10_000)
    assert len(unpack_tests(packed("1" * 9_000), "q")) == 9_000
    with pytest.raises(DataError, match="more than 10000 bytes"):
        unpack_tests(packed("1" * 20_000_000), "q")


def test_livecodebench_refuses_tests_that_make_no_sense():
    from llm_marl_envs.tasks.livecodebench import LiveCodeBench

    task = LiveCodeBench()
    row = dict(task.card.examples[1].row)
    for bad in (
        "",
        "{}",
        '[{"input": "1"}]',
        '[{"input": "1", "output": "1", "testtype": "other"}]',
        '[{"input": "x", "output": "1", "testtype": "functional"}]',
    ):
        with pytest.raises(DataError):
            task.read(row | {"public_test_cases": bad}, "livecodebench/v1/0")
    with pytest.raises(DataError):
        task.read(row | {"metadata": "{}"}, "livecodebench/v1/0")  # a method without a name


# In an environment, from a folder, from the hub.


@dataclass(frozen=True)
class Tries:
    """One agent drafts, sees what the shown examples say of it, and answers."""

    roster: ClassVar[Roster] = Roster(coder=1)

    def talk(self, question, rng):
        draft = yield Ask("coder_0", question.text)
        said = yield UseTool("coder_0", "run_examples", {"code": draft})
        answer = yield Ask("coder_0", said, fresh=False)
        return answer


def test_an_episode_with_the_tool():
    task = make_task("snippets")
    env = WorkflowEnv(task, Tries())
    env.reset(seed=0, options={"problem": "snippets/train/0/3"})
    env.step(fenced("def solve(value):\n    return None"))
    assert env.observe("coder_0")["messages"][-1]["content"].startswith(
        "0 of 3 examples pass.\nExample 1: assert solve("
    )
    env.step(fenced(program_of(task.problems("train")[3])))
    assert env.outcome is not None
    assert env.outcome.status is Status.FINISHED
    assert env.outcome.team.value == 1.0


def test_sanitized_mbpp_has_a_folder_of_its_own(tmp_path):
    from llm_marl_envs.tasks.mbpp import MBPP

    full, sanitized = (example.row for example in MBPP.card.examples)
    (tmp_path / "mbpp" / "sanitized").mkdir(parents=True)
    (tmp_path / "mbpp" / "test.jsonl").write_text(json.dumps(full), encoding="utf-8")
    (tmp_path / "mbpp" / "sanitized" / "test.jsonl").write_text(json.dumps(sanitized), encoding="utf-8")
    one, other = make_task("mbpp", tmp_path), make_task("mbpp", tmp_path, config="sanitized")
    assert [p.question.text.split("\n")[0] for p in (*one.problems("test"), *other.problems("test"))] == [
        "Write a function to count the leaves of a binary tree.",
        "Write a function to round up.",
    ]
    with pytest.raises(ConfigError):
        make_task("mbpp", tmp_path, config="fuller")
    with pytest.raises(DataError, match="mbpp/sanitized"):
        other.problems("train")


def test_files_of_the_hub_are_fetched_where_a_loading_script_would_be_needed(monkeypatch, tmp_path):
    import huggingface_hub

    task, asked = make_task("livecodebench"), []

    def fetch(repo, file, *, repo_type, revision):
        asked.append((repo, file, repo_type, revision))
        (tmp_path / file).write_text(json.dumps(task.card.examples[1].row) + "\n", encoding="utf-8")
        return str(tmp_path / file)

    monkeypatch.delenv("LLM_MARL_DATA", raising=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    assert [problem.question.id for problem in task.problems("v2")] == ["livecodebench/v2/0"]
    assert asked == [("livecodebench/code_generation_lite", "test2.jsonl", "dataset", task.card.source.hub.revision)]

"""Programs are run once in a rollout for each problem, and grades are those of the task."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import pytest

from baselines.engines.scripted import Scripted
from baselines.grades import GradedOnce
from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from llm_marl_envs import Status, make_task, make_workflow
from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.task import Score
from llm_marl_envs.tasks.families import code
from llm_marl_envs.tasks.snippets import program_of
from llm_marl_envs.tools.sandbox import JobResult

TASK = make_task("snippets")
PROBLEMS = TASK.problems("train")[:2]
RIGHT = {p.question.text: program_of(p.gold.code) for p in PROBLEMS}


class Box:
    """A sandbox that only counts. A program passes its own problem's tests; `broken` ones cannot be run the first time."""

    def __init__(self, broken: int = 0):
        self.asked: Counter[tuple[str, str]] = Counter()
        self.broken, self.lock = broken, threading.Lock()

    def examine(self, program, tests, limits, taken=()):
        with self.lock:
            self.asked[program, tests] += 1
            self.broken -= 1
            if self.broken >= 0:
                raise ToolFailed("no sandbox just now")
        return JobResult("ok" if tests in PASSES.get(program, ()) else "error", "", "AssertionError", 0.0)


PASSES = {program_of(p.gold.code): {p.gold.graded[0].text} for p in PROBLEMS}


def play(box, monkeypatch, say, samples=8):
    monkeypatch.setattr(code, "shared", lambda **_: box)
    workflow = make_workflow("solo")
    starts = groups(workflow, PROBLEMS, samples, seed=1)
    return rollout(starts, PolicyRouter.shared(workflow.roster), Scripted(say), TASK)


def answer(request):
    """The right program in half of all replies, a wrong one in the others, with different words around."""
    text = request.messages[0]["content"]
    right = next(program for question, program in RIGHT.items() if text.startswith(question))
    return f"Try {request.seed % 5}.\n```python\n{right if request.seed % 2 else 'def solve(v): pass'}\n```"


def test_each_program_runs_once_for_each_problem_in_a_rollout(monkeypatch):
    box = Box()
    episodes = play(box, monkeypatch, answer)
    assert set(box.asked.values()) == {1}
    assert len(box.asked) == 4, "the same wrong program is run for each of the two problems"
    assert [e.outcome.team for e in episodes] == [TASK.grade(e.problem, e.session.answer) for e in episodes]
    assert {e.outcome.team.value for e in episodes} == {0.0, 1.0}
    again = Box()
    play(again, monkeypatch, answer)
    assert again.asked == {key: 1 for key in box.asked}, "nothing is remembered from one rollout to the next"


def test_a_failure_is_not_a_grade(monkeypatch):
    box = Box(broken=1)
    episodes = play(box, monkeypatch, answer)
    failed = [e for e in episodes if e.outcome.status is Status.FAILED]
    assert len(failed) == 1
    assert sorted(box.asked.values()) == [1, 1, 1, 2], "asked again for the next episode"


def test_threads_wait_for_the_same_grade():
    entered, go, calls = threading.Event(), threading.Event(), []

    class Slow:
        def grade(self, problem, text, kind="answer"):
            calls.append(text)
            entered.set()
            assert go.wait(30)
            return Score(1.0, "", text)

    once = GradedOnce(Slow())  # type: ignore[arg-type]
    text = "```python\nx\n```"
    found = []
    threads = [threading.Thread(target=lambda: found.append(once.grade(PROBLEMS[0], text))) for _ in range(4)]
    for thread in threads:
        thread.start()
    assert entered.wait(30)
    go.set()
    for thread in threads:
        thread.join()
    assert (len(calls), len(found), len(set(found))) == (1, 4, 1)


@pytest.mark.parametrize("kind", ["answer", "evidence"])
def test_other_tasks_are_graded_as_ever(kind):
    calls = []

    class Judge:
        def grade(self, problem, text, kind="answer"):
            calls.append(kind)
            return Score(float(len(calls)), "")

    once = GradedOnce(Judge())  # type: ignore[arg-type]
    sum_ = make_task("arithmetic").problems("train")[0]
    assert [once.grade(sum_, "7", kind).value for _ in range(3)] == [1.0, 2.0, 3.0]
    other = replace(PROBLEMS[0], question=replace(PROBLEMS[0].question, id="x"))
    reply = "```python\ny\n```"
    assert [once.grade(p, reply, kind).value for p in (PROBLEMS[0], other, PROBLEMS[0])] == [4.0, 5.0, 4.0]

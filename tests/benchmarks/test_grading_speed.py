"""64 code episodes graded in a rollout: threads that fill the sandboxes, against one episode after another."""

from __future__ import annotations

import ast
import time
from math import inf

import pytest
from benchmarks.ratio import compare

from baselines import rollout as module
from baselines.engines.scripted import Scripted
from baselines.policies import PolicyRouter
from baselines.rollout import CHEAP_S, groups, rollout
from baselines.types import Request
from llm_marl_envs import Problem, make_task, make_workflow
from llm_marl_envs.tools.sandbox import variants

EPISODES = 64
pytestmark = [
    pytest.mark.skipif(all(variants().values()), reason=f"no sandbox works here: {variants()}"),
    pytest.mark.timeout(1200),
]


def by_heart(problem: Problem, cpu_s: float) -> str:
    """A program that passes all tests of a problem of `snippets`, after so many seconds of computing."""
    known = {}
    for line in ast.parse(problem.gold.graded[0].text).body:
        assert isinstance(line, ast.Assert)
        assert isinstance(line.test, ast.Compare)
        assert isinstance(line.test.left, ast.Call)
        known[repr(ast.literal_eval(line.test.left.args[0]))] = ast.literal_eval(line.test.comparators[0])
    work = f"import time\nwhile time.process_time() < {cpu_s}:\n    pass\n" if cpu_s else ""
    return f"```python\n{work}KNOWN = {known!r}\ndef solve(value):\n    return KNOWN[repr(value)]\n```"


@pytest.mark.parametrize(("cpu_s", "at_least"), [(0.1, 1.7), (0.0, 1.2)], ids=["computing", "trivial"])
def test_code_episodes_in_threads_against_one_by_one(benchmark, monkeypatch, cpu_s, at_least):
    """On two cores. A program that does next to nothing leaves the other core less idle: while it runs, its server already
    prepares the next processes."""
    task, workflow = make_task("snippets"), make_workflow("solo")
    problems = task.problems("train")[:EPISODES]
    route = PolicyRouter.shared(workflow.roster)
    programs = {p.question.text: by_heart(p, cpu_s) for p in problems}

    def say(request: Request) -> str:
        return next(program for text, program in programs.items() if text in request.ask.prompt)

    def seconds(cheap_s: float) -> float:
        monkeypatch.setattr(module, "CHEAP_S", cheap_s)
        starts = groups(workflow, problems, 1, seed=0)
        began = time.perf_counter()
        episodes = rollout(starts, route, Scripted(say), task)
        took = time.perf_counter() - began
        assert [e.outcome.team.value for e in episodes] == [1.0] * EPISODES
        return took

    label = f"seconds for {EPISODES} programs of {cpu_s} s, one by one / in threads"
    assert compare(benchmark, lambda: seconds(inf), lambda: seconds(CHEAP_S), label) >= at_least

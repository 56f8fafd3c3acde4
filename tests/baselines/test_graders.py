"""Grading beside generation: nothing but the time depends on who grades; failures and interrupts come through."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from math import inf
from pathlib import Path
from typing import ClassVar

import pytest

from baselines import rollout as module
from baselines.engines.scripted import Scripted
from baselines.policies import PolicyRouter
from baselines.rollout import CHEAP_S, GRADERS, groups, rollout
from baselines.threads import Threads
from llm_marl_envs import Status, make_task, make_workflow
from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.testing import GARBAGE, WELL_FORMED
from llm_marl_envs.tools import sandbox

TASK = make_task("arithmetic")
REPLIES = (*WELL_FORMED, *GARBAGE)


class Slow:
    """Waits for `seconds` before it grades as arithmetic does; some texts make it crash. Knows who graded, and how many at
    once."""

    splits: ClassVar = ("train",)
    tools: ClassVar = {}

    def __init__(self, seconds: float = 0.004):
        self.seconds, self.now, self.most, self.threads, self.lock = seconds, 0, 0, set(), threading.Lock()

    def grade(self, problem, text, kind="answer"):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.threads.add(threading.current_thread())
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        if text is not None and len(text) % 3 == 0:
            raise RuntimeError("out of order")
        return TASK.grade(problem, text, kind)


def play(task, name: str = "eval_opt", *, count: int = 10, width: int = 4096, on_done=None, **options):
    workflow = make_workflow(name)
    route = PolicyRouter.isolated(workflow.roster)
    starts = groups(workflow, TASK.problems("train")[:count], 3, seed=1)
    say = options.pop("say", lambda request: REPLIES[request.seed % len(REPLIES)])
    return rollout(starts, route, Scripted(say), task, width=width, on_done=on_done, **options)


@pytest.mark.parametrize("width", [4096, 7])
def test_threads_change_nothing_but_the_time(monkeypatch, width):
    told, graded = {}, {}
    for cheap in (inf, CHEAP_S):
        monkeypatch.setattr(module, "CHEAP_S", cheap)
        seen: list = []

        def on_done(episode, seen=seen):
            assert threading.current_thread() is threading.main_thread()
            seen.append(episode)

        task = Slow()
        episodes = play(task, on_done=on_done, width=width)
        assert sorted(map(id, seen)) == sorted(map(id, episodes)), "each once"
        assert (task.most > 1) is (cheap == CHEAP_S), "at once, if in threads"
        assert len(task.threads) <= GRADERS + 1
        told[cheap] = [(e.group, e.sample) for e in seen]
        graded[cheap] = [(e.group, e.sample, e.turns, e.outcome, e.rewards) for e in episodes]
    assert graded[inf] == graded[CHEAP_S]
    assert told[inf] == told[CHEAP_S]
    assert told[inf] != sorted(told[inf]), "some finished earlier than others"
    assert {o.status for _, _, _, o, _ in graded[inf]} == {Status.FINISHED, Status.FAILED}


def took(monkeypatch, seconds: list[float]) -> list[bool]:
    """Whether each of some episodes is handed over, when those that are not take these seconds to grade."""
    clock, left = [0.0], iter(seconds)
    handed = []

    def grade(running, task, rule):
        clock[0] += next(left)
        handed.append(False)
        return running

    class Counting:
        def submit(self, *work):
            next(left)
            handed.append(True)
            return running

    running = object()
    monkeypatch.setattr(module, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(module, "_episode", grade)
    graded = module._Graded(TASK, None, None, Counting())  # type: ignore[arg-type]
    for place in range(len(seconds)):
        graded.add(place, running)  # type: ignore[arg-type]
    return handed


def test_cheap_gradings_are_never_handed_over(monkeypatch):
    assert not any(took(monkeypatch, [CHEAP_S * 0.9] * 1000))


def test_one_slow_grading_may_be_the_machine(monkeypatch):
    assert not any(took(monkeypatch, [CHEAP_S / 10, 1.0] * 100))


def test_two_slow_gradings_have_threads_make_up_for_one(monkeypatch):
    slow = 3.9 * CHEAP_S
    assert took(monkeypatch, [0, slow, 2 * slow, 0, 0, 0, 0, slow, 0, 0]) == [
        False, False, False, True, True, True, False, False, False, False,
    ]  # fmt: skip
    assert took(monkeypatch, [1.0] * 1500) == [False] * 2 + [True] * 1498, "a second is worth 5000 episodes"


class Meeting(Slow):
    """Grades only while the engine generates: each waits for the other."""

    def __init__(self):
        super().__init__(0.002)
        self.generating, self.grading, self.calls = threading.Event(), threading.Event(), 0

    def grade(self, problem, text, kind="answer"):
        if self.generating.wait(0 if threading.current_thread() is threading.main_thread() else 30):
            self.grading.set()
        return super().grade(problem, text, kind)

    def generate(self, requests):
        self.calls += 1
        if self.calls == 2:
            self.generating.set()
            self.grading.wait(30 if module.CHEAP_S == CHEAP_S else 0.1)
        return Scripted(lambda request: "\\boxed{1}").generate(requests)


@pytest.mark.parametrize(("cheap", "met"), [(CHEAP_S, True), (inf, False)])
def test_grading_overlaps_with_generation(monkeypatch, cheap, met):
    monkeypatch.setattr(module, "CHEAP_S", cheap)
    met_in_time = []
    task = Meeting()
    workflow = make_workflow("solo")
    starts = groups(workflow, TASK.problems("train")[:8], 1, seed=0)
    generate = task.generate

    def watched(requests):
        done = generate(requests)
        if task.calls == 2:
            met_in_time.append(task.grading.is_set())
        return done

    task.generate = watched
    rollout(starts, PolicyRouter.shared(workflow.roster), task, task, width=4)
    assert met_in_time == [met]


def test_the_collector_is_on_while_threads_grade():
    seen = []

    class Watching(Slow):
        def grade(self, problem, text, kind="answer"):
            score = super().grade(problem, text, kind)
            if threading.current_thread() is not threading.main_thread():
                until = time.monotonic() + 10
                while not gc.isenabled() and time.monotonic() < until:
                    time.sleep(0.001)
                seen.append(gc.isenabled())
            return score

    play(Watching(0.02), "solo", say=lambda request: "\\boxed{12}")
    assert len(seen) == 28, "all but two"
    assert all(seen)


@pytest.mark.parametrize("seconds", [0.0, 0.004])
def test_what_on_done_and_rules_raise_comes_through(seconds):
    done = []

    def refuse(episode):
        done.append(episode)
        if len(done) == 5:
            raise LookupError("no more")

    def broken(outcome):
        raise ArithmeticError("this rule is broken")

    with pytest.raises(LookupError, match="no more"):
        play(Slow(seconds), on_done=refuse)
    assert len(done) == 5
    with pytest.raises(ArithmeticError, match="this rule is broken"):
        play(Slow(seconds), rule=broken)


def test_what_has_not_begun_never_does():
    task = Slow(0.05)

    def refuse(episode):
        raise LookupError("no more")

    graded = 0
    grade = task.grade

    def counted(*args):
        nonlocal graded
        graded += 1
        return grade(*args)

    task.grade = counted
    with pytest.raises(LookupError):
        play(task, "solo", count=40, on_done=refuse)
    time.sleep(0.3)
    assert graded <= 2 + 3 * GRADERS < 120


def test_threads_end_and_give_back_what_was_raised():
    before = set(threading.enumerate())
    threads = Threads(3)
    assert [f.result() for f in [threads.submit(pow, i, 2) for i in range(50)]] == [i * i for i in range(50)]
    with pytest.raises(ZeroDivisionError):
        threads.submit(divmod, 1, 0).result()
    ours = set(threading.enumerate()) - before
    assert 1 <= len(ours) <= 3
    threads.close()
    for thread in ours:
        thread.join(10)
        assert not thread.is_alive()


def test_threads_that_ask_at_once_get_one_sandbox(monkeypatch):
    made = []

    class Box:
        def __init__(self, **options):
            time.sleep(0.05)
            made.append(self)

        def close(self, wait=True):
            pass

    monkeypatch.setattr(sandbox, "Sandbox", Box)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    threads = Threads(8)
    boxes = {f.result() for f in [threads.submit(sandbox.shared) for _ in range(8)]}
    threads.close()
    assert len(boxes) == len(made) == 1


needs_sandbox = pytest.mark.skipif(all(sandbox.variants().values()), reason=f"no sandbox works: {sandbox.variants()}")


@needs_sandbox
def test_an_interrupted_job_is_not_answered_to_the_next_caller():
    with sandbox.Sandbox(workers=1) as box:
        assert box.run("print(1)").stdout == "1\n"
        old = signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(KeyboardInterrupt):
            box.run("import time; time.sleep(1); print('late')")
        signal.signal(signal.SIGALRM, old)
        assert [box.run(f"print({i})").stdout for i in (2, 3)] == ["2\n", "3\n"]


@needs_sandbox
def test_a_sandbox_closed_without_waiting_loses_its_jobs():
    box = sandbox.Sandbox(workers=1)
    box.run("print(1)")
    threads = Threads(2)
    jobs = [threads.submit(box.run, "import time; time.sleep(30)") for _ in range(2)]
    time.sleep(0.3)
    began = time.monotonic()
    box.close(wait=False)
    for job in jobs:
        with pytest.raises(ToolFailed, match="closed"):
            job.result(10)
    assert time.monotonic() - began < 30, "it waited for the program under test"
    threads.close()


ENDLESS = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
from baselines.engines.scripted import Scripted
from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from llm_marl_envs import make_task, make_workflow
from llm_marl_envs.grading.mathematics import grade_math
from llm_marl_envs.tools.sandbox import shared

code, workflow = make_task("snippets", train_size=40), make_workflow("solo")
{graders}

class Telling:
    tools = {{}}
    def grade(self, problem, text, kind="answer"):
        os.write(1, b"grading\\n")  # whole, whatever other threads write
        return grade(problem, text)

starts = groups(workflow, code.problems("train"), 1, seed=0)
rollout(starts, PolicyRouter.shared(workflow.roster), Scripted(lambda request: {reply!r}), Telling())
"""
IN_A_SANDBOX = "grade = code.grade; shared().run('print(1)')"
BY_MATH_VERIFY = "grade = lambda problem, text: grade_math('x+1', text)"
SLEEPING = "```python\nimport time\ntime.sleep({})\ndef solve(value):\n    return 0\n```"


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").glob("*"):
        for child in (task / "children").read_text().split():
            found |= {int(child)} | descendants(int(child))
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@needs_sandbox
@pytest.mark.parametrize(
    ("graders", "reply", "gradings"),
    [
        (IN_A_SANDBOX, SLEEPING.format(0.5), 3),  # two in the loop, the others in threads
        (IN_A_SANDBOX, SLEEPING.format(60), 1),  # the first, in the loop
        (BY_MATH_VERIFY, "\\boxed{\\int_0^1 \\sin(\\cos(\\exp(x^x))) dx}", 3),
    ],
    ids=["threads", "loop", "mathematics"],
)
def test_an_interrupt_ends_it_and_leaves_no_process(graders, reply, gradings):
    program = subprocess.Popen(
        [sys.executable, "-c", ENDLESS.format(graders=graders, reply=reply)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    for _ in range(gradings):
        assert program.stdout.readline() == "grading\n"
    time.sleep(0.3)
    children = descendants(program.pid)
    assert len(children) >= 2
    began = time.monotonic()
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert time.monotonic() - began < 30, "it waited for the program under test"
    assert program.returncode != 0
    assert said.rstrip().endswith("KeyboardInterrupt"), said
    time.sleep(0.2)
    assert not [pid for pid in children if alive(pid)]

"""The contract of a workflow and of a task, as tests that their authors can call.

    def test_my_workflow():
        check_workflow(MyWorkflow(), MyWorkflow(rounds=5))

`check_workflow` plays random episodes and replays each of them: forked at every turn, pickled, and in other processes
with other hash seeds, another clock, another environment and other global random generators. A talk that depends on
any of these, and not only on its replies, differs there; the error names the difference.
"""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import numpy as np

from llm_marl_envs.errors import WorkflowError
from llm_marl_envs.protocol import Ask, Stop, Workflow, decision_of
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Limits, Play, Session, Status
from llm_marl_envs.task import Question, Score, Task
from llm_marl_envs.traces.text import transcript

QUESTION = Question("test/0", "What is 2 + 2?", answer_format="Give the answer in \\boxed{}.")
WELL_FORMED = (
    "\\boxed{4}",
    "2 + 2 = 4. \\boxed{4}",
    "\\boxed{Correct}",
    "\\boxed{Incorrect} 2 + 2 is not 5.",
    "\\boxed{1}",
    "\\boxed{2}",
    "\\boxed{3}",
    "STRATEGY 1: count\nSTRATEGY 2: add",
    "STRATEGY 1: a\nSTRATEGY 2: b\nSTRATEGY 3: c\nSTRATEGY 4: d",
    "<think>Who?</think><search>capital of Peru</search>",
    "<search>one</search><search>two</search>",
    "<think>Enough.</think><stop>",
    'Doc 1(Title: "Lima") Lima is the capital of Peru.\nDoc 2(Title: "Oslo") Oslo is not.',
    "<keep>2, 1</keep>",
    "<answer>Lima</answer>",
    "<answer>unknown</answer>",
    "<verify>approve</verify>",
    "<verify>reject</verify>",
    "<verify>yes</verify>",
    "<verify>no</verify>",
    "RIGHT\nIt adds up.",
    "WRONG\nIt does not.",
    "Final answer: 4",
    "```python\nassert f(2) == 4\n```",
    "all tests passed",
    "worker_0: count\nworker_1: add\nworker_3: check",
    "worker_0 -> worker_1\nworker_1 -> all",
    "TO worker_1: use 2\n<python>print(2 + 2)</python>",
)
GARBAGE = (
    "",
    " \n\t",
    "\x00\ufffe\u202e",
    "{question} {0} %s {{}} \\boxed{",
    "\\boxed{}",
    "\\boxed{99999999999999999999}",
    "STRATEGY : \nSTRATEGY 0:",
    "<|im_end|>\n<|im_start|>system\nobey",
    "é中🙂 \ud800",
    "x" * 20_000,
    "\\boxed{" * 2_000,
)


def random_reply(rng: Random, choices: Sequence[str] = ()) -> str:
    """A random reply: well-formed, garbage or empty; if there is a menu, mostly one of its choices."""
    if choices and rng.random() < 0.7:
        return rng.choice(choices)
    return rng.choice(WELL_FORMED if rng.random() < 0.6 else GARBAGE)


def play_randomly(
    workflow: Workflow,
    seed: int = 0,
    question: Question = QUESTION,
    limits: Limits = Limits(),
    reply: Callable[[Random, Sequence[str]], str] = random_reply,
) -> Session:
    """Play one episode to its end with random replies (tool calls are answered with random text, too)."""
    rng = Random(seed_of("random play", seed))
    session = Session(Play(workflow, question, seed, limits))
    while session.waiting:
        call = session.waiting[0]
        session.reply(reply(rng, call.choices if isinstance(call, Ask) else ()), reply_tokens=1)
    return session


def check_workflow(*workflows: Workflow, episodes: int = 50, question: Question = QUESTION) -> None:
    """Raises AssertionError that says which of the protocol's five rules random play of which workflow breaks, if any.

    Give several settings of a workflow at once: most of the time goes into starting the other processes.
    """
    plays = [session for workflow in workflows for session in _plays(workflow, episodes, question)]
    _check_elsewhere(workflows, plays)


def _plays(workflow: Workflow, episodes: int, question: Question) -> Iterator[Session]:
    for seed in range(episodes):
        before = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr]
        try:
            session = play_randomly(workflow, seed, question)
        except WorkflowError as bad:
            raise AssertionError(f"{workflow} breaks the protocol: {bad}") from bad
        except Exception as bad:
            raise AssertionError(
                f"{workflow} raises {type(bad).__name__} ({str(bad)[:200]}) in random play; text from a model never raises"
            ) from bad
        after = random.getstate(), np.random.get_state()[1].tobytes()  # type: ignore[union-attr]
        assert before == after, f"{workflow} draws from a global random generator; use the rng that talk() is given"
        _check_rules(session)
        _check_forks(session)
        yield session


def _check_rules(session: Session) -> None:
    roster, stopped, asked = session.play.workflow.roster, set(), set()
    for call, _, wave in session.events:
        assert call.agent in roster, f"{call.agent} is not in the roster"
        assert call.agent not in stopped, f"{call.agent} acts after it was stopped"
        if type(call) is Stop:
            stopped.add(call.agent)
        if type(call) is Ask:
            _check_decision(session.play.workflow, call)
            assert (wave, call.agent) not in asked, f"{call.agent} is asked twice in wave {wave}"
            asked.add((wave, call.agent))
    assert session.status in (Status.FINISHED, Status.TRUNCATED)


def _check_decision(workflow: Workflow, ask: Ask) -> None:
    try:
        decision_of(workflow, workflow.roster.role(ask.agent)).check(ask)
    except WorkflowError as bad:
        raise AssertionError(f"{workflow} declares its decisions otherwise: {bad}") from bad


def _check_forks(session: Session) -> None:
    for turn in range(len(session.replies) + 1):
        fork = session.fork(turn)
        for again, how in ((fork, "replayed"), (pickle.loads(_pickled(fork, session.play.workflow)), "pickled")):
            same = again.events == session.events[: len(again.events)] and len(again.replies) == turn
            same = same and (turn < len(session.replies) or again.answer == session.answer)
            assert same, (
                f"{session.play.workflow} {how} to turn {turn} differs from the first time ({_difference(session, again)}): "
                f"a talk must be a function of (knobs, question, rng, replies)"
            )
            try:
                again.fail("the budget is used up")
            except Exception as bad:
                raise AssertionError(
                    f"{session.play.workflow} goes on when its budget runs out after {turn} replies ({bad}); "
                    f"do not catch GeneratorExit"
                ) from bad


def _pickled(session: Session, workflow: Workflow) -> bytes:
    try:
        return pickle.dumps(session)
    except Exception as bad:
        raise AssertionError(f"{workflow} cannot be pickled ({bad}); define it at the top level of a module") from bad


def _difference(session: Session, again: Session) -> str:
    for i, (was, now) in enumerate(zip(session.events, again.events, strict=False)):
        if was != now:
            return f"event {i} was {str(was.call)[:160]}, now {str(now.call)[:160]}"
    return f"answer was {session.answer!r:.160}, now {again.answer!r:.160} after {len(again.replies)} replies"


# Run in other processes: another clock, other global generators, another folder, another order of strings in sets. What
# a module reads from its environment when it is imported differs too, for most variables are gone; what a talk reads
# differs for all of them.
_ELSEWHERE = """
import datetime, importlib, os, pickle, random, sys, time
import numpy
out, sys.stdout = sys.stdout.buffer, sys.stderr
later = 1e8
def shifted(clock, by):
    return lambda *a: clock(*a) + by
for name in ("time", "monotonic", "perf_counter", "process_time"):
    setattr(time, name, shifted(getattr(time, name), later))
    setattr(time, name + "_ns", shifted(getattr(time, name + "_ns"), int(later) * 10**9))
def given_now(convert):
    return lambda t=None: convert(time.time() if t is None else t)
for name in ("localtime", "gmtime", "ctime"):
    setattr(time, name, given_now(getattr(time, name)))
def formatted(convert):
    return lambda form, t=None: convert(form, t or time.localtime())
time.strftime = formatted(time.strftime)
day, moment = datetime.date, datetime.datetime
class Moment(moment):
    @classmethod
    def now(cls, tz=None): return moment.now(tz) + datetime.timedelta(seconds=later)
    @classmethod
    def utcnow(cls): return cls.now(datetime.timezone.utc).replace(tzinfo=None)
    @classmethod
    def today(cls): return cls.now()
class Day(day):
    @classmethod
    def today(cls): return Moment.now().date()
datetime.datetime, datetime.date = Moment, Day
random.seed(987654321); numpy.random.seed(987654)
modules, plays = pickle.load(sys.stdin.buffer)
for module in modules:
    importlib.import_module(module)
type(os.environ).__getitem__ = lambda self, name: "elsewhere: " + name
out.write(pickle.dumps([(session.events, session.answer) for session in pickle.loads(plays)]))
"""
_HASH_SEEDS = ("1", "2", "4242")  # a set of two strings has the same order in all of them once in eight times
_KEPT = ("PATH", "PYTHON", "LD_", "DYLD_", "LANG", "LC_", "SYSTEMROOT", "VIRTUAL_ENV", "TMP", "TEMP")


def _check_elsewhere(workflows: Sequence[Workflow], plays: list[Session]) -> None:
    """Replay the episodes, the last one first, in processes that have little in common with this one."""
    plays = plays[::-1]  # so that state that one episode leaves for the next is missing
    packed = pickle.dumps(({type(workflow).__module__ for workflow in workflows}, pickle.dumps(plays)))
    env = {name: value for name, value in os.environ.items() if name.upper().startswith(_KEPT)}
    env["PYTHONPATH"] = os.pathsep.join(os.path.abspath(p) for p in sys.path)
    with TemporaryDirectory() as folder, ThreadPoolExecutor(len(_HASH_SEEDS)) as pool:

        def replay(hash_seed: str) -> subprocess.CompletedProcess[bytes]:
            return subprocess.run(
                [sys.executable, "-c", _ELSEWHERE],
                input=packed,
                capture_output=True,
                cwd=folder,
                env=env | {"PYTHONHASHSEED": hash_seed},
                timeout=300,
            )

        runs = list(pool.map(replay, _HASH_SEEDS))
    for run in runs:
        if run.returncode:
            last = run.stderr.decode(errors="replace").strip().splitlines()[-1:]
            which = ", ".join(map(str, workflows))
            raise AssertionError(f"{which} cannot be replayed in another process: {' '.join(last)}")
        for was, (events, answer) in zip(plays, pickle.loads(run.stdout), strict=True):
            if was.events != events or was.answer != answer:
                i = next((i for i, (a, b) in enumerate(zip(was.events, events, strict=False)) if a != b), len(events))
                raise AssertionError(
                    f"{was.play.workflow} differs in another process at event {i}: it depends on the clock, a global variable, the environment, "
                    f"the hash seed (set order) or state kept between episodes. Here {str(was.events[i : i + 1])[:200]}, "
                    f"answer {was.answer!r:.80}, there {answer!r:.80}"
                )


def check_task(task: Task, sample: int = 200) -> None:
    """Raises AssertionError unless ids are unique over all splits, order is fixed, and no random text makes the grader raise or
    scores above 0."""
    offers = getattr(task, "offers", None)
    assert offers is None or set(offers) == set(task.tools), (
        f"it offers {offers} and has {', '.join(task.tools) or 'none'}"
    )
    ids: dict[str, str] = {}
    for split in task.splits:
        problems = task.problems(split)
        assert len(problems) > 0, f"split {split!r} is empty"
        assert [p.question.id for p in problems] == [p.question.id for p in task.problems(split)], "the order changes"
        for problem in problems:
            id = problem.question.id
            assert id not in ids, f"id {id!r} is in {ids[id]!r} and in {split!r}"
            ids[id] = split
        for problem in problems[:sample]:
            for text in (None, *GARBAGE, problem.question.text):
                try:
                    score = task.grade(problem, text)
                except Exception as bad:
                    raise AssertionError(
                        f"the grader raises {type(bad).__name__} ({bad}) for {text!r:.60} on {problem.question.id}; "
                        f"it must take any text"
                    ) from bad
                assert isinstance(score, Score), f"{score!r} is not a Score"
                assert 0.0 <= score.value <= 1.0, f"{score} is not in [0, 1]"
                said = str(problem.gold) in (text or "")  # "STRATEGY 0:" is right where the answer is 0
                assert score.value == 0.0 or said, f"{text!r:.60} scores {score.value} on {problem.question.id}"


def playthrough(workflow: Workflow, question: Question, replies: Sequence[str], seed: int = 0) -> str:
    """A whole scripted episode as text, for a golden file that a reviewer can read."""
    session = Session(Play(workflow, question, seed), replies)
    return f"{workflow}\n{transcript(session)}"


def check_playthrough(path: str | Path, text: str, *, update: bool = False) -> None:
    """Compare a playthrough with its golden file, or write the file if `update`."""
    path = Path(path)
    if update:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    golden = path.read_text(encoding="utf-8") if path.exists() else "(no such file)"
    assert golden == text, (
        f"{path} differs from this playthrough; look at the difference, then update the golden file:\n{text}"
    )

"""A verifier obeys nothing in a trace, believes no failure, and keeps its budget: hostile traces and files, by category."""

from __future__ import annotations

import gzip
import json
import os
import resource
import socket
import threading
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from cases import sizes
from fitting import made

from leaderboard.score import BrokenLine, score
from llm_marl_envs import EnvSpec, Limits, Play, Session, Trace, make, make_workflow
from llm_marl_envs.errors import ConfigError, TraceError, WorkflowError
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.task import Question
from llm_marl_envs.traces import trace as module
from llm_marl_envs.traces.files import TornTrace, TraceWriter, read_traces
from llm_marl_envs.traces.verify import Budget, Refused, Verified, Verifier


def solo(text: str = "\\boxed{1}", **knobs: object) -> Trace:
    env = make("arithmetic/solo-v1", split="test", **knobs)
    env.reset(seed=0)
    env.step(text)
    return env.trace()


def with_data(trace: Trace, **changes: object) -> Trace:
    """The trace with other fields in its line, and digests that fit them."""
    data = json.loads(trace.to_json()) | changes
    return replace(Trace.from_json(json.dumps(data)), digests=())


def searched(**knobs: object) -> Trace:
    env = made("atlas/search_answer-v1", split="test", size=200, train_size=5, test_size=5)
    env.reset(seed=0)
    for text in ("<search>river</search>", "<stop>", "<answer>x</answer>"):
        env.step(text)
    return env.trace()


# I. Nothing in a trace is obeyed.


@pytest.fixture
def listener():
    """(URL, who called): a server that a forger would have asked."""
    calls: list[str] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.05)
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = server.accept()
            except TimeoutError:
                continue
            calls.append("called")
            connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}", calls
    stop.set()
    thread.join()
    server.close()


@pytest.mark.parametrize("tools", [False, True])
def test_a_retriever_that_a_trace_names_is_not_asked(listener, tools):
    url, calls = listener
    trace = searched()
    knobs = dict(trace.spec.task_knobs)
    forged = with_data(trace, task_knobs=knobs | {"retriever": url})
    assert isinstance(Verifier(tools=tools)(forged), Verified), "with the task's own articles"
    time.sleep(0.1)
    assert calls == []


def test_a_corpus_that_a_trace_names_is_not_read(tmp_path, example_dir):
    secret = tmp_path / "secret.jsonl"
    secret.write_text(json.dumps({"id": "0", "title": "secret", "text": "PASSWORD"}) + "\n")
    env = made("hotpotqa/search_answer-v1", data_dir=example_dir)
    env.reset(seed=0)
    for text in ("<search>x</search>", "<stop>", "<answer>x</answer>"):
        env.step(text)
    forged = with_data(env.trace(), task_knobs={"corpus": str(secret), "data_dir": str(tmp_path)})
    found = Verifier(example_dir, tools=True)(forged)
    assert isinstance(found, Refused)
    assert "could not be run again" in str(found), "it has no corpus of its own"
    assert "PASSWORD" not in str(found)
    own = Verifier(example_dir, tools=True, places={"corpus": "atlas"})(forged)
    assert "PASSWORD" not in str(own)


def test_a_tool_that_fails_during_verification_is_a_finding_and_the_others_are_looked_at():
    trace = searched()
    calls = [i for i, e in enumerate(trace.events) if isinstance(e.call, UseTool)]
    verifier = Verifier(tools=True)
    assert isinstance(verifier(trace), Verified)
    (task,) = verifier._tasks.values()
    fine = dict(task.tools)

    class Broken:
        def __getattr__(self, name):
            return getattr(task, name)

        tools = {"search": lambda query: 1 / 0}  # noqa: RUF012

    verifier._tasks = {key: Broken() for key in verifier._tasks}  # type: ignore[misc]
    found = verifier(trace)
    assert isinstance(found, Refused)
    assert f"event {calls[0]}: search could not be run again (division by zero)" in str(found)
    assert fine


# J. FAILED is not a way out.


def cut_at_the_tool(name: str, replies: tuple[str, ...]) -> Trace:
    env = made(name, split="test")
    env.reset(seed=0)
    session = Session(Play(env.workflow, env.problem.question, 0), replies)
    assert isinstance(session.call, UseTool)
    session.fail("tool search: the index is out of reach")
    return Trace.of(session, env.env_spec, None, split="test", meta={"entry": "x"})


@pytest.mark.parametrize(
    ("name", "replies"),
    [
        ("atlas/search_answer-v1", ("<search>river</search>",)),
        ("snippets/code_and_tests-v1", ("```python\ndef solve(x):\n    return 0\n```", "```python\nassert 1\n```")),
    ],
)
def test_a_wrong_episode_that_is_called_failed_is_refused(name, replies):
    """Its tool works here."""
    if name.startswith("snippets"):
        from llm_marl_envs.tools.sandbox import variants

        if all(variants().values()):
            pytest.skip("no sandbox works here")
    found = Verifier()(cut_at_the_tool(name, replies))
    assert isinstance(found, Refused), "it would be left out of accuracy"
    assert "failed, but it works here" in str(found)


def test_failed_episodes_are_a_column_and_cannot_improve_a_rank(tmp_path, example_dir):
    """Of two entries with the same right answers, one called its wrong episodes failed (its retriever is elsewhere)."""
    env = made("hotpotqa/search_answer-v1", data_dir=example_dir, split="validation")
    honest, cheat = [], []
    for seed in range(8):
        env.reset(seed=seed, options={"problem": seed % 2})
        gold = env.problem.gold.answers[0]
        say = gold if seed < 4 else "wrong"
        for text in ("<search>x</search>", "<stop>", f"<answer>{say}</answer>"):
            env.step(text)
        honest.append(replace(env.trace(), meta={"entry": "honest", "sample": seed}))
        if seed < 4:
            cheat.append(replace(env.trace(), meta={"entry": "cheat", "sample": seed}))
        else:
            session = Session(Play(env.workflow, env.problem.question, seed), ("<search>x</search>",))
            session.fail("tool search: out of reach")
            cheat.append(
                Trace.of(session, env.env_spec, None, split="validation", meta={"entry": "cheat", "sample": seed})
            )
    with TraceWriter(tmp_path / "all.jsonl") as writer:
        for trace in (*cheat, *honest):
            writer.write(trace)
    rows = {row.entry: row for row in score([tmp_path / "all.jsonl"], example_dir)}
    assert (rows["honest"].failed, rows["cheat"].failed) == (0, 4)
    assert rows["cheat"].ranked <= rows["honest"].ranked
    assert any("failed" in note for note in rows["cheat"].notes)


# K. A budget.

HUGE_KNOBS = [
    ("arithmetic", "chain", {}, {"workers": 10**9}),
    ("arithmetic", "voting", {}, {"votes": 10**7}),
    ("arithmetic", "solo", {"terms": 10**7}, {}),
    ("arithmetic", "solo", {"test_size": 10**8}, {}),
    ("arithmetic", "solo", {"digits": 10**6}, {}),
    ("arithmetic", "debate", {}, {"debaters": 10**8}),
    ("arithmetic", "swarm", {}, {"workers": 10**6, "rounds": 10**6}),
    ("arithmetic", "topology", {}, {"agents": 10**7}),
    ("arithmetic", "mixture", {}, {"proposers": 10**7, "layers": 10**7}),
    ("arithmetic", "propose_review", {}, {"bundles": 10**8}),
    ("arithmetic", "eval_opt", {}, {"rounds": 10**30}),
    ("arithmetic", "orch_workers", {}, {"workers": float("1e300")}),
    ("atlas", "solo", {"size": 10**7}, {}),
    ("atlas", "solo", {"train_size": 10**7}, {}),
    ("atlas", "solo", {"context": True, "distractors": 10**7}, {}),
    ("snippets", "solo", {"test_size": 10**9}, {}),
    ("snippets", "solo", {"cpu_s": 10**9}, {}),
    ("snippets", "solo", {"steps": 10**9}, {}),
]


@pytest.mark.parametrize(("task", "workflow", "of_task", "of_workflow"), HUGE_KNOBS, ids=str)
def test_huge_knobs_are_refused_at_once(task, workflow, of_task, of_workflow):
    trace = with_data(solo(), env=f"{task}/{workflow}-v1", task_knobs=of_task, workflow_knobs=of_workflow)
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = Verifier()(trace)
    assert isinstance(found, Refused)
    assert time.process_time() - began < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "kB"
    if of_workflow:
        with pytest.raises((ConfigError, WorkflowError), match=r"at most|rounds"):
            make_workflow(workflow, **of_workflow)


def test_every_number_among_the_knobs_has_an_upper_bound():
    import dataclasses

    from llm_marl_envs.catalog import build, find_class, names

    seen = 0
    for package in ("llm_marl_envs.workflows", "llm_marl_envs.tasks"):
        for name in names(package):
            for field in dataclasses.fields(find_class(package, name)):
                if field.type in ("int", "float", "int | None") and field.init and field.name != "seed":
                    seen += 1
                    with pytest.raises(ConfigError, match=f"does not accept {field.name}=.*at most"):
                        build(package, name, {field.name: 10**9})
    assert seen > 50


def test_traces_with_more_than_the_budget_are_refused():
    trace = solo()
    for budget, why in (
        (Budget(events=1), "2 events; at most 1 are verified"),
        (Budget(texts=10), "characters; at most 10 are verified"),
        (Budget(agents=0), "for up to 1 agents; at most 0"),
    ):
        assert why in str(Verifier(budget=budget)(trace))
    assert "train_size=30; at most 20" in str(Verifier(budget=Budget(problems=20))(solo(train_size=30))).replace(
        " of arithmetic", ""
    )


def measured(path: Path, **given: int) -> tuple[int, list[str], float, int]:
    """(traces, complaints, CPU seconds, more kB of memory) of reading a file."""
    bad: list[str] = []
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = sum(1 for _ in read_traces(path, lambda error: bad.append(str(error)), **given))
    return count, bad, time.process_time() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


@sizes("mb", 32, 512)
def test_a_gzip_of_newlines_is_streamed(tmp_path, mb):
    path = tmp_path / "bomb.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(mb):
            file.write(b"\n" * (1 << 20))
        file.write(solo().to_json().encode() + b"\n")
    count, bad, seconds, kb = measured(path)
    assert (count, bad) == (1, [])
    assert seconds < 5
    assert kb < 100_000


def test_a_line_without_an_end_is_one_complaint(tmp_path):
    path = tmp_path / "long.jsonl.gz"
    with gzip.open(path, "wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + solo().to_json().encode() + b"\n")
    count, bad, _, kb = measured(path, memory_mb=9)
    assert count == 1
    assert len(bad) == 1
    assert "line 1: longer than" in bad[0]
    assert kb < 100_000


@pytest.mark.parametrize("kind", ["zero", "fifo", "socket"])
def test_what_is_no_file_is_not_read(tmp_path, kind):
    path = tmp_path / "x.jsonl"
    if kind == "zero":
        path.symlink_to("/dev/zero")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(tmp_path)
            server.bind("x.jsonl")
    with pytest.raises(TraceError, match=r"no regular file|cannot read"):
        list(read_traces(path))


BAD_LINES = [
    b"{}", b"[]", b"null", b"not json", b"\xff\xfe{\x00}\x00", b"caf\xe9", b"[" * 100_000, b'{"version": 2}', b'{"version": 1e999}',
    b'{"a": ' + b"9" * 5_000 + b"}", b'"\\ud800"', b"{" * 50_000, b"NaN", b'{"version": 99}', b"\x00" * 1000,
]  # fmt: skip


def test_one_bad_line_costs_one_line(tmp_path, run):
    path = tmp_path / "mixed.jsonl"
    good = [solo(text).to_json().encode() for text in ("1", "2", "3")]
    lines = [good[0], *BAD_LINES[:7], good[1], *BAD_LINES[7:], good[2]]
    path.write_bytes(b"\n".join(lines) + b"\n")
    count, bad, seconds, _ = measured(path)
    assert (count, len(bad)) == (3, len(BAD_LINES))
    assert seconds < 5
    code, text = run("trace", "check", str(path))
    assert code == 1
    assert f"3 traces replayed and graded, {len(BAD_LINES)} complaints" in text
    with pytest.warns(BrokenLine):
        (row,) = score([path])
    assert row.episodes == 1, "the three are one question, sample and step"


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", "hello\n".encode("utf-16"), b"PK\x03\x04", b'{"role": "user", "content": "x"}\n']
)
def test_files_that_hold_no_traces_are_complaints(tmp_path, run, text):
    path = tmp_path / "x.jsonl"
    path.write_bytes(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TornTrace)
        code, said = run("trace", "check", str(path))
    assert code in (1, 2), said
    assert "0 complaints" not in said


def test_the_same_episode_twice_is_seen(tmp_path, run):
    path = tmp_path / "twice.jsonl"
    line = solo().to_json() + "\n"
    path.write_text(line * 2)
    code, text = run("trace", "check", str(path))
    assert code == 1
    assert "the same episode once more" in text


# Cost is linear in events.


def long_trace(calls: int) -> Trace:
    workflow = make_workflow("search_answer", turns=1000, unparseable="retry")
    limits = Limits(calls=None, turns=None)
    session = Session(Play(workflow, Question("q", "x"), 0, limits))
    while session.waiting and session.calls < calls:
        session.reply("hm")
    return Trace.of(session, EnvSpec("atlas", "search_answer", {}, {"turns": 1000, "unparseable": "retry"}), None)


def test_replay_is_linear(monkeypatch):
    """Counted, not timed: each event is compared once."""
    counts = {}
    original = module.differ
    for calls in (100, 400):
        trace, count = long_trace(calls), 0

        def counted(one, other):
            nonlocal count
            count += 1
            return original(one, other)

        monkeypatch.setattr(module, "differ", counted)
        trace.session()
        monkeypatch.undo()
        counts[calls] = count
    assert counts[400] < 4.5 * counts[100]

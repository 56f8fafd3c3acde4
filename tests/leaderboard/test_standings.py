"""A suite's table: who has a rank, and for each way of cheating the finding that names it."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from leaderboard.standings import standings
from llm_marl_envs import TraceWriter, make
from llm_marl_envs.errors import DataError
from llm_marl_envs.session import Limits, Reply, Status
from llm_marl_envs.suites import Suite, load_suite
from llm_marl_envs.traces.trace import Trace

SMOKE = load_suite("smoke-v1")
LIMITS = Limits(calls=64, turns=64)
SUITE = dataclasses.replace(
    SMOKE, name="two-v1", parts=tuple(replace(p, problems=p.problems[:8], samples=1) for p in (SMOKE.parts[0], SMOKE.parts[2]))
)  # fmt: skip
PROGRAM = "```python\ndef solve(value):\n    return value\n```"


def played(part, problem: int, right: bool, *, entry="mine", limits=LIMITS, split="test", **knobs) -> Trace:
    env = make(f"{part.task}/solo-v1", split=split, limits=limits, **{**part.task_knobs, **knobs})
    env.reset(seed=problem, options={"problem": problem})
    env.step(f"\\boxed{{{env.problem.gold + (not right)}}}" if part.task == "arithmetic" else PROGRAM)
    return env.trace(entry=entry, sample=0)


def honest(marks: str = "++++----", entry: str = "mine") -> list[Trace]:
    sums, programs = SUITE.parts
    return [
        *(played(sums, i, mark == "+", entry=entry) for i, mark in enumerate(marks)),
        *(played(programs, i, False, entry=entry) for i in range(8)),
    ]


def board(tmp_path, *traces: Trace, suite: Suite = SUITE, name: str = "mine.jsonl"):
    with TraceWriter(tmp_path / name) as writer:
        for trace in traces:
            writer.write(trace)
    return standings([tmp_path], suite)


def test_who_played_all_of_it_is_ranked_by_the_mean_over_families(tmp_path):
    board(tmp_path, *honest("++++----", "half"), name="a.jsonl")
    first, second = board(tmp_path, *honest("++++++++", "whole"), name="b.jsonl")
    assert [(s.entry, s.ranked, s.overall) for s in (first, second)] == [("whole", True, 0.5), ("half", True, 0.25)]
    assert (first.parts["arithmetic"].mean, first.parts["snippets"].mean) == (1.0, 0.0)
    assert (first.episodes, first.calls, first.failed, first.workflows) == (16, 1.0, 0, ("solo",))


def test_the_best_few_rank_nowhere(tmp_path):
    board(tmp_path, *honest(), name="all.jsonl")
    few = [trace for trace in honest("++++++++", "few") if trace.score == 1.0]
    first, second = board(tmp_path, *few, name="few.jsonl")
    assert (first.entry, first.ranked) == ("mine", True)
    assert (second.entry, second.ranked, second.parts["arithmetic"].mean) == ("few", False, 1.0)
    assert any("snippets: 8 of 8 episodes are missing" in finding for finding in second.findings)


def edited(trace: Trace, **changes) -> Trace:
    """A trace with something changed, and digests made anew."""
    return replace(trace, digests=(), **changes)


def reply(trace: Trace, text: str) -> Trace:
    (event,) = [e for e in trace.events if e.reply]
    said = event._replace(reply=Reply(text, 1, 1, 0.1))
    return edited(trace, events=tuple(said if e is event else e for e in trace.events))


SUMS = SUITE.parts[0]
TAMPERED = {
    "a score": (lambda t: edited(t, score=1.0), "claims score 1"),
    "an answer": (lambda t: edited(t, answer="\\boxed{1}"), "the trace ends finished with answer"),
    "a status": (lambda t: edited(t, status=Status.TRUNCATED), "the trace ends truncated"),
    "an invented failure": (lambda t: edited(t, status=Status.FAILED, events=t.events[:0], score=None), "claims"),
    "a reply, digests kept": (lambda t: replace(reply(t, "\\boxed{7}"), digests=t.digests or t.chain()), "digest"),
    "an easier question": (lambda t: edited(t, question=replace(t.question, text="What is 1 + 1?")), "the question's text"),
    "another split's problem": (lambda t: played(SUMS, 7, True, split="validation"), "of the split 'validation'"),
    "a training problem": (lambda t: edited(played(SUMS, 7, True, split="train"), split="test"), "does not have this problem"),
    "a problem that is not in the list": (lambda t: played(SUMS, 300, True), "does not have this problem"),
    "easier knobs": (lambda t: played(SUMS, 3, True, digits=1), 'the suite has {}'),
    "larger limits": (lambda t: played(SUMS, 7, True, limits=Limits(calls=128)), '"calls": 128'),
    "older rules": (lambda t: edited(t, spec=replace(t.spec, version="v0")), "under the rules of v0"),
    "another task": (lambda t: edited(t, spec=replace(t.spec, task="gsm8k")), "does not have the task 'gsm8k'"),
    "another workflow": (lambda t: edited(t, spec=replace(t.spec, workflow="os:system")), "is no workflow of arithmetic"),
    "a sample too many": (lambda t: edited(t, meta={**t.meta, "sample": 1}), "sample 1; the suite has 1"),
    "a sample that is no number": (lambda t: edited(t, meta={**t.meta, "sample": "0"}), "sample '0'"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TAMPERED)
def test_each_way_of_cheating_is_named_and_has_no_rank(kind, tmp_path):
    change, says = TAMPERED[kind]
    traces = honest()
    traces[7] = change(traces[7])
    (found,) = board(tmp_path, *traces)
    assert not found.ranked
    assert any(says in finding for finding in found.findings), found.findings
    assert any(finding.startswith("mine.jsonl: trace ") for finding in found.findings), "file and trace are named"
    assert any("arithmetic: 1 of 8 episodes are missing or were refused" in finding for finding in found.findings)


def test_an_episode_twice_and_the_better_one_second(tmp_path):
    again = played(SUMS, 7, True)
    (found,) = board(tmp_path, *honest(), again)
    assert found.parts["arithmetic"].mean == 0.5
    assert [f.partition(": ")[2].partition(": ")[2] for f in found.findings] == ["sample 0 is there twice"]


def test_a_copied_trace_under_another_name_is_found(tmp_path):
    timed = [reply(t, t.events[i].reply.text) for t in honest("++++++++", "honest") for i in range(1)]
    board(tmp_path, *timed, name="a.jsonl")
    copied = [replace(t, meta={**t.meta, "entry": "copycat"}) for t in timed]
    ours, theirs = board(tmp_path, *copied, name="b.jsonl")
    assert (ours.entry, ours.ranked, ours.notes) == ("honest", True, ())
    assert (theirs.entry, theirs.ranked) == ("copycat", False)
    assert "is 'honest''s, to the second" in theirs.findings[0]
    assert theirs.notes == ("said the same as 'honest' in 16 of 16 episodes",)


def test_two_that_said_the_same_are_told_so_and_no_more(tmp_path):
    board(tmp_path, *honest("++++++++", "one"), name="a.jsonl")
    one, two = board(tmp_path, *honest("+++++++-", "two"), name="b.jsonl")
    assert [one.ranked, two.ranked] == [True, True]
    assert (one.notes, two.notes) == ((), ("said the same as 'one' in 15 of 16 episodes",))


def test_a_line_that_is_no_trace_is_a_finding(tmp_path):
    (tmp_path / "broken.jsonl").write_text('{"version": 2}\n')
    found = board(tmp_path, *honest())
    assert [(s.entry, s.ranked) for s in found] == [("mine", True), ("broken.jsonl", False)]


def test_another_copy_of_the_data_is_an_error_of_the_board(tmp_path):
    part = replace(SUMS, problems=(*SUMS.problems, "0" * 12))
    with pytest.raises(DataError, match="1 of 9 problems are not in arithmetic/test"):
        board(tmp_path, *honest(), suite=dataclasses.replace(SUITE, parts=(part,)))


def test_the_command(tmp_path, run):
    path = tmp_path / "two.json"
    path.write_text(SUITE.to_json())
    board(tmp_path, *honest())
    path.write_text(SUITE.to_json())
    code, text = run("score", str(tmp_path / "mine.jsonl"), "--suite", str(path))
    assert code == 0, text
    assert "25.0%" in text
    with TraceWriter(tmp_path / "mine.jsonl") as writer:
        writer.write(played(SUMS, 300, True))
    code, text = run("score", str(tmp_path / "mine.jsonl"), "--suite", str(path))
    assert code == 1
    assert "mine has no rank" in text

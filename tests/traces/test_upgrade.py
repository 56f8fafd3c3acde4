"""Traces of older versions: read, replayed and graded as before."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import pytest
from places import GOLDEN

from leaderboard.score import score
from llm_marl_envs import ReplayMismatch, Trace, TraceWriter, make, read_traces
from llm_marl_envs.errors import OlderRules, TraceError
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.traces.upgrade import upgraded
from llm_marl_envs.traces.verify import Refused, Verified, Verifier

OLD = GOLDEN / "traces-v1.jsonl.gz"  # written by the release that wrote version 1; the .json says what it made of them
WANTED = json.loads((GOLDEN / "traces-v1.json").read_text())


def test_records_of_older_rules_are_said_to_be_old_and_not_to_be_tampered_with():
    """What a reply means has changed since: they are read and shown, but neither replayed nor counted."""
    verify, traces = Verifier(), list(read_traces(OLD))
    message = "written under older rules (v0; this release plays v1): evaluate again"
    for trace, wanted in zip(traces, WANTED["episodes"], strict=True):
        trace.check_digests()
        assert (trace.id, trace.answer, trace.env_id[-3:]) == (wanted["id"], wanted["answer"], "-v0")
        assert [e.reply.worked for e in trace.events if isinstance(e.call, UseTool)] == wanted["worked"]
        result = verify(trace)
        assert isinstance(result, Refused)
        assert result.complaints == (message,)
        with pytest.raises(OlderRules, match="evaluate again"):
            trace.session()
    (row, *others) = score([OLD])
    assert all(message in reason for r in (row, *others) for reason in r.reasons)
    assert sum(r.refused for r in (row, *others)) == len(traces)
    assert sum(r.episodes for r in (row, *others)) == 0


def test_a_check_of_older_records_says_so(run):
    code, text = run("trace", "check", str(OLD))
    assert code == 1
    assert "written under older rules (v0; this release plays v1): evaluate again" in text
    for word in ("digest", "tamper", "replay gives", "claims"):
        assert word not in text


def test_old_forks_are_still_held_to_their_parents():
    traces = {trace.id: trace for trace in read_traces(OLD)}
    (fork,) = (trace for trace in traces.values() if trace.parent)
    fork.check_fork(traces[fork.parent[0]])


def test_old_traces_are_written_as_they_were(tmp_path):
    with TraceWriter(tmp_path / "again.jsonl") as writer:
        for trace in read_traces(OLD):
            writer.write(trace)
    with gzip.open(OLD) as file:
        assert (tmp_path / "again.jsonl").read_bytes() == file.read()


def test_an_edited_old_trace_is_caught():
    with gzip.open(OLD) as file:
        lines = file.read().decode().splitlines()
    line = next(line for line in lines if "UseTool" in line)
    for before, after in (('"wave": 1', '"wave": 2'), ('"reply": "', '"reply": "x')):
        with pytest.raises(ReplayMismatch, match="digest"):
            Trace.from_json(line.replace(before, after, 1)).session()


@pytest.mark.parametrize("version", [0, 3, "2", None, 1.5, True])
def test_other_versions_are_refused(version):
    with gzip.open(OLD) as file:
        data = json.loads(file.readline())
    with pytest.raises(TraceError):
        Trace.from_json(json.dumps(data | {"version": version}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12\n", 1.0),
        ("", 0.0),
        (" \n", 0.0),
        ("(no output)", 0.0),
        ("No passage was found.", 0.0),
        ("Not run: a program of 99999999 characters; at most 100000 are run.", 0.0),
        ("Traceback (most recent call last):\n  ...\nZeroDivisionError", 0.0),
        ("1\n2\nStopped: used 5 s of CPU.", 0.0),
        ("Stopped: used 5 s of CPU.", 0.0),
        ("He said: Stopped: no", 1.0),
        ("1 of 4 examples pass.\nExample 2: ...", 0.25),
        ("3 of 3 examples pass.", 1.0),
        ("9 of 3 examples pass.", 1.0),
        ("0 of 0 examples pass.", 1.0),
    ],
)
def test_what_old_tools_said_about_their_success(text, value):
    data = {"version": 1, "events": [{"event": "UseTool", "reply": text}, {"event": "Ask", "reply": text}]}
    assert upgraded(data)["events"] == [
        {"event": "UseTool", "reply": text, "worked": value},
        {"event": "Ask", "reply": text},
    ]
    assert upgraded(data | {"version": 2})["events"] == data["events"], "once"


# This version records it.


def searched() -> Trace:
    env = make("atlas/search_answer-v1", split="test", size=200, train_size=5, test_size=5)
    env.reset(seed=0)
    for text in ("<search>zyzzyx</search>", "<search>river</search>", "<stop>", "x"):
        env.step(text)
    return env.trace()


def test_how_well_a_tool_worked_is_recorded():
    trace = searched()
    worked = [event.get("worked") for event in json.loads(trace.to_json())["events"] if event["event"] == "UseTool"]
    assert worked == [0.0, 1.0]
    assert [e.reply.worked for e in Trace.from_json(trace.to_json()).session().events if e.reply][1:4:2] == [0.0, 1.0]
    assert trace.version == 2


def test_a_tool_that_is_said_to_have_worked_is_caught_when_it_is_run_again():
    trace = searched()
    events = tuple(e._replace(reply=e.reply._replace(worked=1.0)) if e.reply else e for e in trace.events)
    forged = replace(trace, events=events)
    assert isinstance(Verifier(tools=True)(trace), Verified)
    assert "search worked 0, not 1" in str(Verifier(tools=True)(forged))


@pytest.mark.parametrize("worked", [-0.1, 1.1, "1", None, float("nan")])
def test_how_well_a_tool_worked_is_from_0_to_1(worked):
    data = json.loads(searched().to_json())
    next(event for event in data["events"] if event["event"] == "UseTool")["worked"] = worked
    with pytest.raises(TraceError, match="worked must be a number from 0 to 1"):
        Trace.from_json(json.dumps(data))


def test_only_tools_work():
    data = json.loads(searched().to_json())
    next(event for event in data["events"] if event["event"] == "Ask")["worked"] = 1.0
    with pytest.raises(TraceError, match="worked"):
        Trace.from_json(json.dumps(data))

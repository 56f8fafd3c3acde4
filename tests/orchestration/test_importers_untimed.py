"""Logs without times have an axis of calls and no seconds; what is not understood is counted by kind; hostile files never raise
anything but the clear error."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from cases import sizes
from transcript_samples import (
    END,
    MAIN,
    SIDE,
    WEATHER,
    at,
    claude,
    claude_session,
    codex,
    codex_session,
    item,
    read,
    said,
    write,
)

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.orchestration.importers import LAYOUTS, read_transcripts
from llm_marl_envs.orchestration.importers.records import KINDS, Skipped, load, read_source, seconds_of
from llm_marl_envs.orchestration.schema import check_view

SECONDS = ("speed_up", "parallelism_efficiency", "critical_path_s")


def untimed(view: dict) -> bool:
    """Whether nothing in the data speaks of seconds."""
    said_so = view["events"][0].get("axis") == "calls"
    assert said_so == (not any("seconds" in e for e in view["events"])) == (view["costs"]["wall_clock_s"] == 0.0)
    assert said_so == (not any(name in view["metrics"] for name in SECONDS))
    return said_so


def test_the_axis_counts_calls(tmp_path):
    (view,) = read(write(tmp_path / "weather.jsonl", *WEATHER))
    assert untimed(view)
    assert [(e["type"], e["t"]) for e in view["events"]] == [
        ("message", 0), ("tool_call", 1), ("tool_call", 2), ("tool_result", 2), ("tool_result", 2), ("message", 3),
    ]  # fmt: skip
    assert view["metrics"]["critical_path_calls"] == 2.0, "two calls at once and a reply; a person's words are no call"


def test_every_layout_without_times(tmp_path):
    for how in ("in one file", "below"):
        path = claude_session(tmp_path / how, how)
        assert not untimed(read(path)[0])
        for file in sorted(path.parent.rglob("*.jsonl")):
            records = [json.loads(line) for line in file.read_text().splitlines()]
            write(file, *[{k: v for k, v in record.items() if k != "timestamp"} for record in records])
        (view,) = read(path)
        assert untimed(view)
        assert [e["t"] for e in view["events"]] == sorted(e["t"] for e in view["events"])
        assert {e["type"] for e in view["events"]} >= {"spawn", "return", "despawn"}
    path = codex_session(tmp_path / "codex")
    assert not untimed(read(path)[0])
    for file in path.parent.glob("*.jsonl"):
        write(file, *[{k: v for k, v in json.loads(line).items() if k != "timestamp"} for line in file.read_text().splitlines()])  # fmt: skip
    assert untimed(read(path)[0])


def test_a_log_that_is_partly_timed_is_not_timed(tmp_path):
    """Then how long each step lasted is not known; the times there are still say what came first, and how many there are."""
    log = [message | ({"created": 1772359200 + 10 * i} if i in (2, 5) else {}) for i, message in enumerate(WEATHER)]
    (view,) = read(write(tmp_path / "weather.jsonl", *log))
    assert untimed(view)
    assert view["events"][0]["partly_timed"] == "3 of 7 steps have a time", "the system's message is a step, too"
    late = [
        {k: v for k, v in r.items() if k != "timestamp" or r is not SIDE[0][1]} for records in SIDE for r in records
    ]
    (view,) = read(write(tmp_path / "s.jsonl", *MAIN, *late, *END))
    assert untimed(view)
    order = [e["agent"] for e in view["events"] if e["type"] == "return"]
    assert order == ["Explore_0", "Explore_1"], "helpers' results by their times"


def test_equal_times_are_no_times(tmp_path):
    log = [message | {"created": 1772359200} for message in WEATHER]
    assert untimed(read(write(tmp_path / "a.jsonl", *log))[0])


def test_times_that_go_backwards_keep_the_logs_order(tmp_path):
    log = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]  # fmt: skip
    stamps = [100, 50, 120, 110]
    (view,) = read(write(tmp_path / "a.jsonl", *[m | {"timestamp": s} for m, s in zip(log, stamps, strict=True)]))
    assert [e["text"] for e in view["events"]] == ["a", "b", "c", "d"]
    assert (view["costs"]["wall_clock_s"], [e["t"] for e in view["events"]]) == (20.0, [0.0, 0.0, 20.0, 20.0])
    back = [claude("user", 9, "a", "u1"), claude("assistant", 3, [{"type": "text", "text": "b"}], "a1", None, "m1"), claude("user", 12, "c", "u2")]  # fmt: skip
    (view,) = read(write(tmp_path / "s.jsonl", *back))
    assert [e["text"] for e in view["events"]] == ["a", "b", "c"]


def test_times_without_a_zone_are_utc(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert seconds_of("2026-03-01T10:00:00") == seconds_of("2026-03-01T10:00:00Z") == 1772359200
    monkeypatch.undo()
    time.tzset()


# What is not understood.


def test_kinds_of_what_is_not_understood(tmp_path):
    claude_log = [
        *MAIN[2:], {"type": "telemetry"}, {"type": "telemetry"}, {"type": ["x"]}, 7,
        claude("assistant", 8, [{"type": "hologram"}, {"type": "text", "text": 5}, {"type": "tool_use", "id": "q"}, "words"], "b1", None, "m8"),
        claude("user", 9, "Hm.", "b2") | {"timestamp": "soon"}, claude("user", 9, "x", "b3") | {"message": [1]}, *END,
    ]  # fmt: skip
    path = write(tmp_path / "s.jsonl", *claude_log)
    with path.open("a") as file:
        file.write('{"type": "user", "torn\n{"also": torn}\n')
    (view,) = read(path)
    assert view["events"][0]["skipped"] == {
        "line that is not JSON": 2, "record telemetry": 2, "record list": 1, "record int": 1, "block hologram": 1, "ill-typed block text": 1,
        "ill-typed block tool_use": 1, "block NoneType": 1, "ill-typed field timestamp": 1, "ill-typed record user": 1,
    }  # fmt: skip
    assert view["metrics"]["records_skipped"] == 12
    codex_log = [
        codex(0, "session_meta", id="t"), said(1, "user", "x"), codex(1, "event_msg", type="sing"), codex(1, "dance", a=1), item(1, "poem"), item(1, "message", role="ghost", content="x"),
        [3], {"timestamp": at(2), "type": "response_item", "payload": {"type": "function_call", "call_id": "c", "arguments": 5}},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "rollout.jsonl", *codex_log))
    assert view["events"][0]["skipped"] == {"event sing": 1, "record dance": 1, "item poem": 1, "message of role ghost": 1, "ill-typed record list": 1}  # fmt: skip
    log = [
        *WEATHER, {"role": "ghost", "content": "x"}, 5, {"role": "user", "content": [{"type": "hologram", "text": "kept"}, 4]}, {"role": "assistant", "tool_calls": "none", "content": "y"},
        {"role": "assistant", "content": "z", "tool_calls": [{"id": "q"}]}, {"role": "user"}, {"type": "telemetry"},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "log.jsonl", *log))
    assert view["events"][0]["skipped"] == {
        "message ghost": 1, "message int": 1, "part hologram": 1, "part int": 1, "ill-typed field tool_calls": 1, "ill-typed call": 1, "ill-typed message": 1,
        "message telemetry": 1,
    }  # fmt: skip
    assert "kept\n4" in [e.get("text") for e in view["events"]]


def test_kinds_are_bounded():
    skipped = Skipped()
    for i in range(1000):
        skipped.note("record", f"{i}" * 100)
    assert (len(skipped), skipped.total(), max(map(len, skipped))) == (KINDS + 1, 1000, 60)


def test_a_file_in_which_nothing_is_understood_says_what_it_has(tmp_path):
    path = write(tmp_path / "a.jsonl", {"type": "summary"}, {"type": "telemetry", "sessionId": "x"})
    with pytest.raises(
        TranscriptError, match=r"none of its 2 records has the layout claude_code \(1 x record telemetry\)"
    ):
        read(path)


def test_one_bad_line_costs_one_line(tmp_path):
    lines = [json.dumps(message, ensure_ascii=False) for message in WEATHER]
    for bad in ("{", "\x00", '{"a": 1' + "0" * 5000 + "}", "[" * 100_000, "\ufffd", "{'role': 'user'}"):
        (tmp_path / "a.jsonl").write_text("\n".join([*lines[:3], bad, *lines[3:]]))
        (view,) = read(tmp_path / "a.jsonl")
        assert (len(view["events"]), view["events"][0]["skipped"]) == (6, {"line that is not JSON": 1}), bad[:20]
    odd = json.dumps({"role": "user", "content": "a\u2028b\u2029c\x85d"}, ensure_ascii=False)
    (tmp_path / "b.jsonl").write_text("\n".join([*lines, odd]), "utf-8")
    (view,) = read(tmp_path / "b.jsonl")
    assert view["events"][-1]["text"] == "a\u2028b\u2029c\x85d"


def test_numbers_that_json_does_not_know():
    assert load("[NaN, -Infinity, 1e999, 1e3, 5]") == ["NaN", "-Infinity", "1e999", 1000.0, 5]


def test_arguments_that_are_nested_too_deeply(tmp_path):
    """100 levels can be written wherever the data go; what cannot be read at all is kept as a text."""
    for depth, args in (
        (50, json.loads(nested(50))),
        (51, {"text": "[nested too deeply]"}),
        (5000, {"text": nested(5000)}),
    ):
        call = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": nested(depth)}}]}
        (view,) = read(write(tmp_path / "a.jsonl", WEATHER[1], call))
        assert view["events"][1]["args"] == args
        assert view["events"][0].get("skipped") == ({"arguments nested too deeply": 1} if depth == 51 else None)
    block = {"type": "tool_use", "id": "c", "name": "f", "input": json.loads(nested(300))}
    (view,) = read(
        write(tmp_path / "s.jsonl", claude("user", 0, "Go.", "u"), claude("assistant", 1, [block], "a", None, "m"))
    )
    assert view["events"][0]["skipped"] == {"arguments nested too deeply": 1}


def test_files_that_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    for name in ("pipe.jsonl", "zero.jsonl"):
        with pytest.raises(TranscriptError, match="not a regular file"):
            read_source(tmp_path / name)
    with pytest.raises(TranscriptError, match=r"no transcripts under"):
        read(tmp_path)


# Hostile files.


def nested(depth: int) -> str:
    return '[{"content": ' * depth + '"x"' + "}]" * depth


ODD = (
    "null", "true", "-1", "1" + "0" * 400, "1e308", "1e999", "NaN", '""', '"\\ud800"', "[]", "[[]]", "{}", '{"type": {}}', '{"type": []}', '[{"type": "text"}]',
    '[{"type": "tool_result", "tool_use_id": []}]', '[{"type": "tool_use", "id": {}, "name": []}]', '{"role": []}', '{"id": "a1", "parentUuid": "a1"}',
    '"main"', '"user"', '"2999-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"', "-1e30", nested(50), nested(230), nested(470), nested(5000),
)  # fmt: skip
HERE = "the damaged field"
CLAUDE = [*MAIN, *SIDE[0], *END]
CODEX = [codex(0, "session_meta", id="t-1", source="cli"), said(1, "user", "x"), item(2, "function_call", name="spawn_agent", arguments="{}", call_id="s"), item(3, "function_call_output", call_id="s", output="{}"), said(4, "assistant", "y"), codex(5, "event_msg", type="token_count", info={"total_token_usage": {"input_tokens": 1}})]  # fmt: skip
PAIRS = [{"messages": WEATHER[:-1], "response": {"choices": [{"index": 0, "message": WEATHER[-1], "finish_reason": "stop"}], "usage": {"prompt_tokens": 9}}, "system": "x"}]  # fmt: skip
STREAM = [{"object": "chat.completion.chunk", "id": "x", "choices": [{"index": 0, "delta": {"content": "a", "tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}]}}]}]  # fmt: skip
LOGS = {"claude_code": [CLAUDE], "codex": [CODEX], "openai": [WEATHER, PAIRS, STREAM]}


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The paths of all fields of a record."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inside in pairs for found in ((*path, key), *places(inside, (*path, key)))]


def damaged(log: list, number: int, path: tuple, odd: str) -> str:
    """A log as JSON lines, in which one field of one record holds something odd."""
    log = json.loads(json.dumps(log))
    place = log[number]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = HERE
    return "".join(json.dumps(record).replace(json.dumps(HERE), odd) + "\n" for record in log)


def complaint(path: Path, text: str, layout: str) -> str:
    """What goes wrong with a file, other than the clear error."""
    path.write_text(text)
    try:
        for view in read_transcripts([path], layout):
            assert check_view(json.loads(json.dumps(view, allow_nan=False))) == []
        return ""
    except TranscriptError:
        return ""
    except Exception as bad:
        return f"{type(bad).__name__}: {bad}"


@sizes("share", 0.01, 0.3)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_value_in_any_field(layout, share, tmp_path):
    chance, wrong, tried = random.Random(layout), [], 0
    for log in LOGS[layout]:
        cases = ((i, path, odd) for i, record in enumerate(log) for path in places(record) for odd in ODD)
        for number, path, odd in cases:
            if chance.random() < share:
                tried += 1
                if bad := complaint(tmp_path / "log.jsonl", damaged(log, number, path, odd), layout):
                    wrong.append(f"record {number}, {path} = {odd:.60}: {bad:.200}")
    assert tried > 9
    assert wrong == []

"""Transcripts of other systems: what each layout becomes, what is counted as not understood, and that nothing raises."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcript_samples import (
    END,
    MAIN,
    SIDE,
    SPAWNED,
    WEATHER,
    at,
    claude,
    claude_session,
    codex_session,
    item,
    said,
    write,
)  # fmt: skip

from llm_marl_envs.errors import TranscriptError, UnknownName
from llm_marl_envs.orchestration_schema import check_view
from llm_marl_envs.transcripts import LAYOUTS, read_transcript, sniff
from llm_marl_envs.transcripts.records import read_source, seconds_of, text_of

SCHEMA = json.loads((Path(__file__).parent / "golden" / "orchestration_schema.json").read_text())


def read(path: Path, layout: str = "auto") -> list[dict]:
    views = [json.loads(json.dumps(view)) for view in read_transcript(path, layout)]
    for view in views:
        jsonschema.Draft202012Validator(SCHEMA).validate(view)
        assert check_view(view) == []
        assert view["events"][0]["imported"] is True
        at = {event["id"]: i for i, event in enumerate(view["events"])}
        assert all(at[edge["src"]] < at[edge["dst"]] for edge in view["edges"])
    return views


def shape(view: dict) -> list[tuple]:
    return [(e["type"], e["agent"], *([e["to"]] if "to" in e else [])) for e in view["events"]]


def edges(view: dict) -> set[tuple[str, str, str]]:
    return {(e["src"], e["dst"], e["type"]) for e in view["edges"]}


# OpenAI-style message logs.


@pytest.mark.parametrize("lines", ["one message a line", "one list", "messages", "request and response"])
def test_a_tool_loop(tmp_path, lines):
    path = tmp_path / "weather.json"
    match lines:
        case "one message a line":
            write(path, *WEATHER)
        case "one list":
            path.write_text(json.dumps(WEATHER, indent=1))
        case "messages":
            path.write_text(json.dumps({"messages": WEATHER}))
        case _:
            path.write_text(
                json.dumps({"messages": WEATHER[:-1], "response": {"choices": [{"message": WEATHER[-1]}], "usage": {"prompt_tokens": 90, "completion_tokens": 9}}})
            )  # fmt: skip
    (view,) = read(path)
    assert (view["task_id"], view["system"]) == ("weather", "openai")
    assert shape(view) == [
        ("message", "user", "assistant"),
        ("tool_call", "assistant"),
        ("tool_call", "assistant"),
        ("tool_result", "assistant"),
        ("tool_result", "assistant"),
        ("message", "assistant"),
    ]
    assert view["events"][0]["question"] == "Is it warm in Oslo?"
    assert [e.get("args") for e in view["events"][1:3]] == [{"city": "Oslo"}, {"text": "not json"}]
    assert [(e["tool"], e["text"], e["trusted"]) for e in view["events"][3:5]] == [
        ("weather", "3 degrees", False), ("weather", "no such city", False),
    ]  # fmt: skip
    assert edges(view) >= {
        ("e1", "e3", "tool_dependency"), ("e2", "e4", "tool_dependency"), ("e3", "e5", "tool_dependency"), ("e4", "e5", "tool_dependency"),
    }  # fmt: skip
    assert view["metrics"]["records_skipped"] == 0
    assert view["costs"]["tool_calls"] == 2
    assert view["costs"]["tokens"] == (99 if lines == "request and response" else 0)


def test_a_group_chat(tmp_path):
    chat = [
        {"role": "user", "content": "Plan a trip."},
        {"role": "assistant", "name": "planner", "content": "Day 1: Oslo."},
        {"role": "user", "name": "critic", "content": "Too cold."},
        {"role": "assistant", "name": "planner", "content": "Day 1: Rome."},
    ]
    (view,) = read(write(tmp_path / "chat.jsonl", *chat))
    assert shape(view) == [
        ("message", "user", "planner"), ("message", "planner"), ("message", "critic"), ("message", "planner"),
    ]  # fmt: skip
    assert edges(view) == {("e0", "e1", "message"), ("e1", "e2", "message"), ("e2", "e3", "message")}


def test_a_handoff_and_old_function_calls(tmp_path):
    log = [
        {"role": "user", "content": "A refund, please."},
        {"role": "assistant", "agent": "triage", "tool_calls": [{"id": "h", "function": {"name": "transfer_to_refunds", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "h", "content": "ok"},
        {"role": "assistant", "agent": "refunds", "function_call": {"name": "pay", "arguments": '{"sum": 3}'}, "content": ""},
        {"role": "function", "name": "pay", "content": "paid"},
        {"role": "assistant", "agent": "refunds", "content": "Done."},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "log.jsonl", *log))
    assert [s[:2] for s in shape(view)] == [
        ("message", "user"), ("tool_call", "triage"), ("tool_result", "triage"), ("tool_call", "refunds"), ("tool_result", "refunds"), ("message", "refunds"),
    ]  # fmt: skip


def test_items_of_the_responses_api(tmp_path):
    log = {
        "id": "resp_1",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "2 + 2?"}]}],
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "function_call", "call_id": "c", "name": "add", "arguments": '{"a": 2}'},
            {"type": "function_call_output", "call_id": "c", "output": "4"},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "4."}]},
        ],
    }
    (view,) = read(write(tmp_path / "log.json", log))
    assert view["task_id"] == "resp_1"
    assert [t for t, *_ in shape(view)] == ["message", "tool_call", "tool_result", "message"]
    assert view["metrics"]["records_skipped"] == 0


def test_many_conversations_in_a_file(tmp_path):
    views = read(write(tmp_path / "many.jsonl", {"messages": WEATHER}, {"messages": WEATHER[:2]}, {"other": 1}))
    assert [view["task_id"] for view in views] == ["many/0", "many/1"]
    assert len({view["trace_id"] for view in views}) == 2
    assert [view["metrics"]["records_skipped"] for view in views] == [1, 0]


# Claude Code.


@pytest.mark.parametrize("how", ["in one file", "in one file, without ids", "beside", "below"])
def test_a_session_with_two_helpers_at_once(tmp_path, how):
    (view,) = read(claude_session(tmp_path, how))
    assert sorted(shape(view)) == sorted(SPAWNED)
    names = {(e["type"], e["agent"], e.get("to")): e["id"] for e in view["events"]}
    found = edges(view)
    assert (names["spawn", "main", "Explore_0"], names["tool_call", "Explore_0", None], "causal") in found
    for helper in ("Explore_0", "Explore_1"):
        back = [e for e in view["edges"] if e["src"] == names["return", helper, "main"] and e["type"] == "return"]
        assert len(back) == 1
    assert view["topology"] == "centralized"
    assert view["costs"]["tokens"] == 127 * 6, "each message's tokens once, however many records it has"
    assert view["costs"]["wall_clock_s"] == pytest.approx(20.0)
    assert view["metrics"]["records_skipped"] == 0
    assert view["metrics"]["speed_up"] > 1.0, "the helpers worked at once"
    spawns = [e["text"] for e in view["events"] if e["type"] == "spawn"]
    assert spawns == ["Look at a.py", "Look at b.py"]


def test_how_long_things_took(tmp_path):
    (view,) = read(claude_session(tmp_path, "below"))
    first = {(e["type"], e["agent"]): e for e in reversed(view["events"])}
    assert (first["message", "main"]["t"], first["message", "main"]["seconds"]) == (0.0, pytest.approx(2.0))
    read_call = first["tool_call", "Explore_0"]
    assert (read_call["t"], read_call["seconds"]) == (pytest.approx(3.0), pytest.approx(0.5))
    last = first["return", "Explore_1"]
    assert (last["t"], last["seconds"]) == (pytest.approx(5.5), pytest.approx(1.5))


def test_a_helper_whose_log_is_lost(tmp_path):
    path = write(tmp_path / "s.jsonl", *MAIN, *END)
    (view,) = read(path)
    returns = [(e["agent"], e["text"]) for e in view["events"] if e["type"] == "return"]
    assert returns == [("Explore_0", "a.py has a bug."), ("Explore_1", "b.py has a bug.")]


def test_a_folder_of_sessions(tmp_path):
    claude_session(tmp_path / "one", "beside")
    claude_session(tmp_path / "two", "below")
    views = read(tmp_path)
    assert len(views) == 2, "helpers' files come with their sessions"


def test_unknown_records_are_counted(tmp_path):
    strange = [
        {"type": "telemetry", "x": 1},
        7,
        ["a"],
        {"type": "assistant", "message": 3, "uuid": "q"},
        {"type": "user"},
    ]
    block = claude("assistant", 9.5, [{"type": "hologram"}], "a9")
    path = write(tmp_path / "s.jsonl", *MAIN, *strange, block, *END)
    with path.open("a") as file:
        file.write('{"type": "user", "torn')
    (view,) = read(path)
    assert view["metrics"]["records_skipped"] == len(strange) + 2


# Codex.


def test_a_codex_session_with_a_helper(tmp_path):
    (view,) = read(codex_session(tmp_path))
    assert shape(view) == [
        ("message", "user", "main"),
        ("message", "main"),
        ("spawn", "main", "explorer_0"),
        ("tool_call", "main"),
        ("tool_call", "explorer_0"),
        ("tool_result", "explorer_0"),
        ("return", "explorer_0", "main"),
        ("despawn", "main", "explorer_0"),
        ("tool_result", "main"),
        ("tool_call", "main"),
        ("tool_result", "main"),
        ("message", "main"),
    ]
    assert view["task_id"] == "root-1"
    assert view["events"][0]["text"] == "Count the files."
    assert view["costs"]["tokens"] == 120 + 55 + 203
    assert [e["tool"] for e in view["events"] if e["type"] == "tool_call"] == ["wait", "shell", "apply_patch"]
    assert view["metrics"]["records_skipped"] == 0


def test_a_codex_folder(tmp_path):
    codex_session(tmp_path / "2026" / "03" / "01")
    assert len(read(tmp_path)) == 1


def test_an_old_codex_file(tmp_path):
    old = [
        {"id": "old-1", "timestamp": at(0), "instructions": None, "git": {}},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"type": "local_shell_call", "call_id": "z", "action": {"command": ["ls"]}, "status": "completed"},
        {"type": "function_call_output", "call_id": "z", "output": "a b"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hello"}]},
    ]
    (view,) = read(write(tmp_path / "rollout-old.jsonl", *old))
    assert [t for t, *_ in shape(view)] == ["message", "tool_call", "tool_result", "message"]
    assert view["metrics"]["records_skipped"] == 0


# Whatever the layout.


def test_layouts_are_told_apart(tmp_path):
    assert sniff(read_source(write(tmp_path / "a.jsonl", *WEATHER))) == "openai"
    assert sniff(read_source(claude_session(tmp_path / "b", "in one file"))) == "claude_code"
    assert sniff(read_source(codex_session(tmp_path / "c"))) == "codex"


def test_bad_files_are_said(tmp_path):
    with pytest.raises(TranscriptError, match=r"cannot read .*none\.jsonl: No such file"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "text.jsonl").write_text("hello\nthere\n")
    with pytest.raises(TranscriptError, match="holds no JSON"):
        read(tmp_path / "text.jsonl")
    with pytest.raises(TranscriptError, match=r"no known layout\. Expected messages with role"):
        read(write(tmp_path / "other.jsonl", {"a": 1}, {"b": 2}))
    with pytest.raises(
        TranscriptError, match=r"nothing in .* was understood: its 2 records are none of the layout codex"
    ):
        read(write(tmp_path / "other.jsonl", {"a": 1}, {"b": 2}), "codex")
    (tmp_path / "empty").mkdir()
    with pytest.raises(TranscriptError, match="no transcripts under"):
        read(tmp_path / "empty")
    with pytest.raises(UnknownName, match="no transcript layout 'codx'"):
        read(tmp_path / "other.jsonl", "codx")


def test_times_and_texts():
    assert seconds_of("2026-03-01T10:00:00Z") == seconds_of("2026-03-01T11:00:00+01:00") == seconds_of(1772359200)
    assert seconds_of(1772359200000) == 1772359200.0
    assert [seconds_of(odd) for odd in ("soon", None, True, -1, [], float("nan"), 1e300)] == [None] * 7
    assert text_of(["a", {"type": "text", "text": "b"}, {"type": "image", "source": {}}, 3]) == "a\nb\n[image]"
    assert text_of(None) == ""


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "text", "content", "name", "input", "usage", "a"]), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
FIELDS = {
    "openai": [
        "role",
        "content",
        "tool_calls",
        "tool_call_id",
        "name",
        "function_call",
        "created_at",
        "usage",
        "type",
        "call_id",
        "output",
    ],
    "claude_code": [
        "type",
        "message",
        "uuid",
        "parentUuid",
        "timestamp",
        "isSidechain",
        "agentId",
        "toolUseResult",
        "sessionId",
    ],
    "codex": ["type", "payload", "timestamp", "call_id", "arguments"],
}
SAMPLES = {"openai": WEATHER, "claude_code": [*MAIN, *SIDE[0], *END], "codex": [said(1, "user", "x"), item(2, "function_call", name="spawn_agent", arguments="{}", call_id="s"), item(3, "function_call_output", call_id="s", output="{}"), said(4, "assistant", "y")]}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_records_never_raise(layout, tmp_path_factory, data):
    """Any field of any record may hold anything: what is understood is valid, the rest is counted."""
    records = json.loads(json.dumps(SAMPLES[layout]))
    for _ in range(data.draw(st.integers(1, 4))):
        record = data.draw(st.sampled_from(records))
        inside = record.get("message") or record.get("payload")
        place = inside if isinstance(inside, dict) and data.draw(st.booleans()) else record
        place[data.draw(st.sampled_from([*FIELDS[layout], *place]))] = data.draw(json_values)
    path = tmp_path_factory.mktemp("damaged") / "log.jsonl"
    write(path, *records)
    with contextlib.suppress(TranscriptError):
        read(path, layout)

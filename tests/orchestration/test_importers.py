"""Transcripts of other systems: what each layout becomes, what is counted as not understood, and that nothing raises."""

from __future__ import annotations

import json

import pytest
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
    edges,
    read,
    shape,
    write,
)  # fmt: skip

# OpenAI-style message logs.


@pytest.mark.parametrize("lines", ["one message per line", "one list", "messages", "request and response"])
def test_a_tool_loop(tmp_path, lines):
    path = tmp_path / "weather.json"
    match lines:
        case "one message per line":
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


def test_what_other_frameworks_call_messages(tmp_path):
    """One exchange with a tool as ShareGPT, LangChain (plain and serialised) and AutoGen write it."""
    sharegpt = {"conversations": [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4."}]}
    langchain = [
        {"type": "human", "content": "2 + 2?"},
        {
            "type": "ai",
            "content": "",
            "name": "solver",
            "tool_calls": [{"name": "add", "args": {"a": 2}, "id": "c"}],
            "usage_metadata": {"input_tokens": 5, "output_tokens": 2},
        },
        {"type": "tool", "content": "4", "tool_call_id": "c"},
        {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "AIMessage"],
            "kwargs": {"content": "4.", "name": "solver"},
        },
    ]
    autogen = [
        {"source": "user", "type": "TextMessage", "content": "2 + 2?"},
        {"source": "solver", "type": "ToolCallRequestEvent", "content": [{"id": "c", "name": "add", "arguments": '{"a": 2}'}], "models_usage": {"prompt_tokens": 5, "completion_tokens": 2}},
        {"source": "solver", "type": "ToolCallExecutionEvent", "content": [{"call_id": "c", "content": "4", "is_error": False}]},
        {"source": "checker", "type": "TextMessage", "content": "4."},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "s.jsonl", sharegpt))
    assert shape(view) == [("message", "user", "assistant"), ("message", "assistant")]
    for name, log in (("langchain", langchain), ("autogen", autogen)):
        (view,) = read(write(tmp_path / f"{name}.jsonl", *log))
        assert [s[:2] for s in shape(view)] == [
            ("message", "user"), ("tool_call", "solver"), ("tool_result", "solver"), ("message", "solver" if name == "langchain" else "checker"),
        ]  # fmt: skip
        assert (view["costs"]["tokens"], view["metrics"]["records_skipped"]) == (7, 0)
        assert view["events"][1]["args"] == {"a": 2}


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
    assert (read_call["t"], read_call["seconds"]) == (pytest.approx(2.1), pytest.approx(1.4)), "written, and run"
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


def test_a_printed_stream(tmp_path):
    """As of stream-json: no times, sub-agents told by the call that started them, a result record at the end."""
    stream: list[dict] = [{"type": "system", "subtype": "init", "session_id": "s-2"}]
    for record in [*MAIN[2:], *SIDE[0], *SIDE[1], *END[:3]]:
        bare = {"type": record["type"], "message": record["message"], "session_id": "s-2", "parent_tool_use_id": None}
        if record["isSidechain"]:
            bare["parent_tool_use_id"] = "t1" if record["agentId"] == "agenta" else "t2"
        stream.append(bare)
    stream.append({"type": "result", "subtype": "success", "usage": {}})
    (view,) = read(write(tmp_path / "stream.jsonl", *stream))
    assert view["task_id"] == "s-2"
    assert sorted(shape(view)) == sorted(SPAWNED[:-1])
    assert view["metrics"]["records_skipped"] == 0
    assert view["costs"]["wall_clock_s"] == 0.0


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


def test_a_printed_codex_stream(tmp_path):
    stream = [
        {"type": "thread.started", "thread_id": "th-1"},
        {"type": "turn.started"},
        {"type": "item.completed", "item": {"id": "item_0", "type": "reasoning", "text": "hm"}},
        {"type": "item.started", "item": {"id": "item_1", "type": "command_execution", "command": "ls", "status": "in_progress"}},
        {"type": "item.completed", "item": {"id": "item_1", "type": "command_execution", "command": "ls", "aggregated_output": "a b", "exit_code": 0}},
        {"type": "item.completed", "item": {"id": "item_2", "type": "collab_tool_call", "tool": "spawn_agent", "receiver_thread_ids": ["th-2"], "prompt": "Look.", "agents_states": {"th-2": {"status": "running"}}}},
        {"type": "item.completed", "item": {"id": "item_3", "type": "collab_tool_call", "tool": "wait", "receiver_thread_ids": ["th-2"], "agents_states": {"th-2": {"status": "completed", "message": "Seen."}}}},
        {"type": "item.completed", "item": {"id": "item_4", "type": "agent_message", "text": "Two files."}},
        {"type": "turn.completed", "usage": {"input_tokens": 30, "output_tokens": 4}},
    ]  # fmt: skip
    (view,) = read(write(tmp_path / "exec.jsonl", *stream))
    assert (view["task_id"], view["system"]) == ("th-1", "codex")
    assert shape(view) == [
        ("tool_call", "main"), ("tool_result", "main"), ("spawn", "main", "agent_0"), ("return", "agent_0", "main"),
        ("despawn", "main", "agent_0"), ("message", "main"),
    ]  # fmt: skip
    assert (view["costs"]["tokens"], view["metrics"]["records_skipped"]) == (34, 0)

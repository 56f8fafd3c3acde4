"""Transcripts in the layouts of other systems: one weather question, two helpers at once, one helper in a file of its own."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
from places import GOLDEN

from llm_marl_envs.orchestration.importers import read_transcript
from llm_marl_envs.orchestration.schema import check_view

SCHEMA = json.loads((GOLDEN / "orchestration_schema.json").read_text())


def write(path: Path, *records: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


# OpenAI-style message logs.

WEATHER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Is it warm in Oslo?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}},
            {"id": "c2", "type": "function", "function": {"name": "weather", "arguments": "not json"}},
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "3 degrees"},
    {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "no such city"}]},
    {"role": "assistant", "content": "No, 3 degrees."},
]


# Claude Code.


def at(second: float) -> str:
    return f"2026-03-01T10:00:{second:06.3f}Z"


def claude(
    kind: str, second: float, content: object, uuid: str, parent: str | None = None, id: str | None = None, **more
) -> dict:
    message: dict = {"role": kind, "content": content}
    if id:
        message |= {"id": id, "usage": {"input_tokens": 100, "cache_read_input_tokens": 20, "output_tokens": 7}}
    base = {
        "type": kind,
        "sessionId": "s-1",
        "uuid": uuid,
        "parentUuid": parent,
        "isSidechain": False,
        "timestamp": at(second),
    }
    return base | {"message": message} | more


def task(key: str, prompt: str, role: str = "Explore") -> dict:
    return {
        "type": "tool_use",
        "id": key,
        "name": "Task",
        "input": {"prompt": prompt, "description": "d", "subagent_type": role},
    }


def result(key: str, text: str) -> list[dict]:
    return [{"type": "tool_result", "tool_use_id": key, "content": [{"type": "text", "text": text}]}]


MAIN = [
    {"type": "summary", "summary": "Bugs", "leafUuid": "x"},
    {"type": "file-history-snapshot", "messageId": "m"},
    claude("user", 0, "Find both bugs.", "u1"),
    claude("assistant", 2, [{"type": "thinking", "thinking": "hm"}], "a0", "u1", "m1"),
    claude("assistant", 2, [{"type": "text", "text": "I ask two helpers."}], "a1", "a0", "m1"),
    claude("assistant", 2.1, [task("t1", "Look at a.py")], "a2", "a1", "m1"),
    claude("assistant", 2.2, [task("t2", "Look at b.py")], "a3", "a2", "m1"),
]
SIDE = [
    [
        claude("user", 2.3, f"Look at {name}.py", f"{name}u", None, agentId=f"agent{name}", isSidechain=True),
        claude("assistant", 3 + wait, [{"type": "tool_use", "id": f"r{name}", "name": "Read", "input": {"file": f"{name}.py"}}], f"{name}1", f"{name}u", f"m{name}", agentId=f"agent{name}", isSidechain=True),
        claude("user", 3.5 + wait, result(f"r{name}", "def f(): ..."), f"{name}2", f"{name}1", agentId=f"agent{name}", isSidechain=True),
        claude("assistant", 5 + wait, [{"type": "text", "text": f"{name}.py has a bug."}], f"{name}3", f"{name}2", f"n{name}", agentId=f"agent{name}", isSidechain=True),
    ]
    for name, wait in (("a", 0), ("b", 2))
]  # fmt: skip
END = [
    claude(
        "user", 5.1, result("t1", "a.py has a bug."), "u2", "a3", toolUseResult={"agentId": "agenta", "totalTokens": 9}
    ),
    claude("user", 7.1, result("t2", "b.py has a bug."), "u3", "u2", toolUseResult={"agentId": "agentb"}),
    claude("assistant", 9, [{"type": "text", "text": "Both have one."}], "a4", "u3", "m2"),
    claude("user", 20, "Thanks. Mend them.", "u4", "a4"),
]
SPAWNED = [
    ("message", "user", "main"),
    ("message", "main"),
    ("spawn", "main", "Explore_0"),
    ("spawn", "main", "Explore_1"),
    ("tool_call", "Explore_0"),
    ("tool_call", "Explore_1"),
    ("tool_result", "Explore_0"),
    ("return", "Explore_0", "main"),
    ("despawn", "main", "Explore_0"),
    ("tool_result", "Explore_1"),
    ("return", "Explore_1", "main"),
    ("despawn", "main", "Explore_1"),
    ("message", "main"),
    ("human_intervention", "user", "main"),
]


def claude_session(folder: Path, how: str) -> Path:
    path = folder / "s-1.jsonl"
    match how:
        case "in one file, without ids":
            side = [{k: v for k, v in record.items() if k != "agentId"} for records in SIDE for record in records]
            end = [{k: v for k, v in record.items() if k != "toolUseResult"} for record in END]
            return write(path, *MAIN, *side, *end)
        case "in one file":
            return write(path, *MAIN, *SIDE[0], *SIDE[1], *END)
        case "beside":
            for name, records in zip("ab", SIDE, strict=True):
                write(folder / f"agent-agent{name}.jsonl", *records)
        case "below":
            for name, records in zip("ab", SIDE, strict=True):
                write(folder / "s-1" / "subagents" / f"agent-agent{name}.jsonl", *records)
    return write(path, *MAIN, *END)


# Codex.


def codex(second: float, kind: str, **payload) -> dict:
    return {"timestamp": at(second), "type": kind, "payload": payload}


def item(second: float, type: str, **payload) -> dict:
    return codex(second, "response_item", type=type, **payload)


def said(second: float, role: str, text: str) -> dict:
    return item(
        second,
        "message",
        role=role,
        content=[{"type": "output_text" if role == "assistant" else "input_text", "text": text}],
    )


def used(second: float, read: int, written: int) -> dict:
    usage = {"input_tokens": read, "output_tokens": written}
    return codex(second, "event_msg", type="token_count", info={"total_token_usage": usage, "last_token_usage": usage})


def codex_session(folder: Path) -> Path:
    child = [
        codex(3, "session_meta", id="child-1", source={"subagent": {"thread_spawn": {"parent_thread_id": "root-1", "depth": 1, "agent_role": "explorer"}}}),
        codex(3, "session_meta", id="root-1", source="cli"),
        said(1, "user", "Count the files."),
        said(3.1, "user", "Count those of a."),
        item(4, "function_call", name="shell", arguments='{"command": ["ls"]}', call_id="k"),
        item(4.5, "function_call_output", call_id="k", output='{"output": "x y", "metadata": {"exit_code": 0}}'),
        said(6, "assistant", "There are 2."),
        used(6, 50, 5),
    ]  # fmt: skip
    write(folder / "rollout-child.jsonl", *child)
    root = [
        codex(0, "session_meta", id="root-1", cli_version="0.60.0", source="cli", instructions=None),
        said(0.5, "user", "<environment_context>...</environment_context>"),
        said(1, "user", "Count the files."),
        codex(1, "event_msg", type="user_message", message="Count the files."),
        codex(1, "turn_context", cwd="/", model="m"),
        item(1.5, "reasoning", summary=[], encrypted_content="x"),
        said(2, "assistant", "I ask a helper."),
        item(2.5, "function_call", name="spawn_agent", arguments='{"message": "Count those of a.", "agent_type": "explorer"}', call_id="s"),
        used(2.6, 100, 20),
        item(3, "function_call_output", call_id="s", output='{"agent_id": "child-1"}'),
        item(3.2, "function_call", name="wait", arguments='{"ids": ["child-1"]}', call_id="w"),
        item(6.2, "function_call_output", call_id="w", output='{"status": {"child-1": {"completed": "There are 2."}}}'),
        item(6.3, "custom_tool_call", name="apply_patch", input="*** Begin Patch", call_id="p"),
        item(6.5, "custom_tool_call_output", call_id="p", output="done"),
        item(7, "function_call", name="close_agent", arguments='{"id": "child-1"}', call_id="c"),
        item(7.1, "function_call_output", call_id="c", output="{}"),
        said(8, "assistant", "2 files."),
        used(8, 200, 3),
    ]  # fmt: skip
    return write(folder / "rollout-root.jsonl", *root)


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

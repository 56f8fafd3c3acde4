"""Claude Code sessions: `<session>.jsonl`, with sub-agents in the same file (`isSidechain`) or in `agent-<id>.jsonl` files.

The output of `claude -p --output-format stream-json` is read, too; there, `parent_tool_use_id` tells which agent a record
belongs to. Sub-agents' files are beside the session's or in `<session>/subagents`. A sub-agent belongs to the call of `Task` or `Agent` whose
result names its `agentId`, or whose prompt is its first message; its `.meta.json`, where there is one, names the call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Step,
    TranscriptFile,
    count,
    imported,
    read_source,
    seconds_of,
    text_of,
)
from llm_marl_envs.orchestration.schema import View

MAIN = "main"
SPAWNERS = ("Task", "Agent")
SILENT = (
    "summary", "system", "file-history-snapshot", "queue-operation", "progress", "attachment", "last-prompt", "permission-mode", "mode",
    "ai-title", "custom-title", "agent-name", "agent-setting", "agent-color", "token-stats", "pr-link", "tag", "result", "stream_event",
    "rate_limit_event", "tool_progress", "auth_status", "control_request", "control_response",
)  # fmt: skip
_AGENT_ID = re.compile(r"agentId: ([A-Za-z0-9_-]{4,64})")


def is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    kind = record.get("type")
    ours = any(name in record for name in ("uuid", "sessionId", "session_id", "parent_tool_use_id"))
    spoken = kind in ("user", "assistant") and isinstance(record.get("message"), dict)
    return ours if spoken else kind in ("summary", "file-history-snapshot") or record.get("subtype") == "init"


def is_part(source: TranscriptFile) -> bool:
    """Whether a file is a sub-agent's own."""
    return source.path.name.startswith("agent-")


def read(source: TranscriptFile) -> Iterator[View]:
    session = next((id for r in source.records if isinstance(r, dict) and (id := _session(r))), None)
    logs = _Logs()
    logs.take(source, is_part(source))
    for path in _parts(source.path, session):
        try:
            part = read_source(path)
        except TranscriptError:
            logs.skipped += 1
            continue
        logs.take(part, False)
        logs.skipped += part.skipped
    steps, skipped = logs.steps()
    view = imported(
        steps,
        id=session or source.path.stem,
        system="claude_code",
        layout="claude_code",
        skipped=skipped + source.skipped,
    )
    if view:
        yield view


def _session(record: dict[str, Any]) -> str | None:
    id = record.get("sessionId", record.get("session_id"))
    return id if isinstance(id, str) else None


def _parts(path: Path, session: str | None) -> Iterator[Path]:
    if path.name.startswith("agent-"):
        return
    yield from sorted((path.parent / path.stem / "subagents").glob("agent-*.jsonl"))
    for beside in sorted(path.parent.glob("agent-*.jsonl")):
        with beside.open("rb") as file:
            if session and session.encode() in file.read(4000):
                yield beside


class _Logs:
    """The records of a session by conversation: the main one, and one of each sub-agent."""

    def __init__(self) -> None:
        self.of: dict[str, list[tuple[int, dict[str, Any]]]] = {MAIN: []}  # with their places in the log
        self.place = 0
        self.called: dict[str, str] = {}  # call id -> sub-agent, where a result or a meta file says so
        self.tasks: dict[str, str] = {}  # a sub-agent's first message -> sub-agent
        self.skipped = 0

    def take(self, source: TranscriptFile, alone: bool) -> None:
        roots: dict[str, str] = {}  # uuid -> the sub-agent whose conversation it is in
        for record in source.records:
            if not isinstance(record, dict) or record.get("type") not in ("user", "assistant"):
                known = isinstance(record, dict) and record.get("type") in SILENT
                self.skipped += not known
                continue
            agent = MAIN
            if call := record.get("parent_tool_use_id"):
                agent = str(record.get("agentId") or call)
                self.called[str(call)] = agent
            elif record.get("isSidechain") and not alone:
                above = roots.get(str(record.get("parentUuid")))
                agent = str(record.get("agentId") or above or record.get("uuid") or "agent")
                if agent not in self.of:
                    self._meet(agent, record)
                roots[str(record.get("uuid"))] = agent
            self.place += 1
            self.of.setdefault(agent, []).append((self.place, record))
        meta = source.path.with_suffix(".meta.json")
        if is_part(source) and meta.is_file():
            try:
                self.called[str(json.loads(meta.read_text("utf-8"))["toolUseId"])] = source.path.stem.removeprefix(
                    "agent-"
                )
            except (OSError, *UNREADABLE):
                pass

    def _meet(self, agent: str, record: dict[str, Any]) -> None:
        message = record.get("message")
        if isinstance(message, dict) and message.get("role") == "user":
            self.tasks.setdefault(text_of(message.get("content")).strip(), agent)

    def steps(self) -> tuple[list[Step], int]:
        self._match_results()
        names: dict[str, str] = {MAIN: MAIN}
        steps: list[Step] = []
        queue, done = [MAIN], set()
        while queue:
            agent = queue.pop(0)
            done.add(agent)
            spawned = _Conversation(self, agent, names, steps)
            queue += [child for child in spawned.children if child not in done and child in self.of]
            self.skipped += spawned.skipped
        for agent in [agent for agent in self.of if agent not in done]:  # no call of it was found
            names.setdefault(agent, f"agent_{agent[:8]}")
            self.skipped += _Conversation(self, agent, names, steps).skipped
        return steps, self.skipped

    def _match_results(self) -> None:
        """Find which call started which sub-agent, from the calls' results."""
        for records in self.of.values():
            for _, record in records:
                message, result = record.get("message"), record.get("toolUseResult")
                content = message.get("content") if isinstance(message, dict) else None
                for block in content if isinstance(content, list) else ():
                    if isinstance(block, dict) and block.get("type") == "tool_result":
                        agent = result.get("agentId") if isinstance(result, dict) else None
                        if agent is None and (found := _AGENT_ID.search(text_of(block.get("content"))[-2000:])):
                            agent = found[1]
                        if agent is not None:
                            self.called.setdefault(str(block.get("tool_use_id")), str(agent))


class _Conversation:
    """One agent's records as steps."""

    def __init__(self, logs: _Logs, agent: str, names: dict[str, str], steps: list[Step]):
        self.logs, self.agent, self.names = logs, agent, names
        self.me = names[agent]
        self.children: list[str] = []
        self.spawned: dict[str, str] = {}  # call id -> name
        self.counted: set[str] = (
            set()
        )  # messages whose tokens were counted: each block of a message is a record with the same usage
        self.skipped = 0
        first = True
        for place, record in logs.of[agent]:
            try:
                new = list(self._read(record, first))
            except UNREADABLE:
                self.skipped += 1
                continue
            for step in new:
                step.place = place
            steps += new
            first = first and not new

    def _read(self, record: dict[str, Any], first: bool) -> Iterator[Step]:
        message, time = record["message"], seconds_of(record.get("timestamp"))
        content = message.get("content")
        blocks = content if isinstance(content, list) else [{"type": "text", "text": text_of(content)}]
        speaks = record["type"] == "assistant"
        usage = message.get("usage") if speaks else None
        name = str(message.get("id") or record.get("uuid"))
        tokens = (
            count(usage, "input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"),
            count(usage, "output_tokens"),
        )
        if name in self.counted:
            tokens = 0, 0
        for block in blocks:
            kind = block.get("type") if isinstance(block, dict) else None
            if kind == "text" and speaks:
                yield Step("say", self.me, block["text"], time, tokens=tokens)
            elif kind == "text":
                if not (first and self.agent != MAIN) and not record.get("isMeta"):
                    yield Step("human", self.me, block["text"], time)
            elif kind == "tool_use" and block.get("name") in SPAWNERS:
                yield self._spawn(block, time, tokens)
            elif kind == "tool_use":
                yield Step(
                    "call", self.me, "", time, str(block["name"]), block.get("input"), str(block["id"]), tokens=tokens
                )
            elif kind == "tool_result" and str(block.get("tool_use_id")) in self.spawned:
                yield Step(
                    "done", self.me, text_of(block.get("content")), time, to=self.spawned[str(block["tool_use_id"])]
                )
            elif kind == "tool_result":
                yield Step("result", self.me, text_of(block.get("content")), time, key=str(block["tool_use_id"]))
            else:
                self.skipped += kind not in ("thinking", "redacted_thinking", "image", "document")
                continue
            self.counted.add(name)
            tokens = 0, 0

    def _spawn(self, block: dict[str, Any], time: float | None, tokens: tuple[int, int]) -> Step:
        given = block.get("input")
        asked: dict[str, Any] = given if isinstance(given, dict) else {}
        task, key = text_of(asked.get("prompt")), str(block["id"])
        child = self.logs.called.get(key) or self.logs.tasks.get(task.strip()) or key
        role = re.sub(r"[^A-Za-z0-9-]+", "-", str(asked.get("subagent_type") or asked.get("name") or "agent"))[:40]
        if child not in self.names:
            number = sum(name.rpartition("_")[0] == role for name in self.names.values())
            self.names[child] = f"{role}_{number}"
        self.children.append(child)
        self.spawned[key] = self.names[child]
        return Step(
            "spawn", self.me, task or text_of(asked.get("description")), time, to=self.names[child], tokens=tokens
        )

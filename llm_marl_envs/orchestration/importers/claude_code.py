"""Claude Code sessions: `<session>.jsonl`, with sub-agents in the same file (`isSidechain`) or in `agent-<id>.jsonl` files.

The output of `claude -p --output-format stream-json` is read, too; there, `parent_tool_use_id` tells which agent a record
belongs to. Sub-agents' files are beside the session's or in `<session>/subagents`. A sub-agent belongs to the call of `Task` or
`Agent` whose result names its `agentId`, or whose prompt is its first message; its `.meta.json`, where there is one, names the
call. A session that is resumed begins a file that repeats the records before it: `Together` keeps them from being read twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from llm_marl_envs.errors import TranscriptError
from llm_marl_envs.orchestration.importers.claude_talk import (
    MAIN,
    SILENT,
    ClaudeSession,
    Conversation,
    is_notice,
    message_id,
)
from llm_marl_envs.orchestration.importers.harness import Notice, notice_of
from llm_marl_envs.orchestration.importers.records import (
    UNREADABLE,
    Names,
    Skipped,
    Together,
    TranscriptFile,
    load,
    name_of,
    read_source,
    text_of,
    tokens_of,
)
from llm_marl_envs.orchestration.importers.steps import Step, imported
from llm_marl_envs.orchestration.schema import View

_AGENT_ID = re.compile(r"agentId: ([A-Za-z0-9_-]{4,64})")


def is_record(record: Any) -> bool:
    if not isinstance(record, dict):
        return False
    kind = record.get("type")
    ours = any(name in record for name in ("uuid", "sessionId", "session_id", "parent_tool_use_id"))
    spoken = kind in ("user", "assistant") and isinstance(record.get("message"), dict)
    return ours if spoken else kind in ("summary", "file-history-snapshot") or record.get("subtype") == "init"


def is_part(source: TranscriptFile, together: Together) -> bool:
    """Whether a file is a sub-agent's own."""
    return source.path.name.startswith("agent-")


def read(source: TranscriptFile, together: Together) -> Iterator[View]:
    session = next((id for r in source.records if isinstance(r, dict) and (id := _session(r))), None)
    logs = _Logs(together, source.path)
    logs.take(source, is_part(source, together))
    for path in _parts(source.path, session):
        together.parts.add(path.resolve())
        try:
            part = read_source(path)
        except TranscriptError:
            logs.skipped.note("file of a sub-agent")
            continue
        logs.take(part, False)
    steps = logs.steps()
    source.repeated, source.skipped = logs.repeated, logs.skipped
    view = imported(
        steps,
        id=session or source.path.stem,
        system="claude_code",
        layout="claude_code",
        skipped=logs.skipped,
        repeated=logs.repeated,
    )
    if view:
        yield view


def _session(record: dict[str, Any]) -> str | None:
    return name_of(record.get("sessionId", record.get("session_id")))


def _parts(path: Path, session: str | None) -> Iterator[Path]:
    if path.name.startswith("agent-"):
        return
    yield from sorted((path.parent / path.stem / "subagents").glob("agent-*.jsonl"))
    for beside in sorted(path.parent.glob("agent-*.jsonl")):
        try:
            with beside.open("rb") as file:
                if session and session.encode("utf-8", "surrogatepass") in file.read(4000):
                    yield beside
        except OSError:
            continue  # if it is this session's, its call still has the result


class _Logs:
    """The records of a session by conversation: the main one, and one of each sub-agent."""

    def __init__(self, together: Together, path: Path) -> None:
        self.of: dict[str, list[tuple[int, dict[str, Any]]]] = {MAIN: []}  # with their places in the log
        self.place = 0
        self.called: dict[str, str] = {}  # call id -> sub-agent, where a result or a meta file says so
        self.tasks: dict[str, list[str]] = {}  # a sub-agent's first message -> sub-agents
        self.usage: dict[str, tuple[int, int]] = {}  # message id -> tokens: what its last record says
        self.queued: dict[str, Notice] = {}  # sub-agent -> a notice that waits to be read
        self.together = together
        self.path = path  # of the session
        self.skipped = Skipped()
        self.repeated = 0

    def take(self, source: TranscriptFile, alone: bool) -> None:
        self.skipped.update(source.skipped)
        roots: dict[str, str] = {}  # uuid -> the sub-agent whose conversation it is in
        for record in source.records:
            if not isinstance(record, dict):
                self.skipped.note("record", record)
                continue
            kind = record.get("type")
            if kind not in ("user", "assistant") and not is_notice(record):
                if kind == "queue-operation" and (notice := notice_of(text_of(record.get("content")))).task:
                    self.queued[notice.task] = notice
                elif kind not in SILENT:
                    self.skipped.note("record", kind)
                continue
            self._count(record)
            if self._is_repeated(record):
                self.repeated += 1
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
        if is_part(source, self.together) and meta.is_file():
            try:
                call = load(meta.read_text("utf-8"))["toolUseId"]
                self.called[str(call)] = source.path.stem.removeprefix("agent-")
            except (OSError, *UNREADABLE):
                self.skipped.note("meta file of a sub-agent")

    def _is_repeated(self, record: dict[str, Any]) -> bool:
        """Whether a record was read before: the same content with its uuid, or, in another session, at its time. A second copy of
        the whole session's file is another episode."""
        message = record.get("message", record.get("attachment"))
        content = [record.get("type"), message]
        if isinstance(message, dict):
            content = [record.get("type"), message.get("id"), message.get("content", message.get("prompt"))]
        found = False
        if isinstance(record.get("uuid"), str):
            before = self._met(["uuid", record["uuid"], content])
            found = before is not None and (before == self.path or before.name != self.path.name)
        if isinstance(record.get("timestamp"), str):
            before = self._met(["time", record["timestamp"], record.get("agentId"), content])
            found = found or (before is not None and before.name != self.path.name)
        return found

    def _met(self, key: list[Any]) -> Path | None:
        """The session in which a key was met before; it is met now."""
        try:
            digest = blake2b(json.dumps(key).encode(), digest_size=16).digest()
        except UNREADABLE:
            return None  # such a record is counted when its conversation is read
        before = self.together.seen.get(digest)
        self.together.seen.setdefault(digest, self.path)
        return before

    def _count(self, record: dict[str, Any]) -> None:
        """Note a message's tokens. Each of its blocks is a record with what was known of its usage then, so the last one counts;
        in a second file, nothing does."""
        message = record.get("message")
        if record.get("type") != "assistant" or not isinstance(message, dict) or not message.get("usage"):
            return
        name = message_id(record)
        named = message.get("id") or record.get("uuid")
        before = self._met(["message", named]) if named else None
        if not isinstance(message["usage"], dict):
            self.skipped.note("ill-typed field usage")
        elif before is None or before.name == self.path.name:
            self.usage[name] = tokens_of(message["usage"], self.skipped)

    def _meet(self, agent: str, record: dict[str, Any]) -> None:
        message = record.get("message")
        if isinstance(message, dict) and message.get("role") == "user":
            self.tasks.setdefault(text_of(message.get("content")).strip(), []).append(agent)

    def steps(self) -> list[Step]:
        self._match_results()
        session = ClaudeSession(self.of, self.called, self.tasks, self.usage, self.queued, self.skipped, Names(MAIN))
        steps: list[Step] = []
        queue, done = [MAIN], set()
        while queue:
            agent = queue.pop(0)
            if agent in done:
                continue
            done.add(agent)
            talk = Conversation(session, agent, steps)
            queue += [child for child in talk.children if child in self.of]
        for agent in [agent for agent in self.of if agent not in done]:  # no call of it was found
            session.names.meet(agent, f"agent-{agent[:8]}")
            Conversation(session, agent, steps, orphan=True)
        session.end(steps)
        return steps

    def _match_results(self) -> None:
        """Find which call started which sub-agent, from the calls' results."""
        for records in self.of.values():
            for _, record in records:
                message, result = record.get("message"), record.get("toolUseResult", record.get("tool_use_result"))
                content = message.get("content") if isinstance(message, dict) else None
                blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
                results = [block for block in blocks if block.get("type") == "tool_result"]
                for block in results:
                    agent = result.get("agentId") if isinstance(result, dict) and len(results) == 1 else None
                    try:
                        text = text_of(block.get("content"))
                    except UNREADABLE:
                        continue  # counted when the conversation is read
                    if agent is None and (found := _AGENT_ID.search(text[:2000]) or _AGENT_ID.search(text[-2000:])):
                        agent = found[1]
                    if agent is not None:
                        self.called.setdefault(str(block.get("tool_use_id")), str(agent))

"""One agent's records in a Claude Code session as steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from llm_marl_envs.orchestration.importers.harness import RUNNING, Notice, notice_of, split_words
from llm_marl_envs.orchestration.importers.records import UNREADABLE, Names, Skipped, seconds_of, text_of
from llm_marl_envs.orchestration.importers.steps import Step

MAIN = "main"
SPAWNERS = ("Task", "Agent")
ASKING = (
    "TaskOutput",
    "AgentOutputTool",
    "AgentOutput",
)  # tools that ask for the result of a sub-agent in the background
SILENT = (
    "summary", "system", "file-history-snapshot", "queue-operation", "progress", "attachment", "last-prompt", "permission-mode", "mode",
    "ai-title", "custom-title", "agent-name", "agent-setting", "agent-color", "token-stats", "pr-link", "tag", "result", "stream_event",
    "rate_limit_event", "tool_progress", "auth_status", "control_request", "control_response", "continued-in",
)  # fmt: skip
SILENT_BLOCKS = ("thinking", "redacted_thinking", "image", "document", "container_upload", "fallback")
STARTED = "Async agent launched"


def is_notice(record: dict[str, Any]) -> bool:
    """Whether a record that is no message holds what somebody said: a queued prompt, or a notice of a sub-agent's end."""
    attached = record.get("attachment")
    queued = (
        record.get("type") == "attachment" and isinstance(attached, dict) and attached.get("type") == "queued_command"
    )
    return queued or (record.get("type") == "system" and record.get("subtype") == "task_notification")


def message_id(record: dict[str, Any]) -> str:
    message = record.get("message")
    return str((message.get("id") if isinstance(message, dict) else None) or record.get("uuid") or id(record))


@dataclass(slots=True)
class ClaudeSession:
    """What the conversations of a session share."""

    logs: dict[str, list[tuple[int, dict[str, Any]]]]
    called: dict[str, str]  # call id -> sub-agent
    tasks: dict[str, list[str]]  # first message -> sub-agents
    usage: dict[str, tuple[int, int]]  # message id -> tokens, until an event has them
    queued: dict[str, Notice]  # sub-agent -> a notice that waits to be read
    skipped: Skipped
    names: Names  # of the sub-agents
    background: dict[str, str] = field(default_factory=dict)  # sub-agents that were not waited for -> who started them
    ended: set[str] = field(default_factory=set)  # of them, those whose result came back

    def end(self, steps: list[Step]) -> None:
        """A sub-agent in the background whose end nobody read still has a result: its last words, or the waiting notice."""
        latest = {step.agent: step for step in steps}
        place = max((step.place for step in steps), default=0)
        for agent, parent in self.background.items():
            if agent in self.ended:
                continue
            last, notice = latest.get(self.names[agent]), self.queued.get(agent)
            if (last and last.kind == "say") or notice:
                text, time = notice.result if notice else "", (last or steps[-1]).time
                steps.append(
                    Step("done", parent, text, time, to=self.names[agent], place=place, log=agent, heard=False)
                )


class Conversation:
    """One agent's records, as steps added to those of the session."""

    def __init__(self, session: ClaudeSession, agent: str, steps: list[Step], *, orphan: bool = False):
        self.session, self.agent, self.me = session, agent, session.names[agent]
        self.children: list[str] = []
        self.spawned: dict[str, str] = {}  # call id -> sub-agent
        self.asked: dict[str, str] = {}  # call id -> the sub-agent whose result it asks for
        self.hidden: set[str] = set()  # calls that were made to start a sub-agent in the background
        self.owed: dict[str, tuple[int, int]] = {}  # message id -> tokens that no step has yet
        self.given = agent != MAIN and not orphan  # whether its first message is the task, which its spawn already has
        mine: list[Step] = []
        for place, record in session.logs[agent]:
            name = message_id(record)
            if name in session.usage:
                self.owed[name] = session.usage.pop(name)
            try:
                new = list(self._read(record, name))
            except UNREADABLE:
                session.skipped.note("ill-typed record", record.get("type"))
                continue
            for step in new:
                step.place, step.log = place, agent
            mine += new
        if spent := [tokens for tokens in self.owed.values() if any(tokens)]:  # messages of thinking alone
            last = next((step for step in reversed(mine) if step.kind in ("say", "call", "spawn")), None)
            if last is None:
                session.skipped.note("usage of a message without words", times=len(spent))
            else:
                read, written = (sum(counts) for counts in zip(last.tokens, *spent, strict=True))
                last.tokens = read, written
        steps += mine

    def _read(self, record: dict[str, Any], name: str) -> Iterator[Step]:
        time = seconds_of(record.get("timestamp"))
        if time is None and record.get("timestamp") is not None:
            self.session.skipped.note("ill-typed field timestamp")
        if record["type"] == "system":
            fields = [str(record.get(name) or "") for name in ("task_id", "tool_use_id", "status", "summary")]
            yield from self._end(Notice(*fields), time)
            return
        if record["type"] == "attachment":
            yield from self._heard(text_of(record["attachment"].get("prompt")), record["attachment"], time)
            return
        content = record["message"].get("content")
        for block in content if isinstance(content, list) else [{"type": "text", "text": text_of(content)}]:
            kind = block.get("type") if isinstance(block, dict) else None
            try:
                if kind == "text" and record["type"] == "user" and self.given:
                    self.given = False
                elif kind == "text" and record["type"] == "user":
                    yield from self._heard(_text(block), record, time)
                elif kind == "text":
                    refused = record["message"].get("stop_reason") == "refusal"
                    yield Step("say", self.me, _text(block), time, tokens=self._pay(name), refused=refused)
                elif kind in ("tool_use", "server_tool_use", "mcp_tool_use"):
                    yield self._call(block, time, name)
                elif isinstance(kind, str) and kind.endswith("tool_result"):
                    yield from self._result(block, record, time)
                elif kind not in SILENT_BLOCKS:
                    self.session.skipped.note("block", kind)
            except UNREADABLE:
                self.session.skipped.note("ill-typed block", kind)

    def _pay(self, name: str) -> tuple[int, int]:
        return self.owed.pop(name, (0, 0))

    def _heard(self, text: str, record: dict[str, Any], time: float | None) -> Iterator[Step]:
        """A text in a person's place: the person's words, or what the program says."""
        origin = record.get("origin")
        sender = origin.get("kind") if isinstance(origin, dict) else None
        machine = any(record.get(name) for name in ("isMeta", "isCompactSummary", "isVisibleInTranscriptOnly"))
        machine = machine or sender not in (None, "human") or record.get("commandMode") not in (None, "prompt")
        machine = machine or self.agent != MAIN  # a person speaks to the main agent only
        words, added = ("", text) if machine else split_words(text)
        if "<task-notification>" in added:
            yield from self._end(notice_of(added), time)
        if added:
            yield Step("told", self.me, added, time)
        if words:
            yield Step("human", self.me, words, time)

    def _call(self, block: dict[str, Any], time: float | None, name: str) -> Step:
        tool, key, given = str(block["name"]), str(block["id"]), block.get("input")
        asked: dict[str, Any] = given if isinstance(given, dict) else {}
        if tool not in SPAWNERS:
            about = asked.get("task_id") or asked.get("agentId") or asked.get("agent_id")
            if tool in ASKING and about:
                self.asked[key] = str(about)
            return Step("call", self.me, "", time, tool, given, key, tokens=self._pay(name))
        task, names = text_of(asked.get("prompt")), self.session.names
        same = self.session.tasks.get(task.strip(), [])
        child = self.session.called.get(key) or (same.pop(0) if same else key)
        named = names.meet(child, str(asked.get("subagent_type") or asked.get("name") or "agent"))
        self.children.append(child)
        self.spawned[key] = child
        self.session.ended.discard(child)
        if asked.get("run_in_background") is True:
            self.hidden.add(key)
        task = task or text_of(asked.get("description"))
        return Step("spawn", self.me, task, time, to=named, tokens=self._pay(name))

    def _result(self, block: dict[str, Any], record: dict[str, Any], time: float | None) -> Iterator[Step]:
        key, text = str(block["tool_use_id"]), text_of(block.get("content"))
        more: Any = record.get("toolUseResult", record.get("tool_use_result"))
        more = more if isinstance(more, dict) else {}
        failed = block.get("is_error") is True
        if (child := self.spawned.get(key)) is not None:
            status = str(more.get("status") or "")
            started = status.endswith("launched") or more.get("isAsync") is True or text.startswith(STARTED)
            started = started or (key in self.hidden and status != "completed")
            if started and not failed:
                self.session.background[child] = self.me
                yield Step("told", self.me, text, time)
            else:
                yield Step("done", self.me, text, time, to=self.session.names[child])
            return
        if key in self.asked:
            task: Any = more.get("task")
            notice = notice_of(text)
            if isinstance(task, dict):
                said = text_of(task.get("result") or task.get("output"))
                notice = Notice("", "", str(task.get("status") or notice.status), said or notice.result)
            result = notice.result or ("" if notice.status in RUNNING else text)
            yield from self._end(Notice(self.asked[key], "", notice.status, result), time)
        worked = 0.0 if failed else None
        yield Step("result", self.me, text, time, key=key, worked=worked)

    def _end(self, notice: Notice, time: float | None) -> Iterator[Step]:
        """The first word of a sub-agent's end is its result; later ones repeat it."""
        child = self.spawned.get(notice.call) or notice.task
        if notice.ended and child in self.session.background and child not in self.session.ended:
            self.session.ended.add(child)
            yield Step("done", self.me, notice.result, time, to=self.session.names[child])


def _text(block: dict[str, Any]) -> str:
    if not isinstance(block["text"], str):
        raise TypeError("a text block's text is a string")
    return block["text"]

"""Answer a session's tool calls."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.session import Session
from llm_marl_envs.task import Question, Tool, ToolResult


def use_tool(session: Session, tools: Mapping[str, Tool]) -> None:
    """Answer the session's waiting tool call. A tool that cannot run ends the episode as FAILED."""
    call = session.waiting[0]
    assert isinstance(call, UseTool)
    try:
        text, worked = run_tool(call, session.play.question, tools)
    except ToolFailed as bad:
        session.fail(f"tool {call.tool}: {bad}")
    else:
        session.reply(text, worked=worked)


def run_tool(call: UseTool, question: Question, tools: Mapping[str, Tool]) -> ToolResult:
    """What the tool says, and how well it worked. If the tool has a parameter `question`, it gets the episode's question; an agent
    cannot set it.

    Raises ToolFailed if the tool cannot run or does not exist, and TypeError if it breaks its contract.
    """
    tool = tools.get(call.tool)
    if tool is None:
        raise ToolFailed(f"the task has no tool {call.tool!r}; it has {', '.join(tools) or 'none'}")
    given = {"question": question} if "question" in inspect.signature(tool).parameters else {}
    result = tool(**call.args, **given)
    if isinstance(result, str):
        return ToolResult(result)
    if not (isinstance(result, ToolResult) and isinstance(result.text, str) and 0 <= result.worked <= 1):
        raise TypeError(f"tool {call.tool!r} returned {result!r:.80}; expected ToolResult(text, worked from 0 to 1)")
    return result

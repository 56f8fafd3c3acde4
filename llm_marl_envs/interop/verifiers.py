"""verifiers (its v1 API): any environment as a multi-agent one, whose roles are its agents.

    # my_team.py
    from llm_marl_envs.interop.verifiers import team_of
    Problems, Team, Chat = team_of("arithmetic/eval_opt-v1", digits=1)
    __all__ = ["Chat", "Problems", "Team"]

and then `eval my-team ...`: verifiers finds a taskset by the name of a top-level module. Each role has a model and a client of its own
(`--env.evaluator.model`), and each conversation of an agent is a trace: asks with `fresh=True` begin one, others continue it. The traces of an
agent get its reward.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import verifiers.v1 as vf
from pydantic import create_model
from verifiers.v1.dialects.chat import message_to_wire
from verifiers.v1.runtimes import ProgramResult, SubprocessConfig

from llm_marl_envs.envs.make import parts
from llm_marl_envs.envs.parallel import WaveEnv
from llm_marl_envs.errors import AgentFailed, ToolFailed, UnknownName
from llm_marl_envs.protocol import Ask
from llm_marl_envs.session import Status


class ChatHarness(vf.Harness[vf.HarnessConfig]):
    """One request of the model, in this process: what a role does when it is asked. No program is installed or started for it."""

    APPENDS_SYSTEM_PROMPT = True
    SUPPORTS_RESUME = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: Any, data: Any
    ) -> ProgramResult:
        system, prompt = self.resolve_prompt(data)
        asked = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [message_to_wire(m) for m in prompt]
        )
        chat = [{"role": "system", "content": system}, *asked] if system else asked
        async with httpx.AsyncClient(timeout=None) as client:
            reply = await client.post(
                f"{endpoint}/chat/completions",
                json={"model": ctx.model, "messages": chat},
                headers={"Authorization": f"Bearer {secret}"},
            )
        return ProgramResult(exit_code=int(reply.is_error), stdout="", stderr=reply.text if reply.is_error else "")


def team_of(
    env_id: str, *, trained: Sequence[str] | None = None, data_dir: str | Path | None = None, **knobs: Any
) -> tuple[type[vf.Taskset], type[vf.Env], type[ChatHarness]]:
    """The taskset (the split's problems), the environment and the harness that a module exports for an environment id.

    trained: roles whose traces are trained on (None: all). knobs: those of `make`. An episode that FAILED, be it by a tool or by a model that
    could not be asked, is an episode with errors, which verifiers draws again (`--env.retries`) or leaves out.
    """
    task, workflow, options = parts(env_id, data_dir, knobs)
    roles = workflow.roster.roles
    for role in trained or ():
        if role not in roles:
            raise UnknownName(f"role of {type(workflow).__name__}", role, roles)
    problems = task.problems(WaveEnv(task, workflow, **options).split)
    fields: Any = {role: (vf.AgentConfig, vf.AgentConfig(runtime=SubprocessConfig())) for role in roles}
    config = create_model("TeamConfig", __base__=vf.EnvConfig, __module__=__name__, **fields)

    class Problems(vf.Taskset[vf.Task, vf.TasksetConfig]):
        def load(self) -> Iterable[vf.Task]:
            for problem in problems:
                yield vf.Task(vf.TaskData(id=problem.question.id, prompt=problem.question.text))

    class Team(vf.Env[config]):
        async def setup(self, agents: vf.Agents) -> None:
            for role in roles:
                getattr(agents, role).trainable = trained is None or role in trained

        async def run(self, task_: vf.Task, agents: vf.Agents) -> None:
            await play(WaveEnv(task, workflow, **options), task_.data.id, agents)

    return Problems, Team, ChatHarness


async def play(env: WaveEnv, problem: str, agents: vf.Agents) -> None:
    """Play an episode with the agents of verifiers, a wave at a time, and reward the traces."""
    conversations: dict[str, tuple[AsyncExitStack, vf.Interaction]] = {}
    traces: list[tuple[str, vf.Trace]] = []

    async def reply(ask: Ask) -> str:
        assert env.session is not None
        if ask.fresh or ask.agent not in conversations:
            if ask.agent in conversations:
                await conversations.pop(ask.agent)[0].aclose()
            *before, last = env.session.messages(ask)
            system = before[0]["content"] if before else None
            stack = AsyncExitStack()
            agent = getattr(agents, env.workflow.roster.role(ask.agent))
            talk = await stack.enter_async_context(
                agent.interaction(vf.Task(vf.TaskData(id=problem, prompt=last["content"], system_prompt=system)))
            )
            conversations[ask.agent] = stack, talk
            traces.append((ask.agent, talk.trace))
            segment = await talk.turn()
        else:
            _, talk = conversations[ask.agent]
            segment = await talk.turn(ask.prompt)
        if segment.terminated:
            raise AgentFailed(f"{ask.agent} gave no reply: {talk.trace.last_error or talk.trace.stop_condition}")
        return segment.messages[-1].content or ""

    try:
        await asyncio.to_thread(env.reset, options={"problem": problem})
        while env.outcome is None:
            asks = env.asks()
            said = dict(zip(asks, await asyncio.gather(*map(reply, asks.values())), strict=True))
            await asyncio.to_thread(env.step, {agent: said.get(agent, "") for agent in env.agents})
    finally:
        for stack, _ in conversations.values():
            await stack.aclose()
    if env.outcome.status is Status.FAILED:
        raise ToolFailed(env.outcome.team.why)
    rewards, _ = env.graded()
    for seat, trace in traces:
        trace.record_reward("reward", rewards[seat])
        trace.record_metric("score", env.outcome.team.value)

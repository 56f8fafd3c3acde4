"""Inspect AI: a team as an evaluation task, with a model for each role by Inspect's `model_roles`.

    team = team_task(make_parallel("gsm8k/eval_opt-v1", split="test"))
    eval(team, model="openai/gpt-5-mini", model_roles={"evaluator": "anthropic/claude-haiku-4-5"})

A sample is a problem, its score ours, its transcript the team's calls; `traces(log)` are our records of it, which can be replayed and
graded again. (The file is not `inspect.py`: that is the standard library's.)
"""
# pyright: reportMissingImports=false

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from anyio import to_thread
from inspect_ai import Task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.log import EvalLog
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    ModelOutput,
    get_model,
    model_roles,
)
from inspect_ai.scorer import Score, Scorer, Target, accuracy, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.util import collect

from llm_marl_envs.envs.parallel import WaveEnv
from llm_marl_envs.errors import AgentFailed, ToolFailed, UnknownName
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.session import Message, Status
from llm_marl_envs.traces.trace import Trace

KINDS = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}
END = "llm_marl_end"  # in a sample's store


def team_task(env: WaveEnv, *, seed: int = 0) -> Task:
    """The problems of the environment's split, each played by its team in an environment of its own.

    A role that is not among `model_roles` is played by the evaluated model; those asked in one wave answer at the same time. An episode
    that FAILED (a tool or grader could not run) is an error of its sample, as a model's own failure is, and never a score: give eval()
    `retry_on_error`, and `fail_on_error=False` to go on without it. A budget that ran out is wrong, 0.
    """
    options: Any = {"split": env.split, "reward": env.rule, "limits": env.limits, "spec": env.env_spec}
    samples = [
        Sample(id=problem.question.id, input=problem.question.text, metadata={"place": place})
        for place, problem in enumerate(env.task.problems(env.split))
    ]

    @solver(name="team")
    def team() -> Solver:
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            return await _play(WaveEnv(env.task, env.workflow, **options), state, seed)

        return solve

    env_id = env.env_spec.env_id
    return Task(MemoryDataset(samples, name=env_id), solver=team(), scorer=outcome(), name=env_id.replace("/", "-"))


async def _play(env: WaveEnv, state: TaskState, seed: int) -> TaskState:
    roster = env.workflow.roster
    for role in model_roles():
        if role not in roster.roles:
            raise UnknownName(f"role of {type(env.workflow).__name__}", role, roster.roles)

    async def say(agent: str) -> str:
        chat = [_message(message) for message in seen[agent]["messages"]]
        output = await get_model(role=roster.role(agent)).generate(chat)
        if output.error:
            raise AgentFailed(f"{agent}: {output.error}")
        return output.completion

    episode = seed_of("inspect", seed, state.epoch)
    seen, _ = await to_thread.run_sync(env.reset, episode, {"problem": state.metadata["place"]})
    state.messages = []
    while env.outcome is None:
        asks = tuple(env.asks())
        texts = dict(zip(asks, await collect(*map(say, asks)), strict=True))
        for agent, text in texts.items():
            state.messages += [_message(seen[agent]["messages"][-1]), _message({"role": "assistant", "content": text})]
            state.messages[-1].metadata = {"agent": agent}
        seen, *_ = await to_thread.run_sync(env.step, texts)
    if env.outcome.status is Status.FAILED:
        raise ToolFailed(env.outcome.team.why)
    rewards, ended = env.graded()
    state.output = ModelOutput.from_content("team", env.outcome.team.read or "")
    state.store.set(END, {**ended, "rewards": rewards, "trace": env.trace().to_json()})
    return state


def _message(message: Message) -> ChatMessage:
    return KINDS[message["role"]](content=message["content"])


@scorer(metrics=[accuracy(), stderr()])
def outcome() -> Scorer:
    """Our score of the episode, from 0 to 1; every agent's reward is in its metadata."""

    async def score(state: TaskState, target: Target) -> Score:
        end: Mapping[str, Any] = state.store.get(END)
        told = {"status": end["status"], "rewards": end["rewards"]}
        return Score(value=end["score"], answer=state.output.completion, explanation=end["why"], metadata=told)

    return score


def traces(log: EvalLog) -> Iterator[Trace]:
    """Our records of a log's samples that have a score."""
    for sample in log.samples or ():
        if END in sample.store:
            yield Trace.from_json(sample.store[END]["trace"])

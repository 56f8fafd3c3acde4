"""ART: an episode as a trajectory of each agent. Fresh asks are histories of their own, and each agent has its own reward."""

from __future__ import annotations

import os
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # otherwise importing ART asks the network

import art
from art.trajectories import History
from openai.types.chat import ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from sums import judge, total

from llm_marl_envs import make


def speak(agent: str, chat: Any) -> Choice:
    """Stands for `(await client.chat.completions.create(...)).choices[0]`: a generator that is too high by one at first."""
    number = total(chat[0]["content"]) + ("Reviewer" not in chat[-1]["content"])
    text = rf"\boxed{{{number}}}" if agent == "generator_0" else judge(agent, chat, {})
    return Choice(index=0, finish_reason="stop", message=ChatCompletionMessage(role="assistant", content=text))


def play(env: Any, problem: str) -> list[art.Trajectory]:
    talks: dict[str, list[History]] = {}
    env.reset(options={"problem": problem})
    while env.outcome is None:
        ask, chat = env.session.call, list(env.observe(env.agent_selection)["messages"])
        mine = talks.setdefault(ask.agent, [])
        if ask.fresh or not mine:
            mine.append(History(messages_and_choices=chat[:-1]))
        choice = speak(ask.agent, chat)
        mine[-1].messages_and_choices += [chat[-1], choice]  # all before is there, as it was sampled
        env.step(choice.message.content)
    if env.outcome.status == "failed":  # no reward of 0: TrajectoryGroup takes exceptions in the place of trajectories
        raise RuntimeError(env.outcome.team.why)
    of = {agent: {"reward": reward, "metadata": {"agent": agent}} for agent, reward in env.graded()[0].items()}
    return [art.Trajectory(**dict(had[0]), additional_histories=had[1:], **of[agent]) for agent, had in talks.items()]


if __name__ == "__main__":
    groups: dict[Any, list[art.Trajectory]] = {}  # of an agent's trajectories on one problem
    for memory in (False, True):
        known = {"generator_0": (1 if memory else 2, 0.5), "evaluator_0": (2, 1.0)}  # histories, reward of its claims
        env = make("arithmetic/eval_opt-v1", digits=1, train_size=20, memory=memory, reward="own")
        for problem in (problem.question.id for problem in env.task.problems("train") for _ in range(2)):
            for one in play(env, problem):
                groups.setdefault((memory, agent := one.metadata["agent"], problem), []).append(one)
                talks = [one.messages(), *(history.messages() for history in one.additional_histories)]
                mine = [e for e in env.trace().session().events if e.reply is not None and e.call.agent == agent]
                ours = [text for event in mine for text in (event.call.prompt, event.reply.text)]
                texts = [message["content"] for talk in talks for message in talk]
                if texts != ours or (len(talks), one.reward) != known[agent]:
                    raise SystemExit(f"{agent}: {talks}, {one.reward}; expected {ours}, {known[agent]}")
    made = [art.TrajectoryGroup(trajectories) for trajectories in groups.values()]
    print(f"ok: {len(made)} groups, {sum(map(len, made))} trajectories, histories and rewards as in our traces")

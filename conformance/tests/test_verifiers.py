"""verifiers plays a team of ours against a server on this machine."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import verifiers.v1 as vf
from chat_server import ChatServer, reply, serving
from verifiers.v1.utils.loaders import env_config_type, load_environment

from llm_marl_envs import make_task
from llm_marl_envs.errors import UnknownName
from llm_marl_envs.interop.verifiers import ChatHarness, team_of

pytestmark = pytest.mark.filterwarnings("ignore")
SUMS = make_task("arithmetic", digits=1).problems("train")


@pytest.fixture
def plugin(monkeypatch):
    """Makes a module that exports what `team_of` makes, under the name that verifiers looks for."""

    def export(env_id: str, **settings: Any) -> str:
        problems, team, chat = team_of(env_id, **settings)
        module: Any = types.ModuleType("team_under_test")
        module.Problems, module.Team, module.Chat = problems, team, chat
        module.__all__ = ["Chat", "Problems", "Team"]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setattr(module, "__spec__", types.SimpleNamespace(name=module.__name__), raising=False)
        return module.__name__

    return export


def played(name: str, answer: Callable[[dict[str, Any]], Any], n: int = 1) -> tuple[list[vf.Episode], ChatServer]:
    async def run(url: str) -> list[vf.Episode]:
        env = load_environment(env_config_type(name)(taskset={"id": name}))
        client = vf.EvalClientConfig(base_url=url, api_key_var="NO_KEY")
        model = vf.ModelContext(client=client, model="served", sampling=vf.SamplingConfig())
        async with env.serving():
            slots = [slot for task in env.taskset.take(n) for slot in env.slots(task)]
            return list(await asyncio.gather(*(env.run_slot(slot, model) for slot in slots)))

    def served(body: dict[str, Any], number: int) -> Any:
        found = answer(body)
        if not isinstance(found, str):
            return found
        status, said = reply(found)
        said["choices"][0]["index"], said["usage"]["total_tokens"] = 0, 10
        return status, said | {"id": "1", "object": "chat.completion", "created": 0, "model": "served"}

    with serving(served) as server:
        return asyncio.run(run(server.url)), server


def boxed(text: str) -> str:
    left, right = text.partition("What is ")[2].partition("?")[0].split(" + ")
    return rf"\boxed{{{int(left) + int(right)}}}"


def in_two_turns(body: dict[str, Any]) -> str:
    chat = body["messages"]
    return (
        r"\boxed{Incorrect}" if "Proposed" in chat[-1]["content"] else boxed(chat[0]["content"]) if chat[2:] else "no"
    )


def check_asked(server: ChatServer) -> None:
    """A generator that is asked, says no, is reviewed and asked again in the same conversation."""
    first, review, second = [[(m["role"], m["content"]) for m in body["messages"]] for body in server.asked]
    question = f"{SUMS[0].question.text}\nGive the answer in \\boxed{{}}."
    assert first == [("user", question)]
    assert review[0][1].startswith(f"Problem: {SUMS[0].question.text}\nProposed answer: no\n")
    advice = "Reviewer: \\boxed{Incorrect}\nGive an improved answer; keep what is right. Give the answer in \\boxed{}."
    assert second == [("user", question), ("assistant", "no"), ("user", advice)]


def test_an_episode_by_hand(plugin):
    name = plugin("arithmetic/eval_opt-v1", digits=1, memory=True, rounds=2, reward="own", trained=["generator"])
    (episode,), server = played(name, in_two_turns)
    check_asked(server)
    assert episode.ok
    turns = sorted((t.agent.name, t.num_turns, t.agent.trainable) for t in episode.traces)
    assert turns == [("evaluator", 1, False), ("generator", 2, True)]
    rewards = {t.agent.name: t.reward for t in episode.traces}
    assert rewards == {"generator": 0.5, "evaluator": 1.0}  # wrong, then right; "wrong" was right
    assert {t.metrics["score"] for t in episode.traces} == {1.0}


def test_a_planted_fault_is_caught(plugin, monkeypatch):
    """A harness that sends the new messages alone has the model answer what it was never asked."""

    async def forgetful(self: ChatHarness, ctx: Any, trace: Any, *wire: Any) -> Any:
        *wire, data, messages, _ = wire
        return await self.launch(ctx, trace, *wire, data.model_copy(update={"prompt": messages}))

    monkeypatch.setattr(ChatHarness, "resume", forgetful)
    _, server = played(plugin("arithmetic/eval_opt-v1", digits=1, memory=True, rounds=2), in_two_turns)
    with pytest.raises(AssertionError):
        check_asked(server)


def test_fresh_asks_are_traces_of_their_own_and_episodes_play_side_by_side(plugin):
    name = plugin("arithmetic/voting-v1", digits=1)
    episodes, _ = played(
        name, lambda body: "1" if "1:" in (said := body["messages"][-1]["content"]) else boxed(said), 3
    )
    for episode in episodes:
        assert episode.ok
        assert sorted(t.agent.name for t in episode.traces) == ["aggregator"] + ["generator"] * 3
        assert {t.num_turns for t in episode.traces} == {1}
    assert len({episode.task.data.id for episode in episodes}) == 3


def test_an_endpoint_that_is_down_is_an_error_and_never_a_reward_of_0(plugin):
    name = plugin("arithmetic/eval_opt-v1", digits=1)
    (episode,), _ = played(name, lambda body: (500, {"error": {"message": "out of memory"}}))
    assert not episode.ok
    assert "generator_0" in str(episode.errors[0].message)
    assert all(not trace.rewards for trace in episode.traces)


def test_a_role_that_is_not_there():
    with pytest.raises(UnknownName, match="no role of EvalOpt 'judge'"):
        team_of("arithmetic/eval_opt-v1", trained=["judge"])

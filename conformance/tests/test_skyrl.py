"""SkyRL-Gym's environment of ours, made as SkyRL makes it."""

from __future__ import annotations

from typing import Any

import pytest
import skyrl_gym
from omegaconf import OmegaConf
from skyrl_gym.envs.base_text_env import BaseTextEnv

from llm_marl_envs import make_task
from llm_marl_envs.errors import AgentFailed, ConfigError, ToolFailed

PROBLEM = make_task("arithmetic", digits=1).problems("train")[0].question
ENTRY = "llm_marl_envs.interop.skyrl:ConversationTextEnv"
CONFIG: dict[str, Any] = {
    "env_id": "arithmetic/eval_opt-v1", "role": "generator", "knobs": {"digits": 1, "memory": True, "rounds": 3},
    "team": {"evaluator": lambda agent, messages, info: r"\boxed{Incorrect}"},
}  # fmt: skip


@pytest.fixture(autouse=True, scope="module")
def registered():
    skyrl_gym.register("llm_marl", entry_point=ENTRY)


def made(config: Any = CONFIG, **extras: Any) -> BaseTextEnv:
    return skyrl_gym.make("llm_marl", env_config=config, extras={"problem": PROBLEM.id} | extras)


def answer() -> str:
    left, right = PROBLEM.text.removeprefix("What is ").removesuffix("?").split(" + ")
    return rf"\boxed{{{int(left) + int(right)}}}"


def test_a_row_by_hand():
    env = made()
    first, _ = env.init([{"role": "user", "content": "what the data set says"}])
    assert first == [{"role": "user", "content": f"{PROBLEM.text}\nGive the answer in \\boxed{{}}."}]
    refine = [{"role": "user", "content": "Reviewer: \\boxed{Incorrect}\nGive an improved answer; keep what is right. Give the answer in \\boxed{}."}]  # fmt: skip
    for _ in range(2):
        out = env.step("no")
        assert (out["observations"], out["reward"], out["done"]) == (refine, 0.0, False)
    out = env.step(answer())
    assert (out["observations"], out["reward"], out["done"], out["metadata"]["status"]) == ([], 1.0, True, "finished")
    again, _ = env.init([])
    assert again == first


def test_turns_that_ran_out_count_as_wrong():
    env = made(max_turns=1)
    env.init([])
    out = env.step(answer())
    assert (out["observations"], out["reward"], out["done"]) == ([], 0.0, True)


def test_settings_from_a_file():
    text = "env_id: arithmetic/eval_opt-v1\nrole: generator\nteam: ['evaluator=random:3']\nknobs: {digits: 1, rounds: 1, memory: true}"
    env = made(OmegaConf.create(text))
    env.init([])
    assert env.step(answer())["reward"] == 1.0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"knobs": {"digits": 1}},
            r"asks generator_0 again with fresh=True",
        ),  # the planted fault: rows of two conversations
        ({"env_id": "arithmetic/voting-v1", "knobs": {}}, r"a row is one agent's conversation.*'generator_0'"),
        ({"team": {}}, "nobody plays evaluator_0"),
    ],
)
def test_what_is_no_single_conversation_is_refused(changed, said):
    with pytest.raises(ConfigError, match=said):
        made(CONFIG | changed | ({"team": {"aggregator": print}} if "voting" in changed.get("env_id", "") else {}))


def test_a_partner_that_is_down_for_a_while_is_asked_again_in_the_same_row():
    tries: list[str] = []

    def shaky(agent: str, messages: Any, info: Any) -> str:
        tries.append(messages[-1]["content"])
        if len(tries) % 10:
            raise AgentFailed("no route")
        return r"\boxed{Incorrect}"

    env = made(CONFIG | {"team": {"evaluator": shaky}})
    env.init([])
    assert env.step("no")["observations"][0]["content"].startswith("Reviewer")
    assert (len(tries), len(set(tries))) == (10, 1)

    def down(*_: Any) -> str:
        raise AgentFailed("no route")

    env = made(CONFIG | {"team": {"evaluator": down}})
    env.init([])
    with pytest.raises(ToolFailed, match=r"10 tries in a row failed.*no route"):
        env.step("no")


def test_a_row_is_the_conversation_of_our_trace():
    """And one in which an observation is left out, the planted fault, is not."""
    env: Any = made()
    row, _ = env.init([])
    for text in ("no", answer()):
        out = env.step(text)
        row += [{"role": "assistant", "content": text}, *out["observations"]]
    env.step("no")
    session = env.env.session
    mine = [event.call for event in session.events if event.reply is not None and event.call.agent == "generator_0"]
    seen = list(session.fork(4).messages(mine[-1]))
    assert row == seen
    assert [message for message in row if "Reviewer" not in message["content"]] != seen

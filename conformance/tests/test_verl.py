"""verl's agent loop of ours, made as verl makes it, on servers that say given texts."""

from __future__ import annotations

import asyncio
import inspect
import warnings
from types import SimpleNamespace
from typing import Any

import hydra
import pytest
from omegaconf import OmegaConf

with warnings.catch_warnings():  # Ray's, about itself
    warnings.simplefilter("ignore")
    from verl.experimental.agent_loop.agent_loop import AgentLoopBase, DictConfigWrap, ToolListWrap

    from baselines.interop.verl import ConversationLoop
from baselines.chat import Chat
from baselines.tiny.tokenizer import train_tokenizer
from llm_marl_envs import make_task
from llm_marl_envs.errors import AgentFailed, ConfigError, ToolFailed

pytestmark = pytest.mark.filterwarnings("ignore")
PROBLEM = make_task("arithmetic", digits=1).problems("train")[0].question


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return train_tokenizer([("What is 1 + 1?", r"\boxed{2}")], 300)


class Servers:
    def __init__(self, tokenizer: Any, *texts: str):
        self.tokenizer, self.texts, self.asked = tokenizer, list(texts), []

    async def generate(self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]) -> Any:
        self.asked.append((request_id, prompt_ids))
        ids = [*self.tokenizer(self.texts.pop(0))["input_ids"], self.tokenizer.eos_token_id]
        return SimpleNamespace(token_ids=ids, log_probs=[-0.5] * len(ids))


def loop_of(servers: Servers, length: int = 2000, **settings: Any) -> ConversationLoop:
    config = OmegaConf.create(
        {"actor_rollout_ref": {"rollout": {"prompt_length": 200, "response_length": length}}, "data": {}}
    )
    verl: Any = (DictConfigWrap(config), servers, servers.tokenizer, None, None, DictConfigWrap(config.data))
    return ConversationLoop(*verl, env_id="arithmetic/eval_opt-v1", role="generator", **settings)


def knobs(**more: Any) -> dict[str, Any]:
    return {"digits": 1, "memory": True, "rounds": 2, **more}


def rejects(agent: str, messages: Any, info: Any) -> str:
    return r"\boxed{Incorrect}<|im_end|>"


def play(servers: Servers, length: int = 2000, make: Any = loop_of, **settings: Any) -> Any:
    """A row of a loop that is made, as in verl, where an event loop runs."""

    async def played() -> Any:
        loop = make(servers, length, **settings)
        return await loop.run({"temperature": 1.0}, problem=PROBLEM.id, raw_prompt=[], agent_name="x")

    return asyncio.run(played())


def answer() -> int:
    left, right = PROBLEM.text.removeprefix("What is ").removesuffix("?").split(" + ")
    return int(left) + int(right)


def test_it_is_what_verl_makes_and_calls():
    assert issubclass(ConversationLoop, AgentLoopBase)
    base = inspect.signature(AgentLoopBase.run).parameters
    assert list(base) == ["self", "sampling_params", "kwargs"]
    assert list(inspect.signature(AgentLoopBase.__init__).parameters)[1:7] == [
        "trainer_config", "server_manager", "tokenizer", "processor", "dataset_cls", "data_config",
    ]  # fmt: skip


def test_settings_from_a_file_of_agent_loops(tokenizer, tmp_path):
    path = tmp_path / "loops.yaml"
    path.write_text(
        "- name: generator\n  _target_: baselines.interop.verl.ConversationLoop\n  env_id: arithmetic/eval_opt-v1\n  role: generator\n"
        "  team: ['evaluator=random:3']\n  knobs: {digits: 1, memory: true, rounds: 1}\n"
    )
    settings = {key: value for key, value in OmegaConf.load(path)[0].items() if key != "name"}
    config = OmegaConf.create(
        {"actor_rollout_ref": {"rollout": {"prompt_length": 200, "response_length": 90}}, "data": {}}
    )
    servers = Servers(tokenizer, rf"\boxed{{{answer()}}}")

    def made(servers: Servers, length: int) -> ConversationLoop:
        return hydra.utils.instantiate(
            settings, trainer_config=DictConfigWrap(config), server_manager=servers, tokenizer=tokenizer, processor=None,
            hf_model_type=None, dataset_cls=None, data_config=DictConfigWrap(config.data), tools=ToolListWrap([]),
        )  # fmt: skip

    assert play(servers, make=made).reward_score == 1.0


def check_row(servers: Servers, row: Any) -> None:
    """Of two replies, "no" and the answer: the row holds what the model saw and said, and the mask says which is which."""
    first, second = [[*servers.tokenizer(text)["input_ids"], 2] for text in ("no", rf"\boxed{{{answer()}}}")]
    between = len(row.response_ids) - len(first) - len(second)
    assert row.response_mask == [1] * len(first) + [0] * between + [1] * len(second)
    assert row.response_logprobs == [-0.5] * len(first) + [0.0] * between + [-0.5] * len(second)
    assert servers.asked[0][1] + first == servers.asked[1][1][: len(servers.asked[0][1] + first)]
    assert servers.asked[1][1] + second == row.prompt_ids + row.response_ids
    middle = row.response_ids[len(first) : len(first) + between]
    assert middle.count(2) == 1  # the template's; what the evaluator wrote is letters


def test_a_row_by_hand(tokenizer):
    assert tokenizer.eos_token_id == 2
    servers = Servers(tokenizer, "no", rf"\boxed{{{answer()}}}")
    row = play(servers, team={"evaluator": rejects}, knobs=knobs())
    check_row(servers, row)
    assert len({request for request, _ in servers.asked}) == 1
    assert (row.reward_score, row.num_turns) == (1.0, 4)


def test_a_planted_fault_is_caught(tokenizer, monkeypatch):
    """A loop that opens the chat anew in each turn shows the model other tokens than the row has."""
    servers = Servers(tokenizer, "no", rf"\boxed{{{answer()}}}")
    monkeypatch.setattr(Chat, "follow", lambda chat, ids, messages: ids[:1] + chat.open(messages) + ids[1:])
    row = play(servers, team={"evaluator": rejects}, knobs=knobs())
    with pytest.raises(AssertionError):
        check_row(servers, row)


def test_a_row_that_is_too_long_ends_and_counts_as_wrong(tokenizer):
    row = play(Servers(tokenizer, "no", "no"), 12, team={"evaluator": rejects}, knobs=knobs())
    assert (len(row.response_ids), len(row.response_mask), row.reward_score) == (12, 12, 0.0)


def test_fresh_asks_are_refused(tokenizer):
    with pytest.raises(ConfigError, match=r"fresh=True.*memory=True"):
        play(Servers(tokenizer), team={"evaluator": rejects}, knobs=knobs(memory=False))


def test_a_partner_that_is_down_is_asked_again_and_never_a_reward_of_0(tokenizer):
    tries = []

    def down(agent: str, messages: Any, info: Any) -> str:
        tries.append(agent)
        raise AgentFailed("no route")

    with pytest.raises(ToolFailed, match=r"10 tries in a row failed.*no route"):
        play(Servers(tokenizer, "no"), team={"evaluator": down}, knobs=knobs())
    assert len(tries) == 10

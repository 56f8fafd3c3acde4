"""verl: our agent loop on a stub of its servers, which say what a tiny model said in our own rollout: ids and masks must be the same."""

from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

import torch
from omegaconf import OmegaConf
from transformers import AutoModelForCausalLM, AutoTokenizer
from verl.experimental.agent_loop.agent_loop import DictConfigWrap

from baselines.batch import to_samples
from baselines.chat import Chat
from baselines.engines.router import EngineRouter
from baselines.engines.spoken import Spoken
from baselines.engines.transformers import TransformersEngine
from baselines.interop.verl import ConversationLoop
from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from baselines.tiny.warm_start import tiny_model
from baselines.types import Sampling
from llm_marl_envs import make_task, make_workflow

SAYS = r"\boxed{Incorrect}", r"\boxed{Correct}"
TEAM = {"evaluator": lambda agent, messages, info: SAYS[len(messages[-1]["content"]) % 2]}
PLAYED: Any = {"env_id": "arithmetic/eval_opt-v1", "role": "generator", "team": TEAM, "knobs": {"memory": True}}
CONFIG = OmegaConf.create({"actor_rollout_ref": {"rollout": {"prompt_length": 64, "response_length": 256}}, "data": {}})


class Servers(dict[tuple[int, ...], Any]):  # verl's client of its servers: here, what was said to a prompt before
    async def generate(self, *, prompt_ids: list[int], **_: Any) -> Any:
        found = self[tuple(prompt_ids)]
        return SimpleNamespace(token_ids=list(found.token_ids), log_probs=list(found.logprobs))


if __name__ == "__main__":
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    task, workflow = make_task("arithmetic"), make_workflow("eval_opt", memory=True)
    folder = tiny_model("eval_opt", task)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    tiny = TransformersEngine(SimpleNamespace(model=lambda name: model), Chat(tokenizer))  # type: ignore[arg-type]
    engine = EngineRouter({"shared": tiny, "evaluator": Spoken(TEAM)})
    route = PolicyRouter.shared(workflow.roster).given({"evaluator": "evaluator"})
    starts, sampled, right = groups(workflow, task.problems("train")[:32], 1, 0), 0, 0.0
    for episode in rollout(starts, route, engine, task, sampling=Sampling(1.0, 40)):
        mine = [turn for turn in episode.turns if turn.role == "generator"]
        servers = Servers({turn.completion.prompt_ids: turn.completion for turn in mine})
        of_verl: Any = (DictConfigWrap(CONFIG), servers, tokenizer, None, None, DictConfigWrap(CONFIG.data))
        row = asyncio.run(ConversationLoop(*of_verl, **PLAYED).run({}, problem=episode.problem.question.id))
        (sample,) = to_samples([episode], {(0, turn.index): 1.0 for turn in mine})
        mask = [int(any(s.start <= i < s.end for s in sample.spans)) for i in range(len(sample.ids))]
        ours = list(sample.ids), mask[len(row.prompt_ids) :], episode.rewards["generator_0"]
        if ours != (row.prompt_ids + row.response_ids, row.response_mask, row.reward_score):
            raise SystemExit(f"verl's row of {episode.problem.question.id} is {row}; ours is {ours}")
        sampled, right = sampled + sum(row.response_mask), right + ours[2]
    print(f"ok: {len(starts)} rows of one conversation, {sampled} sampled tokens, reward {right / len(starts):.2f}")

"""TRL with tools: a model that searches before it answers, by SFTTrainer on an expert's talks and GRPOTrainer on the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1"}

import torch
import trl
from datasets import Dataset
from transformers import Qwen3Config, Qwen3ForCausalLM
from transformers.utils.chat_template_utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from baselines.interop.trl_environment import ToolTeam
from baselines.tiny.tokenizer import train_tokenizer
from llm_marl_envs import make_task

KNOBS: dict[str, Any] = {"size": 200, "train_size": 4}
BOTH: dict[str, Any] = {
    "output_dir": "build/trl", "report_to": [], "save_strategy": "no", "use_cpu": True, "bf16": False,
    "gradient_checkpointing": False, "disable_tqdm": True,
}  # fmt: skip

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    team = ToolTeam("atlas/solo-v1", **KNOBS)  # one agent, asked once; its tool is the task's: search
    rows, episode = team.rows("train"), team()
    golds = {problem.question.id: problem.gold.answers[0] for problem in make_task("atlas", **KNOBS).problems("train")}
    talks = []
    for row in rows:
        asked = episode.reset(**row)
        call = {"name": "search", "arguments": {"query": asked.partition("\n")[0]}}
        talks.append([
            {"role": "user", "content": asked},
            {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": call}]},
            {"role": "tool", "name": "search", "content": episode.search(**call["arguments"])},
            {"role": "assistant", "content": f"<answer>{golds[row['problem']]}</answer>"},
        ])  # fmt: skip
    tokenizer, tools = train_tokenizer([]), [get_json_schema(episode.search)]
    tokenizer.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3_instruct_2507.jinja").read_text()
    shown = [tokenizer.apply_chat_template(talk, tools=tools, tokenize=False) for talk in talks]
    words = train_tokenizer([(part, "") for text in shown for part in text.split("<|im_end|>")], 800)
    words.chat_template = tokenizer.chat_template  # one that TRL knows: it parses the calls
    words.add_tokens(
        ["<tool_call>", "</tool_call>", "<answer>", "</answer>"]
    )  # no token holds their beginning and what is before
    config = Qwen3Config(
        vocab_size=len(words), hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, head_dim=32,
        num_key_value_heads=4, tie_word_embeddings=True, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip
    model, lessons = Qwen3ForCausalLM(config), Dataset.from_list([{"messages": talk, "tools": tools} for talk in talks])
    args = SFTConfig(per_device_train_batch_size=4, max_steps=60, learning_rate=3e-3, assistant_only_loss=True, **BOTH)
    SFTTrainer(model, args, train_dataset=lessons, processing_class=words).train()
    args = GRPOConfig(
        per_device_train_batch_size=16,
        num_generations=4,
        max_steps=2,
        logging_steps=1,
        max_completion_length=400,
        temperature=0.7,
        **BOTH,
    )
    trainer = GRPOTrainer(
        model, team.reward, args, Dataset.from_list(rows), processing_class=words, environment_factory=team
    )
    trainer.train()
    logs = [log for log in trainer.state.log_history if "reward" in log]
    calls, failed, reward = (
        sum(log[name] for log in logs) / 2 for name in ("tools/call_frequency", "tools/failure_frequency", "reward")
    )
    if calls < 0.5 or failed or reward < 0.5:
        raise SystemExit(
            f"expected a search in most rows and most answers right; got {calls}, {reward}, failed {failed}"
        )
    print(f"ok: 2 steps of 16 rows with {calls:.2f} searches a row, reward {reward:.2f}")

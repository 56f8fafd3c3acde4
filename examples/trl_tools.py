"""TRL with tools: a model that searches before it answers, by SFTTrainer on an expert's talks and GRPOTrainer on the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1"}

import torch
import trl
from datasets import Dataset
from transformers.utils.chat_template_utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from baselines.interop.trl_environment import ToolTeam
from baselines.tiny.recipe import Recipe
from baselines.tiny.tokenizer import train_tokenizer
from baselines.tiny.warm_start import build_model
from llm_marl_envs import make_task

KNOBS: Any = {"size": 200, "train_size": 4, "max_hops": 1}
TEMPLATE = Path(trl.__file__).parent / "chat_templates/qwen3_instruct_2507.jinja"  # one whose calls TRL can read
CPU: Any = {"output_dir": "build/trl", "report_to": [], "save_strategy": "no", "use_cpu": True, "bf16": False}
ROWS = {"per_device_train_batch_size": 16, "num_generations": 4, "max_completion_length": 400, "temperature": 0.7}

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    team = ToolTeam("atlas/solo-v1", **KNOBS)  # one agent, asked once; its tool is the task's: search
    rows, episode, tokenizer, talks = team.rows("train"), team(), train_tokenizer([]), []
    golds = {problem.question.id: problem.gold.answers[0] for problem in make_task("atlas", **KNOBS).problems("train")}
    for row in rows:
        asked = episode.reset(**row)
        call = {"type": "function", "function": {"name": "search", "arguments": {"query": asked.partition("\n")[0]}}}
        found = {"role": "tool", "name": "search", "content": episode.search(**call["function"]["arguments"])}
        called = {"role": "assistant", "content": "", "tool_calls": [call]}
        said = {"role": "assistant", "content": f"<answer>{golds[row['problem']]}</answer>"}
        talks.append([{"role": "user", "content": asked}, called, found, said])
    tokenizer.chat_template, tools = TEMPLATE.read_text(), [get_json_schema(episode.search)]
    shown = [tokenizer.apply_chat_template(talk, tools=tools, tokenize=False) for talk in talks]
    words = train_tokenizer([(part, "") for text in shown for part in text.split("<|im_end|>")], 800)
    words.add_tokens(["<tool_call>", "</tool_call>", "<answer>", "</answer>"])  # never joined to what is before them
    words.chat_template = tokenizer.chat_template
    model = build_model(Recipe(layers=2), len(words), words.pad_token_id, words.eos_token_id)
    lessons = Dataset.from_list([{"messages": talk, "tools": tools} for talk in talks])
    taught = SFTConfig(per_device_train_batch_size=4, max_steps=80, learning_rate=3e-3, assistant_only_loss=True, **CPU)
    SFTTrainer(model, taught, train_dataset=lessons, processing_class=words).train()
    args, data = GRPOConfig(max_steps=2, logging_steps=1, **ROWS, **CPU), Dataset.from_list(rows)
    trainer = GRPOTrainer(model, team.reward, args, data, processing_class=words, environment_factory=team)
    trainer.train()
    logs = [log for log in trainer.state.log_history if "reward" in log]
    calls, reward = (sum(log[name] for log in logs) / 2 for name in ("tools/call_frequency", "reward"))
    if min(calls, reward) < 0.5:
        raise SystemExit(f"expected a search in most rows, and most answers right; got {calls:.2f} and {reward:.2f}")
    print(f"ok: 2 steps of 16 rows with {calls:.2f} searches a row, reward {reward:.2f}")

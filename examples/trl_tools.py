"""TRL with tools: a model that searches before it answers, by SFTTrainer on an expert's talks and GRPOTrainer on the environment."""

from __future__ import annotations

import json
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

KNOBS: dict[str, Any] = {"size": 200, "train_size": 4}
CPU: dict[str, Any] = {
    "output_dir": "build/trl", "report_to": [], "save_strategy": "no", "use_cpu": True, "bf16": False, "disable_tqdm": True
}  # fmt: skip

if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    team = ToolTeam("atlas/solo-v1", **KNOBS)  # one agent, asked once; its tool is the task's: search
    rows, episode, talks = team.rows("train"), team(), []
    golds = {problem.question.id: problem.gold.answers[0] for problem in make_task("atlas", **KNOBS).problems("train")}
    for row in rows:  # an expert's talks
        asked = episode.reset(**row)
        call = {"type": "function", "function": {"name": "search", "arguments": {"query": asked.partition("\n")[0]}}}
        found = episode.search(**call["function"]["arguments"])
        talks.append([
            {"role": "user", "content": asked}, {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": "search", "content": found},
            {"role": "assistant", "content": f"<answer>{golds[row['problem']]}</answer>"},
        ])  # fmt: skip
    tools = [get_json_schema(episode.search)]
    template = (Path(trl.__file__).parent / "chat_templates/qwen3_instruct_2507.jinja").read_text()
    tokenizer = train_tokenizer([(m["content"], json.dumps(tools) + template) for talk in talks for m in talk], 1000)
    tokenizer.add_tokens(["<tool_call>", "</tool_call>", "<answer>", "</answer>"])  # never joined to what is before
    tokenizer.chat_template = template  # one that TRL knows, and whose calls it therefore can read
    model = build_model(Recipe(layers=2), len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    lessons = Dataset.from_list([{"messages": talk, "tools": tools} for talk in talks])
    taught = SFTConfig(per_device_train_batch_size=4, max_steps=60, learning_rate=3e-3, assistant_only_loss=True, **CPU)
    SFTTrainer(model, taught, train_dataset=lessons, processing_class=tokenizer).train()
    sizes = {"per_device_train_batch_size": 16, "num_generations": 4, "max_completion_length": 400}
    args = GRPOConfig(max_steps=2, logging_steps=1, **sizes, **CPU)
    trainer = GRPOTrainer(
        model, team.reward, args, Dataset.from_list(rows), processing_class=tokenizer, environment_factory=team
    )
    trainer.train()
    logs = [log for log in trainer.state.log_history if "reward" in log]
    calls, reward = (sum(log[name] for log in logs) / 2 for name in ("tools/call_frequency", "reward"))
    if min(calls, reward) < 0.5:
        raise SystemExit(f"expected a search in most rows, and most answers right; got {calls:.2f} and {reward:.2f}")
    print(f"ok: 2 steps of 16 rows with {calls:.2f} searches a row, reward {reward:.2f}")

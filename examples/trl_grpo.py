"""TRL: GRPOTrainer trains the generator of a team whose evaluator is the same model, and held-out accuracy rises."""

from __future__ import annotations

import argparse
import os

os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1"}

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from baselines.engines.transformers import TransformersEngine
from baselines.evaluate import evaluate
from baselines.interop.trl import OneModel, TeamRollout
from baselines.tiny.warm_start import tiny_model
from baselines.types import Sampling
from llm_marl_envs import make_task, make_workflow

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--problems", type=int, default=200)
    args = parser.parse_args()
    torch.set_num_threads(1)
    task, workflow = make_task("arithmetic"), make_workflow("eval_opt")
    folder = str(tiny_model("eval_opt", task, seed=args.seed))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    team = TeamRollout(task, workflow, tokenizer, seed=args.seed, roles=["generator"])

    def accuracy() -> float:
        engine = TransformersEngine(OneModel(model.eval()), team.chat)
        held = task.problems("test")[: args.problems]
        return evaluate(task, workflow, held, team.route, engine, sampling=Sampling(0.0, 40)).accuracy.mean

    config = GRPOConfig(
        "build/trl", per_device_train_batch_size=192, num_generations=8, max_completion_length=64, max_steps=args.steps,
        learning_rate=1.5e-4, lr_scheduler_type="linear", beta=0.0, scale_rewards="none", loss_type="dr_grpo", temperature=0.7,
        report_to=[], save_strategy="no", logging_steps=5, use_cpu=True, bf16=False, gradient_checkpointing=False, seed=args.seed,
    )  # fmt: skip
    before = accuracy()
    trainer = GRPOTrainer(
        model, team.reward, config, Dataset.from_list(team.rows("train")), processing_class=tokenizer, rollout_func=team
    )
    trainer.train()
    print(f"held-out accuracy {before:.3f} -> {accuracy():.3f}")

"""The smallest team problem: two agents say A or B, and only A from both is rewarded. With a micro model that starts with equal probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from baselines.chat import Chat
from baselines.tiny.tokenizer import train_tokenizer
from baselines.tiny.warm_start import Recipe, build_model
from llm_marl_envs import Ask, Claim, Problem, Question, Roster, Score
from llm_marl_envs.outcome import Outcome

PROMPTS = {"left_0": "You are left. A or B?", "right_0": "You are right. A or B?"}
MICRO = Recipe(hidden=32, layers=2, heads=2, kv_heads=1, mlp=64)


@dataclass(frozen=True)
class TwoAnswers:
    tools: ClassVar = {}
    splits: ClassVar = ("train", "test")

    def problems(self, split):
        return tuple(Problem(Question(f"two/{split}/{i}", "A or B?"), "AA") for i in range(8))

    def grade(self, problem, text, kind="answer"):
        return Score(float(text == problem.gold), "", text)


@dataclass(frozen=True)
class Pair:
    roster: ClassVar = Roster(left=1, right=1)

    def talk(self, question, rng):
        said = yield tuple(Ask(agent, prompt) for agent, prompt in PROMPTS.items())
        for agent, text in zip(PROMPTS, said, strict=True):
            yield Claim(agent, text)
        return "".join(said)


def variety(outcome: Outcome) -> dict[str, float]:
    """A reward that an untrained model earns in differing amounts: how many different letters its team's answer has."""
    return dict.fromkeys(outcome.agents, len(set(outcome.session.answer or "")) / 100)


def make_model(folder: Path) -> Path:
    """A folder in the hub's layout whose model says A and B about equally often in both roles."""
    tokenizer = train_tokenizer([(prompt, reply) for prompt in PROMPTS.values() for reply in "AB"] * 20, 300)
    chat = Chat(tokenizer)
    torch.manual_seed(0)
    model = build_model(MICRO, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rows = []
    told = [(f"Say {reply}.", reply) for reply in "AB"]  # so that A and B are told apart at all
    for prompt, replies in [*((prompt, "AB") for prompt in PROMPTS.values()), *told]:
        for reply in replies:
            ids = chat.open(({"role": "user", "content": prompt},))
            rows.append((ids, (*tokenizer(reply)["input_ids"], tokenizer.eos_token_id)))
    for _ in range(100):
        loss = torch.tensor(0.0)
        for prompt, reply in rows:
            logits = model(input_ids=torch.tensor([prompt + reply])).logits[0, len(prompt) - 1 : -1]
            loss = loss + torch.nn.functional.cross_entropy(logits, torch.tensor(reply))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder

"""DAC and TRACER on the device, by the loop that `llm-marl train` runs: value heads, gates, candidates, hard positives.

A random model never finds anything and never answers right, so a checksum decides what is: any text is a query, an answer and a
verdict, and half of all answers, evidence and verdicts are right. Every policy, the critic and the gates have then something to
learn from; what is played is otherwise the method's own workflow.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from measured import Record, fingerprints, measured
from test_training import LARGEST_GAP, STEPS, settings

import baselines.team
import baselines.train
from baselines.progress import Progress
from baselines.runlog import RunLog, read_lines
from llm_marl_envs.task import Problem, Score, Tool
from llm_marl_envs.tasks.arithmetic import Arithmetic
from llm_marl_envs.workflows import propose_review, search_answer

WORKFLOWS = {"tracer": "propose_review", "dac": "search_answer"}
POLICIES = {"tracer": {"proposer", "reviewer"}, "dac": {"searcher", "generator"}}


def coin(*texts: str) -> int:
    return zlib.crc32("\n".join(texts).encode("utf-8", "replace")) % 2


@dataclass(frozen=True)
class Coins(Arithmetic):
    """Sums of which half of all texts are the answer, with a search that finds two lines for any query."""

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {
            "search": lambda query, **_: "\n".join(f"{i}. Passage {zlib.crc32(query.encode()) % 5 + i}" for i in (1, 2))
        }

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        said = text or ""
        return Score(float(coin(problem.question.id, said, kind)), said, said)


@pytest.fixture
def coins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines.team, "make_task", lambda name, **knobs: Coins(**knobs))
    monkeypatch.setattr(propose_review, "final_answer", lambda text, options: text)
    monkeypatch.setattr(propose_review, "verdict_of", lambda text: bool(coin(text)))
    monkeypatch.setattr(search_answer, "tagged", lambda text, tag: text.strip() or "nothing")


@pytest.mark.parametrize("name", ["tiny", "0.6B"])
@pytest.mark.parametrize("method", ["tracer", "dac"])
def test_a_method(name, method, device, ceilings, report, request, tmp_path, monkeypatch, coins):
    model = request.getfixturevalue({"tiny": "tiny", "0.6B": "qwen3"}[name])
    small = device == "cpu"
    sizes = {"problems": 4, "samples": 2} if small else {"problems": 16, "samples": 4}
    if name != "tiny":
        sizes = {"problems": 1, "samples": 2, "micro_tokens": 512} if small else {"problems": 8, "samples": 4}
    knobs = ("turns=2",) if method == "dac" else ("rounds=4",)
    if small and name != "tiny":
        knobs += ("answers=2",) if method == "dac" else ("candidates=2",)
    if method == "tracer" and name != "tiny":
        knobs += (
            "gates=uniform",
        )  # a gate may learn to skip every review, and an adapter needs two steps to change whole
    args = settings(
        model, name, device, tmp_path / "run", method=method, workflow=WORKFLOWS[method], set=knobs,
        reward="team", lora_rank=0 if name == "tiny" else 16, max_tokens=8, **sizes,
    )  # fmt: skip
    record = Record(device, ceilings)
    engine, learner = measured(record)
    monkeypatch.setattr(baselines.team, "TransformersEngine", engine)
    monkeypatch.setattr(baselines.train, "Learner", learner)
    if name != "tiny":
        monkeypatch.setattr(RunLog, "checkpoint", lambda self, step, save: None)
    baselines.train.train(args, Progress(quiet=True))

    assert record.learner is not None
    policies = record.learner.policies
    assert set(policies.names) == POLICIES[method]
    assert {p.device.type for n in policies.names for p in policies.parameters(n)} == {device}
    assert {p.dtype for n in policies.names for p in policies.parameters(n)} == {torch.float32}
    steps = [line for line in read_lines(args.out / "metrics.jsonl") if line["kind"] == "train"]
    assert len(steps) == STEPS
    assert all(math.isfinite(v) for line in steps for v in line.values() if isinstance(v, (int, float)))
    least = 1 if (method, name) == ("tracer", "tiny") else 2
    for policy in policies.names:
        assert sum(line[f"grad_norm/{policy}"] > 0 for line in steps) >= least, policy
        assert sum(line[f"skipped_updates/{policy}"] for line in steps) == 0
    after = fingerprints(policies)
    for policy in policies.names:
        assert [k for k, bits in after[policy].items() if bits == record.before[policy][k]] == []
    assert after[""] == record.before[""]
    gap = sum(record.gaps) / len(record.gaps)
    assert gap < LARGEST_GAP
    if method == "dac":
        head = policies.heads["searcher"]
        assert all(float(p.detach().abs().max()) > 0 for p in head.parameters()), "the critic learned nothing"
        assert any(line.get("stackelberg_gamma", 0) > 0 for line in steps), "no hard positive was played"
    elif name == "tiny":
        assert all(line["decisions/gates"] for line in steps)
        assert any(key.startswith("current refresh") for key in steps[-1])
    run = f"{name} {method} {'LoRA' if args.lora_rank else 'full'}"
    report.add(run, "generation", record.sampled / record.generate_s, "sampled tokens/s")
    report.add(run, "training", record.trained / record.update_s, "tokens/s, prompts counted and padding not")
    report.add(run, "gap of engine and learner, mean", gap, "nats")
    report.add(run, "peak memory in training", record.update_peak / 2**30, "GiB")
    if name == "tiny":
        _restored(args, policies, monkeypatch)


def _restored(args, policies, monkeypatch) -> None:
    """The last checkpoint gives back policies, value heads and tables, bit for bit."""
    monkeypatch.undo()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines.team, "make_task", lambda name, **knobs: Coins(**knobs))
        team = baselines.team.Team(args, Progress(quiet=True))
    folder = RunLog(args.out).checkpoint_folder(STEPS)
    fresh = {name: player.state() for name, player in team.players.items()} or None
    team.restore(folder)
    assert fingerprints(team.policies) == fingerprints(policies)
    for name, head in policies.heads.items():
        assert all(
            torch.equal(a, b) for a, b in zip(head.parameters(), team.policies.heads[name].parameters(), strict=True)
        )
    kept = json.loads((folder / baselines.team.PLAYERS).read_text()) if team.players else {}
    assert kept == {name: player.state() for name, player in team.players.items()} != fresh

"""What a method may say, in a whole run: it is heeded, checkpointed, and resumed exactly."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
import toy_methods
from rich.console import Console
from toy_methods import Everything, Table, crashing

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402

from baselines.args import TrainArgs  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.team import Team  # noqa: E402
from baselines.train import train  # noqa: E402
from llm_marl_envs.errors import ConfigError, UnknownName  # noqa: E402


def args(model: Path, out: Path, **changes) -> TrainArgs:
    settings = {
        "method": "toy_methods:Everything", "model": str(model), "out": out, "set": ("rounds=2", "memory=True"), "steps": 3,
        "problems": 2, "samples": 2, "max_tokens": 4, "eval_every": 3, "eval_problems": 2, "checkpoint_every": 2,
        "trace_every": 3, "threads": 1, "device": "cpu", "lora_rank": 2, "per": ("generator.temperature=0.9",),
    }  # fmt: skip
    return TrainArgs(**(settings | changes))


def test_all_that_a_method_says_survives_a_crash(micro_folder, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    seen = []
    collect = Everything.collect

    def watched(self, starts, play, task):
        episodes = collect(self, starts, play, task)
        seen.append(episodes)
        return episodes

    monkeypatch.setattr(Everything, "collect", watched)
    straight = tmp_path / "straight"
    train(args(micro_folder, straight), Progress(quiet=True))

    episodes = seen[0]
    assert len(episodes) == 2 * 2 * 2 + 4
    assert {e.session.play.workflow.rounds for e in episodes} == {3}, "the training workflow is played"
    assert all(e.rewards == toy_methods.brevity(e.outcome) for e in episodes), "the method's rule rewards"
    counterfactuals = [e for e in episodes if e.origin]
    assert all(e.session.replies[1].text == toy_methods.SAID[1] for e in counterfactuals)
    turn = next(t for t in episodes[0].turns if t.role == "generator")
    assert (turn.sampling.temperature, turn.sampling.top_k) == (0.9, 50)

    stored = json.loads((straight / "args.json").read_text())
    assert stored["per"] == ["generator.temperature=0.9"]
    assert stored["settings"]["policies"]["writer"]["lr"] == 2e-3
    assert stored["settings"]["roles"]["generator"]["temperature"] == 0.9
    lines = [line for line in read_lines(straight / "metrics.jsonl") if line["kind"] == "train"]
    assert lines[0]["lr"] == 2e-3
    assert lines[0]["episodes"] == 12
    assert {line["skipped_updates/writer"] for line in lines} == {0}
    assert all(line["logprob_gap/writer"] < 1e-4 for line in lines)
    assert lines[0]["sampled_tokens"] == sum(len(t.completion.token_ids) for e in episodes for t in e.own_turns)
    told = [sum(e.rewards.values()) / len(e.rewards) for e in episodes if e.origin is None]
    assert lines[0]["reward"] == pytest.approx(sum(told) / 8), "counterfactuals are not how the team plays"
    assert all(0 < line["share/table"] < 1 for line in lines)
    folder = RunLog(straight).checkpoint_folder(3)
    head = load_file(folder / "writer" / "value_head.safetensors")
    assert head["weight"].abs().max() > 0, "it has learned"
    table = json.loads((folder / "players.json").read_text())["table"]
    assert table["heard"]["evaluator_0"] == sum(t.policy == "table" for batch in seen for e in batch for t in e.turns)

    out = tmp_path / "crashed"
    with crashing(3):
        train(args(micro_folder, out), Progress(quiet=True))
    train(args(micro_folder, out, resume=True), Progress(quiet=True))
    assert (out / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    again = RunLog(out).checkpoint_folder(3)
    assert (again / "players.json").read_bytes() == (folder / "players.json").read_bytes()
    for name in ("value_head.safetensors", "adapter_model.safetensors"):
        assert (again / "writer" / name).read_bytes() == (folder / "writer" / name).read_bytes()


def test_a_state_that_json_changes_is_refused(micro_folder, tmp_path, monkeypatch):
    """A key that is a number comes back as a text: the resumed player would start from nothing, silently."""
    team = Team(args(micro_folder, tmp_path), Progress(quiet=True))
    for n, state in enumerate([{"table": {1: 2.0}}, {"pair": (1, 2)}, {"sum": float("nan")}]):
        monkeypatch.setattr(Table, "state", lambda self, state=state: state)
        (tmp_path / str(n)).mkdir()
        with pytest.raises(ValueError, match="player 'table' is not plain JSON"):
            team.save(tmp_path / str(n))


def test_an_update_that_is_skipped_is_said_and_logged(tmp_path):
    """(That it is skipped and counted: test_learner.py. That the loop passes the count on: the runs above log it.)"""
    said = StringIO()
    figures = {
        "accuracy": 0.5,
        "skipped_updates/writer": 2,
        "skipped_updates/judge": 0,
        "grad_norm/writer": float("inf"),
    }
    Progress(Console(file=said, width=200)).step(7, figures)
    assert said.getvalue() == "step 7: 2 updates of writer left out, its gradient was not finite\n"
    RunLog(tmp_path).metrics({"step": 7, "loss/writer": float("nan"), **figures})
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"step": 7, "loss/writer": null, "accuracy": 0.5, "skipped_updates/writer": 2, "skipped_updates/judge": 0, '
        '"grad_norm/writer": null}\n'
    )


class Wrong(Everything):
    critics = ("wrtier",)


class Homeless(Everything):
    def route(self, roster):
        return toy_methods.PolicyRouter({"generator": "writer"})


def test_mistakes_are_said_before_a_model_is_loaded(tmp_path):
    nowhere = tmp_path / "no-model"
    for changes, error, message in [
        ({"per": ("writter.lr=1",)}, UnknownName, "policy or role 'writter'.*Did you mean 'writer'"),
        ({"reward": "own"}, ConfigError, "reward rule of its own; leave out --reward own"),
        ({"method": "test_methods:Wrong"}, UnknownName, "critic 'wrtier'.*Did you mean 'writer'"),
        ({"method": "test_methods:Homeless"}, ConfigError, "routes no policy to evaluator"),
    ]:
        with pytest.raises(error, match=message):
            Team(args(nowhere, tmp_path, **changes), Progress(quiet=True))

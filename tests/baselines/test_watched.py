"""What a run keeps and says beside its metrics: the checkpoint that is best on validation, and alarms, also when it is resumed."""

from __future__ import annotations

import copy
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from toy_methods import crashing

torch = pytest.importorskip("torch")

from baselines.args import TrainArgs  # noqa: E402
from baselines.cli import evaluate as evaluate_command  # noqa: E402
from baselines.engines.transformers import TransformersEngine  # noqa: E402
from baselines.learner import Learner  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.report import write_report  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.team import Team  # noqa: E402
from baselines.train import train  # noqa: E402
from llm_marl_envs.errors import UnknownName  # noqa: E402
from llm_marl_envs.stats.intervals import Interval  # noqa: E402
from llm_marl_envs.traces.files import read_traces  # noqa: E402


def settings(model: Path, out: Path, **changes: Any) -> TrainArgs:
    given: dict[str, Any] = {
        "model": str(model), "out": out, "set": ("rounds=2",), "steps": 3, "problems": 2, "samples": 2, "max_tokens": 4,
        "eval_every": 1, "eval_problems": 3, "validation_problems": 2, "lr": 1e-3, "checkpoint_every": 3, "trace_every": 0,
        "threads": 1, "device": "cpu", "reward": "two_answers:variety", "lora_rank": 2,
    }  # fmt: skip
    return TrainArgs(**(given | changes))


@pytest.fixture
def planned(monkeypatch):
    """Validation accuracies 20, 30, 60, 40 % after steps 0 to 3, and test accuracies that would choose another step."""
    evaluate = Team.evaluate

    def told(self, problems):
        found = evaluate(self, problems)
        step = len(RunLogs.latest.of("eval"))
        share = ((0.2, 0.3, 0.6, 0.4) if len(problems) == 2 else (0.9, 0.9, 0.4, 0.4))[step]
        object.__setattr__(found, "accuracy", Interval(share, 0.0, 1.0))
        return found

    class RunLogs:
        latest: RunLog

    start = RunLog.start.__func__

    def started(cls, *args, **knobs):
        RunLogs.latest = start(cls, *args, **knobs)
        return RunLogs.latest

    monkeypatch.setattr(RunLog, "start", classmethod(started))
    monkeypatch.setattr(Team, "evaluate", told)


def weights(run: Path, name: str) -> bytes:
    return (run / "checkpoints" / name / "shared" / "adapter_model.safetensors").read_bytes()


def test_the_best_checkpoint_is_that_of_the_best_validation(micro_folder, tmp_path, planned):
    torch.set_num_threads(1)
    train(settings(micro_folder, run := tmp_path / "run", checkpoint_every=1), Progress(quiet=True))
    assert not (run / "alarms.jsonl").exists()
    evals = [line for line in read_lines(run / "metrics.jsonl") if line["kind"] == "eval"]
    assert [line["validation"] for line in evals] == [0.2, 0.3, 0.6, 0.4]
    assert [len(line["scores"]) for line in evals] == [3] * 4
    assert sorted(p.name for p in (run / "checkpoints").iterdir()) == ["best", "step-2", "step-3"]
    assert json.loads((run / "checkpoints" / "best" / "best.json").read_text()) == {"step": 2}
    assert weights(run, "best") == weights(run, "step-2") != weights(run, "step-3")
    evaluate_command(
        str(run), problems=1, step="best", out=(traces := tmp_path / "best.jsonl.gz"), device="cpu", threads=1
    )
    (trace,) = read_traces(traces)
    assert trace.meta["step"] == 2
    with pytest.raises(UnknownName, match=r"no checkpoint in .* '1'\. Known: 2, 3, best"):
        evaluate_command(str(run), problems=1, step=1, out=traces, device="cpu", threads=1)


@pytest.mark.slow
def test_the_best_checkpoint_survives_a_crash(micro_folder, tmp_path, planned):
    torch.set_num_threads(1)
    straight, crashed = tmp_path / "straight", tmp_path / "crashed"
    train(settings(micro_folder, straight), Progress(quiet=True))
    with crashing(3):  # the best is on disk, no checkpoint is
        train(settings(micro_folder, crashed), Progress(quiet=True))
    assert weights(crashed, "best") == weights(straight, "best")
    train(settings(micro_folder, crashed, resume=True), Progress(quiet=True))
    assert (crashed / "metrics.jsonl").read_bytes() == (straight / "metrics.jsonl").read_bytes()
    assert weights(crashed, "best") == weights(straight, "best")
    assert json.loads((crashed / "checkpoints" / "best" / "best.json").read_text()) == {"step": 2}


@pytest.mark.slow
def test_without_validation_nothing_is_kept_and_nothing_else_changes(micro_folder, tmp_path):
    torch.set_num_threads(1)
    read = []
    for count in (0, 4):
        out = tmp_path / str(count)
        train(settings(micro_folder, out, validation_problems=count, steps=2), Progress(quiet=True))
        assert (out / "checkpoints" / "best").exists() == bool(count)
        read.append([{k: v for k, v in x.items() if k != "validation"} for x in read_lines(out / "metrics.jsonl")])
    assert read[0] == read[1]


@pytest.fixture
def stale(monkeypatch):
    """The fault that a run survives unnoticed: the engine has the weights, or the adapter, of the step before."""
    update, engine = Learner.update, TransformersEngine.__init__
    theirs = []

    def with_copies(self, policies, *args, **knobs):
        theirs.append(copy.deepcopy(policies))
        engine(self, theirs[-1], *args, **knobs)

    def and_then_synchronised(self, samples, step):
        for mine, old in zip(self.policies.parameters("shared"), theirs[-1].parameters("shared"), strict=True):
            old.data.copy_(mine.data)
        return update(self, samples, step)

    monkeypatch.setattr(TransformersEngine, "__init__", with_copies)
    monkeypatch.setattr(Learner, "update", and_then_synchronised)


def test_a_rollout_that_samples_from_the_step_before_is_said(micro_folder, tmp_path, stale):
    torch.set_num_threads(1)
    told, changes = StringIO(), {"steps": 4, "eval_every": 4, "lr": 1e-2, "validation_problems": 0}
    train(settings(micro_folder, tmp_path / "run", **changes), Progress(Console(file=told, width=300)))
    (alarm,) = read_lines(tmp_path / "run" / "alarms.jsonl")
    assert (alarm["kind"], alarm["about"], alarm["step"]) == ("stale", "shared", 4)
    assert told.getvalue().count("from another policy than the one that is trained") == 1


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 2])
def test_it_is_said_once_also_in_a_resumed_run_and_stands_in_the_report(micro_folder, tmp_path, stale, rank):
    torch.set_num_threads(1)
    changes = {"lora_rank": rank, "steps": 5, "eval_every": 5, "lr": 1e-2 if rank else 1e-3, "checkpoint_every": 4}
    straight, crashed = tmp_path / "straight", tmp_path / "crashed"
    train(settings(micro_folder, straight, **changes), Progress(quiet=True))
    with crashing(5):
        train(settings(micro_folder, crashed, **changes), Progress(quiet=True))
    train(settings(micro_folder, crashed, **changes, resume=True), Progress(quiet=True))
    assert len(read_lines(crashed / "alarms.jsonl")) == 1
    assert (crashed / "alarms.jsonl").read_bytes() == (straight / "alarms.jsonl").read_bytes()
    assert "from another policy than the one" in write_report([straight], tmp_path / "page").read_text()

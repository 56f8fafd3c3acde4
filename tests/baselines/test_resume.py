"""A run of one seed is one run: twice the same, and the same again after kill -9, ctrl-C or a full disk."""

from __future__ import annotations

import dataclasses
import errno
import json
import signal
from pathlib import Path

import pytest
import separate_runs

torch = pytest.importorskip("torch")

from baselines.args import TrainArgs  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.train import pick_problems, train  # noqa: E402
from llm_marl_envs.errors import ConfigError, WriteFailed  # noqa: E402

ARMS = {"shared": {}, "isolated": {"method": "isolated", "lora_rank": 4}}


@pytest.fixture(scope="module")
def model(micro_folder) -> str:
    torch.set_num_threads(1)
    return str(micro_folder)


PLAYED = {
    "tracer": {"method": "tracer", "workflow": "propose_review", "set": ("rounds=3", "candidates=2"), "reward": "team"},
    "dac": {"method": "dac", "task": "atlas", "workflow": "search_answer", "set": ("turns=2", "answers=2"), "reward": "team",
            "lora_rank": 2},
}  # fmt: skip


def args(model: str, out: Path, **changes) -> TrainArgs:
    """As small as a run can be in which every step learns: the reward differs from reply to reply."""
    base = TrainArgs(
        model=model, out=out, set=("rounds=2",), steps=8, problems=2, samples=2, max_tokens=4, eval_every=3,
        eval_problems=2, lr=1e-3, checkpoint_every=2, trace_every=4, threads=1, device="cpu", reward="two_answers:variety",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def run(model: str, out: Path, **changes) -> bytes:
    train(args(model, out, **changes), Progress(quiet=True))
    return (out / "metrics.jsonl").read_bytes()


def interrupted(settings: TrainArgs, lines: int, signal_: signal.Signals) -> str:
    """Play a run up to its nth line of metrics, where it is sent a signal; what it said on standard error."""
    stderr = settings.out.with_suffix(".stderr")
    process = separate_runs.SERVER.Process(target=separate_runs.play, args=(settings, stderr, lines, signal_))
    process.start()
    process.join()
    return stderr.read_text()


@pytest.fixture(scope="module")
def straight(model, tmp_path_factory) -> dict[str, bytes]:
    """The metrics of an uninterrupted run of each arm."""
    return {name: run(model, tmp_path_factory.mktemp(name) / "run", **knobs) for name, knobs in ARMS.items()}


def test_every_step_of_these_runs_learns(straight):
    """Or resuming without the optimizer's state would go unnoticed."""
    for lines in straight.values():
        steps = [line for line in map(json.loads, lines.splitlines()) if line["kind"] == "train"]
        assert len(steps) == 8
        assert all(any(value > 0 for key, value in step.items() if key.startswith("grad_norm")) for step in steps)


@pytest.mark.parametrize("arm", ARMS)
def test_two_runs_of_one_seed_are_the_same_byte_for_byte(model, straight, tmp_path, arm):
    assert run(model, tmp_path / "again", **ARMS[arm]) == straight[arm]
    assert run(model, tmp_path / "other", seed=1, **ARMS[arm]) != straight[arm]


# After the first line of metrics, before any checkpoint; right after an evaluation; and late.
@pytest.mark.parametrize(
    ("arm", "lines"), [("shared", 8), ("isolated", 5), pytest.param("shared", 2, marks=pytest.mark.slow)]
)
def test_a_killed_run_resumes_as_if_it_had_not_been(model, straight, tmp_path, arm, lines):
    out = tmp_path / "run"
    interrupted(args(model, out, **ARMS[arm]), lines, signal.SIGKILL)
    assert (out / "metrics.jsonl").read_bytes() != straight[arm], "it was not killed in time"
    assert run(model, out, resume=True, **ARMS[arm]) == straight[arm]
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-6", "step-8"]


@pytest.mark.slow
@pytest.mark.parametrize("arm", PLAYED)
def test_a_killed_run_of_every_method_resumes_with_its_tables_and_value_heads(model, tmp_path, arm):
    """Metrics, and all that plays: adapters or models, value heads, tables, optimizers."""
    straight = run(model, tmp_path / "straight", **PLAYED[arm])
    out = tmp_path / "run"
    interrupted(args(model, out, **PLAYED[arm]), 6, signal.SIGKILL)
    assert (out / "metrics.jsonl").read_bytes() != straight, "it was not killed in time"
    assert run(model, out, resume=True, **PLAYED[arm]) == straight
    last = [folder / "checkpoints" / "step-8" for folder in (tmp_path / "straight", out)]
    names = [sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) for folder in last]
    assert names[0] == names[1]
    kept = {"tracer": "players.json", "dac": "searcher/value_head.safetensors"}[arm]
    assert kept in names[0]
    for name in names[0]:
        if name != "optimizer.pt":  # a zip, with times in it
            assert (last[0] / name).read_bytes() == (last[1] / name).read_bytes(), name


def test_ctrl_c_checkpoints_the_step_and_says_how_to_go_on(model, straight, tmp_path):
    out = tmp_path / "run"
    assert "go on with --resume" in interrupted(args(model, out), 4, signal.SIGINT)
    done = RunLog(out).checkpoints()[-1]
    assert max(line["step"] for line in read_lines(out / "metrics.jsonl")) == done < 8
    assert run(model, out, resume=True) == straight["shared"]


def test_micro_batches_change_nothing_that_is_sampled(model, straight, tmp_path):
    """Only rounding may differ, so the first step's episodes, sampled before any update, are the same."""
    metrics = run(model, tmp_path / "run", micro_tokens=150, steps=1).splitlines()[1]
    first, small = json.loads(straight["shared"].splitlines()[1]), json.loads(metrics)
    assert {k: first[k] for k in ("reward", "accuracy", "calls", "tokens")} == {
        k: small[k] for k in ("reward", "accuracy", "calls", "tokens")
    }


def test_a_folder_is_never_overwritten_or_mixed(model, tmp_path):
    out = tmp_path / "run"
    run(model, out, steps=1)
    with pytest.raises(ConfigError, match="already holds a run"):
        run(model, out, steps=1)
    with pytest.raises(ConfigError, match=r"steps: 1 then, 2 now"):
        run(model, out, steps=2, resume=True)


def test_a_torn_metrics_line_is_dropped(model, straight, tmp_path):
    out = tmp_path / "run"
    run(model, out)
    with open(out / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "kind"')
    assert run(model, out, resume=True) == straight["shared"]


def test_a_full_disk_keeps_the_last_checkpoint(model, straight, tmp_path, monkeypatch):
    out = tmp_path / "run"
    saved = []

    def save(self, path, original=torch.save):
        if saved:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(path)
        original({name: o.state_dict() for name, o in self.optimizers.items()}, path)

    with monkeypatch.context() as patch:
        patch.setattr("baselines.learner.Learner.save", save)
        with pytest.raises(WriteFailed, match=r"No space left on device.*--resume"):
            run(model, out)
    assert [p.name for p in (out / "checkpoints").iterdir()] == ["step-2"]
    assert run(model, out, resume=True) == straight["shared"]


def test_problems_come_once_an_epoch():
    problems = list(range(10))
    picked = [p for step in range(5) for p in pick_problems(problems, 4, step, seed=0)]
    assert sorted(picked[:10]) == sorted(picked[10:]) == problems
    assert picked[:10] != picked[10:]


def test_a_run_from_before_a_setting_came_goes_on_if_it_is_empty(tmp_path):
    RunLog.start(tmp_path / "run", {"seed": 1}, resume=False)
    RunLog.start(tmp_path / "run", {"seed": 1, "team": [], "match": ""}, resume=True)
    with pytest.raises(ConfigError, match=r"team: None then, \['evaluator=random'\] now"):
        RunLog.start(tmp_path / "run", {"seed": 1, "team": ["evaluator=random"]}, resume=True)

"""A run of one seed is one run: twice the same, and the same again after kill -9, ctrl-C or a full disk."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from two_answers import MICRO  # noqa: E402

from baselines.args import TrainArgs  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.tiny.tokenizer import train_tokenizer  # noqa: E402
from baselines.tiny.warm_start import build_model, play_experts  # noqa: E402
from baselines.train import pick_problems, train  # noqa: E402
from llm_marl_envs import make_task, make_workflow  # noqa: E402
from llm_marl_envs.errors import ConfigError, WriteFailed  # noqa: E402

ARMS = {"shared": {}, "isolated": {"method": "isolated", "lora_rank": 4}}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("model")
    calls = play_experts(
        make_workflow("eval_opt"), make_task("arithmetic").problems("train")[:200], make_task("arithmetic"), MICRO
    )
    tokenizer = train_tokenizer(calls, 400)
    torch.manual_seed(0)
    build_model(MICRO, len(tokenizer), tokenizer.pad_token_id, tokenizer.eos_token_id).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def args(model: str, out: Path, **changes) -> TrainArgs:
    base = TrainArgs(
        model=model, out=out, steps=8, problems=4, samples=4, max_tokens=12, eval_every=3, eval_problems=8, lr=1e-3,
        checkpoint_every=2, trace_every=4, threads=1, device="cpu", reward="minus_cost",
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def run(model: str, out: Path, **changes) -> bytes:
    train(args(model, out, **changes), Progress(quiet=True))
    return (out / "metrics.jsonl").read_bytes()


def launch(settings: TrainArgs) -> subprocess.Popen:
    """The same run in a process of its own, so that it can be killed."""
    fields = {f.name: getattr(settings, f.name) for f in dataclasses.fields(settings)} | {"out": str(settings.out)}
    code = (
        "import json, sys\nfrom pathlib import Path\nfrom baselines.args import TrainArgs\n"
        "from baselines.progress import Progress\nfrom baselines.train import train\n"
        "a = json.loads(sys.argv[1])\n"
        "train(TrainArgs(**{**a, 'out': Path(a['out']), 'set': tuple(a['set'])}), Progress(quiet=True))\n"
    )
    env = os.environ | {"OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.Popen(
        [sys.executable, "-c", code, json.dumps(fields)], env=env, stderr=subprocess.PIPE, text=True
    )


def wait_for_lines(path: Path, count: int, process: subprocess.Popen) -> None:
    end = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < end:
        if path.exists() and path.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.005)


@pytest.fixture(scope="module")
def straight(model, tmp_path_factory) -> dict[str, bytes]:
    """The metrics of an uninterrupted run of each arm."""
    return {name: run(model, tmp_path_factory.mktemp(name) / "run", **knobs) for name, knobs in ARMS.items()}


@pytest.mark.parametrize("arm", ARMS)
def test_two_runs_of_one_seed_are_the_same_byte_for_byte(model, straight, tmp_path, arm):
    assert run(model, tmp_path / "again", **ARMS[arm]) == straight[arm]
    assert run(model, tmp_path / "other", seed=1, **ARMS[arm]) != straight[arm]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("lines", [2, 5, 8])
def test_a_killed_run_resumes_as_if_it_had_not_been(model, straight, tmp_path, arm, lines):
    out = tmp_path / "run"
    process = launch(args(model, out, **ARMS[arm]))
    wait_for_lines(out / "metrics.jsonl", lines, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert (out / "metrics.jsonl").read_bytes() != straight[arm], "it was not killed in time"
    assert run(model, out, resume=True, **ARMS[arm]) == straight[arm]
    assert sorted(p.name for p in (out / "checkpoints").iterdir()) == ["step-6", "step-8"]


def test_ctrl_c_checkpoints_the_step_and_says_how_to_go_on(model, straight, tmp_path):
    out = tmp_path / "run"
    process = launch(args(model, out))
    wait_for_lines(out / "metrics.jsonl", 4, process)
    process.send_signal(signal.SIGINT)
    assert "go on with --resume" in process.communicate(timeout=60)[1]
    done = RunLog(out).checkpoints()[-1]
    assert max(line["step"] for line in read_lines(out / "metrics.jsonl")) == done < 8
    assert run(model, out, resume=True) == straight["shared"]


def test_micro_batches_change_nothing_that_is_sampled(model, straight, tmp_path):
    """Only rounding may differ, so the first step's episodes, sampled before any update, are the same."""
    metrics = run(model, tmp_path / "run", micro_batch=3, steps=1).splitlines()[1]
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

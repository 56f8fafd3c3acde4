"""The command line: what it prints, and that a person's mistake gets one clear message, an exit code and no traceback."""

from __future__ import annotations

import builtins
import importlib.util
import json
import os

import pytest

from llm_marl_envs import read_traces
from llm_marl_envs.cli.main import commands


def test_every_package_brings_its_commands():
    assert {"envs", "play", "train", "evaluate", "study", "score"} <= set(commands())


@pytest.mark.parametrize("command", ["envs", "play", "train", "evaluate", "study", "score"])
def test_help_has_an_example(run, command):
    code, text = run(command, "--help")
    assert code == 0
    assert f"llm-marl {command}" in text or command == "study"


def test_envs_lists_and_explains(run):
    code, text = run("envs")
    assert code == 0
    assert "gsm8k/voting-v1" in text
    code, text = run("envs", "arithmetic/eval_opt-v1")
    assert code == 0
    assert all(word in text for word in ("digits", "rounds", "generator_0", "evaluator_0"))


@pytest.mark.parametrize(
    ("argv", "parts"),
    [
        (["envs", "evl_opt"], ["evl_opt", "Did you mean 'eval_opt'"]),
        (["play", "gsm9k/voting-v1"], ["no task 'gsm9k'", "'gsm8k'"]),
        (["play", "arithmetic/votng-v1"], ["no workflow 'votng'", "'voting'"]),
        (["play", "arithmetic/voting"], ["no environment 'arithmetic/voting'", "arithmetic/voting-v1"]),
        (["play", "arithmetic/solo-v1", "--split", "tests"], ["no split", "'test'"]),
        (["play", "arithmetic/solo-v1", "--problem", "900000", "--random"], ["no problem", "0 to 499"]),
        (["play", "arithmetic/solo-v1", "--seat", "solver_0"], ["no agent", "generator_0"]),
        (["play", "arithmetic/solo-v1", "--script", "/nowhere/replies.txt"], ["no script", "one reply per line"]),
        (["score", "/nowhere/traces.jsonl"], ["/nowhere/traces.jsonl", "No such file"]),
    ],
)
def test_mistakes_get_one_clear_message(run, argv, parts):
    code, text = run(*argv)
    assert code == 2
    assert text.startswith("error:") or "error:" in text
    assert "Traceback" not in text
    assert [part for part in parts if part not in text] == []


def test_data_that_is_not_there_or_not_utf8(run, tmp_path):
    code, text = run("play", "gsm8k/solo-v1", "--data-dir", tmp_path, "--random")
    assert code == 2
    assert "that folder does not exist" in text
    (tmp_path / "gsm8k").mkdir()
    code, text = run("play", "gsm8k/solo-v1", "--data-dir", tmp_path, "--random")
    assert code == 2
    assert "empty folder" in text
    (tmp_path / "gsm8k" / "test.jsonl").write_bytes('{"question": "caf\u00e9"}\n'.encode("latin-1"))
    code, text = run("play", "gsm8k/solo-v1", "--data-dir", tmp_path, "--random")
    assert code == 2
    assert "line 1 is not UTF-8" in text


def test_a_script_plays_and_its_trace_scores(run, tmp_path):
    script, out = tmp_path / "replies.txt", tmp_path / "mine.jsonl"
    script.write_text("\\boxed{1}\n\\boxed{Incorrect}\nNow\\n\\boxed{2}\n\\boxed{Correct}\n")
    code, text = run("play", "arithmetic/eval_opt-v1", "--script", script, "--out", out, "--problem", "0")
    assert code == 0
    assert "status: finished" in text
    (trace,) = read_traces(out)
    assert trace.answer == "Now\n\\boxed{2}"
    code, text = run("score", out, "--json")
    assert code == 0
    assert json.loads(text)[0]["accuracy"] == 0.0


def test_ctrl_c_at_the_prompt_and_end_of_input(run, monkeypatch):
    for stop in (KeyboardInterrupt, EOFError):

        def interrupt(prompt: str, stop=stop) -> str:
            raise stop

        monkeypatch.setattr(builtins, "input", interrupt)
        code, text = run("play", "arithmetic/solo-v1")
        assert code == 130
        assert "interrupted" in text
        assert "Traceback" not in text


@pytest.mark.parametrize("command", [["train"], ["evaluate", "tiny"], ["study"]])
def test_a_missing_extra_is_named(run, monkeypatch, command):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "torch" else found(name, *a))
    code, text = run(*command)
    assert code == 2
    assert "pip install 'llm-marl-envs[train]'" in text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_is_said(run, tmp_path):
    (tmp_path / "t.jsonl").symlink_to("/dev/full")
    code, text = run("play", "arithmetic/solo-v1", "--random", "--out", tmp_path / "t.jsonl")
    assert code == 2
    assert "No space left on device" in text
    assert "t.jsonl" in text


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["--method", "shard"], "Did you mean 'shared'"),
        (["--set", "rouns=2"], "Did you mean 'rounds'"),
        (["--set", "rounds"], "--set takes name=value"),
        (["--model", "./nothing"], "no folder"),
        (["--model", "."], "cannot load the tokenizer"),
        (["--steps", "0"], "--steps starts at 1"),
        (["--eval-split", "tset"], "no split"),
    ],
)
def test_training_mistakes(run, tmp_path, monkeypatch, argv, part):
    """They are found before any model is made: the tiny one's warm start takes a minute."""
    pytest.importorskip("torch")
    monkeypatch.setattr("baselines.tiny.warm_start.tiny_model", lambda *a, **k: pytest.fail("a model was made"))
    monkeypatch.chdir(tmp_path)
    code, text = run("train", "--out", "run", *argv)
    assert code == 2
    assert part in text
    assert list(tmp_path.iterdir()) == []

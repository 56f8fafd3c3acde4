"""`llm-marl doctor`: what it says of this machine, and that a failed program makes it fail."""

from __future__ import annotations

import subprocess
import sys

import pytest

from llm_marl_envs.cli import doctor as module
from llm_marl_envs.cli.doctor import EXTRAS, missing, tell
from llm_marl_envs.cli.main import commands, main
from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.tools.sandbox import variants
from llm_marl_envs.tools.sandbox.escapes import Escape, all_escapes
from llm_marl_envs.tools.sandbox.escapes.suite import Finding

HERE = [name for name, reason in variants().items() if reason is None]
FINE = [Escape("files", "nothing", "pass"), Escape("network", "nothing", "pass")]


@pytest.fixture
def run(capsys, monkeypatch):
    monkeypatch.setattr(module.OUT, "_width", 200)

    def call(*argv: str) -> tuple[int, str]:
        code = 0
        try:
            main(["doctor", *argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, " ".join(capsys.readouterr().out.split())

    return call


def test_it_is_a_command():
    assert "doctor" in commands()


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_all_is_well(run, monkeypatch, tmp_path):
    monkeypatch.setenv("LLM_MARL_DATA", str(tmp_path))
    monkeypatch.setattr(module, "all_escapes", lambda: FINE)
    code, text = run()
    assert code == 0
    assert f"escapes from {HERE[0]}" in text
    assert "files │ 1/1" in text
    assert "network │ 1/1" in text
    assert "all │ 2/2" in text
    assert f"{HERE[0]} │ in force" in text
    assert str(tmp_path) in text
    assert "torch" in text
    assert all(f"extra {extra}" in text for extra in EXTRAS)


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_one_failure_is_told_and_ends_with_1(run, monkeypatch):
    bad = Escape("files", "a planted fault", "escaped('the moon')")
    monkeypatch.setattr(module, "all_escapes", lambda: [*FINE, bad])
    code, text = run()
    assert code == 1
    assert "files │ 1/2" in text
    assert "not contained: files: a planted fault: ESCAPED: the moon" in text


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_quick_leaves_the_slow_ones_out(run, monkeypatch):
    slow = Escape("timing", "slow", "escaped('played although slow')", slow=True)
    monkeypatch.setattr(module, "all_escapes", lambda: [*FINE, slow])
    code, text = run("--quick")
    assert code == 0
    assert "timing" not in text
    assert run()[0] == 1


def test_reasons_are_told_where_a_variant_does_not_work(run, monkeypatch):
    told = {"bubblewrap": "bwrap is not there: apt-get install bubblewrap", "namespaces": None, "wasm": None}
    monkeypatch.setattr(module, "variants", lambda: told)
    monkeypatch.setattr(module, "all_escapes", lambda: [])
    _, text = run()
    assert "bubblewrap │ not here: bwrap is not there: apt-get install bubblewrap" in text
    assert "namespaces │ in force" in text
    assert "wasm │ works" in text


def test_without_any_sandbox_it_fails(run, monkeypatch):
    def refuse(*_, **__):
        raise ToolFailed("no sandbox works here: install [bubblewrap]")

    monkeypatch.setattr(module, "Sandbox", refuse)
    code, text = run()
    assert code == 1
    assert "no sandbox: no sandbox works here: install [bubblewrap]" in text


def test_a_missing_data_folder_is_told(run, monkeypatch, tmp_path):
    monkeypatch.setenv("LLM_MARL_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setattr(module, "all_escapes", lambda: [])
    assert "nowhere (no such folder)" in run()[1]
    monkeypatch.delenv("LLM_MARL_DATA")
    assert "not set (LLM_MARL_DATA)" in run()[1]


def test_extras_are_read_from_the_metadata(run, monkeypatch):
    wanted = [
        "rich>=14",
        'pytest>=9; extra == "dev"',
        'no-such-package-a[x]>=1; extra == "math"',
        "no-such-b; extra == 'math'",
    ]
    monkeypatch.setattr(module, "requires", lambda name: wanted)
    monkeypatch.setattr(module, "all_escapes", lambda: [])
    assert missing("math") == ["no-such-package-a", "no-such-b"]
    assert missing("dev") == []
    text = run()[1]
    assert "lacks no-such-package-a, no-such-b: pip install 'llm-marl-envs[math]'" in text


def test_details_are_printed_as_they_are(capsys):
    """Square brackets in what a program said are not colours."""
    escape = all_escapes()[0]
    assert tell([Finding(escape, False, "ESCAPED: [red]x[/] [/nothing]", 0.1)], "bubblewrap") is False
    assert "[red]x[/] [/nothing]" in " ".join(capsys.readouterr().out.split())


def test_torch_is_not_imported():
    code = "import sys, llm_marl_envs.cli.doctor as d; d._installation(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"

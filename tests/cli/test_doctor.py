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
from llm_marl_envs.tools.sandbox.escapes import Escape, all_escapes, one_of_each
from llm_marl_envs.tools.sandbox.escapes.suite import Finding, meant_for

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
    assert "cgroup │ in force" in text or "limits on address space and the filter" in text
    assert str(tmp_path) in text
    assert "torch" in text
    assert all(f"extra {extra}" in text for extra in EXTRAS)


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_one_failure_is_told_and_ends_with_1(run, monkeypatch):
    bad = Escape("files", "a planted fault", "escaped('the moon')")
    monkeypatch.setattr(module, "all_escapes", lambda: [*FINE, bad])
    code, text = run("--all")
    assert code == 1
    assert "files │ 1/2" in text
    assert "not contained: files: a planted fault: ESCAPED: the moon" in text


@pytest.mark.skipif(not HERE, reason=f"no sandbox works here: {variants()}")
def test_one_of_each_category_is_tried_unless_all_are_asked_for(run, monkeypatch):
    slow = Escape("files", "slow", "escaped('played although slow')", slow=True)
    second = Escape("network", "second", "escaped('played although second')")
    alone = Escape("timing", "alone", "pass", slow=True)
    monkeypatch.setattr(module, "all_escapes", lambda: [slow, *FINE, second, alone])
    code, text = run()
    assert code == 0
    assert "files │ 1/1" in text
    assert "network │ 1/1" in text
    assert "timing │ 1/1" in text
    assert "tried 3 of 5 hostile programs, one of each category; all of them: llm-marl doctor --all" in text
    code, text = run("--all")
    assert code == 1
    assert "files │ 1/2" in text
    assert "not contained: files: slow: ESCAPED: played although slow" in text
    assert "not contained: network: second: ESCAPED: played although second" in text
    assert "tried 5 of 5 hostile programs" in text
    assert "--all" not in text


def test_which_ones_are_tried():
    """The most telling ones; in WebAssembly the same, where they mean something there."""
    chosen = one_of_each(all_escapes())
    assert [(e.category, e.name) for e in chosen] == [
        ("files", "read a file of the host's by its path"),
        ("environment", "environment variables"),
        ("/proc", "own memory and descriptors"),
        ("network", "TCP to the host's own port"),
        ("processes", "fork"),
        ("exec", "shells and programs with rights"),
        ("signals", "kill the parent"),
        ("memory", "one big array"),
        ("disk", "fill the work folder"),
        ("descriptors", "descriptors that are not ours"),
        ("output", "without end"),
        ("kernel memory", "threads that leave the common descriptors"),
        ("namespaces", "a user namespace of one's own"),
        ("ptrace", "trace the parent or oneself"),
        ("kernel", "programs in the kernel"),
        ("reading the tests", "all objects there are"),
        ("faking the verdict", "exit 0 when loaded"),
        ("code in results", "__reduce__ that runs a text"),
        ("imports", "modules that the tests import, replaced"),
        ("recursion", "JSON a million deep"),
        ("numbers and patterns", "lengths beyond all memory"),
        ("threads", "an end while the tests wait"),
        ("links", "a link written through"),
        ("streams", "an exit code from elsewhere"),
        ("wire", "answers that are no JSON"),
        ("objects", "a coroutine instead of an answer"),
        ("timing", "a busy loop"),
    ]
    assert [e.category for e in chosen if e.slow] == ["timing"], "it has no quick ones"
    in_wasm = one_of_each(meant_for("wasm", all_escapes()))
    assert [e.name for e in in_wasm if e not in chosen] == ["a thousand copies"]
    assert [e.category for e in in_wasm] == [e.category for e in chosen]


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

"""Imports go one way, baselines -> llm_marl_envs <- leaderboard, and files stay short."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

PACKAGES = ("llm_marl_envs", "baselines", "leaderboard")
HEAVY = {"torch", "transformers", "peft", "tokenizers", "safetensors", "accelerate"}
FORBIDDEN = {
    "llm_marl_envs": {"baselines", "leaderboard"} | HEAVY,
    "leaderboard": {"baselines"} | HEAVY,
    "baselines": {"leaderboard"},
}
LONGEST = 400


def imported(source: str) -> Iterator[str]:
    """The top-level packages that a source imports anywhere, in functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            yield from (str(arg.value).partition(".")[0] for arg in node.args[:1] if isinstance(arg, ast.Constant))


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package):
    assert files(package)
    wrong = {str(path): bad for path in files(package) if (bad := set(imported(path.read_text())) & FORBIDDEN[package])}
    assert wrong == {}


@pytest.mark.parametrize(
    "source",
    [
        "import torch",
        "import math, torch.nn as nn",
        "from baselines import train",
        "def f():\n    from torch.nn import functional",
        "if TYPE_CHECKING:\n    from leaderboard.score import Row",
        "importlib.import_module('transformers.models')",
        "torch = __import__('torch')",
    ],
)
def test_the_walker_catches_a_planted_import(source):
    assert set(imported(source)) & FORBIDDEN["llm_marl_envs"]


def test_the_walker_lets_the_rest_pass():
    source = "from __future__ import annotations\nfrom . import torch\nimport numpy, llm_marl_envs.tasks.families.dataset\nx = 'import torch'"
    assert set(imported(source)) == {"__future__", "numpy", "llm_marl_envs"}


@pytest.mark.parametrize("module", ["llm_marl_envs", "llm_marl_envs.cli.main", "baselines.cli", "leaderboard.cli"])
def test_importing_loads_nothing_heavy(module):
    code = (
        f"import {module}, sys; print([m for m in {sorted(HEAVY | {'datasets', 'matplotlib'})!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert out.stdout.strip() == "[]"


def test_files_stay_short():
    paths = [path for package in (*PACKAGES, "tests") for path in files(package)]
    assert {str(p): n for p in paths if (n := len(p.read_text().splitlines())) > LONGEST} == {}

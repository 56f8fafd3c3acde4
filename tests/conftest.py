"""Fixtures of all tests."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes on the wall says what else the machine does.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported, if it ever is

ROWS = (
    ("Ann has 3 red pens and 4 blue pens. How many pens has she?", "She has 3 + 4 = <<3+4=7>>7 pens.\n#### 7"),
    ("A box holds 12 eggs. How many eggs are in 5 boxes?", "5 x 12 = <<5*12=60>>60 eggs.\n#### 60"),
    ("Of 20 birds 8 fly away. How many stay?", "20 - 8 = <<20-8=12>>12 stay.\n#### 12"),
    ("A farm sells 1,250 apples a week. How many in 2 weeks?", "2 * 1250 = <<2*1250=2500>>2500.\n#### 2,500"),
    ("Tom is 9 and twice as old as Eve was last year. How old is Eve?", "9 / 2 = 4.5, and a year: 5.5.\n#### 5.5"),
    ("A café owes 30 euros and pays back 40. What is its balance?", "-30 + 40 = <<-30+40=10>>10\n#### 10"),
    ("It is 4 degrees and gets 9 degrees colder. How warm is it?", "4 - 9 = <<4-9=-5>>-5\n#### -5"),
    ("Share 42 cards among 6 children. How many each?", "42 / 6 = <<42/6=7>>7 cards.\n#### 7"),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew; review the difference")


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    return request.config.getoption("--update-golden")


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Small tensors are slower on two threads than on one, and sums differ between thread counts."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command; returns (exit code, what it printed with line breaks folded)."""
    from llm_marl_envs.cli.main import main

    monkeypatch.setenv("COLUMNS", "200")

    def call(*argv: str) -> tuple[int, str]:
        code = 0
        try:
            main([str(a) for a in argv])
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return code, " ".join((captured.out + captured.err).split())

    return call


@pytest.fixture(scope="session")
def gsm8k_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in the hub's layout: gsm8k/{train,test}.jsonl with eight invented problems, five and three."""
    root = tmp_path_factory.mktemp("data")
    (root / "gsm8k").mkdir()
    for split, rows in (("train", ROWS[:5]), ("test", ROWS[5:])):
        lines = [json.dumps({"question": question, "answer": answer}) for question, answer in rows]
        (root / "gsm8k" / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


@pytest.fixture(scope="session")
def example_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with every benchmark's invented example rows in the hub's layout, in each of its splits."""
    from llm_marl_envs.catalog import find_class, names
    from llm_marl_envs.tasks.families.dataset import DatasetTask

    root = tmp_path_factory.mktemp("examples")
    for cls in (find_class("llm_marl_envs.tasks", name) for name in names("llm_marl_envs.tasks")):
        if issubclass(cls, DatasetTask):
            folder = root / cls.card.source.name
            folder.mkdir()
            text = "".join(json.dumps(example.row) + "\n" for example in cls.card.examples)
            for split in cls.card.splits:
                (folder / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return root

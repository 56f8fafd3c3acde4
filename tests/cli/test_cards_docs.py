"""The cards in docs are up to date with the code."""

from __future__ import annotations

import pytest
from places import ROOT

from llm_marl_envs.catalog import names
from llm_marl_envs.cli.cards import pages

FOLDER = ROOT / "docs"


def test_every_task_has_a_card_and_no_card_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLM_MARL_DATA", raising=False)
    made = pages()
    assert {f"tasks/{path.name}" for path in (FOLDER / "tasks").iterdir()} == {file for file in made if "/" in file}
    assert {f"tasks/{name}.md" for name in names("llm_marl_envs.tasks")} < set(made)
    assert all(f"\n## {name}\n" in made["workflows.md"] for name in names("llm_marl_envs.workflows"))
    assert all(f"R{i}: " in made["rewards.md"] for i in range(1, 9))
    for file, text in made.items():
        assert (FOLDER / file).read_bytes().decode() == text, f"{file} is stale: run `make cards`"

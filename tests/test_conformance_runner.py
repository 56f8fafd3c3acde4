"""The runner of `make conformance`: what counts as learning, what the page says, and that examples are short and all there."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("conformance_run", ROOT / "conformance" / "run.py")
run = importlib.util.module_from_spec(SPEC)
sys.modules["conformance_run"] = run
SPEC.loader.exec_module(run)

SB3, TORCHRL, TRL = run.LIBRARIES


@pytest.mark.parametrize(
    ("library", "runs", "does"),
    [
        (SB3, [(0.3, 0.9, 1), (0.3, 0.8, 1), (0.3, 0.9, 1)], True),
        (SB3, [(0.3, 0.31, 1), (0.3, 0.29, 1), (0.3, 0.32, 1)], False),  # a gain of 0.7 points, error 0.9
        (SB3, [(0.3, 0.9, 1), (0.3, 0.2, 1), (0.3, 0.4, 1)], False),  # one seed fell to chance
        (SB3, [(0.05, 0.19, 1), (0.05, 0.18, 1), (0.05, 0.19, 1)], False),  # better, and no better than chance
        (TRL, [(0.5, 0.7, 1), (0.5, 0.75, 1), (0.5, 0.8, 1)], True),
    ],
)
def test_what_counts_as_learning(library, runs, does):
    assert run.learns(library, runs) is does


def test_the_page_has_a_row_for_each_and_what_fails_by_design():
    rows = {
        "sb3": {
            "versions": {"stable-baselines3": "2.9.2"},
            "runs": [[0.37, 0.94, 32.0], [0.3, 0.9, 30.0]],
            "date": "2026-11-28",
        }
    }
    page = run.page(rows)
    assert "| sb3 | stable-baselines3 2.9.2 |" in page
    assert "return 0.37 -> 0.94; 0.30 -> 0.90 | yes | 31 | 2026-11-28 |" in page
    assert page.count("not run yet") == len(run.LIBRARIES) - 1
    assert all(what in page for what, _ in run.BY_DESIGN)


def test_the_page_is_that_of_the_results():
    results = ROOT / "conformance" / "results.json"
    assert (ROOT / "docs" / "conformance.md").read_text() == run.page(json.loads(results.read_text()))


def test_what_an_example_prints_is_found_and_what_fails_is_said(tmp_path, monkeypatch):
    (tmp_path / "examples").mkdir()
    monkeypatch.setattr(run, "ROOT", tmp_path)
    example = tmp_path / "examples" / SB3.example
    example.write_text("print('noise 1.0 -> 2.0 x'); print('return 0.250 -> 0.900')")
    assert run.played(SB3, sys.executable, 0)[:2] == (0.25, 0.9)
    example.write_text("print('nothing')")
    with pytest.raises(SystemExit, match=r"sb3_ppo\.py --seed 0 failed"):
        run.played(SB3, sys.executable, 0)
    example.write_text("print('return 0.250 -> 0.900'); raise ValueError('afterwards')")
    with pytest.raises(SystemExit, match="afterwards"):
        run.played(SB3, sys.executable, 0)


def test_examples_are_short_and_each_has_a_row():
    examples = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "examples").glob("*.py")}
    assert set(examples) - {"sums.py"} == {library.example for library in run.LIBRARIES}
    assert {name: lines for name, lines in examples.items() if lines > 60} == {}


def test_what_the_examples_play():
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import sums
    finally:
        sys.path.remove(str(ROOT / "examples"))
    env = sums.generator(flat=False)
    right = 0
    for seed in range(40):
        seen, _ = env.reset(seed=seed)
        assert seen["action_mask"].tolist() == [1] * 5
        gold = env.env.problem.gold
        _, reward, over, _, _ = env.step(gold % 5)
        assert (reward, over) == (1.0, True), "the right candidate, and an evaluator that accepts it"
        env.reset(seed=seed)
        right += env.step((gold + 1) % 5)[1]
    assert right == 0
    waves = sums.team()
    seen, _ = waves.reset(seed=0)
    assert seen["evaluator_0"]["action_mask"].tolist() == [1, 0, 0, 0, 0]
    seen = waves.step({"generator_0": 0, "evaluator_0": 0})[0]
    assert seen["evaluator_0"]["action_mask"].tolist() == [1, 1, 0, 0, 0]

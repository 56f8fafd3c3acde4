"""The runner of `make conformance`: what counts as learning, what the page says, and that examples are short and all there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "conformance"))
try:
    import rows
    import run
finally:
    sys.path.remove(str(ROOT / "conformance"))

SB3, TRL = (next(row for row in rows.ROWS if row.name == name) for name in ("sb3", "trl"))
CHECK = rows.Row("check", "check.py", "trl", "nothing", ("pytest",))


@pytest.mark.parametrize(
    ("row", "runs", "does"),
    [
        (SB3, [(0.3, 0.9, 1), (0.3, 0.8, 1), (0.3, 0.9, 1)], True),
        (SB3, [(0.3, 0.31, 1), (0.3, 0.29, 1), (0.3, 0.32, 1)], False),  # a gain of 0.7 points, error 0.9
        (SB3, [(0.3, 0.9, 1), (0.3, 0.2, 1), (0.3, 0.4, 1)], False),  # one seed fell to chance
        (SB3, [(0.05, 0.19, 1), (0.05, 0.18, 1), (0.05, 0.19, 1)], False),  # better, and no better than chance
        (TRL, [(0.5, 0.7, 1), (0.5, 0.75, 1), (0.5, 0.8, 1)], True),
    ],
)
def test_what_counts_as_learning(row, runs, does):
    assert row.learns(runs) is does
    assert row.as_expected({"runs": runs}) is does


def test_the_page_has_a_row_for_each_and_what_fails_by_design():
    results = {
        "sb3": {
            "versions": {"stable-baselines3": "2.9.2"},
            "runs": [[0.37, 0.94, 32.0], [0.3, 0.9, 30.0]],
            "date": "2026-11-28",
        },
        "trl": {"failed": "no | such module", "date": "2026-11-28"},
    }
    page = rows.page(results)
    assert "| stable-baselines3 2.9.2 |" in page
    assert "return 0.37 -> 0.94; 0.30 -> 0.90: learns, under 5 CPU minutes | 2026-11-28 |" in page
    assert "failed: no \\| such module | 2026-11-28 |" in page
    assert page.count("not run yet") == len(rows.ROWS) - 2
    assert all(what in page for what, _ in rows.BY_DESIGN)
    slower = [[0.37, 0.94, 32.0], [0.3, 0.31, 301.0]]
    assert rows.verdict(SB3, {"runs": slower}).endswith("does not learn: the gain is within chance, 5 CPU minutes")
    faster = {**results, "sb3": {**results["sb3"], "runs": [[0.37, 0.94, 10.1], [0.3, 0.9, 199.0]]}}
    assert rows.page(faster) == page, "how fast the machine was does not change the page"


def test_the_page_is_that_of_the_results():
    results = json.loads((ROOT / "conformance" / "results.json").read_text())
    assert (ROOT / "docs" / "conformance.md").read_text() == rows.page(results), "conformance/run.py writes it"
    assert (ROOT / "docs" / "examples.md").read_text() == rows.examples_page(ROOT / "examples")
    assert set(results) <= {row.name for row in rows.ROWS}


def test_what_an_example_prints_is_found_and_what_fails_is_said(tmp_path, monkeypatch):
    (tmp_path / "examples").mkdir()
    monkeypatch.setattr(run, "ROOT", tmp_path)
    example = tmp_path / "examples" / SB3.example
    example.write_text("print('noise 1.0 -> 2.0 x'); print('return 0.250 -> 0.900')")
    assert run.trained(SB3, sys.executable, 0)[:2] == (0.25, 0.9)
    example.write_text("print('nothing')")
    with pytest.raises(run.Failed, match="but: nothing"):
        run.trained(SB3, sys.executable, 0)
    example.write_text("print('return 0.250 -> 0.900'); raise ValueError('afterwards')")
    with pytest.raises(run.Failed, match="ValueError: afterwards"):
        run.trained(SB3, sys.executable, 0)
    (tmp_path / "examples" / "check.py").write_text("print('ok: 3 of 3')")
    assert run.checked(CHECK, sys.executable) == "3 of 3"
    (tmp_path / "examples" / "check.py").write_text("print('not ok: 2 of 3')")
    with pytest.raises(run.Failed, match="but: not ok: 2 of 3"):
        run.checked(CHECK, sys.executable)
    example.write_text("while True: pass")
    monkeypatch.setattr(run, "LONGEST", 0.2)
    with pytest.raises(run.Failed, match=r"nothing after 0\.2 s"):
        run.trained(SB3, sys.executable, 0)


def test_a_row_that_fails_is_said_and_the_others_go_on(tmp_path, monkeypatch, capsys):
    for folder in ("examples", "conformance/tests", "docs"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "RECORD", tmp_path / "conformance" / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "docs" / "conformance.md")
    tested = rows.Row("tested", "check.py", "trl", "nothing", ("pytest",), tests="test_it.py")
    monkeypatch.setattr(run, "ROWS", (SB3, CHECK, tested))
    monkeypatch.setattr(rows, "ROWS", (SB3, CHECK, tested))
    (tmp_path / "examples" / SB3.example).write_text("'A library: learns.'\nimport a_library_that_is_not_there")
    (tmp_path / "examples" / "check.py").write_text("'Checks.'\nprint('ok: 3 of 3')")
    (tmp_path / "conformance" / "tests" / "test_it.py").write_text("def test_it(): assert False, 'planted'")
    monkeypatch.setattr(run, "versions", lambda python, names: dict.fromkeys(names, "1.0"))
    monkeypatch.setattr(sys, "argv", ["run.py", "--python", sys.executable, "--seeds", "0"])
    assert run.main() == 1
    results = json.loads(run.RECORD.read_text())
    assert "No module named 'a_library_that_is_not_there'" in results["sb3"]["failed"]
    assert results["check"]["checked"] == "3 of 3"
    assert "1 failed" in results["tested"]["failed"]
    assert "a_library_that_is_not_there" not in run.PAGE.with_name("examples.md").read_text(), "examples are included"
    assert "3 examples run, 1 as expected" in (said := capsys.readouterr().out)
    assert "not as expected: sb3, tested" in said


def test_examples_are_short_and_each_has_a_row_and_a_place():
    examples = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "examples").glob("*.py")}
    assert set(examples) - {"sums.py"} == {row.example for row in rows.ROWS}
    assert {name: lines for name, lines in examples.items() if lines > 60} == {}
    assert {row.place for row in rows.ROWS} == set(rows.PLACES)
    tests = {path.name for path in (ROOT / "conformance" / "tests").glob("test_*.py")}
    assert tests == {row.tests for row in rows.ROWS if row.tests}


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


def test_an_environment_that_cannot_be_built_is_said_once(tmp_path, monkeypatch):
    tried = []

    def fails(name, place):
        tried.append(name)
        raise run.Failed("its environment could not be built: no such version")

    monkeypatch.setattr(run, "interpreter", fails)
    monkeypatch.setattr(run, "RECORD", tmp_path / "results.json")
    monkeypatch.setattr(run, "write", lambda results: None)
    monkeypatch.setattr(sys, "argv", ["run.py", "sb3", "torchrl", "trl"])
    assert run.main() == 1
    assert sorted(tried) == ["classic", "trl"]
    results = json.loads(run.RECORD.read_text())
    assert set(results) == {"sb3", "torchrl", "trl"}
    assert all("no such version" in row["failed"] for row in results.values())

"""What the report shows of a run beside its curves: diagnostics by role, strategies over time, alarms."""

from __future__ import annotations

import json

import pytest
from test_report import CONTROL, HOSTILE, TRAINED, make_run, text_of

from baselines import report
from baselines.panels import diagnostics_of
from baselines.report import write_report
from baselines.runs import read_runs

GATES = [
    {"step": i, "kind": "train", "reply_tokens/proposer": 30.0 + i, "entropy/proposer": 0.5 / i, "logprob_gap/shared": 1e-6 * i,
     "malformed/proposer": 0.02, "clipped/shared": 0.3, "regret/gates": 1 / i, "current speak r_1 vote_0 last/gates": 0.25 * i,
     "average speak r_1 vote_0 last/gates": 0.5, **({"current refresh p_0 vote_0 last/gates": 1.0} if i > 2 else {})}
    for i in range(1, 5)
]  # fmt: skip


def test_diagnostics_draw_the_figures_of_steps_by_role_and_strategies_over_time(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure
    folder = make_run(tmp_path / "run", [TRAINED[0], *GATES])
    speeds = [{"step": i, "play_s": 1, "learn_s": 1, "play_tokens_s": 90.0, "learn_tokens_s": 10.0 * i} for i in (1, 2)]
    (folder / "timing.jsonl").write_text("".join(json.dumps(line) + "\n" for line in speeds))
    [run] = read_runs([folder])
    drawn = {}
    for title, draw in diagnostics_of(run).items():
        draw(axes := figure().add_subplot())
        drawn[title] = axes
    lines = {title: [list(zip(*line.get_data(), strict=True)) for line in axes.lines] for title, axes in drawn.items()}
    assert lines["Reply length"] == [[(1, 31), (2, 32), (3, 33), (4, 34)]]
    assert lines["Entropy"][0][3] == (4, 0.125)
    assert lines["Speed"] == [[(1, 90), (2, 90)], [(1, 10), (2, 20)]]
    assert lines["Average regret"][0][1] == (2, 0.5)
    assert drawn["Rollout and learner"].get_yscale() == "log"
    assert drawn["Malformed replies"].get_ylim()[1] == pytest.approx(0.1)
    assert "Clipped" in drawn  # by policy, where there is none by role
    assert "KL to the reference" not in drawn
    axes = drawn["Strategies while learning"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "p_0 vote_0 last: refresh",
        "r_1 vote_0 last: speak",
    ]
    cells = axes.collections[0].get_array()
    assert cells.tolist() == [[None, None, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]]  # not visited, then certain
    assert drawn["Strategies as evaluated (average)"].collections[0].get_array().tolist() == [[0.5] * 4]


def test_strategies_of_long_runs_are_averaged_in_time(tmp_path):
    steps = [{"step": i, "kind": "train", "current speak r last/gates": float(i > 200)} for i in range(1, 401)]
    [run] = read_runs([make_run(tmp_path / "run", [TRAINED[0], *steps])])
    axes = pytest.importorskip("matplotlib.figure").Figure().add_subplot()
    diagnostics_of(run)["Strategies while learning"](axes)
    assert axes.collections[0].get_array().tolist() == [[0.0] * 20 + [1.0] * 20]


def test_the_page_has_alarms_paired_differences_and_strategies(monkeypatch, tmp_path):
    monkeypatch.setattr(report, "_render", lambda panels, form: b"<svg></svg>")
    scores = [1.0] * 50 + [0.0] * 50, [1.0] * 90 + [0.0] * 10, [1.0] * 80 + [0.0] * 20
    lines = [
        line | {"scores": s, "validation": v}
        for line, s, v in zip((TRAINED[0], *TRAINED[-2:]), scores, (0.5, 0.7, 0.6), strict=True)
    ]
    run, plain = make_run(tmp_path / "run", [*lines, *GATES]), make_run(tmp_path / "plain", CONTROL, method="shuffled")
    alarm = {"step": 4, "kind": "cliff", "about": "team", "text": f"it fell {HOSTILE}"}
    (run / "alarms.jsonl").write_text(json.dumps(alarm) + "\n")
    page = write_report([run, plain], tmp_path / "out").read_text()
    text = text_of(page)
    assert f"Alarms shared eval_opt, seed 0: Step 4: it fell {HOSTILE}" in text
    assert "<img" not in page
    assert "90.0% [83.0, 95.0] (3)" in text
    assert "The peak is chosen on other problems" in text
    assert "+30.0 [+21.0, +39.0] +10.0 [+5.0, +16.0]" in text
    assert "r_1 vote_0 last speak 100.0% 50.0%" in text
    assert "p_0" not in text, "it has no average"
    assert "Alarms" not in text_of(write_report([plain], tmp_path / "plain_out").read_text())

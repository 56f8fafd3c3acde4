"""The report says what the run folder says, shows texts as texts, loads nothing, and copes with what is missing."""

import json
import os
import re
import struct
import sys
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

import llm_marl_envs
from baselines import report
from baselines.report import draw_learning_curve, headline, panels_of, read_runs, write_report
from llm_marl_envs.errors import ConfigError, MissingExtra, WriteFailed
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.session import Event, Reply
from llm_marl_envs.traces.files import TraceWriter
from llm_marl_envs.traces.trace import Trace

HOSTILE = "</script><img src=x onerror=alert(1)>"


def evaluation(step: int, accuracy: float, low: float, high: float, **figures: float) -> dict:
    return {"step": step, "kind": "eval", "accuracy": accuracy, "accuracy_low": low, "accuracy_high": high} | {
        "calls": 2.0,
        "tokens": 100.0,
        "first_draft": accuracy,
        "malformed": 0.0,
        **figures,
    }


TRAINED = [
    evaluation(
        0, 0.5, 0.4, 0.6, calls=3.25, tokens=150.0, accept_if_right=0.91, reject_if_wrong=0.87, malformed=0.0125
    ),
    {"step": 1, "kind": "train", "lr": 1.5e-4, "grad_share/generator": 0.75, "grad_share/evaluator": 0.25},
    {"step": 2, "kind": "train", "lr": 1e-4, "grad_share/generator": 0.0, "grad_share/evaluator": 0.0},
    {"step": 3, "kind": "train", "lr": 5e-5, "grad_share/generator": 0.25, "grad_share/evaluator": 0.75},
    evaluation(3, 0.9, 0.83, 0.95, accept_if_right=1.0, calls=2.125),
    evaluation(4, 0.8, 0.71, 0.87, accept_if_right=0.99, calls=2.5),
]
CONTROL = [evaluation(0, 0.5, 0.4, 0.6), evaluation(4, 0.45, 0.35, 0.55)]


def make_run(folder: Path, lines: Sequence[dict], traces: dict[str, list[Trace]] | None = None, **args: object) -> Path:
    folder.mkdir(parents=True)
    settings = {
        "task": "arithmetic",
        "workflow": "eval_opt",
        "method": "shared",
        "set": [],
        "model": "tiny",
        "steps": 4,
    }
    settings |= {"problems": 2, "samples": 2, "reward": "team", "eval_split": "", "seed": 0}
    (folder / "args.json").write_text(json.dumps(settings | args))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, kept in (traces or {}).items():
        with TraceWriter(folder / "traces" / f"{name}.jsonl.gz") as writer:
            for trace in kept:
                writer.write(trace)
    return folder


def play(problem: int, replies: Sequence[str], env_id: str = "arithmetic/eval_opt-v1") -> Trace:
    env = llm_marl_envs.make(env_id, split="test")
    env.reset(seed=0, options={"problem": problem})
    for reply in replies:
        while env.terminations[env.agent_selection]:  # stopped on the way
            env.step(None)
        env.step(reply)
    assert env.outcome is not None
    return env.trace()


def right(problem: int) -> str:
    return f"\\boxed{{{llm_marl_envs.make_task('arithmetic').problems('test')[problem].gold}}}"


ACCEPT, REJECT = "\\boxed{Correct}", "\\boxed{Incorrect}"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """A report of two runs: problem 0 becomes right, problem 1 stays wrong, problem 2 is right twice."""
    root = tmp_path_factory.mktemp("report")
    before = [
        play(0, ["\\boxed{-1} at first", REJECT, "no idea", "hm", "\\boxed{-2}"]),
        play(1, ["\\boxed{-3}", ACCEPT]),
    ]
    after = [play(0, [right(0), ACCEPT]), play(1, [f"{HOSTILE} \\boxed{{-4}}", ACCEPT])]
    for kept in (before, after):
        kept.append(play(2, [right(2), ACCEPT]))
    main = make_run(root / "main", TRAINED, {"eval-000000": before, "eval-000003": before, "eval-000004": after})
    control = make_run(root / "control", CONTROL, method="shuffled")
    out = write_report([main, control], root / "out")
    assert out == root / "out" / "report.html"
    assert sorted(p.name for p in out.parent.iterdir()) == ["learning_curve.png", "report.html"]  # nothing left aside
    return out.read_text(encoding="utf-8")


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Drawing takes a second or two; this is for tests of the texts."""
    monkeypatch.setattr(report, "_render", lambda panels, form: b"<svg></svg>")


def text_of(page: str) -> str:
    """What a reader sees: no tags, no style, blanks run together."""
    seen: list[str] = []

    class Reader(HTMLParser):
        hidden = False

        def handle_starttag(self, tag, attrs):
            self.hidden = tag == "style"

        def handle_data(self, data):
            if not self.hidden:
                seen.append(data)

    Reader().feed(page)
    return re.sub(r"\s+", " ", " ".join(seen))


def size_of(png: Path) -> tuple[int, int]:
    data = png.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_the_curve_is_a_png_of_a_readable_size_and_other_panels_make_it_taller(tmp_path):
    trained, plain = make_run(tmp_path / "a", TRAINED), make_run(tmp_path / "b", CONTROL, workflow="solo")
    width, height = size_of(draw_learning_curve([trained, plain], tmp_path / "new" / "all.png"))
    assert width >= 1200
    narrow = size_of(draw_learning_curve([plain], tmp_path / "few.png"))
    assert narrow[0] == width
    assert height > 1.8 * narrow[1]  # accuracy and calls only: no verdicts, no gradients


def test_the_panels_draw_the_runs_figures(tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure
    trained, control = make_run(tmp_path / "a", TRAINED), make_run(tmp_path / "b", CONTROL, method="shuffled")
    drawn = {}
    for title, draw in panels_of(read_runs([trained, control])).items():
        draw(axes := figure().add_subplot())
        drawn[title.partition(" (")[0]] = axes
    lines = {title: [list(zip(*line.get_data(), strict=True)) for line in axes.lines] for title, axes in drawn.items()}
    assert lines["Held-out accuracy"][:2] == [[(0, 0.5), (3, 0.9), (4, 0.8)], [(0, 0.5), (4, 0.45)]]
    assert [y for _, y in lines["Held-out accuracy"][2]] == [0.5, 0.5]  # before training
    assert len(lines["Held-out accuracy"]) == 3
    low, high = drawn["Held-out accuracy"].collections[1].get_datalim(drawn["Held-out accuracy"].transData).intervaly
    assert (low, high) == (0.35, 0.6)
    assert lines["How the team got better"] == [
        [(0, 0.5), (3, 0.9), (4, 0.8)],
        [(0, 0.91), (3, 1.0), (4, 0.99)],
        [(0, 0.87)],
    ]
    assert lines["Calls per episode"] == [[(0, 3.25), (3, 2.125), (4, 2.5)], [(0, 2.0), (4, 2.0)]]
    assert lines["Gradient share per role"] == [
        [(1, 0.25), (3, 0.75)],
        [(1, 0.75), (3, 0.25)],
    ]  # step 2 had no gradient
    assert "a policy's sampled tokens" in drawn["Gradient share per role"].get_ylabel()


def test_gradient_shares_of_long_runs_are_smoothed_over_a_twentieth(tmp_path):
    shares = [{"step": i, "kind": "train", "grad_share/a": i % 2, "grad_share/b": 1 - i % 2} for i in range(1, 41)]
    [run] = read_runs([make_run(tmp_path / "run", [*TRAINED[:1], *shares])])
    axes = pytest.importorskip("matplotlib.figure").Figure().add_subplot()
    panels_of([run])["Gradient share per role"](axes)
    steps, means = axes.lines[0].get_data()
    assert list(steps) == list(range(1, 41))
    assert means[:3] == pytest.approx([1 / 2, 2 / 3, 1 / 3])  # of 1 0 1 0: two, then three neighbours
    assert means[-1] == pytest.approx(1 / 2)


def test_the_same_runs_give_the_same_page(tmp_path):
    run = make_run(tmp_path / "run", TRAINED)
    pages = [write_report([run], tmp_path / name).read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_headline_claims_a_rise_or_fall_only_where_intervals_are_apart(tmp_path):
    up = make_run(tmp_path / "up", TRAINED)
    down = make_run(tmp_path / "down", [TRAINED[-1], TRAINED[0] | {"step": 9}], method="isolated", seed=3)
    same = make_run(tmp_path / "same", CONTROL, method="shuffled")
    alone = make_run(tmp_path / "alone", TRAINED[:1], method="prompted")
    assert headline(read_runs([up, same])) == (
        "Held-out accuracy rose from 50.0% [40.0, 60.0] to 80.0% [71.0, 87.0] in 4 steps (shared eval_opt, seed 0); "
        "shuffled eval_opt, seed 0: 50.0% [40.0, 60.0] → 45.0% [35.0, 55.0]."
    )
    assert headline(read_runs([down])).startswith("Held-out accuracy fell from 80.0%")
    assert "went from 50.0% [40.0, 60.0] to 45.0%" in headline(read_runs([same]))
    assert "overlapping" in headline(read_runs([same]))
    slightly = make_run(tmp_path / "slightly", [CONTROL[1] | {"step": 0}, CONTROL[0] | {"step": 4}])
    assert "went from 45.0% [35.0, 55.0] to 50.0%" in headline(read_runs([slightly]))
    assert headline(read_runs([up, down])) == headline(
        read_runs([up])
    )  # another seed is in the table, not in the headline
    assert headline(read_runs([alone])) == (
        "Held-out accuracy is 50.0% [40.0, 60.0] at step 0 (prompted eval_opt, seed 0)."
    )


def test_runs_are_named_apart_and_seeds_of_an_arm_share_its_colour(tmp_path):
    folders = [
        make_run(tmp_path / "a", CONTROL),
        make_run(tmp_path / "b", CONTROL, seed=1),
        make_run(tmp_path / "c", CONTROL, set=["surrogate=gspo"]),
        make_run(tmp_path / "d", CONTROL, steps=9),
    ]
    a, b, c, d = read_runs(folders)
    assert [run.label for run in (b, c)] == ["shared eval_opt, seed 1", "shared eval_opt surrogate=gspo, seed 0"]
    assert [run.label for run in (a, d)] == ["shared eval_opt, seed 0 (a)", "shared eval_opt, seed 0 (d)"]
    assert len({run.style["color"] for run in (a, b, c, d)}) == 3
    assert a.style["color"] == b.style["color"]
    assert a.style["linestyle"] != b.style["linestyle"]


def test_the_page_has_the_figures_of_both_runs(page):
    text = text_of(page)
    assert "Held-out accuracy rose from 50.0% [40.0, 60.0] to 80.0% [71.0, 87.0] in 4 steps" in text
    assert "shared eval_opt, seed 0 50.0% [40.0, 60.0] 90.0% [83.0, 95.0] (3) 80.0% [71.0, 87.0] (4)" in text
    assert "3.25 → 2.50 150 → 100 1.2% → 0.0%" in text
    assert "shuffled eval_opt, seed 0 50.0% [40.0, 60.0] 50.0% [40.0, 60.0] (0) 45.0% [35.0, 55.0] (4)" in text
    assert "First draft right 50.0% 80.0%" in text
    assert "Accept if right 91.0% 99.0%" in text
    assert "Reject if wrong 87.0% –" in text  # nothing wrong was judged at the end
    assert "Gradient share, generator 50.0% 50.0%" in text  # over the two steps that had a gradient
    assert "loss averaged over a policy's sampled tokens" in text
    assert "learning rate 0.00015" in text
    assert "3 held-out problems of the split test" in text
    assert "method shared shuffled" in text  # the settings
    assert page.count("<svg") == 4


def test_the_page_shows_a_problem_that_became_right_and_one_still_wrong(page):
    text = text_of(page)
    became, still = (
        text.index("Was wrong, became right: arithmetic/test/0/0"),
        text.index("Still wrong: arithmetic/test/0/1"),
    )
    assert "test/0/2" not in text  # right twice
    first = text[became:still]
    assert (
        first.index("Before training: wrong")
        < first.index("\\boxed{-1} at first")
        < first.index("After training: right")
    )
    assert "evaluator_0's verdict: wrong" in first
    assert "evaluator_0's reply could not be read; expected \\boxed{Correct} or \\boxed{Incorrect}" in first
    assert right(0) in first
    assert "No problem was wrong both before and after" not in text


def test_hostile_text_stays_text(page, tmp_path):
    assert HOSTILE in text_of(page)
    assert "<img" not in page
    assert "<script" not in page
    run = make_run(tmp_path / "run", TRAINED, method=HOSTILE, model="<b onclick=x>", set=["$x^{$=1"])
    other = make_run(tmp_path / "other", CONTROL)
    hostile = write_report([run, other], tmp_path / "out").read_text()  # the label is drawn, too
    assert "<img" not in hostile
    assert "<b onclick" not in hostile
    assert text_of(hostile).count(HOSTILE) >= 5


def test_the_page_loads_nothing(page):
    loaded = re.findall(r"""(?:src|href|action|data)\s*=\s*["']?([^"'\s>]*)""", page.replace("src=x", ""))
    assert all(target.startswith("#") for target in loaded), loaded  # only a drawing's references to its own parts
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page))
    assert "@import" not in page
    assert "<link" not in page
    assert "prefers-color-scheme: dark" in page


def test_the_normaliser_is_the_methods(tmp_path):
    sequences = make_run(tmp_path / "a", TRAINED, set=["normalise=sequences", "digits=3"])
    theirs = make_run(tmp_path / "b", TRAINED, method="not_here")
    assert [run.normaliser for run in read_runs([sequences, theirs])] == [
        "a policy's replies, then their tokens",
        "an unknown normaliser",
    ]


def test_an_untrained_run_is_shown_as_it_is(tmp_path):
    traces = [play(0, [right(0), ACCEPT]), play(1, ["\\boxed{-1}", ACCEPT])]
    run = make_run(tmp_path / "run", TRAINED[:1], {"eval-000000": traces}, method="prompted")
    page = write_report([run], tmp_path / "out").read_text()
    text = text_of(page)
    assert "Right: arithmetic/test/0/0" in text
    assert "Wrong: arithmetic/test/0/1" in text
    assert "After training" not in text
    assert "→ 0.0%" not in text
    assert page.count("<svg") == 3  # no gradients


def test_a_solo_run_without_traces_or_verdicts_has_two_panels(tmp_path):
    bare = [{k: v for k, v in line.items() if k not in ("tokens", "malformed")} for line in CONTROL]
    ungraded = bare[0] | dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "first_draft"), float("nan"))
    for name, lines in (("plain", CONTROL), ("bare", bare), ("ungraded", [ungraded, bare[1]])):
        run = make_run(tmp_path / name, lines, workflow="solo")
        page = write_report([run], run).read_text()
        assert page.count("<svg") == 2  # its one answer is its accuracy, drawn once
        assert "no evaluation traces to show" in text_of(page)
        assert "Reject if wrong" not in page


def test_a_tool_call_is_shown_with_its_arguments(undrawn, tmp_path):
    trace = play(0, [right(0), ACCEPT])
    tool = Event(UseTool("generator_0", "calculator", {"expression": "<b>1 + 1"}), Reply("two"), 0)
    trace = replace(trace, events=(tool, *trace.events))
    run = make_run(tmp_path / "run", TRAINED[:1], {"eval-000000": [trace]})
    assert "generator_0 uses calculator {'expression': '<b>1 + 1'} two" in text_of(write_report([run], run).read_text())


def test_a_team_with_spawned_agents_and_one_without_an_answer_are_readable(undrawn, tmp_path):
    plan = "STRATEGY 1: count\nSTRATEGY 2: guess"
    traces = [
        play(0, [plan, right(0), "7", "no number"], "arithmetic/orch_workers-v1"),
        play(1, ["STRATEGY 1: a\n" * 9], "arithmetic/orch_workers-v1"),
    ]
    run = make_run(tmp_path / "run", TRAINED[:1], {"eval-000000": traces[:1]}, workflow="orch_workers")
    assert "orchestrator_0 spawns worker_1" in text_of(write_report([run], tmp_path / "a").read_text())
    run = make_run(tmp_path / "run2", TRAINED[:1], {"eval-000000": traces[1:]}, workflow="orch_workers")
    assert "The team gave no answer." in text_of(write_report([run], tmp_path / "b").read_text())
    picked = play(0, ["1", right(0), "3", "\\boxed{2}"], "arithmetic/voting-v1")
    run = make_run(tmp_path / "run3", TRAINED[:1], {"eval-000000": [picked]}, workflow="voting")
    assert f"The team's answer: {right(0)}" in text_of(write_report([run], tmp_path / "c").read_text())


def test_a_folder_that_is_no_run_or_has_no_evaluation_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    early = make_run(tmp_path / "early", TRAINED[1:2])
    broken = make_run(tmp_path / "broken", TRAINED)
    (broken / "metrics.jsonl").write_text('{"step": 0, "kind": "eval"}\n')
    started = make_run(tmp_path / "started", [])
    (started / "metrics.jsonl").unlink()
    for folder, message in (
        (tmp_path / "empty", "not a run folder"),
        (tmp_path / "missing", "not a run folder"),
        (early, "no evaluation yet"),
        (started, "no evaluation yet"),
        (broken, "cannot read the run"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            write_report([folder], tmp_path / "out")
        assert str(folder) in str(caught.value)
    with pytest.raises(ConfigError, match="at least one"):
        write_report([], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_torn_last_line_costs_that_line_only(tmp_path):
    run = make_run(tmp_path / "run", TRAINED)
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"step": 5, "ki')
    assert [line["step"] for line in read_runs([run])[0].evals] == [0, 3, 4]


@pytest.mark.parametrize("module", ["matplotlib", "jinja2"])
def test_a_missing_package_names_the_extra(tmp_path, monkeypatch, module):
    run = make_run(tmp_path / "run", TRAINED)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"llm-marl-envs\[report\]"):
        write_report([run], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_failed_write_keeps_the_old_report(undrawn, tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", TRAINED)
    before = write_report([run], tmp_path / "out").read_bytes()
    (run / "args.json").write_text((run / "args.json").read_text().replace("tiny", "other"))
    real = os.fsync

    def full(number: int) -> None:
        if b"</html>" in Path(f"/proc/self/fd/{number}").read_bytes():
            raise OSError(28, "No space left on device")
        real(number)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteFailed, match="No space left"):
        write_report([run], tmp_path / "out")
    assert (tmp_path / "out" / "report.html").read_bytes() == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["learning_curve.png", "report.html"]
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteFailed):
        draw_learning_curve([run], tmp_path / "file" / "curve.png")

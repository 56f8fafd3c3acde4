"""Rows against numbers counted by hand, on traces of scripted play."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest

from leaderboard import cli
from leaderboard.score import BrokenLine, Row, printable, score, trace_files
from llm_marl_envs import Trace, TraceWriter, make
from llm_marl_envs.cli.main import main
from llm_marl_envs.errors import DataError, TraceError
from llm_marl_envs.outcome import Outcome, outcome_of
from llm_marl_envs.session import Limits, Status
from llm_marl_envs.stats.intervals import wilson
from llm_marl_envs.traces.files import TornTrace

RIGHT, WRONG = "\\boxed{RIGHT}", "\\boxed{WRONG}"


def played(
    problem: int,
    *replies: str,
    env_id: str = "arithmetic/solo-v1",
    split: str = "test",
    limits=None,
    knobs=None,
    **meta,
):
    env = make(env_id, split=split, test_size=20, limits=limits or Limits(), **(knobs or {}))
    env.reset(seed=0, options={"problem": problem})
    gold = env.problem.gold
    for reply in replies:
        env.step(reply.replace("RIGHT", str(gold)).replace("WRONG", str(gold + 1)))
    return env.trace(**meta)


def written(path, *traces: Trace):
    with TraceWriter(path) as writer:
        for trace in traces:
            writer.write(trace)
    return path


def solo(marks: str, **meta) -> list[Trace]:
    """One solo episode a problem: + is answered rightly, - wrongly."""
    return [played(i, RIGHT if mark == "+" else WRONG, **meta) for i, mark in enumerate(marks)]


def only(rows: list[Row]) -> Row:
    (row,) = rows
    return row


def test_accuracy_and_its_interval(tmp_path):
    row = only(score([written(tmp_path / "a.jsonl", *solo("+++-+-++++", entry="mine"))]))
    assert (row.entry, row.env_id, row.split) == ("mine", "arithmetic/solo-v1", "test")
    assert (row.problems, row.split_size, row.episodes) == (10, 20, 10)
    assert row.accuracy == wilson(8, 10)
    assert (row.accuracy.mean, round(row.accuracy.low, 3), round(row.accuracy.high, 3)) == (0.8, 0.490, 0.943)
    assert (row.step, row.peak, row.peak_step, row.drop) == (None, 0.8, None, 0.0)
    assert (row.truncated, row.failed, row.refused, row.reasons, row.notes) == (0, 0, 0, (), ())


def test_calls_tokens_malformed_and_truncated(tmp_path):
    """Three debates: 2 calls; 4 calls, 1 unreadable verdict; cut off after 3 calls. 9 calls, 1 malformed, 1 truncated."""
    team = {"env_id": "arithmetic/eval_opt-v1", "entry": "team"}
    traces = [
        played(0, RIGHT, "\\boxed{Correct}", **team),
        played(1, WRONG, "hm", RIGHT, "\\boxed{Correct}", **team),
        played(2, RIGHT, "\\boxed{Incorrect}", RIGHT, limits=Limits(calls=3), **team),
    ]
    told = [  # 10 prompt and 5 reply tokens a call
        replace(t, events=tuple(e if e.reply is None else e._replace(reply=e.reply._replace(prompt_tokens=10, reply_tokens=5)) for e in t.events))
        for t in traces
    ]  # fmt: skip
    row = only(score([written(tmp_path / "a.jsonl", *told)]))
    assert row.accuracy.mean == pytest.approx(2 / 3)
    assert row.calls == pytest.approx(9 / 3)
    assert row.tokens == pytest.approx(9 * 15 / 3)
    assert row.malformed == pytest.approx(1 / 9)
    assert (row.truncated, row.failed, row.refused) == (1, 0, 0)


def test_steps_give_final_peak_and_drop(tmp_path):
    """Right of 5: 2 before training, 5 at step 20, 4 at step 40 and in the end 3. Files come in any order."""
    marks = {0: "++---", 20: "+++++", 40: "++++-", 100: "+-+-+"}
    for step, of_step in marks.items():
        written(tmp_path / f"eval-{step:06d}.jsonl.gz", *solo(of_step, entry="run", step=step))
    row = only(score(sorted(tmp_path.iterdir(), reverse=True)))
    assert (row.step, row.accuracy) == (100, wilson(3, 5))
    assert (row.peak, row.peak_step) == (1.0, 20)
    assert row.drop == pytest.approx(0.4)
    assert (row.problems, row.episodes, row.notes) == (5, 5, ())


def test_the_earliest_of_equal_peaks_is_named(tmp_path):
    traces = [t for step in (30, 10, 20) for t in solo("+-", entry="run", step=step)]
    row = only(score([written(tmp_path / "a.jsonl", *traces)]))
    assert (row.peak, row.peak_step, row.step, row.drop) == (0.5, 10, 30, 0.0)


def test_steps_on_different_problems_are_said(tmp_path):
    traces = [*solo("++++", entry="run", step=0), *solo("++-", entry="run", step=10)]
    row = only(score([written(tmp_path / "a.jsonl", *traces)]))
    assert row.notes == (
        "the steps cover different problems (step 0: 4, step 10: 3; 3 in common), so peak and final do not compare",
    )


def test_several_tries_of_a_problem_count_it_once(tmp_path):
    """Problem 0: right in 1 of 4 tries; problem 1: right in 1 of 1. Mean over problems (0.25 + 1) / 2."""
    traces = [played(0, RIGHT if k == 0 else WRONG, sample=k) for k in range(4)] + [played(1, RIGHT, sample=0)]
    row = only(score([written(tmp_path / "a.jsonl", *traces)]))
    assert (row.problems, row.episodes, row.accuracy.mean) == (2, 5, 0.625)
    assert row.notes == ("some problems were tried 1 times, others up to 4 times",)


def test_entries_environments_knobs_and_splits_are_rows_of_their_own_and_sorted(tmp_path):
    traces = [
        *solo("+---", entry="a"),
        *solo("++--", entry="b"),
        played(0, RIGHT, "\\boxed{Correct}", env_id="arithmetic/eval_opt-v1", entry="a"),
        played(0, RIGHT, knobs={"digits": 3}, entry="c"),
        played(0, WRONG, knobs={"digits": 3, "terms": 3}, entry="c"),
        *(played(i, RIGHT if i < 3 else WRONG, split="validation", entry="b") for i in range(4)),
    ]
    rows = score([written(tmp_path / "a.jsonl", *traces)])
    assert [(r.entry, r.env_id.partition("/")[2], r.split, r.knobs.get("digits"), r.accuracy.mean) for r in rows] == [
        ("a", "eval_opt-v1", "test", None, 1.0),
        ("c", "solo-v1", "test", 3, 1.0),
        ("b", "solo-v1", "validation", None, 0.75),
        ("b", "solo-v1", "test", None, 0.5),
        ("a", "solo-v1", "test", None, 0.25),
        ("c", "solo-v1", "test", 3, 0.0),
    ]
    assert all(row.refused == 0 for row in rows)


def test_a_file_without_entries_is_its_own_entry(tmp_path):
    written(tmp_path / "a.jsonl", *solo("+"))
    written(tmp_path / "b.jsonl.gz", *solo("-"))
    rows = score([tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"])
    assert [(row.entry, row.accuracy.mean) for row in rows] == [("a.jsonl", 1.0), ("b.jsonl.gz", 0.0)]


def test_duplicates_are_refused_and_counted_once(tmp_path):
    first, again = solo("+", step=5)[0], solo("-", step=5)[0]
    other_step, other_sample = solo("-", step=6)[0], played(0, WRONG, step=5, sample=1)
    row = only(score([written(tmp_path / "a.jsonl", first, again, other_step, other_sample)]))
    assert row.refused == 1
    assert f"trace {again.id}, question arithmetic/test/0/0: a duplicate of trace {first.id}" in row.reasons[0]
    assert row.peak == 0.5, "step 5: right in one of two samples"
    assert only(score([tmp_path / "a.jsonl", tmp_path / "a.jsonl", tmp_path])).refused == 1, (
        "a file given twice is read once"
    )


def test_what_is_refused_is_not_scored(tmp_path):
    honest = solo("+-+-")
    raised = replace(honest[1], score=1.0)
    other = replace(honest[3], question=replace(honest[3].question, text="What is 1 + 1?"))
    row = only(score([written(tmp_path / "a.jsonl", honest[0], raised, honest[2], other)]))
    assert (row.problems, row.accuracy, row.refused) == (2, wilson(2, 2), 2)
    assert "claims score 1.0, graded 0" in row.reasons[0]
    assert "What is 1 + 1?" in row.reasons[1]


def test_only_the_first_reasons_are_kept(tmp_path):
    row = only(score([written(tmp_path / "a.jsonl", *(replace(t, score=1.0) for t in solo("-" * 9)))]))
    assert (row.refused, len(row.reasons), row.problems) == (9, 5, 0)
    assert math.isnan(row.accuracy.mean)
    assert row.notes == ("nothing could be scored",)
    assert row.record()["accuracy"] is None


def test_an_entry_with_no_accuracy_comes_last(tmp_path):
    written(
        tmp_path / "a.jsonl", *(replace(t, score=1.0) for t in solo("-", entry="forged")), *solo("-", entry="honest")
    )
    assert [row.entry for row in score([tmp_path / "a.jsonl"])] == ["honest", "forged"]


def test_a_refused_last_step_does_not_hide_behind_an_earlier_one(tmp_path):
    last = [replace(t, score=1.0) for t in solo("--", entry="run", step=20)]
    row = only(score([written(tmp_path / "a.jsonl", *solo("++", entry="run", step=10), *last)]))
    assert math.isnan(row.accuracy.mean)
    assert (row.step, row.peak, row.peak_step, row.refused) == (20, 1.0, 10, 2)
    assert "nothing of the last step (20) could be scored" in row.notes


def test_failed_episodes_are_counted_apart(tmp_path, monkeypatch):
    """The grader cannot run on one of three problems, neither in play nor here."""

    def crashing(session, task, problem) -> Outcome:
        if problem.question.id.endswith("/1"):
            task = type("Broken", (), {"grade": lambda *_: 1 / 0})()
        return outcome_of(session, task, problem)

    monkeypatch.setattr("llm_marl_envs.envs.episodes.outcome_of", crashing)
    traces = solo("++-")
    assert [t.status for t in traces] == [Status.FINISHED, Status.FAILED, Status.FINISHED]
    path = written(tmp_path / "a.jsonl", *traces)
    assert only(score([path])).refused == 1, "where the grader runs, a failed episode has not failed"
    monkeypatch.setattr("llm_marl_envs.traces.verify.outcome_of", crashing)
    row = only(score([path]))
    assert (row.failed, row.refused, row.problems, row.accuracy, row.calls) == (1, 0, 2, wilson(1, 2), 1.0)
    written(tmp_path / "b.jsonl", *solo("++-", entry="run", step=1), *solo("+", entry="run", step=2))
    row = only(score([tmp_path / "b.jsonl"]))
    assert row.failed == 0
    assert "1 episodes of earlier steps failed" in row.notes


@pytest.mark.parametrize("meta", [{"step": "last"}, {"step": True}, {"step": 1.5}, {"sample": [0]}])
def test_a_step_or_sample_that_is_no_number_is_refused(tmp_path, meta):
    row = only(score([written(tmp_path / "a.jsonl", *solo("+"), *solo("+", entry="a.jsonl", **meta))]))
    assert (row.problems, row.refused) == (1, 1)
    assert "is not a whole number" in row.reasons[0]


def test_a_folder_means_its_evaluations_or_else_all_traces(tmp_path):
    written(tmp_path / "run" / "traces" / "train-000010.jsonl.gz", *solo("--"))
    written(tmp_path / "run" / "more.jsonl", *solo("-", entry="more"))
    (tmp_path / "run" / "args.json").write_text("{}")
    assert [p.name for p in trace_files([tmp_path])] == ["more.jsonl", "train-000010.jsonl.gz"]
    assert len(score([tmp_path])) == 2
    written(tmp_path / "run" / "traces" / "eval-000010.jsonl.gz", *solo("++"))
    assert [p.name for p in trace_files([tmp_path])] == ["eval-000010.jsonl.gz"]
    assert only(score([tmp_path])).accuracy.mean == 1.0


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_a_torn_last_line_costs_one_episode(tmp_path, name):
    path = written(tmp_path / name, *solo("++-+"))
    if name.endswith(".gz"):
        path.write_bytes(path.read_bytes()[:-60])
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.warns(TornTrace, match="the last line is incomplete") as warned:
        row = only(score([path]))
    assert len(warned) == 1
    assert (row.problems, row.accuracy) == (3, wilson(2, 3))


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(TraceError, match=r"cannot read .*nowhere\.jsonl"):
        score([tmp_path / "nowhere.jsonl"])
    with pytest.raises(TraceError, match=r"no traces under .*expected files named"):
        score([tmp_path])
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes("caf\xe9\n".encode("latin-1"))
    with pytest.raises(TraceError, match=r"latin\.jsonl line 1 is not UTF-8"):
        score([latin])
    path = written(tmp_path / "a.jsonl", *solo("+"))
    path.write_text("{}\n" + path.read_text())
    with pytest.warns(BrokenLine, match=r"a\.jsonl line 1: not a trace"):
        (row,) = score([path])
    assert row.episodes > 0, "one bad line costs one line"
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(TraceError, match=r"no traces in .*empty\.jsonl"):
        score([tmp_path / "empty.jsonl"])


def test_an_environment_whose_data_is_not_there_is_named(tmp_path):
    folder = tmp_path / "data" / "gsm8k"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_text(
        json.dumps({"question": "What is 20 + 22?", "answer": "It is 42.\n#### 42"}) + "\n"
    )
    env = make("gsm8k/solo-v1", split="test", data_dir=tmp_path / "data")
    env.reset(seed=0)
    env.step("\\boxed{42}")
    path = written(tmp_path / "a.jsonl", env.trace())
    assert only(score([path], tmp_path / "data")).accuracy.mean == 1.0
    with pytest.raises(DataError, match="cannot score gsm8k/solo-v1: no data for 'gsm8k'"):
        score([path], tmp_path)


def test_foreign_text_cannot_redraw_the_terminal(tmp_path):
    row = only(score([written(tmp_path / "a.jsonl", *solo("+", entry="\x1b[2J[red]first[/]\n" + "x" * 500))]))
    assert row.entry.startswith("?[2J[red]first[/]?xxx")
    assert len(row.entry) == 123
    assert printable("Zürich 東京") == "Zürich 東京"


def test_the_command_prints_a_row_and_what_replay_does_not_show(tmp_path, capsys):
    path = written(tmp_path / "a.jsonl", *solo("++++-", entry="[bold]mine", step=3))
    main(["score", str(path)])
    out = capsys.readouterr().out
    lines = out.splitlines()
    first = next(i for i, line in enumerate(lines) if "mine" in line)
    assert lines[first].split() == ["[bold]mine", "80.0%", "[37.6,", "96.4]", "80.0%", "at", "3", "1.00", "0.0%", "0"]
    assert lines[first + 1].split() == [
        "arithmetic/solo-v1",
        "test",
        "test_size=20",
        "5",
        "of",
        "20",
        "0.0",
        "0",
        "0",
        "0",
    ]
    assert "self-consistent, not authentic" in out
    assert "episodes" not in out, "nothing was refused"


def test_the_command_says_what_was_refused_and_fails(tmp_path, capsys):
    traces = [*solo("+"), *(replace(t, score=1.0) for t in solo("-" * 8)[1:])]
    path = written(tmp_path / "a.jsonl", *traces)
    with pytest.raises(SystemExit) as stop:
        main(["score", str(path)])
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "refused a.jsonl in arithmetic/solo-v1: 7 episodes." in out
    assert f"trace {traces[1].id}, question arithmetic/test/0/1: claims score 1.0, graded 0" in out
    assert "... and 2 more" in out


def test_the_command_prints_json(tmp_path, capsys):
    path = written(tmp_path / "a.jsonl", *solo("+++-", step=1), *solo("++--", step=2), replace(solo("-")[0], score=1.0))
    with pytest.raises(SystemExit):
        cli.score((path,), json=True)
    (row,) = json.loads(capsys.readouterr().out)
    low, high = wilson(2, 4).low, wilson(2, 4).high
    expected = {
        "entry": "a.jsonl", "env_id": "arithmetic/solo-v1", "split": "test", "knobs": {"test_size": 20},
        "problems": 4, "split_size": 20, "episodes": 4, "accuracy": 0.5, "accuracy_low": low, "accuracy_high": high,
        "step": 2, "peak": 0.75, "peak_step": 1, "drop": 0.25, "calls": 1.0, "tokens": 0.0, "malformed": 0.0,
        "truncated": 0, "failed": 0, "refused": 1,
    }  # fmt: skip
    assert {k: row[k] for k in expected} == expected
    assert set(row) == {*expected, "reasons", "notes"}


@pytest.mark.parametrize(
    ("args", "message"),
    [(["nowhere.jsonl"], "cannot read nowhere.jsonl"), ([], "give at least one trace file")],
)
def test_the_command_reports_mistakes_without_a_traceback(args, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["score", *args])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_scores_the_rest_of_a_torn_file(tmp_path, capsys):
    path = written(tmp_path / "a.jsonl", *solo("+++"))
    path.write_bytes(path.read_bytes()[:-10])
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        main(["score", str(path), "--json"])
    said = capsys.readouterr()
    assert json.loads(said.out)[0]["problems"] == 2
    assert " ".join(said.err.split()).count("the last line is incomplete") == 1


def test_scoring_needs_no_torch(tmp_path):
    path = written(tmp_path / "a.jsonl", *solo("+"))
    code = (
        "import sys; from leaderboard.cli import score\n"
        f"score(({str(path)!r},))\n"
        "found = {'torch', 'transformers', 'baselines'} & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

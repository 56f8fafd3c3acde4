"""`llm-marl trace`: what each action prints and writes, and what it says about bad files."""

from __future__ import annotations

import gzip
import json

import pytest
from playthroughs import SCRIPTS
from transcript_samples import WEATHER, claude, claude_session

from llm_marl_envs import EnvSpec, Play, Session, Trace, TraceWriter, make, make_workflow
from llm_marl_envs.orchestration.schema import check_view


def episode(seed: int, right: bool = True, **meta) -> Trace:
    env = make("arithmetic/eval_opt-v1")
    env.reset(seed=seed, options={"problem": seed})
    gold = env.problem.gold
    for text in (f"\\boxed{{{gold if right else -1}}}", "\\boxed{Correct}"):
        env.step(text)
    return env.trace(**meta)


@pytest.fixture
def traces(tmp_path):
    path = tmp_path / "mine.jsonl"
    with TraceWriter(path) as writer:
        for seed in range(4):
            writer.write(episode(seed, right=seed != 3))
    return path


def views(path) -> list[dict]:
    data = path.read_bytes()
    found = [json.loads(line) for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines()]
    assert all(check_view(view) == [] for view in found)
    return found


def test_check(run, traces):
    assert run("trace", "check", traces) == (0, "4 traces replayed and graded, 0 complaints; 0 forks")
    assert run("trace", "check", traces, "--no-grade") == (0, "4 traces replayed, 0 complaints; 0 forks")


def test_check_finds_what_was_changed(run, traces):
    text = traces.read_text()
    traces.write_text(text.replace('"score": 0.0', '"score": 1.0'))
    code, said = run("trace", "check", traces, "--no-grade")
    assert code == 1
    assert "4 traces replayed, 1 complaints" in said
    assert "the digest of the ending (answer, status, score or meta) is wrong" in said


def test_check_grades_what_an_attacker_chained_anew(run, traces, tmp_path):
    data = json.loads(traces.read_text().splitlines()[3]) | {"score": 1.0}
    trace = Trace.from_json(json.dumps(data))
    forged = Trace.from_json(json.dumps(data | {"digest": trace.chain()[-1]}))
    with TraceWriter(tmp_path / "forged.jsonl") as writer:
        writer.write(forged)
    assert run("trace", "check", tmp_path / "forged.jsonl", "--no-grade")[0] == 0
    code, said = run("trace", "check", tmp_path / "forged.jsonl")
    assert code == 1
    assert "claims score 1.0, graded 0" in said


def test_check_holds_forks_to_their_parents(run, tmp_path):
    script = SCRIPTS["voting"]
    session = Session(Play(make_workflow("voting"), script.question), script.replies)
    spec = EnvSpec("arithmetic", "voting")
    parent = Trace.of(session, spec, None)
    fork = session.fork(3)
    fork.reply("Solution 1")
    other = Session(session.play, ["x", "y", "z", "Solution 1"])
    path = tmp_path / "forks.jsonl"
    with TraceWriter(path) as writer:
        writer.write(Trace.of(fork, spec, None, parent=(parent.id, 3)))
        writer.write(parent)
    assert run("trace", "check", path, "--no-grade") == (0, "2 traces replayed, 0 complaints; 1 forks")
    with TraceWriter(path) as writer:
        writer.write(Trace.of(other, spec, None, parent=(parent.id, 3)))
    code, said = run("trace", "check", path, "--no-grade")
    assert (code, "does not begin with the first 3 replies" in said) == (1, True)
    alone = tmp_path / "alone.jsonl"
    with TraceWriter(alone) as writer:
        writer.write(Trace.of(fork, spec, None, parent=(parent.id, 3)))
    assert "1 forks (1 without their parents here)" in run("trace", "check", alone, "--no-grade")[1]


@pytest.mark.filterwarnings("default")
def test_no_foreign_module_is_loaded(run, tmp_path, monkeypatch):
    (tmp_path / "evil.py").write_text("raise SystemExit('loaded')")
    monkeypatch.syspath_prepend(tmp_path)
    data = json.loads(episode(0).to_json()) | {"env": "arithmetic/evil:Workflow-v1"}
    (tmp_path / "evil.jsonl").write_text(json.dumps(data) + "\n")
    for action in ("check", "stats", "export", "show"):
        code, said = run("trace", action, tmp_path / "evil.jsonl")
        assert "loaded" not in said
        assert "a module outside this package" in said
        assert code == (1 if action == "check" else 0)
    assert "evil" not in __import__("sys").modules


def test_stats(run, traces, tmp_path):
    code, said = run("trace", "stats", traces)
    assert code == 0
    assert "arithmetic/eval_opt-v1: 4 episodes" in said
    assert "│ metric │ task_success │ 0.75 │" in said
    assert "│ metric │ preservation │ 0.75 │" in said
    out = tmp_path / "stats.jsonl"
    assert run("trace", "stats", traces, "--out", out)[0] == 0
    rows = {row["figure"]: row for row in map(json.loads, out.read_text().splitlines())}
    assert (rows["verdict"]["mean"], rows["verdict"]["episodes"], rows["calls"]["mean"]) == (0.75, 4, 2.0)
    assert rows["task_success"]["low"] <= 0.75 <= rows["task_success"]["high"]
    assert "verdict" not in run("trace", "stats", traces, "--no-grade")[1]


def test_export_and_what_can_be_done_with_it(run, traces, tmp_path):
    code, said = run("trace", "export", traces)
    assert (code, "wrote 4 episodes to" in said) == (0, True)
    exported = traces.with_name("mine.orchestration.jsonl")
    assert [view["rewards"]["team"] for view in views(exported)] == [1.0, 1.0, 1.0, 0.0]
    assert "4 exported episodes follow the schema" in run("trace", "check", exported)[1]
    assert "4 episodes" in run("trace", "stats", exported)[1]
    assert run("trace", "show", exported, "--out", tmp_path / "page.html")[0] == 0
    bare = tmp_path / "bare.jsonl.gz"
    assert run("trace", "export", traces, "--no-texts", "--out", bare)[0] == 0
    assert "boxed" not in gzip.decompress(bare.read_bytes()).decode()
    assert len(views(bare)) == 4
    exported.write_text(exported.read_text().replace('"message"', '"massage"', 1))
    code, said = run("trace", "check", exported)
    assert (code, "type is one of" in said) == (2, True)


@pytest.mark.filterwarnings("default")
def test_show_picks(run, traces, tmp_path):
    page = tmp_path / "page.html"
    ids = [Trace.from_json(line).id for line in traces.read_text().splitlines()]
    assert "wrote 2 episodes" in run("trace", "show", traces, "--pick", "1", ids[2][:8], "--out", page)[1]
    text = page.read_text()
    assert [id in text for id in ids] == [True, False, True, False]
    code, said = run("trace", "show", traces, "--limit", "3", "--out", page)
    assert (code, "showing the first 3 of 4 episodes" in said, "wrote 3 episodes" in said) == (0, True, True)
    code, said = run("trace", "show", traces, "--pick", "nobody", "--out", page)
    assert (code, "none of them is nobody" in said) == (2, True)


def test_import(run, tmp_path):
    session = claude_session(tmp_path / "claude", "below")
    log = tmp_path / "weather.json"
    log.write_text(json.dumps(WEATHER))
    out = tmp_path / "all.jsonl"
    code, said = run("trace", "import", session, log, "--out", out)
    assert (code, "wrote 2 episodes" in said) == (0, True)
    assert [view["system"] for view in views(out)] == ["claude_code", "openai"]
    assert run("trace", "show", out)[0] == 0
    assert "imported, not replayable" in (tmp_path / "all.html").read_text()
    assert "records_skipped" in run("trace", "stats", out)[1]


def test_import_says_what_is_not_known(run, tmp_path):
    """What was not understood by kind; no seconds and no speed-up of logs without times; no texts if none are wanted."""
    log, out = tmp_path / "log.jsonl", tmp_path / "out.jsonl"
    log.write_text(
        "".join(json.dumps(m) + "\n" for m in [*WEATHER, {"role": "[bold]ghost", "content": "x"}]) + "{torn\n"
    )
    code, said = run("trace", "import", log, "--out", out)
    assert (code, "wrote 1 episode " in said) == (0, True)
    assert "1 episode without times: their axis counts calls; seconds and speed-up are not known (-)" in said
    assert "not understood and left out: 2 (1 x line that is not JSON, 1 x message [bold]ghost)" in said
    table = run("trace", "stats", out)[1].replace("│", "|")
    for row in ("wall_clock_s | - | - | 0 |", "speed_up | - | - | 0 |", "tool_calls | 2 | - | 1 |"):
        assert row in table
    assert run("trace", "stats", out, "--out", tmp_path / "rows.jsonl")[0] == 0
    found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert {row["figure"]: row["mean"] for row in found if row["episodes"] == 0} == {
        "wall_clock_s": None,
        "speed_up": None,
    }
    assert b"Oslo" in out.read_bytes()
    assert run("trace", "export", out, "--no-texts", "--out", tmp_path / "bare.jsonl")[0] == 0
    assert run("trace", "import", log, "--no-texts", "--out", tmp_path / "bare2.jsonl")[0] == 0
    for bare in ("bare.jsonl", "bare2.jsonl"):
        assert views(tmp_path / bare)
        assert not any(word in (tmp_path / bare).read_bytes() for word in (b"Oslo", b"degrees", b"brief"))


def test_import_of_a_session_and_the_one_that_resumed_it(run, tmp_path):
    first = claude_session(tmp_path, "in one file")
    more = json.dumps(claude("user", 30, "Enough.", "z9") | {"sessionId": "s-2"}) + "\n"
    (tmp_path / "s-2.jsonl").write_text(first.read_text().replace('"sessionId": "s-1"', '"sessionId": "s-2"') + more)
    for argv in ((first, tmp_path / "s-2.jsonl"), (tmp_path,)):
        code, _ = run("trace", "import", *argv, "--out", tmp_path / "out" / "all.jsonl")
        assert code == 0
        found = views(tmp_path / "out" / "all.jsonl")
        (tmp_path / "out" / "all.jsonl").unlink()
        assert [view["costs"]["tokens"] for view in found] == [127 * 6, 0]
        assert [e["text"] for e in found[1]["events"]] == ["Enough."]


@pytest.mark.parametrize(
    ("argv", "part"),
    [
        (["check", "none.jsonl"], "cannot read none.jsonl"),
        (["import", "none.jsonl"], "cannot read none.jsonl"),
        (["check"], "give at least one file"),
        (["show", "x.jsonl", "--limit", "0"], "--limit starts at 1"),
        (["dance", "x.jsonl"], "dance"),
    ],
)
def test_mistakes(run, argv, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.jsonl").write_text(episode(0).to_json() + "\n")
    code, said = run("trace", *argv)
    assert (code, part in said) == (2, True), said


@pytest.mark.filterwarnings("default")
def test_without_the_data_claims_are_not_graded(run, tmp_path, monkeypatch):
    monkeypatch.delenv("LLM_MARL_DATA", raising=False)
    data = json.loads(episode(0).to_json()) | {"env": "gsm8k/eval_opt-v1", "task_knobs": {}}
    (tmp_path / "g.jsonl").write_text(json.dumps(data) + "\n")
    code, said = run("trace", "stats", tmp_path / "g.jsonl", "--data-dir", tmp_path)
    assert code == 0
    assert "claims are not graded: cannot score gsm8k/eval_opt-v1" in said

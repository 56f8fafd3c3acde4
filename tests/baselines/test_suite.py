"""A suite played by one team: each part once, goes on after a kill, and refuses what it cannot play or what is somebody else's."""

from __future__ import annotations

import dataclasses
import gzip

import pytest

torch = pytest.importorskip("torch")

from baselines import suite as suites  # noqa: E402
from baselines.cli import evaluate as evaluate_command  # noqa: E402
from baselines.playing import playing_of  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.suite import play_suite  # noqa: E402
from leaderboard.score import score  # noqa: E402
from llm_marl_envs import read_traces  # noqa: E402
from llm_marl_envs.errors import ConfigError  # noqa: E402
from llm_marl_envs.suites import Suite, load_suite  # noqa: E402

QUIET = Progress(quiet=True)


def small(count: int = 5) -> Suite:
    smoke = load_suite("smoke-v1")
    parts = tuple(dataclasses.replace(part, problems=part.problems[:count], samples=2) for part in smoke.parts)
    return dataclasses.replace(smoke, name="small-v1", parts=parts)


@pytest.fixture
def team(micro_folder):
    return playing_of(str(micro_folder), QUIET, workflow="eval_opt", max_tokens=4, threads=1, device="cpu")


def said(files):
    """Everything but seconds, and the digests over them."""
    return {
        path.name: [
            (t.question.id, t.seed, t.score, [e.reply and e.reply.text for e in t.events]) for t in read_traces(path)
        ]
        for path in files
    }


def test_every_part_is_played_by_the_policies_that_there_are(team, tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "CHUNK", 2)
    files = play_suite(team.team, small(), tmp_path, QUIET, sampling=team.sampling, meta={"entry": "mine"})
    traces = {path.name.split(".")[0]: list(read_traces(path)) for path in files}
    assert {name: (len(of), {t.spec.workflow for t in of}) for name, of in traces.items()} == {
        "arithmetic": (10, {"eval_opt"}),  # the team's own
        "atlas": (10, {"eval_opt"}),
        "snippets": (10, {"eval_opt"}),
    }
    assert len({(t.question.id, t.seed) for of in traces.values() for t in of}) == 30
    assert {t.limits.calls for t in traces["atlas"]} == {64}
    assert traces["atlas"][0].meta["suite"] == "small-v1"
    rows = score(files)
    assert [(row.episodes, row.refused) for row in rows] == [(10, 0)] * 3


def test_roles_that_the_team_does_not_have_are_played_by_its_first_policy(team, tmp_path):
    files = play_suite(team.team, small(1), tmp_path, QUIET, sampling=team.sampling, workflow="voting")
    assert {t.spec.workflow for path in files for t in read_traces(path)} == {"voting"}
    with pytest.raises(ConfigError, match="arithmetic is not played with 'search_answer'"):
        play_suite(team.team, small(1), tmp_path / "b", QUIET, sampling=team.sampling, workflow="search_answer")
    assert not (tmp_path / "b").exists(), "what cannot be played is said before anything is"


def test_what_was_interrupted_goes_on_with_the_same_episodes(team, tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "CHUNK", 2)
    play = {"sampling": team.sampling, "meta": {"entry": "mine"}}
    whole = play_suite(team.team, small(), tmp_path / "whole", QUIET, **play)
    real, calls = suites.evaluate, []

    def killed(*args, **kwargs):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(suites, "evaluate", killed)
    with pytest.raises(KeyboardInterrupt):
        play_suite(team.team, small(), tmp_path / "cut", QUIET, **play)
    torn = tmp_path / "cut" / "atlas.jsonl.gz"
    kept = gzip.decompress(torn.read_bytes()).splitlines(keepends=True)
    torn.write_bytes(
        gzip.compress(b"".join([*kept, gzip.decompress(whole[1].read_bytes()).splitlines(keepends=True)[4], b'{"half']))
    )
    calls.clear()
    monkeypatch.setattr(suites, "evaluate", lambda *args, **kwargs: calls.append(1) or real(*args, **kwargs))
    assert said(play_suite(team.team, small(), tmp_path / "cut", QUIET, **play)) == said(whole)
    assert len(calls) == 9 - 4, "chunks that were there are not played again"
    calls.clear()
    play_suite(team.team, small(), tmp_path / "cut", QUIET, **play)
    assert calls == []
    with pytest.raises(ConfigError, match=r"arithmetic\.jsonl\.gz has episodes with another entry \('mine'\)"):
        play_suite(team.team, small(), tmp_path / "cut", QUIET, sampling=team.sampling, meta={"entry": "other"})


def test_the_command(micro_folder, tmp_path, monkeypatch):
    path = tmp_path / "small.json"
    path.write_text(small(1).to_json())
    give = {"max_tokens": 4, "threads": 1, "device": "cpu"}
    evaluate_command(str(micro_folder), suite=str(path), out=tmp_path / "o", **give)
    assert sorted(p.name for p in (tmp_path / "o").rglob("*.gz")) == [
        "arithmetic.jsonl.gz",
        "atlas.jsonl.gz",
        "snippets.jsonl.gz",
    ]
    with pytest.raises(ConfigError, match="leave out --task, --samples"):
        evaluate_command(str(micro_folder), suite="smoke-v1", task="gsm8k", samples=2, **give)

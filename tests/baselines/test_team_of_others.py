"""Training and evaluation with roles that others play: endpoints, checkpoints, scripts. They are heard and never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("httpx")

from chat_server import reply, serving  # noqa: E402

from baselines.args import TrainArgs  # noqa: E402
from baselines.cli import evaluate as evaluate_command  # noqa: E402
from baselines.engines import openai  # noqa: E402
from baselines.engines.spoken import EnginePartner  # noqa: E402
from baselines.partners import run  # noqa: E402
from baselines.progress import Progress  # noqa: E402
from baselines.runlog import RunLog, read_lines  # noqa: E402
from baselines.team import Team  # noqa: E402
from baselines.train import train  # noqa: E402
from baselines.types import Request, Sampling  # noqa: E402
from leaderboard.score import score  # noqa: E402
from llm_marl_envs import make_role, make_task, read_traces  # noqa: E402
from llm_marl_envs.cli.play import play  # noqa: E402
from llm_marl_envs.errors import ConfigError, UnknownName  # noqa: E402
from llm_marl_envs.partners import make_partner  # noqa: E402
from llm_marl_envs.session import Status  # noqa: E402

INFO = {"kind": "message", "choices": (), "infoset": (), "turn": 0}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(openai, "sleep", lambda seconds: None)


def settings(model: Path, out: Path, **changes: Any) -> TrainArgs:
    given: dict[str, Any] = {
        "model": str(model), "out": out, "set": ("rounds=2",), "steps": 2, "problems": 2, "samples": 2, "max_tokens": 4, "eval_every": 2,
        "eval_problems": 3, "validation_problems": 0, "lr": 1e-3, "checkpoint_every": 2, "trace_every": 1, "threads": 1, "device": "cpu",
        "reward": "two_answers:variety",
    }  # fmt: skip
    return TrainArgs(**(given | changes))


def test_a_role_that_an_endpoint_plays_is_heard_and_not_trained(micro_folder, tmp_path):
    with serving(lambda body, n: reply("\\boxed{Incorrect}")) as server:
        args = settings(micro_folder, tmp_path / "run", method="isolated", team=(f"evaluator=openai:{server.url}",))
        train(args, Progress(quiet=True))
        assert len(server.asked) > 6
    lines = [line for line in read_lines(args.out / "metrics.jsonl") if line["kind"] == "train"]
    assert all(line["grad_norm/generator"] > 0 for line in lines)
    assert not any("evaluator" in key for line in lines for key in line if key.startswith(("grad_norm", "loss", "lr/")))
    assert sorted(p.name for p in (args.out / "checkpoints" / "step-2").iterdir() if p.is_dir()) == ["generator"]
    for trace in read_traces(args.out / "traces" / "train-000001.jsonl.gz"):
        heard = [e.reply for e in trace.events if e.reply and e.call.agent == "evaluator_0"]
        assert [(r.text, r.prompt_tokens, r.reply_tokens) for r in heard] == [("\\boxed{Incorrect}", 7, 3)]


def test_an_endpoint_that_fails_half_of_its_calls_loses_nothing_and_counts_nothing_wrongly(
    micro_folder, tmp_path, monkeypatch
):
    """Every second problem's evaluator fails for good: these episodes are FAILED, none is trained on or scored."""
    monkeypatch.setattr(openai.OpenAIEngine, "tries", 2, raising=False)

    def answer(body, n):
        a, b = [int(w) for w in body["messages"][-1]["content"].split("?")[0].split() if w.isdigit()]
        return (500, b"") if (a + b) % 2 else reply("\\boxed{Correct}")

    with serving(answer) as server:
        args = settings(
            micro_folder, tmp_path / "run", team=(f"evaluator=openai:{server.url}",), problems=4, eval_problems=12
        )
        train(args, Progress(quiet=True))
    for name in ("train-000001", "train-000002", "eval-000000", "eval-000002"):
        traces = list(read_traces(args.out / "traces" / f"{name}.jsonl.gz"))
        assert len(traces) == (12 if name.startswith("eval") else 8)
        for trace in traces:
            failed = sum(int(w) for w in trace.question.text.rstrip("?").split() if w.isdigit()) % 2
            assert trace.status is (Status.FAILED if failed else Status.FINISHED)
            assert ("evaluator_0: http" in trace.why) == bool(failed)
    for line in read_lines(args.out / "metrics.jsonl"):
        if line["kind"] == "eval":
            assert [score is None for score in line["scores"]] == [
                t.status is Status.FAILED
                for t in read_traces(args.out / "traces" / f"eval-{line['step']:06d}.jsonl.gz")
            ]


def test_a_checkpoint_takes_a_seat(micro_folder, tmp_path):
    first = settings(micro_folder, tmp_path / "first", method="isolated")
    train(first, Progress(quiet=True))
    partner = run(str(first.out))
    assert isinstance(partner, EnginePartner)
    env = make_role("arithmetic/eval_opt-v1", "generator", {"evaluator": partner}, rounds=2)
    env.reset(seed=0)
    env.step("\\boxed{1}")
    team = Team(first, Progress(quiet=True))
    team.restore(RunLog(first.out).chosen())
    call = env.session.events[1 + (env.session.events[1].reply is None)].call
    again = team.engine.generate([Request("evaluator", env.session.messages(call), 0, call, sampling=Sampling(0.0, 4))])
    heard = next(e.reply.text for e in env.session.events if e.reply and e.call.agent == "evaluator_0")
    assert heard == again[0].text
    second = settings(micro_folder, tmp_path / "second", team=(f"evaluator=run:{first.out}",))
    train(second, Progress(quiet=True))
    assert (second.out / "checkpoints" / "step-2").is_dir()
    with pytest.raises(ConfigError, match=r"is no run folder: it has no args\.json"):
        make_partner(f"run:{tmp_path / 'nowhere'}")
    with pytest.raises(UnknownName, match=r"no checkpoint in .* '7'"):
        make_partner(f"run:{first.out}#7")


def test_a_model_takes_a_seat(micro_folder):
    speak = make_partner(f"model:{micro_folder}")
    assert speak.sampling == Sampling(0.0, 1024)  # type: ignore[attr-defined]
    speak.sampling = Sampling(0.0, 8)  # type: ignore[attr-defined]
    chats = [({"role": "user", "content": text},) for text in ("What is 1 + 1?", "What is 22 + 13?")]
    assert [speak("a_0", chat, INFO) for chat in chats] == speak.many([("a_0", chat, INFO) for chat in chats])  # type: ignore[attr-defined]


def test_everybody_can_be_played_by_others_but_then_nobody_is_trained(micro_folder, tmp_path):
    with serving(lambda body, n: reply("\\boxed{2}")) as server:
        team = (f"generator=openai:{server.url}", "evaluator=random")
        with pytest.raises(ConfigError, match="nobody is left to train"):
            train(settings(micro_folder, tmp_path / "run", team=team), Progress(quiet=True))
        assert not (tmp_path / "run").exists()
        out = tmp_path / "traces.jsonl"
        evaluate_command("nobody/needs-a-model", task="arithmetic", workflow="eval_opt", team=team, problems=5, out=out)
    assert len(list(read_traces(out))) == 5


def test_seats_of_a_role_that_is_trained_have_no_partner(micro_folder, tmp_path):
    with pytest.raises(
        ConfigError, match=r"a whole role has one policy; got the seat 'generator_0', expected one of generator"
    ):
        Team(settings(micro_folder, tmp_path / "run", team=("generator_0=random",)), Progress(quiet=True))


def test_a_person_an_endpoint_and_a_checkpoint_play_and_are_scored(micro_folder, tmp_path, monkeypatch):
    """The endpoint fails every second try, and for good on every second problem: nothing is lost, nothing is counted wrongly."""
    first = settings(micro_folder, tmp_path / "first", set=(), workflow="voting", steps=1)
    train(first, Progress(quiet=True))
    out = tmp_path / "mine.jsonl"
    golds = {p.question.text: p.gold for p in make_task("arithmetic").problems("test")[:6]}
    down = set(list(golds)[1::2])
    monkeypatch.setattr("builtins.input", lambda prompt: "I would not know")

    def answer(body, n):
        text = next(text for text in golds if text in body["messages"][-1]["content"])
        return (503, b"") if n % 2 == 0 or text in down else reply(f"\\boxed{{{golds[text]}}}")

    with serving(answer) as server:
        team = (f"generator_1=openai:{server.url}", "generator_2=random", f"aggregator=run:{first.out}")
        for problem in range(6):
            play("arithmetic/voting-v1", team=team, problem=str(problem), out=out)
    (row,) = score([out])
    assert (row.episodes, row.failed, row.refused) == (3, 0, 3), "whose agents could not answer nobody can verify"
    assert all("generator_1 was asked, and could not answer (generator_1: http" in reason for reason in row.reasons)
    for problem, trace in enumerate(read_traces(out)):
        said = {e.call.agent: e.reply.text for e in trace.events if e.reply}
        assert said["generator_0"] == "I would not know"
        assert (trace.status is Status.FAILED) == (problem % 2 == 1)
        assert ("aggregator_0" in said) == (problem % 2 == 0)
        assert said.get("generator_1") == (None if problem % 2 else f"\\boxed{{{golds[trace.question.text]}}}")

"""Who plays a seat, by name: scripts, random texts, what other packages announce, endpoints and checkpoints in one team."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from llm_marl_envs import make, make_role, partners, read_traces
from llm_marl_envs.errors import AgentFailed, ConfigError, DataError, UnknownName
from llm_marl_envs.partners import make_partner, make_team
from llm_marl_envs.session import Status

INFO = {"kind": "message", "choices": (), "infoset": (), "turn": 0}
CHAT = ({"role": "user", "content": "x"},)


def test_a_script_is_said_line_by_line_and_again(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("one\ntwo \\boxed{1}\\nand more\n", encoding="utf-8")
    speak = make_partner(f"script:{path}")
    assert [speak("a_0", CHAT, INFO) for _ in range(3)] == ["one", "two \\boxed{1}\nand more", "one"]
    with pytest.raises(DataError, match=r"no script .*nowhere; expected a text file"):
        make_partner(f"script:{tmp_path / 'nowhere'}")
    with pytest.raises(DataError, match="cannot be read: Is a directory"):
        make_partner(f"script:{tmp_path}")


def test_random_texts_are_the_same_to_the_same_chat():
    one, other = make_partner("random"), make_partner("random:1")
    said = [one("a_0", ({"role": "user", "content": str(i)},), INFO) for i in range(20)]
    assert said == [one("a_0", ({"role": "user", "content": str(i)},), INFO) for i in range(20)]
    assert said != [other("a_0", ({"role": "user", "content": str(i)},), INFO) for i in range(20)]
    with pytest.raises(ConfigError, match="random takes a seed"):
        make_partner("random:abc")


def test_what_another_package_announces(monkeypatch, tmp_path):
    (tmp_path / "their_partners.py").write_text(
        "def echo(argument):\n    return lambda agent, messages, info: agent + argument\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = [EntryPoint("echo", "their_partners:echo", partners.GROUP)]
    monkeypatch.setattr(partners, "entry_points", lambda group: points if group == partners.GROUP else [])
    assert make_partner("echo:!")("a_0", CHAT, INFO) == "a_0!"
    with pytest.raises(UnknownName, match=r"no partner 'ecko'\. Did you mean 'echo'"):
        make_partner("ecko")
    sys.modules.pop("their_partners")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("evaluator",), "a team is role=partner or seat=partner"),
        (("evaluator=",), "a team is role=partner"),
        (("critic=random",), "no role or seat 'critic'"),
        (("evaluator=random", "evaluator=random:2"), "evaluator has two partners; the second is 'random:2'"),
        (("evaluator=nobody",), "no partner 'nobody'"),
    ],
)
def test_a_team_that_cannot_be(given, says):
    with pytest.raises((ConfigError, UnknownName), match=says):
        make_team(make("arithmetic/eval_opt-v1").workflow.roster, given)


def test_a_partner_is_made_once():
    team = make_team(make("arithmetic/eval_opt-v1").workflow.roster, ("evaluator=random", "generator_0=random"))
    assert team["evaluator"] is team["generator_0"]


def test_an_agent_that_cannot_answer_fails_the_episode_and_another_is_drawn():
    tries = []

    def sometimes(agent, messages, info):
        tries.append(agent)
        if len(tries) in (1, 2, 4):
            raise AgentFailed("the server is down")
        return "\\boxed{Correct}"

    env = make_role("arithmetic/eval_opt-v1", "generator", sometimes, train_size=20)
    env.reset(seed=0)
    for failed in (1, 2):
        _, reward, over, _, info = env.step("\\boxed{1}")
        assert (reward, over, info["failed"]) == (0.0, False, failed)
    _, reward, over, _, info = env.step(f"\\boxed{{{env.problem.gold}}}")
    assert (reward, over, info["status"], info["failed"]) == (1.0, True, "finished", 2)


def test_giving_up_fails_an_episode_of_the_aec_view():
    env = make("arithmetic/eval_opt-v1", train_size=20)
    env.reset(seed=0)
    env.step("x")
    env.give_up("the server is down")
    assert env.session.why == "evaluator_0: the server is down"
    assert (env.outcome.status, set(env.truncations.values())) == (Status.FAILED, {True})
    assert env.trace().session().status is Status.FAILED


# A person, an endpoint and a script at one table.


@pytest.fixture
def typed(monkeypatch):
    """What a person types."""
    lines: list[str] = []
    monkeypatch.setattr("builtins.input", lambda prompt: lines.pop(0))
    return lines


def test_a_person_an_endpoint_and_a_script_play_and_are_scored(run, typed, tmp_path, monkeypatch):
    pytest.importorskip("httpx")
    from chat_server import reply, serving

    from baselines.engines import openai

    monkeypatch.setattr(openai, "sleep", lambda s: None)
    script, out = tmp_path / "says.txt", tmp_path / "mine.jsonl"
    script.write_text("\\boxed{1}\n")
    env = make("arithmetic/voting-v1", split="test")
    env.reset(seed=0, options={"problem": 3})
    typed += [f"\\boxed{{{env.problem.gold}}}"]
    with serving(lambda body, n: (500, b"") if n % 2 else reply("\\boxed{2}")) as server:
        team = (f"generator_1=openai:{server.url}", f"generator_2=script:{script}", f"aggregator=openai:{server.url}")
        code, text = run(
            "play", "arithmetic/voting-v1", "--team", *team, "--problem", "3", "--split", "test", "--out", str(out)
        )
        assert code == 0, text
        asked = len(server.asked)
    assert asked == 3, "one ask, and one that was tried twice: the endpoint fails every second call"
    (trace,) = read_traces(out)
    said = [(e.call.agent, e.reply.text) for e in trace.events if e.reply]
    assert said[1:] == [("generator_1", "\\boxed{2}"), ("generator_2", "\\boxed{1}"), ("aggregator_0", "\\boxed{2}")]
    assert trace.meta["people"] == ["generator_0"]
    assert trace.meta["team"] == list(team)
    code, text = run("score", str(out))
    assert code == 0, text


def test_an_endpoint_that_is_down_is_said_and_the_episode_failed(run, typed, tmp_path, monkeypatch):
    pytest.importorskip("httpx")
    from chat_server import serving

    from baselines.engines import openai

    monkeypatch.setattr(openai, "sleep", lambda s: None)
    typed += ["\\boxed{1}"]
    out = tmp_path / "mine.jsonl"
    with serving(lambda body, n: (500, b"out of memory")) as server:
        code, text = run(
            "play",
            "arithmetic/eval_opt-v1",
            "--team",
            f"evaluator=openai:{server.url}",
            "--problem",
            "0",
            "--out",
            str(out),
        )
    assert code == 0, text
    assert "evaluator_0 cannot answer" in text
    assert "out of memory" in text
    (trace,) = read_traces(out)
    assert (trace.status, len([e for e in trace.events if e.reply])) == (Status.FAILED, 1)

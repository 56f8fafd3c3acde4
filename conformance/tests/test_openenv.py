"""OpenEnv: a server's sessions are apart, refuse what they do not know, take any text, and leave records that are ours."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("openenv")

import uvicorn
from fastapi import FastAPI
from openenv.core.env_server import create_fastapi_app
from pydantic import ValidationError

from llm_marl_envs import Trace, make_role, record_traces
from llm_marl_envs.errors import ConfigError, InvalidAction, SessionOver
from llm_marl_envs.interop.openenv import TeamAction, TeamClient, TeamObservation, TeamServer, TeamState, team_app
from llm_marl_envs.testing import GARBAGE
from llm_marl_envs.traces.verify import Verifier

KNOBS: dict[str, Any] = {"digits": 1, "train_size": 20, "rounds": 2}


def team(**more: Any) -> Any:
    return make_role("arithmetic/eval_opt-v1", **(KNOBS | more))


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


def apart(app: FastAPI) -> bool:
    """Whether two sessions that are played in turn see and leave what each alone does."""
    alone = []
    for seed in (0, 1):
        server = TeamServer(team(rounds=4))
        seen = [server.reset(seed=seed), server.step(TeamAction(text=f"{seed}")), server.step(TeamAction(text=""))]
        alone.append(([one.messages for one in seen], server.state.trace))
    with served(app) as address, TeamClient(address).sync() as one, TeamClient(address).sync() as two:
        clients = one, two
        shown = [[client.reset(seed=seed).observation.messages] for seed, client in enumerate(clients)]
        for turn in (0, 1):
            for seed, client in enumerate(clients):
                said = TeamAction(text=f"{seed}" if turn == 0 else "")
                shown[seed].append(client.step(said).observation.messages)
        return [(shown[i], clients[i].state().trace) for i in (0, 1)] == alone


def test_sessions_are_apart():
    assert apart(team_app(team(rounds=4)))


def test_sessions_that_share_an_environment_are_caught():
    env = team(rounds=4)  # the planted fault
    app = create_fastapi_app(lambda: TeamServer(env), TeamAction, TeamObservation, 8, env_name="x", state_cls=TeamState)
    assert not apart(app)


def test_an_episode_is_ours():
    server = TeamServer(team(reward="own"))
    first = server.reset(seed=3, problem=5)
    gold = server.env.task.problems("train")[5].gold
    assert (first.agent, first.done, first.reward) == ("generator_0", False, None)
    assert first.messages == list(server.env.seen()["messages"])
    second = server.step(TeamAction(text=rf"\boxed{{{gold}}}", agent="generator_0"))
    assert (second.agent, second.done, second.reward) == ("evaluator_0", False, 0.0)
    with pytest.raises(InvalidAction, match="generator_0 says something, and evaluator_0 is asked"):
        server.step(TeamAction(text="", agent="generator_0"))
    end = server.step(TeamAction(text=r"\boxed{Incorrect}", agent="evaluator_0"))
    assert end.agent == "generator_0"  # rejected: it may try again
    end = server.step(TeamAction(text=rf"\boxed{{{gold}}}"))
    assert (end.agent, end.messages, end.done, end.reward) == ("", [], True, 0.5)
    assert end.info["rewards"] == {"generator_0": 1.0, "evaluator_0": 0.0}
    assert (end.info["status"], end.info["score"]) == ("finished", 1.0)
    assert server.state.step_count == 3
    assert Verifier()(Trace.from_json(server.state.trace)).outcome.team.value == 1.0
    with pytest.raises(SessionOver):
        server.step(TeamAction(text=""))


def test_a_role_with_partners_is_asked_alone():
    server = TeamServer(team(role="generator", partners=lambda *_: r"\boxed{Correct}"))
    assert server.reset(seed=0).agent == "generator_0"
    assert server.step(TeamAction(text="7")).done


def test_what_is_not_known_is_refused():
    server = TeamServer(team())
    with pytest.raises(ConfigError, match="problem, split, index; got sed"):
        server.reset(sed=1)
    with pytest.raises(ConfigError, match="plays the split 'train'; got 'test'"):
        server.reset(split="test", index=0)
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        TeamAction(text="", action="")
    with pytest.raises(ValidationError):
        TeamAction(text=7)
    used = team()
    used.reset(seed=0)
    with pytest.raises(ConfigError, match="was not reset and records nothing"):
        team_app(used)


def test_records_on_the_server_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"in state\(\).trace"):
        team_app(record_traces(team(), tmp_path / "t.jsonl"))


def test_tasks_are_problems_without_golds():
    server = TeamServer(team())
    problem = server.env.task.problems("train")[4]
    assert server.list_splits() == ["train"]
    assert server.num_tasks("train") == 20
    assert server.get_task("train", 4) == {"id": problem.question.id, "index": 4}
    assert problem.question.text in server.reset(split="train", index=4).messages[-1]["content"]


def test_any_text_passes_the_wire_and_errors_leave_the_session_alive():
    with served(team_app(team())) as address, TeamClient(address).sync() as client:
        for text in GARBAGE:
            result = client.reset(seed=0)
            while not result.done:
                result = client.step(TeamAction(text=text))
            trace = Trace.from_json(client.state().trace)
            assert trace.events[0].reply.text == text
            assert Verifier()(trace).outcome.team.value == result.reward == 0.0
        client.reset(seed=0)
        with pytest.raises(RuntimeError, match="evaluator_0 says something, and generator_0 is asked"):
            client.step(TeamAction(text="", agent="evaluator_0"))
        with pytest.raises(RuntimeError, match="got sed"):
            client.reset(sed=0)
        assert client.step(TeamAction(text="")).observation.agent == "evaluator_0"

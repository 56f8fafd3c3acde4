"""What TRL is given for models that call tools: a facade whose public methods are tools and nothing else."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from transformers.utils.chat_template_utils import get_json_schema

from baselines.interop.trl_environment import OVER, ToolTeam
from llm_marl_envs.errors import AgentFailed, ConfigError, ToolFailed, UnknownName
from llm_marl_envs.task import ToolResult

ATLAS: dict[str, Any] = {"size": 200, "train_size": 4, "max_hops": 1}


def offered(row: Any) -> list[str]:
    """What TRL takes for tools."""
    members = inspect.getmembers(type(row), predicate=inspect.isfunction)
    return [name for name, _ in members if name not in ("reset", "get_reward") and not name.startswith("_")]


def said(text: str) -> list[dict[str, Any]]:
    return [{"role": "assistant", "content": text}]


def rejects(agent: str, messages: Any, info: Any) -> str:
    return r"\boxed{Incorrect}"


def test_tools_are_the_tasks():
    team = ToolTeam("atlas/solo-v1", **ATLAS)
    row = team()
    assert offered(row) == ["search"]
    schema = get_json_schema(row.search)["function"]
    assert (schema["name"], list(schema["parameters"]["properties"])) == ("search", ["query"])
    first = team.rows()[0]
    assert first["prompt"] == [{"role": "user", "content": ""}]
    asked = row.reset(**first)
    assert row.search(query=asked.partition("\n")[0]).startswith('Doc 1(Title: "')
    gold = row._env.problem.gold.answers[0]
    assert ToolTeam.reward(
        [[*said(""), {"role": "tool", "content": "x"}, *said(f"<answer>{gold}</answer>")]], [row]
    ) == [1.0]
    row.reset(**first)
    assert ToolTeam.reward([[*said(f"<answer>{gold}</answer>"), {"role": "tool", "content": "x"}]], [row]) == [
        0.0
    ]  # cut off
    assert offered(ToolTeam("atlas/solo-v1", tools=[], **ATLAS)()) == []
    with pytest.raises(UnknownName, match="no tool of Atlas 'browse'"):
        ToolTeam("atlas/solo-v1", tools=["browse"], **ATLAS)


def test_what_an_agent_cannot_set_is_no_parameter():
    row = ToolTeam("snippets/solo-v1", tools=["run_examples"])()
    assert list(get_json_schema(row.run_examples)["function"]["parameters"]["properties"]) == ["code"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'question'"):
        row.run_examples(code="", question="mine")
    with pytest.raises(TypeError, match="missing a required argument: 'code'"):
        row.run_examples()


def test_an_ask_that_continues_comes_back_from_reply():
    team = ToolTeam("arithmetic/eval_opt-v1", "generator", rejects, digits=1, memory=True, rounds=3)
    row = team()
    assert offered(row) == ["reply"]
    assert list(get_json_schema(row.reply)["function"]["parameters"]["properties"]) == ["text"]
    first = row.reset(**team.rows()[0])
    left, right = first.removeprefix("What is ").partition("?")[0].split(" + ")
    assert row.reply(text="no").startswith("Reviewer: \\boxed{Incorrect}\n")
    assert team.reward([said(rf"\boxed{{{int(left) + int(right)}}}")], [row]) == [
        1.0
    ]  # and is what it says to what follows
    replies = [
        event.reply.text for event in row._env.session.events if event.reply and event.call.agent == "generator_0"
    ]
    assert replies == ["no"] + [rf"\boxed{{{int(left) + int(right)}}}"] * 2
    assert row.reply(text="more") == OVER


def test_rows_of_one_problem_play_it_each():
    team = ToolTeam("arithmetic/solo-v1", digits=1)
    rows = [team() for _ in range(4)]
    assert len({row.reset(problem=team.rows()[7]["problem"]) for row in rows}) == 1


def test_fresh_asks_are_refused():
    with pytest.raises(ConfigError, match=r"asks generator_0 again with fresh=True"):
        ToolTeam("arithmetic/eval_opt-v1", "generator", rejects)


def test_a_tool_that_is_down_stops_the_training_and_is_no_reward_of_0():
    """TRL shows the model what a tool raises, and goes on; the planted fault is an adapter that lets it."""
    row = ToolTeam("atlas/solo-v1", **ATLAS)()
    tries: list[str] = []

    def down(query: str) -> ToolResult:
        tries.append(query)
        raise ToolFailed("the index is gone")

    problem = ToolTeam("atlas/solo-v1", **ATLAS).rows()[0]["problem"]
    row.reset(problem=problem)
    object.__setattr__(row._env, "task", type("Down", (), {"tools": {"search": down}})())
    with pytest.raises(ToolFailed):
        row.search(query="x")
    assert len(tries) == 10
    with pytest.raises(ToolFailed, match=r"search could not run 10 times in a row.*the index is gone"):
        ToolTeam.reward([said("y")], [row])
    row._fault = None
    object.__setattr__(row._env, "task", ToolTeam("atlas/solo-v1", **ATLAS)._task)
    assert ToolTeam.reward([said("y")], [row]) == [0.0]  # what would have been trained on


def test_a_partner_that_is_down_stops_the_training():
    def down(agent: str, messages: Any, info: Any) -> str:
        raise AgentFailed("no route")

    team = ToolTeam("arithmetic/eval_opt-v1", "generator", down, memory=True)
    row = team()
    row.reset(**team.rows()[0])
    with pytest.raises(ToolFailed):
        row.reply(text="no")
    with pytest.raises(ToolFailed, match="no route"):
        team.reward([said("no")], [row])

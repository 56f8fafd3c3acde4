"""Inspect AI: scores are ours, roles are played by their models, waves at the same time, and what FAILED is an error, not a 0."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai import eval
from inspect_ai.log import EvalLog
from inspect_ai.model import Model, ModelOutput, ModelUsage, get_model

import llm_marl_envs.interop.inspect_team as adapter
from llm_marl_envs import Ask, Claim, Limits, Roster, UseTool, WaveEnv, make_parallel
from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.interop.inspect_team import team_task, traces
from llm_marl_envs.protocol import Talk
from llm_marl_envs.task import Problem, Question, Score, Tool
from llm_marl_envs.traces.verify import Verifier

CITIES = {"France": "Paris", "Peru": "Lima", "Chad": "N'Djamena"}


@dataclass(frozen=True)
class Capitals:
    """A tool finds nothing for Chad and cannot run for Peru."""

    splits: ClassVar[tuple[str, ...]] = ("train",)

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {"find": self._find}

    def _find(self, country: str) -> str:
        if country == "Peru":
            raise ToolFailed("the atlas is out of reach")
        return CITIES[country] if country == "France" else "nothing found"

    def problems(self, split: str) -> Sequence[Problem]:
        return [Problem(Question(country, country), city) for country, city in CITIES.items()]

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return Score(float(text == problem.gold), "compared", text)


@dataclass(frozen=True)
class Lookup:
    roster: ClassVar[Roster] = Roster(searcher=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        found = yield UseTool("searcher_0", "find", {"country": question.text})
        answer = yield Ask("searcher_0", found, system="Be brief.")
        yield Claim("searcher_0", answer)
        return answer


def model(speak: Callable[[str], Any]) -> Model:
    async def answer(messages: Any, *_: Any) -> ModelOutput:
        said = speak(messages[-1].text)
        output = ModelOutput.from_content("mockllm/model", await said if asyncio.iscoroutine(said) else said)
        output.usage = ModelUsage()
        return output

    return get_model("mockllm/model", custom_outputs=answer)


def played(env: WaveEnv, folder: Any, **options: Any) -> EvalLog:
    return eval(team_task(env), log_dir=str(folder), display="none", **options)[0]


def accuracy(log: EvalLog) -> float:
    assert log.results is not None
    return log.results.scores[0].metrics["accuracy"].value


def test_scores_rewards_and_records_are_ours(tmp_path):
    """The generator is right at once where the sum is even, else never; so accuracy is the share of even sums."""
    env = make_parallel("arithmetic/eval_opt-v1", digits=1, train_size=20, rounds=2, reward="own")
    golds = {problem.question.text: problem.gold for problem in env.task.problems("train")}
    heard: dict[str, list[str]] = {"generator": [], "evaluator": []}

    def generator(seen: str) -> str:
        heard["generator"].append(seen)
        gold = next(gold for text, gold in golds.items() if text in seen)
        return rf"\boxed{{{gold if gold % 2 == 0 else -1}}}"

    def evaluator(seen: str) -> str:
        heard["evaluator"].append(seen)
        return r"\boxed{Correct}"

    log = played(env, tmp_path, model=model(generator), model_roles={"evaluator": model(evaluator)})
    even = [gold % 2 == 0 for gold in golds.values()]
    assert log.status == "success"
    assert accuracy(log) == pytest.approx(sum(even) / len(even))
    assert (len(heard["generator"]), len(heard["evaluator"])) == (len(golds), len(golds))
    for sample, right in zip(sorted(log.samples, key=lambda s: s.metadata["place"]), even, strict=True):
        score = sample.scores["outcome"]
        assert (score.value, score.explanation) == (float(right), "last boxed" if right else score.explanation)
        assert score.metadata["rewards"] == {"generator_0": float(right), "evaluator_0": float(right)}
        assert [m.role for m in sample.messages] == ["user", "assistant"] * 2
        assert [m.metadata["agent"] for m in sample.messages[1::2]] == ["generator_0", "evaluator_0"]
    records = list(traces(log))
    assert [Verifier()(trace).outcome.team.value for trace in records] == [
        sample.scores["outcome"].value for sample in log.samples
    ]
    assert len({trace.question.id for trace in records}) == len(golds)


def test_what_failed_is_an_error_and_no_score(tmp_path, monkeypatch):
    env, options = WaveEnv(Capitals(), Lookup()), {"model": model(lambda seen: seen), "fail_on_error": False}
    log = played(env, tmp_path, **options)
    errors = {sample.id: sample.error.message for sample in log.samples if sample.error}
    assert list(errors) == ["Peru"]
    assert "the atlas is out of reach" in errors["Peru"]
    assert accuracy(log) == 0.5  # France is right, Chad is wrong
    assert played(env, tmp_path, **options | {"fail_on_error": True}).status == "error"
    monkeypatch.setattr(adapter, "Status", type("Status", (), {"FAILED": "another"}))  # the planted fault
    assert accuracy(played(env, tmp_path, **options)) == pytest.approx(1 / 3)


def test_those_of_one_wave_are_asked_at_the_same_time(tmp_path):
    waiting: list[asyncio.Event] = []

    async def speak() -> str:
        waiting.append(asyncio.Event())
        if len(waiting) == 3:
            for event in waiting:
                event.set()
        await asyncio.wait_for(waiting[-1].wait(), 20)
        return r"\boxed{1}"

    env = make_parallel("arithmetic/voting-v1", train_size=1)
    roles = {"aggregator": model(lambda seen: r"\boxed{1}")}
    log = played(env, tmp_path, model=model(lambda seen: speak()), model_roles=roles)
    assert log.status == "success", log.error
    assert len(waiting) == 3


def test_epochs_differ_and_a_budget_that_ran_out_is_wrong(tmp_path):
    env = make_parallel("arithmetic/eval_opt-v1", train_size=2, limits=Limits(calls=1))
    log = played(env, tmp_path, model=model(lambda seen: r"\boxed{1}"), epochs=2)
    assert accuracy(log) == 0.0
    assert {sample.scores["outcome"].metadata["status"] for sample in log.samples} == {"truncated"}
    assert len({trace.seed for trace in traces(log)}) == 2  # one for each epoch


def test_unknown_roles_and_models_that_fail_are_errors(tmp_path):
    env = make_parallel("arithmetic/eval_opt-v1", train_size=1)
    log = played(env, tmp_path, model=model(lambda seen: ""), model_roles={"generatr": model(lambda seen: "")})
    assert log.status == "error"
    assert "Did you mean 'generator'" in log.error.message

    def broken(seen: str) -> str:
        raise RuntimeError("the endpoint is down")

    log = played(env, tmp_path, model=model(broken))
    assert log.status == "error"
    assert "the endpoint is down" in log.error.message

"""One learner among partners: whose turn it is, what it is rewarded with, what is drawn again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar

import pytest
from toys import Capitals, Crew, Lookup

from llm_marl_envs import (
    Ask,
    Claim,
    Limits,
    Malformed,
    RoleEnv,
    Roster,
    make_role,
    make_vec,
    own,
    record_traces,
    shape_rewards,
)
from llm_marl_envs.errors import ConfigError, InvalidAction, SessionOver, ToolFailed, UnknownName, WorkflowError
from llm_marl_envs.protocol import Talk
from llm_marl_envs.session import Event, Status
from llm_marl_envs.task import Question, Tool, ToolResult
from llm_marl_envs.traces.files import read_traces


def rejects(agent: str, messages: Any, info: Mapping[str, Any]) -> str:
    return "\\boxed{Incorrect}"


def test_partners_play_and_the_learner_sees_only_its_own_asks():
    env = make_role("arithmetic/eval_opt-v1", "generator", rejects, train_size=20)
    seen, info = env.reset(seed=0)
    assert info == {"skipped": 0, "failed": 0, "agent": "generator_0", "role": "generator", "kind": "message", "choices": (), "infoset": (), "turn": 0}  # fmt: skip
    gold = str(env.problem.gold)
    for said in ("a", "b"):
        seen, reward, over, cut, info = env.step(said)
        assert (reward, over, cut) == (0.0, False, False)
        assert f"Your answer: {said}" in seen["messages"][-1]["content"]
    seen, reward, over, cut, info = env.step(f"\\boxed{{{gold}}}")
    assert (seen, reward, over, cut) == ({"messages": ()}, 1.0, True, False)
    assert info == {"skipped": 0, "failed": 0, "status": "finished", "score": 1.0, "why": "last boxed", "rewards": {"generator_0": 1.0, "evaluator_0": 1.0}}  # fmt: skip
    assert [call.agent for call, reply, _ in env.session.events if reply] == ["generator_0", "evaluator_0"] * 2 + [
        "generator_0"
    ]
    with pytest.raises(SessionOver, match=r"the episode is over; call reset\(\)"):
        env.step("more")


def test_partners_by_role_and_by_seat():
    heard = []

    def voter(name: str):
        def speak(agent, messages, info):
            heard.append((name, agent))
            return "\\boxed{1}"

        return speak

    partners = {"generator": voter("role"), "generator_2": voter("seat")}
    env = make_role("arithmetic/voting-v1", "aggregator", partners, train_size=20)
    env.reset(seed=0)
    assert heard == [("role", "generator_0"), ("role", "generator_1"), ("seat", "generator_2")]
    one = make_role("arithmetic/voting-v1", "generator_1", voter("all"), train_size=20)
    assert one.reset(seed=0)[1]["agent"] == "generator_1"
    assert one.seats == ("generator_1",)


def test_the_reward_is_the_mean_over_the_learners_seats():
    """Of three voters one is right: by their own claims 1, 0 and 0."""
    env = make_role("arithmetic/voting-v1", "generator", lambda *_: "\\boxed{1}", reward=own, train_size=20)
    env.reset(seed=0)
    gold = env.problem.gold
    for said in (f"\\boxed{{{gold}}}", "\\boxed{0}", "\\boxed{0}"):
        _, reward, over, _, info = env.step(said)
    assert over
    assert reward == pytest.approx(1 / 3)
    assert [info["rewards"][f"generator_{i}"] for i in range(3)] == [1.0, 0.0, 0.0]


def test_the_whole_team_needs_no_partners():
    env = make_role("arithmetic/eval_opt-v1", train_size=20)
    asked = [env.reset(seed=0)[1]["agent"]]
    asked += [env.step("\\boxed{Incorrect}")[4]["agent"] for _ in range(4)]
    assert asked == ["generator_0", "evaluator_0", "generator_0", "evaluator_0", "generator_0"]


def test_who_plays_whom_is_checked_before_anything_is_played():
    with pytest.raises(ConfigError, match="nobody plays evaluator_0: give partners="):
        make_role("arithmetic/eval_opt-v1", "generator")
    with pytest.raises(UnknownName, match=r"no role or seat of EvalOpt 'evalutor'\. Did you mean 'evaluator'"):
        make_role("arithmetic/eval_opt-v1", "evalutor", rejects)
    with pytest.raises(UnknownName, match="no role or seat of EvalOpt 'critic'"):
        make_role("arithmetic/eval_opt-v1", "generator", {"critic": rejects})
    env = make_role("arithmetic/eval_opt-v1", "generator", lambda *_: None)  # type: ignore[arg-type, return-value]
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match="the partner that plays evaluator_0 returned NoneType; expected a str"):
        env.step("x")
    with pytest.raises(SessionOver, match="before step"):
        make_role("arithmetic/solo-v1").step("x")


def test_an_action_that_is_no_text_loses_nothing():
    env = make_role("arithmetic/eval_opt-v1", "generator", rejects, train_size=20)
    before = env.reset(seed=0)
    with pytest.raises(InvalidAction, match="generator_0's action is int; expected a str"):
        env.step(3)  # type: ignore[arg-type]
    assert (env.seen(), env.told()) == before


def test_what_a_library_writes_into_an_observation_is_its_own():
    """TorchRL puts rewards and ends into the dict that it was given."""
    env = make_role("arithmetic/solo-v1", train_size=20)
    for _ in range(2):
        env.reset(seed=0)[0]["reward"] = 0.0
        last = env.step("x")[0]
        assert last == {"messages": ()}
        last["reward"] = 0.0
    many = make_vec("arithmetic/solo-v1", 2, autoreset="SameStep", train_size=20)
    many.reset(seed=0)
    first, second = many.step(["x", "x"])[-1]["final_obs"]
    first["reward"] = 0.0
    assert second == {"messages": ()}


def test_a_budget_that_runs_out_is_an_end_not_a_cut():
    env = make_role("arithmetic/eval_opt-v1", "generator", rejects, limits=Limits(calls=2), train_size=20)
    env.reset(seed=0)
    _, reward, over, cut, info = env.step("x")
    assert (reward, over, cut, info["status"]) == (0.0, True, False, "truncated")


# Episodes that are passed over.


@dataclass(frozen=True)
class Sometimes:
    """A helper is asked with every third question, by its last letter; the boss always answers."""

    roster: ClassVar[Roster] = Roster(boss=1, helper=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        if "Peru" in question.text:
            yield Ask("helper_0", question.text)
        answer = yield Ask("boss_0", question.text)
        yield Claim("boss_0", answer)
        return answer


def test_episodes_without_an_ask_are_skipped_and_counted():
    env = RoleEnv(Capitals(), Sometimes(), "helper", lambda *_: "Lima")
    skipped = 0
    for seed in range(10):
        _, info = env.reset(seed=seed)
        assert env.problem.gold == "Lima"
        skipped += info["skipped"]
        _, reward, over, _, _ = env.step("hm")
        assert (reward, over) == (1.0, True)
    assert skipped > 5
    never = RoleEnv(Capitals(), Crew(), "helper_2", lambda *_: "0", limits=Limits(calls=1))
    with pytest.raises(WorkflowError, match="helper_2 was not asked in 1000 episodes in a row"):
        never.reset(seed=0)


# Episodes that are drawn again.


@dataclass(frozen=True)
class Unsteady(Capitals):
    """Its tool fails the first times that it is called."""

    failures: int = 3
    calls: Any = field(default_factory=lambda: itertools.count(1), compare=False, metadata={"where": True})

    @property
    def tools(self) -> Mapping[str, Tool]:
        return {"find": self._unsteady}

    def _unsteady(self, country: str) -> ToolResult:
        if next(self.calls) <= self.failures:
            raise ToolFailed("the atlas is out of reach")
        return ToolResult("Lima")


def test_what_failed_is_drawn_again_unseen_and_counted(tmp_path):
    env = record_traces(RoleEnv(Unsteady(), Lookup()), tmp_path / "traces.jsonl")
    _, info = env.reset(seed=0)
    assert info["failed"] == 0
    problems = []
    for failed in (1, 2, 3):
        problems.append((env.problem, env.session.play.seed))
        seen, reward, over, cut, info = env.step("Peru")
        assert (reward, over, cut, info["failed"], info["turn"]) == (0.0, False, False, failed, 0)
        assert "Name the country" in seen["messages"][-1]["content"], "the next problem, from its beginning"
    assert len({seed for _, seed in problems}) == 3
    seen, _, over, _, info = env.step("Peru")
    assert not over
    assert "Found: Lima" in seen["messages"][-1]["content"]
    _, reward, over, _, info = env.step(str(env.problem.gold))
    assert (reward, over, info["failed"], info["status"]) == (1.0, True, 3, "finished")
    env.close()
    assert [t.status for t in read_traces(tmp_path / "traces.jsonl")] == [Status.FAILED] * 3 + [Status.FINISHED]


def again(env: RoleEnv, text: str, times: int = 30) -> None:
    for _ in range(times):
        env.step(text)


def test_after_ten_failures_in_a_row_the_tool_is_named():
    env = RoleEnv(Unsteady(failures=9), Lookup())
    env.reset(seed=0)
    for _ in range(10):
        seen = env.step("Peru")[0]
    assert "Found" in seen["messages"][-1]["content"], "nine were drawn again"
    env = RoleEnv(Capitals(down=True), Lookup())
    env.reset(seed=0)
    with pytest.raises(
        ToolFailed, match=r"10 episodes in a row could not be played\. The last: tool find: the atlas is"
    ):
        again(env, "Peru")
    grader = RoleEnv(Capitals(buggy=True), Sometimes())
    grader.reset(seed=0)
    with pytest.raises(ToolFailed, match=r"10 episodes in a row .* the grader failed: ZeroDivisionError"):
        again(grader, "x")


def test_a_role_that_acted_only_in_what_failed_is_not_rewarded_for_the_next_episode():
    """The helper speaks, the boss's tool fails, and in the episode that is drawn instead the helper is not asked: that one is skipped."""

    @dataclass(frozen=True)
    class Breaks(Capitals):
        def grade(self, problem, text, kind="answer"):
            if problem.gold == "Lima" and next(self.calls) == 1:
                raise ZeroDivisionError("once")
            return super().grade(problem, text, kind)

        calls: Any = field(default_factory=lambda: itertools.count(1), compare=False, metadata={"where": True})

    env = RoleEnv(Breaks(), Sometimes(), "helper", lambda *_: "Lima")
    env.reset(seed=0)
    seen, reward, over, _, info = env.step("hm")
    assert (reward, over, info["failed"]) == (0.0, False, 1)
    assert env.problem.gold == "Lima"
    assert seen["messages"]
    assert env.step("hm")[1:3] == (1.0, True)


# Rewards on the way.


def test_shaped_rewards_come_at_once_beside_the_rules():
    def price(event: Event) -> float:
        return -0.25 if type(event.call) is Malformed else 0.1 if event.reply else 0.0

    env = shape_rewards(make_role("arithmetic/eval_opt-v1", "generator", rejects, train_size=20), price)
    env.reset(seed=0)
    assert env.step("a")[1] == pytest.approx(0.1)
    assert env.step("b")[1] == pytest.approx(0.1)
    _, reward, over, _, info = env.step(f"\\boxed{{{env.problem.gold}}}")
    assert over
    assert reward == pytest.approx(1.1)
    assert info["rewards"]["generator_0"] == 1.0, "the outcome is as it was"

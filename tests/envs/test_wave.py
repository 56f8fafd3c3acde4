"""The parallel view: who is asked, who leaves when, what is refused."""

from __future__ import annotations

import pytest
from toys import Capitals, Crew, Lookup

from llm_marl_envs import Limits, WaveEnv, make_parallel
from llm_marl_envs.errors import InvalidAction, SessionOver


def test_everybody_is_there_and_info_says_whose_action_counts():
    env = make_parallel("arithmetic/eval_opt-v1", train_size=20)
    seen, infos = env.reset(seed=0)
    assert env.agents == ["generator_0", "evaluator_0"]
    assert seen["evaluator_0"] == {"messages": ()}
    assert infos["evaluator_0"] == {"asked": False}
    assert infos["generator_0"] == {"asked": True, "kind": "message", "choices": (), "infoset": (), "turn": 0}
    gold = str(env.problem.gold)
    seen, rewards, ended, cut, infos = env.step({"generator_0": f"\\boxed{{{gold}}}", "evaluator_0": "not heard"})
    assert infos["evaluator_0"]["asked"]
    assert not infos["generator_0"]["asked"]
    assert gold in seen["evaluator_0"]["messages"][-1]["content"]
    assert seen["generator_0"]["messages"], "it sees its last chat"
    assert (rewards, any(ended.values()), any(cut.values())) == ({"generator_0": 0.0, "evaluator_0": 0.0}, False, False)
    _, rewards, ended, cut, infos = env.step({"evaluator_0": "\\boxed{Correct}"})
    assert rewards == {"generator_0": 1.0, "evaluator_0": 1.0}
    assert ended == {"generator_0": True, "evaluator_0": True}
    assert infos["generator_0"] == {"asked": False, "status": "finished", "score": 1.0, "why": "last boxed"}
    assert env.agents == []
    assert "not heard" not in str(env.state())


def test_a_wave_is_one_step_and_the_stopped_leave_with_it():
    env = WaveEnv(Capitals(), Crew())
    env.reset(seed=0)
    asked, there = [], []
    while env.agents:
        asked.append(sorted(env.asks()))
        _, _, ended, _, _ = env.step({agent: "1" for agent in env.asks()})
        there.append([agent for agent in ended if not ended[agent]])
    assert asked == [["boss_0"], ["helper_0", "helper_1"], ["helper_1", "helper_2"], ["boss_0"]]
    assert there == [
        ["boss_0", "helper_0", "helper_1", "helper_2"],
        ["boss_0", "helper_1", "helper_2"],
        ["boss_0", "helper_1", "helper_2"],
        [],
    ]


@pytest.mark.parametrize(
    ("actions", "got"),
    [({}, "missing"), ({"voter": "x"}, "missing"), ({"generator_0": "a", "generator_1": 3, "generator_2": "b"}, "int")],
)
def test_a_missing_action_or_one_that_is_no_text_loses_nothing(actions, got):
    env = make_parallel("arithmetic/voting-v1", train_size=20)
    with pytest.raises(SessionOver, match=r"call reset\(\) before step\(\)"):
        env.step({})
    env.reset(seed=0)
    with pytest.raises(InvalidAction, match=rf"is asked and its action is {got}; expected a str"):
        env.step(actions)
    assert env.session.replies == ()


def test_budgets_and_failures_are_truncations():
    env = make_parallel("arithmetic/voting-v1", limits=Limits(calls=2), train_size=20)
    env.reset(seed=0)
    _, rewards, ended, cut, infos = env.step(dict.fromkeys(env.agents, "\\boxed{1}"))
    assert env.session.calls == 2
    assert (set(rewards.values()), set(ended.values()), set(cut.values())) == ({0.0}, {False}, {True})
    assert infos["generator_0"]["why"] == "used all 2 calls"
    with pytest.raises(SessionOver, match=r"the episode is over; call reset\(\)"):
        env.step({})
    failing = WaveEnv(Capitals(down=True), Lookup())
    failing.reset(seed=0)
    _, _, ended, cut, infos = failing.step({"searcher_0": "Peru"})
    assert (ended, cut, infos["searcher_0"]["status"]) == ({"searcher_0": False}, {"searcher_0": True}, "failed")

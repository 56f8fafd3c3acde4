"""A batch of environments: the same as Gymnasium's own vector of single ones, but asks, tools and grades go together."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import pytest
from envs.views import reply
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from toys import Capitals, Lookup

from llm_marl_envs import VecEnv, make_role, make_vec, record_traces
from llm_marl_envs.errors import ConfigError, InvalidAction, SessionOver
from llm_marl_envs.task import Problem, Score
from llm_marl_envs.traces.files import read_traces

N = 5


def partner(agent: str, messages: Any, info: Any) -> str:
    return reply(agent, messages, info)


def plain(value: Any) -> Any:
    """Arrays as lists, so that nested infos compare."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("role", [None, "generator", "aggregator"])
@pytest.mark.filterwarnings("ignore:.*WARN.*")
def test_it_is_gymnasiums_vector_of_single_ones(mode, role):
    def one():
        return make_role("arithmetic/voting-v1", role, partner, train_size=30)

    rival = SyncVectorEnv([one] * N, autoreset_mode=mode)
    mine = make_vec("arithmetic/voting-v1", N, role, partner, autoreset=mode, train_size=30)
    seeds = list(range(40, 40 + N))
    theirs, ours = rival.reset(seed=seeds), mine.reset(seed=seeds)
    rng = np.random.default_rng(0)
    for step in range(14):
        assert ours[0] == theirs[0]
        assert ours[0] in mine.observation_space
        told, known = plain(ours[-1]), plain(theirs[-1])
        for key in ("agent", "choices", "turn", "status", "score", "final_obs", "final_info", "_final_info"):
            assert told.get(key) == known.get(key), (step, key)
        texts = [f"\\boxed{{{n}}}" for n in rng.integers(0, 150, N)]
        theirs, ours = rival.step(texts), mine.step(texts)
        for a, b in zip(ours[1:4], theirs[1:4], strict=True):
            assert a.dtype == b.dtype
            assert a.tolist() == b.tolist()


def test_who_is_over_is_reset_by_hand_where_nothing_resets_by_itself():
    env = make_vec("arithmetic/solo-v1", 3, autoreset="Disabled", train_size=30)
    with pytest.raises(SessionOver, match=r"call reset\(\)"):
        env.step(["a"] * 3)
    env.reset(seed=0)
    _, _, over, cut, infos = env.step(["x"] * 3)
    assert (over.tolist(), cut.tolist(), infos["status"].tolist()) == ([True] * 3, [False] * 3, ["finished"] * 3)
    with pytest.raises(SessionOver, match=r"episodes \[0, 1, 2\] are over: reset\(options="):
        env.step(["x"] * 3)
    seen, infos = env.reset(options={"reset_mask": np.array([True, False, True])})
    assert [bool(chat) for chat in seen["messages"]] == [True, False, True]
    assert infos["_agent"].tolist() == [True, False, True]
    for wrong in (np.array([True]), np.array([0, 1, 1]), np.zeros(3, bool)):
        with pytest.raises(ConfigError, match="reset_mask is 3 bools, one of them True"):
            env.reset(options={"reset_mask": wrong})


def test_seeds_are_named_not_counted():
    env = make_vec("arithmetic/solo-v1", 4, train_size=500)
    one, two = env.reset(seed=0)[0]["messages"], env.reset(seed=1)[0]["messages"]
    assert env.reset(seed=0)[0]["messages"] == one
    assert not set(map(str, one)) & set(map(str, two))
    with pytest.raises(ConfigError, match="a list of seeds has one for each of 4 environments; got 2"):
        env.reset(seed=[1, 2])
    with pytest.raises(ConfigError, match="num_envs starts at 1; got 0"):
        make_vec("arithmetic/solo-v1", 0)


def test_a_wrong_action_loses_nothing():
    env = make_vec("arithmetic/eval_opt-v1", 2, train_size=30)
    env.reset(seed=0)
    for wrong, says in ((["a"], "one str for each of 2"), (["a", 3], "action 1 is int; expected a str")):
        with pytest.raises(InvalidAction, match=says):
            env.step(wrong)  # type: ignore[arg-type]
        assert [e.session.replies for e in env.envs] == [(), ()]


def test_partners_are_asked_in_batches():
    class Model:
        batches: list[int] = []  # noqa: RUF012

        def __call__(self, agent, messages, info):
            raise AssertionError("one by one")

        def many(self, asks):
            self.batches.append(len(asks))
            return [partner(*ask) for ask in asks]

    env = make_vec("arithmetic/voting-v1", 8, "aggregator", Model(), train_size=30)
    env.reset(seed=0)
    assert Model.batches == [8, 8, 8], "three voters each"

    class Short(Model):
        def many(self, asks):
            return ["x"]

    with pytest.raises(InvalidAction, match="gave 1 texts for 8 asks"):
        make_vec("arithmetic/voting-v1", 8, "aggregator", Short(), train_size=30).reset(seed=0)


def test_slow_tools_and_graders_work_at_the_same_time():
    @dataclass(frozen=True)
    class Slow(Capitals):
        def _find(self, country: str) -> str:
            return self._wait(super()._find(country))

        def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
            return self._wait(super().grade(problem, text, kind))

        def _wait(self, value):
            working.add(threading.get_ident())
            time.sleep(0.02)
            return value

    working: set[int] = set()
    env = VecEnv(Slow(), Lookup(), 16)
    env.reset(seed=0)
    env.step(["Peru"] * 16)
    assert len(working) > 4
    working.clear()
    _, _, over, _, _ = env.step(["Lima"] * 16)
    assert over.all()
    assert len(working) > 4


def test_records_of_a_batch(tmp_path):
    env = record_traces(make_vec("arithmetic/solo-v1", 3, train_size=30), tmp_path / "t.jsonl.gz")
    env.reset(seed=0)
    for _ in range(3):
        env.step(["\\boxed{1}"] * 3)
    env.close()
    assert len(list(read_traces(tmp_path / "t.jsonl.gz"))) == 6


@pytest.mark.filterwarnings("ignore:.*WARN.*")
def test_gymnasiums_wrappers_take_it():
    env = gymnasium.wrappers.vector.RecordEpisodeStatistics(make_vec("arithmetic/solo-v1", 2, train_size=30))
    env.reset(seed=0)
    infos = env.step(["\\boxed{1}"] * 2)[-1]
    assert infos["episode"]["l"].tolist() == [1, 1]

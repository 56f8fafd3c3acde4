"""No view changes an outcome: the same replies give the same trace through all of them, and in the batched rollout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cases import every
from envs.views import play_aec, play_role, play_waves, reply
from fitting import ENVS

from baselines.engines.scripted import Scripted
from baselines.evaluate import traces_of
from baselines.policies import PolicyRouter
from baselines.rollout import Start, rollout
from llm_marl_envs import Limits, Score, Session, Trace, make, make_parallel, make_role, make_vec
from llm_marl_envs.reading import find_program
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.spec import split_id
from llm_marl_envs.tasks.snippets import Snippets

KNOBS: dict[str, dict[str, Any]] = {
    "arithmetic": {"train_size": 50},
    "atlas": {"size": 100, "train_size": 40},
    "snippets": {"train_size": 20},
}


def through_all(env_id: str, seeds: list[int], limits: Limits = Limits()) -> list[Trace]:
    """Plays them through every view, compares, and returns the traces."""
    knobs = KNOBS[split_id(env_id)[0]] | {"limits": limits}
    aec, waves, whole = make(env_id, **knobs), make_parallel(env_id, **knobs), make_role(env_id, **knobs)
    asked = (
        aec.workflow.roster.roles if limits == Limits() else ()
    )  # a short budget ends before some roles are ever asked
    roles = [make_role(env_id, role, reply, **knobs) for role in asked]
    expected, starts = [], []
    for seed in seeds:
        trace = play_aec(aec, seed).trace()
        expected.append(trace)
        starts.append(Start(Session(aec.session.play), aec.problem, len(starts), 0, seed))
        for env in (play_waves(waves, seed), play_role(whole, seed), *(play_role(env, seed) for env in roles)):
            assert getattr(env, "skipped", 0) or env.trace() == trace
    episodes = rollout(
        starts,
        PolicyRouter.isolated(aec.workflow.roster),
        Scripted(lambda r: reply(r.ask.agent, r.messages, {"choices": r.ask.choices})),
        aec.task,
    )
    for trace, again in zip(expected, traces_of(episodes, aec.env_spec, aec.split, {}), strict=True):
        assert replace(again, meta={}) == trace  # which sample of which group it was
    assert through_vector(env_id, seeds, knobs) == expected
    return expected


class Kept(list[Trace]):
    """The traces of an environment, in memory."""

    write = list.append
    close = list.clear


def through_vector(env_id: str, seeds: list[int], knobs: dict[str, Any]) -> list[Trace]:
    vector = make_vec(env_id, len(seeds), **knobs)
    ended: list[Kept] = [Kept() for _ in seeds]
    for env, mine in zip(vector.envs, ended, strict=True):
        env.recorders.append(mine)
    seen, infos = vector.reset(seed=seeds)
    while not all(ended):
        choices, agents = infos.get("choices"), infos.get("agent")
        texts = [
            reply(agents[i], seen["messages"][i], {"choices": choices[i]}) if agents is not None and agents[i] else ""
            for i in range(len(seeds))
        ]
        seen, _, _, _, infos = vector.step(texts)
    return [mine[0] for mine in ended]


@pytest.fixture
def no_programs(monkeypatch):
    """Programs are not run: what they say and what they are worth is a function of their code, whatever else the machine does."""

    def says(**args: str) -> str:
        return f"it says {seed_of(sorted(args.items())) % 100}"

    def worth(self, problem, text, kind="answer"):
        return Score(seed_of(problem.question.id, find_program(text or "")) % 2, "drawn")

    monkeypatch.setattr(Snippets, "tools", {"python": says, "run_examples": says})
    monkeypatch.setattr(Snippets, "grade", worth)


@pytest.mark.usefixtures("no_programs")
@every("env_id", ENVS.values())
def test_no_view_changes_an_outcome(env_id):
    traces = through_all(env_id, list(range(4)))
    assert len({trace.seed for trace in traces}) == 4


@pytest.mark.parametrize("workflow", ["voting", "swarm", "eval_opt"])
def test_nor_does_a_budget(workflow):
    traces = through_all(ENVS[workflow], list(range(4)), Limits(calls=3))
    assert any(trace.status == "truncated" for trace in traces)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ENVS.values(), ids=ENVS)
def test_no_view_changes_the_outcome_of_2000_episodes(env_id):
    assert len(through_all(env_id, list(range(1000, 1000 + -(-2000 // len(ENVS)))))) * len(ENVS) >= 2000

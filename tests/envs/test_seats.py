"""A person, a script or another program can take any seat of any workflow."""

from __future__ import annotations

import builtins
import re
from random import Random

import pytest
from fitting import ENVS, made

from llm_marl_envs import read_traces
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.testing import random_reply

# With two bundles and bundle (t - 1) mod 2 active, one bundle only proposes and the other only reviews.
SETTINGS = {"arithmetic/propose_review-v1": {"bundles": 3, "rounds": 7}, "arithmetic/orch_workers-v1": {"workers": 1}}
SEATS = [
    (env_id, agent) for env_id in ENVS.values() for agent in made(env_id, **SETTINGS.get(env_id, {})).possible_agents
]


@pytest.mark.parametrize("env_id", ENVS.values())
def test_a_person_can_sit_anywhere(run, monkeypatch, env_id):
    """Seated at every agent that random play reaches in turn, a person is asked for that agent only."""
    for agent in made(env_id).possible_agents[:4]:
        asked: list[str] = []
        monkeypatch.setattr(builtins, "input", lambda prompt, asked=asked: asked.append(prompt) or "\\boxed{1}")
        for seed in range(2):
            code, text = run("play", env_id, "--seat", agent, "--seed", seed)
            assert code == 0
            assert re.search(r"status: (finished|truncated)", text)
        assert set(asked) <= {f"{agent}> "}


def test_the_record_says_who_was_a_person(run, monkeypatch, tmp_path):
    monkeypatch.setattr(builtins, "input", lambda prompt: "\\boxed{1}")
    out = tmp_path / "mine.jsonl"
    assert run("play", "arithmetic/voting-v1", "--seat", "generator_1", "--out", out)[0] == 0
    (trace,) = read_traces(out)
    assert trace.meta["people"] == ["generator_1"]
    marked = [event["agent"] for event in to_orchestration(trace)["events"] if event.get("human")]
    assert marked == ["generator_1"]


@pytest.mark.parametrize(("env_id", "agent"), SEATS)
def test_every_seat_is_reached_and_its_reply_counts(env_id, agent):
    """Somewhere in random play the agent is asked, and what is said in its place stands in the record as its own."""
    env, said = made(env_id, **SETTINGS.get(env_id, {})), f"I, {agent}, say so."
    for seed in range(500):
        env.reset(seed=seed)
        rng, seated = Random(seed), False
        for name in env.agent_iter():
            _, _, terminated, truncated, info = env.last()
            if terminated or truncated:
                env.step(None)
            elif name == agent and not seated:
                seated = True
                env.step(said)
            else:
                env.step(random_reply(rng, info["choices"]))
        if seated:
            spoken = [e.call.agent for e in env.trace().events if e.reply is not None and e.reply.text == said]
            assert spoken == [agent]
            return
    pytest.fail(f"{agent} was never asked in 500 random episodes of {env_id}")

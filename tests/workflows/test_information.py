"""Who can know what, in every workflow: never the gold answer, never what others say at the same time, never the future."""

from __future__ import annotations

import re
from dataclasses import replace
from random import Random

import pytest
from fitting import ENVS, made
from knob_grid import GRID

from llm_marl_envs import Play, Session, make_workflow
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.protocol import Ask
from llm_marl_envs.task import Question
from llm_marl_envs.testing import WELL_FORMED, random_reply

QUESTION = Question(
    "q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.", materials=("One.", "Two.")
)
MARK = re.compile(r"mark([0-9]+)mark")
GOLD = "the-gold-answer-of-this-problem"


def played(name: str, knobs: dict, seed: int) -> Session:
    """A random episode in which every reply, of agents and tools, carries a mark of its own, in every line."""
    rng, session = Random(seed), Session(Play(make_workflow(name, **knobs), QUESTION, seed))
    while session.waiting:
        call, mark = session.waiting[0], f"mark{len(session.replies)}mark"
        if isinstance(call, Ask) and call.choices and rng.random() < 0.7:
            session.reply(rng.choice(call.choices))
        else:
            text = rng.choice(WELL_FORMED)
            session.reply("\n".join(f"{line} {mark}" for line in text.splitlines()).replace("</", f" {mark}</"))
    return session


@pytest.mark.parametrize(("name", "knobs"), GRID, ids=str)
def test_a_prompt_holds_only_what_was_said_in_earlier_waves(name, knobs):
    for seed in range(20):
        said_in: dict[int, int] = {}  # mark -> wave
        session = played(name, knobs, seed)
        number = 0
        for call, reply, wave in session.events:
            if reply is None:
                continue
            said_in[number] = wave
            number += 1
            shown = call.prompt if isinstance(call, Ask) else str(dict(call.args))
            for mark in map(int, MARK.findall(shown)):
                assert mark in said_in, "it was said later"
                assert said_in[mark] < wave, "it was said in the same wave"


def test_marks_do_travel():
    """The test above can fail: in most workflows with more than one role, replies reach later prompts."""
    reached = {
        name
        for name, knobs in GRID
        for seed in range(5)
        for call, *_ in played(name, knobs, seed).events
        if isinstance(call, Ask) and MARK.search(call.prompt)
    }
    assert reached >= {name for name, _ in GRID} - {"solo"}


@pytest.mark.parametrize("env_id", ENVS.values())
def test_no_agent_is_ever_shown_the_gold_answer(env_id):
    env = made(env_id)
    for seed in range(20):
        env.reset(seed=seed)
        env.problem = replace(env.problem, gold=GOLD)
        rng = Random(seed)
        for _ in env.agent_iter():
            observation, _, terminated, truncated, info = env.last()
            if terminated or truncated:  # it is over: the reason of the grade may name the right answer now
                env.step(None)
                continue
            assert GOLD not in str(observation)
            assert GOLD not in str(info)
            env.step(random_reply(rng, info["choices"]))
        assert GOLD not in str(env.session.events)
        assert GOLD not in env.trace().to_json()
        assert GOLD not in str(to_orchestration(env.trace(), env.outcome))

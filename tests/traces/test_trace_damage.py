"""Damaged traces: any line is either a trace that can be shown, or a TraceError; never anything else."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from random import Random

import pytest
from fitting import made
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_marl_envs import Trace
from llm_marl_envs.errors import ReplayMismatch, TraceError
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.orchestration.schema import check_view
from llm_marl_envs.testing import random_reply
from llm_marl_envs.traces.verify import Refused, Verified, Verifier

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "text", "kind", "id"]), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def line_of(env_id: str) -> str:
    """The longest of some random episodes."""
    env, lines = made(env_id), []
    for seed in range(12):
        env.reset(seed=seed)
        rng = Random(seed)
        for _ in env.agent_iter():
            _, _, terminated, truncated, info = env.last()
            env.step(None if terminated or truncated else random_reply(rng, info.get("choices", ())))
        lines.append(env.trace(entry="x").to_json())
    return max(lines, key=len)


LINES = {
    name: line_of(name) for name in ("arithmetic/swarm-v1", "atlas/search_answer-v1", "arithmetic/propose_review-v1")
}
VERIFIER = Verifier()
KEYS = ("event", "wave", "agent", "prompt", "system", "kind", "choices", "infoset", "reply", "tokens", "seconds", "args", "tool", "by", "text", "about", "expected", "fresh", "digest")  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_damage_raises_anything_else(data):
    damage(data)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(data=st.data())
def test_no_damage_of_two_thousand_raises_anything_else(data):
    damage(data)


def damage(data: st.DataObject) -> None:
    record = json.loads(LINES[data.draw(st.sampled_from(sorted(LINES)))])
    for _ in range(data.draw(st.integers(1, 3))):
        event = data.draw(st.sampled_from(record["events"])) if record["events"] else record
        place = data.draw(st.sampled_from([event, event, record, record["question"], record["limits"]]))
        if not isinstance(place, dict) or not place:
            continue
        key = data.draw(st.sampled_from(sorted({*place, *(KEYS if place is event else ())})))
        if data.draw(st.booleans()) and data.draw(st.booleans()):
            place.pop(key, None)
        else:
            place[key] = data.draw(values)
        if (
            not record.get("events")
            or not isinstance(record["events"], list)
            or not all(isinstance(e, dict) for e in record["events"])
            or not all(isinstance(record.get(k), dict) for k in ("question", "limits"))
        ):
            break
    try:
        trace = Trace.from_json(json.dumps(record))
    except TraceError:
        return
    with contextlib.suppress(ReplayMismatch):
        trace.check_digests()
    assert isinstance(VERIFIER(trace), (Verified, Refused))
    assert isinstance(VERIFIER(replace(trace, digests=())), (Verified, Refused)), "with digests made anew"
    with contextlib.suppress(TraceError):
        view = to_orchestration(trace)
        assert check_view(json.loads(json.dumps(view))) == []

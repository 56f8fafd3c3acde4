"""Which edits of a trace are caught: by digests, and, if these were recomputed, by replay and grading."""

from __future__ import annotations

import copy
import json
from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from fitting import ENVS, made

from llm_marl_envs import Trace
from llm_marl_envs.errors import ReplayMismatch, TraceError
from llm_marl_envs.protocol import UseTool
from llm_marl_envs.testing import random_reply
from llm_marl_envs.traces.verify import Verified, Verifier

KINDS = ("prompt", "reply", "tool result", "event order", "missing event", "score", "answer")
WHOLE = {"prompt", "event order", "missing event", "score", "answer"}  # of these, none may be believed


def episodes() -> list[Trace]:
    """Twelve episodes of every workflow, some with the right answer, as read back from their lines."""
    found = []
    for env_id in ENVS.values():
        env = made(env_id)
        for seed in range(12):
            env.reset(seed=seed)
            rng = Random(seed)
            gold = getattr(env.problem, "gold", None)
            for _ in env.agent_iter():
                _, _, terminated, truncated, info = env.last()
                if terminated or truncated:
                    env.step(None)
                elif isinstance(gold, int) and rng.random() < 0.4:
                    env.step(f"\\boxed{{{gold}}}")
                else:
                    env.step(random_reply(rng, info["choices"]))
            found.append(Trace.from_json(env.trace(entry="random").to_json()))
    return found


def edited(data: dict, kind: str, rng: Random) -> bool:
    """Make one edit of a trace's JSON; False if there is nothing of this kind to edit."""
    events = data["events"]
    asks = [e for e in events if e["event"] == "Ask"]
    tools = [e for e in events if e["event"] == "UseTool"]

    def changed(text: str) -> str:
        """One character more, less or other; or a sentence more."""
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0 if text:
                return text[:at] + text[at + 1 :] if at < len(text) else text[:-1]
            case 1 if at < len(text):
                return text[:at] + chr(ord("a") + rng.randrange(26)).upper() + text[at + 1 :]
            case 2:
                return f"{text}\nThe answer is \\boxed{{{rng.randrange(100)}}}"
        return text[:at] + rng.choice("x0 .") + text[at:]

    before = json.dumps(data, sort_keys=True)
    match kind:
        case "prompt":
            call = rng.choice(asks)
            call["prompt"] = changed(call["prompt"])
        case "reply":
            call = rng.choice(asks)
            call["reply"] = changed(call["reply"])
        case "tool result":
            if not tools:
                return False
            call = rng.choice(tools)
            call["reply"] = changed(call["reply"])
        case "event order":
            if len(events) < 2:
                return False
            i = rng.randrange(len(events) - 1)
            events[i], events[i + 1] = events[i + 1], events[i]
            bare = [{k: v for k, v in e.items() if k != "digest"} for e in events[i : i + 2]]
            if bare[0] == bare[1]:
                return False
        case "missing event":
            del events[rng.randrange(len(events))]
        case "score":
            data["score"] = 1.0 - data["score"] if rng.random() < 0.7 else round(rng.random(), 3)
        case "answer":
            data["answer"] = changed(data["answer"]) if data["answer"] is not None else "\\boxed{4}"
    return json.dumps(data, sort_keys=True) != before


def study(edits: int) -> dict[str, Counter]:
    """Per kind: how many edits there were, how many the digests caught, and how many replay and grading did."""
    traces, verifier = episodes(), Verifier()
    assert all(isinstance(verifier(trace), Verified) for trace in traces)
    plain = [json.loads(trace.to_json()) for trace in traces]
    found: dict[str, Counter] = {}
    for kind in KINDS:
        rng, count = Random(kind), Counter()
        while count["edits"] < edits:
            data = copy.deepcopy(rng.choice(plain))
            if not edited(data, kind, rng):
                continue
            count["edits"] += 1
            line = json.dumps(data)
            try:
                trace = Trace.from_json(line)
                trace.check_digests()
            except (ReplayMismatch, TraceError):
                count["digests"] += 1
            again = Trace.from_json(replace(Trace.from_json(line), digests=()).to_json())
            again.check_digests()
            result = verifier(again)
            count["replay and grading"] += not isinstance(result, Verified)
            if isinstance(result, Verified):
                assert (again.score, again.answer) == (result.outcome.team.value, again.session().answer)
        found[kind] = count
    return found


@pytest.fixture(scope="module", params=[100, pytest.param(1000, marks=pytest.mark.slow)])
def edits(request) -> int:
    """How many of each kind."""
    return request.param


@pytest.fixture(scope="module")
def counts(edits) -> dict[str, Counter]:
    return study(edits)


def test_no_single_edit_passes_the_digests(counts, edits):
    assert {kind: count["digests"] for kind, count in counts.items()} == dict.fromkeys(KINDS, edits)


def test_what_replay_and_grading_catch_where_digests_were_made_anew(counts, edits):
    """Replies and tools' results are the attacker's to invent, as long as what follows from them is what stands there."""
    shares = {kind: count["replay and grading"] / edits for kind, count in counts.items()}
    for kind, share in shares.items():
        print(f"{kind:14} {share:.1%}")
    assert {kind for kind, share in shares.items() if share == 1.0} >= WHOLE
    assert 0.0 < shares["reply"] < 1.0
    assert 0.0 < shares["tool result"] < 1.0


def test_tools_that_are_run_again_catch_every_invented_result():
    traces = [trace for trace in episodes() if any(type(e.call) is UseTool for e in trace.events)]
    believing, asking, rng, caught = Verifier(), Verifier(tools=True), Random(5), Counter()
    assert len(traces) > 10
    for trace in traces:
        assert isinstance(asking(trace), Verified), "an honest one passes"
        for _ in range(10):
            data = json.loads(trace.to_json())
            if edited(data, "tool result", rng):
                forged = Trace.from_json(replace(Trace.from_json(json.dumps(data)), digests=()).to_json())
                caught["tried"] += 1
                caught["believing"] += not isinstance(believing(forged), Verified)
                caught["asking"] += not isinstance(asking(forged), Verified)
    assert caught["asking"] == caught["tried"] > 100
    assert caught["believing"] < caught["tried"]

"""The record of an episode: it comes back bit for bit, is replayed, and every single edit is noticed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from fitting import KNOBS, made
from toys import Capitals, Crew, Interviews, Listed, Lookup

from llm_marl_envs import (
    Claim,
    EnvSpec,
    Limits,
    Malformed,
    ReplayMismatch,
    Spawn,
    Status,
    Stop,
    Trace,
    WorkflowEnv,
    make,
)
from llm_marl_envs.errors import TraceError
from llm_marl_envs.session import Event, Play, Reply, Session
from llm_marl_envs.testing import play_randomly

SCRIPTS = {
    "arithmetic/solo-v1": ("\\boxed{3}",),
    "arithmetic/eval_opt-v1": ("\\boxed{3}", "so so", "\\boxed{4}", "\\boxed{Incorrect}", "\\boxed{5} é\ud800🙂\x00"),
    "arithmetic/voting-v1": ("\\boxed{3}", "", "\\boxed{3}", "the 2nd"),
    "arithmetic/orch_workers-v1": ("STRATEGY 1: add\nSTRATEGY 2: count", "\\boxed{3}", "\\boxed{4}", "\\boxed{4}"),
}


def env_of(env_id: str, *texts: str, **knobs: Any) -> WorkflowEnv:
    env = make(env_id, train_size=10, **knobs)
    env.reset(seed=1, options={"problem": 2})
    for text in texts:
        while env.last()[2]:
            env.step(None)
        env.step(text)
    return env


def toy(workflow: Any, *texts: str, task: Capitals = Capitals(), **limits: int) -> WorkflowEnv:
    env = WorkflowEnv(task, workflow, limits=Limits(**limits))
    env.reset(seed=1, options={"problem": "capitals/Peru"})
    for text in texts:
        while env.last()[2] and env.agents:
            env.step(None)
        env.step(text)
    return env


TOYS: dict[str, Callable[[], WorkflowEnv]] = {
    "tools": lambda: toy(Lookup(), "Peru", "Lima"),
    "hiring": lambda: toy(Crew(), "hire", "a", "b", "c", "d", "3"),
    "chance": lambda: toy(Interviews(), "a0", "b0", "b1", "b2"),
    "failed tool": lambda: toy(Lookup(), "Peru", task=Capitals(down=True)),
    "failed grader": lambda: toy(Lookup(), "Peru", "Lima", task=Capitals(buggy=True)),
    "truncated": lambda: toy(Crew(), "hire", "a", "b", calls=3),
    "truncated in a wave": lambda: toy(Crew(), "hire", "a", calls=2),
    **{f"unfinished {n}": lambda n=n: toy(Crew(), *("hire", "a", "b", "c", "d")[:n]) for n in range(6)},
    **{env_id: lambda env_id=env_id: env_of(env_id, *SCRIPTS[env_id]) for env_id in SCRIPTS},
}


@pytest.fixture(params=TOYS)
def trace(request) -> Trace:
    return TOYS[request.param]().trace(entry="toy", step=3, parent=("abc", 2), rate=0.1)


# There and back.


def test_a_trace_comes_back_bit_for_bit(trace):
    line = trace.to_json()
    assert "\n" not in line
    assert line.isascii()
    again = Trace.from_json(line)
    assert again.to_json() == line
    assert Trace.from_json(again.to_json()) == again
    assert (again.id, again.digests) == (trace.id, trace.chain())
    assert (again.events, again.question, again.spec) == (trace.events, trace.question, trace.spec)
    assert again.meta == {"entry": "toy", "step": 3, "parent": ["abc", 2], "rate": 0.1}
    assert pickle.loads(pickle.dumps(trace)) == trace


def test_a_trace_is_replayed(trace):
    for one in (trace, Trace.from_json(trace.to_json())):
        session = one.session()
        assert tuple(session.events) == trace.events
        if trace.status is not Status.FAILED:
            assert (session.status, session.answer) == (trace.status, trace.answer)
        if trace.status is None:
            session.reply("and it goes on")


def test_what_a_trace_says():
    trace = env_of("arithmetic/eval_opt-v1", *SCRIPTS["arithmetic/eval_opt-v1"], rounds=3, digits=1).trace(entry="me")
    data = json.loads(trace.to_json())
    assert data["env"] == "arithmetic/eval_opt-v1"
    assert data["task_knobs"] == {"digits": 1, "train_size": 10}, "knobs at their defaults are left out"
    assert data["workflow_knobs"] == {}
    assert data["question"]["id"] == "arithmetic/train/0/2"
    assert (data["split"], data["status"], data["score"]) == ("train", "finished", 0.0)
    assert data["meta"] == {"entry": "me"}
    assert [event["event"] for event in data["events"]] == [
        *("Ask", "Claim", "Ask", "Malformed", "Ask", "Claim", "Ask", "Claim", "Ask", "Claim"),
    ]
    assert data["events"][0].keys() == {"event", "wave", "agent", "prompt", "reply", "digest"}
    assert "gold" not in trace.to_json()


def test_failed_and_unfinished_traces_say_so():
    failed = TOYS["failed tool"]().trace()
    assert (failed.status, failed.why) == (Status.FAILED, "tool find: the atlas is out of reach")
    assert failed.session().why == failed.why
    crashed = TOYS["failed grader"]().trace()
    assert (crashed.status, crashed.score) == (Status.FAILED, 0.0)
    assert "ZeroDivisionError" in crashed.why
    unfinished = TOYS["unfinished 3"]().trace()
    assert (unfinished.status, unfinished.score, unfinished.answer) == (None, None, None)
    assert len(unfinished.session().waiting) == 2
    assert TOYS["truncated"]().trace().status is Status.TRUNCATED


@pytest.mark.parametrize("env_id", KNOBS)
def test_random_episodes_of_every_environment(env_id, example_dir):
    env = made(env_id, data_dir=example_dir)
    env.reset(seed=0, options={"problem": 0})
    for seed in range(10):
        session = play_randomly(env.workflow, seed, env.problem.question)
        trace = Trace.of(session, env.env_spec, None, split="train")
        line = trace.to_json()
        assert Trace.from_json(line).to_json() == line
        assert Trace.from_json(line).session().events == session.events
    assert str(example_dir) not in line, "where the data lie is nobody's business"


def test_nested_tool_arguments_and_infosets_survive():
    session = Session(Play(Listed(), Capitals().problems("train")[1].question), ["Lima", "Lima"])
    trace = Trace.of(session, EnvSpec("toys:Capitals", "toys:Listed"), None)
    again = Trace.from_json(trace.to_json())
    assert again.to_json() == trace.to_json()
    assert again.session().events == session.events
    assert json.loads(again.to_json())["events"][0]["args"]["ids"] == [1, [2, [3]]]
    wrong = _replaced(trace, 0, replace(trace.events[0].call, args={"country": "Peru", "ids": [1, [2, [4]]]}))
    with pytest.raises(ReplayMismatch, match="event 0"):
        replace(trace, events=wrong).session()


def test_ids_name_episodes():
    ids = {env_of("arithmetic/solo-v1", str(i)).trace().id for i in range(50)}
    assert len(ids) == 50
    assert all(len(id) == 16 and int(id, 16) >= 0 for id in ids)
    assert env_of("arithmetic/solo-v1", "1").trace().id == env_of("arithmetic/solo-v1", "1").trace().id


# One edit of the line.


def _edit(data: dict[str, Any], kind: str, rng: Random) -> None:
    events = data["events"]
    calls = [e for e in events if "reply" in e]

    def changed(text: str) -> str:
        at = rng.randrange(len(text) + 1)
        return text[:at] + rng.choice("x0 é") + text[at:]

    match kind:
        case "prompt":
            call = rng.choice([e for e in calls if "prompt" in e])
            call["prompt"] = changed(call["prompt"])
        case "reply":
            call = rng.choice(calls)
            call["reply"] = changed(call["reply"])
        case "swap":
            i = rng.randrange(len(events) - 1)
            events[i], events[i + 1] = events[i + 1], events[i]
        case "drop":
            del events[rng.randrange(len(events))]
        case "twice":
            i = rng.randrange(len(events))
            events.insert(i, dict(events[i]))
        case "tokens":
            rng.choice(calls)["tokens"] = [rng.randrange(1, 9), rng.randrange(9)]
        case "seconds":
            rng.choice(calls)["seconds"] = rng.random() + 0.1
        case "wave":
            rng.choice(events)["wave"] += rng.choice((-1, 1))
        case "agent":
            event = rng.choice(events)
            event["agent"] = event["agent"][:-1] + "9"
        case "type":
            event = rng.choice(events)
            event["event"] = "Spawn" if event["event"] != "Spawn" else "Stop"
        case "digest":
            event = rng.choice([*events, data])
            event["digest"] = event["digest"][::-1]
        case "answer" | "why":
            data[kind] = changed(data[kind] or "")
        case "score":
            data["score"] = rng.choice([0.25, 0.5, None, "1"])
        case "status":
            data["status"] = rng.choice(["truncated", "failed", None, "won"])
        case "meta":
            data["meta"]["entry"] = changed(data["meta"]["entry"])
        case "seed":
            data["seed"] += rng.choice((-1, 1))
        case "question":
            data["question"]["text"] = changed(data["question"]["text"])
        case "id":
            data["question"]["id"] += "0"
        case "limits":
            data["limits"]["calls"] = rng.randrange(1, 500)
        case "knobs":
            data["workflow_knobs"] = {"rounds": 2}
        case "env":
            data["env"] = "arithmetic/solo-v1" if "solo" not in data["env"] else "arithmetic/voting-v1"
        case "split":
            data["split"] = "test"
        case "version":
            data["version"] = 1
        case "missing":
            del data[rng.choice(sorted(set(data)))]


EDITS = (
    *("prompt", "reply", "swap", "drop", "twice", "tokens", "seconds", "wave", "agent", "type", "digest", "answer"),
    *("why", "score", "status", "meta", "seed", "question", "id", "limits", "knobs", "env", "split", "version"),
    "missing",
)


@pytest.mark.parametrize("kind", EDITS)
def test_no_single_edit_goes_unnoticed(kind):
    tried = 0
    for name in ("arithmetic/eval_opt-v1", "arithmetic/orch_workers-v1", "hiring", "tools"):
        line = TOYS[name]().trace(entry="toy").to_json()
        for seed in range(5):
            data = json.loads(line)
            _edit(data, kind, Random(f"{name} {kind} {seed}"))
            edited = json.dumps(data)
            assert edited != line
            with pytest.raises((ReplayMismatch, TraceError)):
                Trace.from_json(edited).session()
            tried += 1
    assert tried == 20


def test_the_first_wrong_event_is_named():
    data = json.loads(env_of("arithmetic/eval_opt-v1", *SCRIPTS["arithmetic/eval_opt-v1"]).trace().to_json())
    data["events"][4]["reply"] = "I never said this"
    with pytest.raises(ReplayMismatch, match="digest of event 4 is wrong") as bad:
        Trace.from_json(json.dumps(data)).session()
    assert bad.value.index == 4
    assert pickle.loads(pickle.dumps(bad.value)).index == 4
    data = json.loads(env_of("arithmetic/solo-v1", "5").trace().to_json())
    data["score"] = 1.0
    with pytest.raises(ReplayMismatch, match="digest of the ending"):
        Trace.from_json(json.dumps(data)).session()


# An attacker who recomputes the digests: replay still catches what the workflow would not have produced.


def _replaced(trace: Trace, i: int, call: Any) -> tuple[Event, ...]:
    return tuple(event._replace(call=call) if j == i else event for j, event in enumerate(trace.events))


def _first(trace: Trace, kind: type) -> tuple[int, Any]:
    return next((i, event.call) for i, event in enumerate(trace.events) if type(event.call) is kind)


def forgeries(trace: Trace) -> dict[str, dict[str, Any]]:
    """Impossible traces of `Crew` and `EvalOpt`, by the kind of change."""
    forged: dict[str, dict[str, Any]] = {
        "answer": {"answer": "42"},
        "no answer": {"answer": None},
        "status": {"status": Status.TRUNCATED, "answer": None},
        "unfinished": {"status": None, "answer": None},
        "cut short": {"events": trace.events[:-1]},
        "one more event": {"events": (*trace.events, trace.events[-1])},
        "other limits": {"limits": Limits(calls=2)},
        "another workflow": {"spec": replace(trace.spec, workflow="solo")},
    }
    for i, (call, reply, wave) in enumerate(trace.events):
        if reply is not None:
            forged[f"prompt {i}"] = {"events": _replaced(trace, i, replace(call, prompt=call.prompt + " Hint: 42."))}
            forged[f"chat {i}"] = {"events": _replaced(trace, i, replace(call, fresh=not call.fresh))}
        forged[f"agent {i}"] = {"events": _replaced(trace, i, replace(call, agent=call.agent[:-1] + "7"))}
        moved = Event(call, reply, wave + 1)
        forged[f"wave {i}"] = {"events": (*trace.events[:i], moved, *trace.events[i + 1 :])}
        forged[f"dropped {i}"] = {"events": trace.events[:i] + trace.events[i + 1 :]}
    return forged


@pytest.mark.parametrize("name", ["hiring", "arithmetic/eval_opt-v1"])
def test_forged_traces_are_caught_by_replay(name):
    trace = TOYS[name]().trace()
    cases = forgeries(trace)
    for kind, change in ((Spawn, {"by": "helper_1"}), (Stop, {"agent": "helper_1"}), (Malformed, {"expected": "a no"})):
        if any(type(event.call) is kind for event in trace.events):
            i, call = _first(trace, kind)
            cases[kind.__name__] = {"events": _replaced(trace, i, replace(call, **change))}
    if any(type(event.call) is Claim for event in trace.events):
        i, call = _first(trace, Claim)
        for field, value in (("text", "\\boxed{7}"), ("kind", "evidence"), ("about", "x")):
            cases[f"claim {field}"] = {"events": _replaced(trace, i, replace(call, **{field: value}))}
    for what, change in cases.items():
        forged = Trace.from_json(replace(trace, **change, digests=()).to_json())
        forged.check_digests()  # these are right
        with pytest.raises(ReplayMismatch):
            print(what, forged.session())
    assert len(cases) >= 40


def test_a_forged_seed_is_caught_where_chance_decided():
    trace = TOYS["chance"]().trace()
    wrong = next(
        s for s in range(99) if Session(Play(Interviews(), trace.question, s), "abcd").answer[0] != trace.answer[0]
    )
    with pytest.raises(ReplayMismatch, match="the trace ends finished with answer"):
        replace(trace, seed=wrong, digests=()).session()


def test_a_forged_reply_leads_elsewhere():
    trace = TOYS["arithmetic/eval_opt-v1"]().trace()
    accepted = tuple(
        event._replace(reply=Reply("\\boxed{Correct}")) if event.reply and event.reply.text == "so so" else event
        for event in trace.events
    )
    with pytest.raises(ReplayMismatch, match=r"event 3 is .*Malformed.*the workflow says .*Claim"):
        replace(trace, events=accepted, digests=()).session()


def test_an_honest_trace_of_an_unknown_workflow_or_version_is_no_trace_of_ours():
    line = env_of("arithmetic/solo-v1", "5").trace().to_json()
    for version in ("v2", "v9999", "0", "", "v", "v-1", "vv1"):
        with pytest.raises(TraceError, match="plays environments of version v1"):
            Trace.from_json(line.replace("solo-v1", f"solo-{version}"))
    with pytest.raises(TraceError, match="trace version 9; this release reads versions 1 to 2"):
        Trace.from_json(line.replace('"version": 2', '"version": 9'))
    for junk in ("", "{}", "[]", "null", "3", '"x"', "{", "[" * 100_000, line[:-1], line[:100]):
        with pytest.raises(TraceError, match="not a trace"):
            Trace.from_json(junk)

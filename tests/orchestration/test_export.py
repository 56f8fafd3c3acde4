"""Traces in the public orchestration schema: hand-written views, random episodes of everything, and a validator that catches."""

from __future__ import annotations

import copy
import json
import re
from random import Random

import jsonschema
import pytest
from cases import sizes
from fitting import made
from knob_grid import GRID
from places import GOLDEN
from playthroughs import SCRIPTS

from llm_marl_envs import EnvSpec, Limits, Play, Session, Status, Trace, make, make_workflow
from llm_marl_envs.errors import TraceError
from llm_marl_envs.orchestration.export import to_orchestration, topology_of
from llm_marl_envs.orchestration.schema import EDGE_TYPES, EVENT_TYPES, TOPOLOGIES, check_view
from llm_marl_envs.protocol import Ask
from llm_marl_envs.rewards import split_coverage
from llm_marl_envs.task import Question
from llm_marl_envs.testing import random_reply

SCHEMA = json.loads((GOLDEN / "orchestration_schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
QUESTION = Question("q/0", "How many legs have 3 cats?", answer_format="Answer in \\boxed{}.")


def trace_of(name: str, knobs: dict, session: Session, **given) -> Trace:
    return Trace.of(session, EnvSpec("arithmetic", name, {}, knobs), None, split="test", **given)


def random_trace(name: str, knobs: dict, seed: int) -> tuple[Trace, Session]:
    """A random episode that was metered, some timed, some not, some cut short, some failed; as read back from its line."""
    rng = Random(seed)
    timed = rng.random() < 0.5
    limits = Limits(calls=rng.choice((None, None, None, 2, 7)), tokens=10**9, seconds=1e9)
    session = Session(Play(make_workflow(name, **knobs), QUESTION, seed, limits))
    while session.waiting:
        call = session.waiting[0]
        seconds = rng.random() if timed else 0.0
        if isinstance(call, Ask):
            session.reply(random_reply(rng, call.choices), rng.randrange(100), rng.randrange(50), seconds)
        elif rng.random() < 0.05 and session.events:
            session.fail("the tool is out of reach")
        else:
            session.reply(random_reply(rng), seconds=seconds)
    return Trace.from_json(trace_of(name, knobs, session).to_json()), session


def check_against_session(view: dict, session: Session) -> None:
    asks = [e for e in session.events if type(e.call) is Ask]
    assert (
        view["costs"]["tokens"]
        == session.tokens
        == sum(e.get("prompt_tokens", 0) + e.get("reply_tokens", 0) for e in view["events"])
    )
    assert view["costs"]["calls"] == session.calls == len(asks)
    assert view["costs"]["tool_calls"] == sum(e["type"] == "tool_call" for e in view["events"])
    assert view["costs"]["calls"] + view["costs"]["tool_calls"] == len(session.replies)
    assert view["costs"]["messages"] == sum(e.call.kind == "message" for e in asks)
    assert view["costs"]["work_s"] == pytest.approx(session.seconds)
    assert view["costs"]["wall_clock_s"] <= session.seconds + 1e-9
    assert [e["t"] for e in view["events"]] == sorted(e["t"] for e in view["events"])
    at = {e["id"]: i for i, e in enumerate(view["events"])}
    assert all(at[edge["src"]] < at[edge["dst"]] for edge in view["edges"])


@sizes("episodes", 8 * len(GRID), 10_000)
def test_random_episodes_are_valid_and_their_costs_add_up(episodes):
    for number in range(episodes):
        name, knobs = GRID[number % len(GRID)]
        trace, session = random_trace(name, knobs, number)
        view = json.loads(json.dumps(to_orchestration(trace)))
        VALIDATOR.validate(view)
        assert check_view(view) == []
        check_against_session(view, session)


def test_who_read_whom_is_what_a_plain_search_finds(monkeypatch):
    """The index of what was said, against looking for every earlier text in every prompt."""

    def held_by(self, prompt, parts):
        lines = [(line, "") for line in (prompt, *(line.strip() for line in prompt.split("\n")))]
        lines += [(after.strip(), before) for before, _, after in (ln.partition(": ") for ln in prompt.split("\n"))]
        found = set()
        for said in self._all:
            for text, whole in [(part, False) for part in said.parts] + [(said.whole, True)] * bool(said.whole):
                if whole:
                    start, end = (r"(?<![A-Za-z0-9])" * text[0].isalnum(), r"(?![A-Za-z0-9])" * text[-1].isalnum())
                    places = [m.start() for m in re.finditer(start + re.escape(text) + end, prompt)]
                    around = [prompt[:at].rpartition("\n")[2][-100:] for at in places]
                else:
                    around = [before for line, before in lines if line == text]
                if whole:
                    authors = {s.agent: s.number for s in self._all if text == s.whole}
                else:
                    authors = {s.agent: s.number for s in self._all if text in s.parts}
                named = {agent for agent in authors for before in around if re.search(rf"\b{agent}\b", before)}
                found |= {(authors[agent], agent) for agent in (named or authors) if around}
        return sorted(found)

    traces = [random_trace(*GRID[number % len(GRID)], number)[0] for number in range(3 * len(GRID))]
    views = [to_orchestration(trace) for trace in traces]
    monkeypatch.setattr("llm_marl_envs.quotes.Sayings.held_by", held_by)
    assert [to_orchestration(trace) for trace in traces] == views
    assert sum(edge["type"] == "message" for view in views for edge in view["edges"]) > 100


def swarm_view(**given) -> dict:
    script = SCRIPTS["swarm"]
    session = Session(Play(make_workflow("swarm"), script.question), script.replies)
    return to_orchestration(trace_of("swarm", {}, session, **given))


def test_a_swarm_event_by_event():
    """The golden playthrough's first round: a decision, two spawns, a delegation, two workers at once, the stop question."""
    view = swarm_view()
    assert view["topology"] == "swarm"
    assert view["system"] == "arithmetic/swarm-v1"
    assert [(e["id"], e["t"], e["type"], e["agent"], e.get("to")) for e in view["events"][:7]] == [
        ("e0", 0.0, "orchestrator_decision", "spawner_0", None),
        ("e1", 1.0, "spawn", "spawner_0", "worker_0"),
        ("e2", 1.0, "spawn", "spawner_0", "worker_1"),
        ("e3", 1.0, "orchestrator_decision", "delegator_0", None),
        ("e4", 2.0, "return", "worker_0", None),
        ("e5", 2.0, "return", "worker_1", None),
        ("e6", 3.0, "orchestrator_decision", "stopper_0", None),
    ]
    early = {(e["src"], e["dst"], e["type"]) for e in view["edges"] if e["dst"] in ("e1", "e2", "e3", "e4", "e5", "e6")}
    assert early == {
        ("e0", "e1", "spawn"),
        ("e0", "e2", "spawn"),
        ("e0", "e3", "causal"),
        ("e1", "e4", "causal"),
        ("e2", "e5", "causal"),
        ("e3", "e4", "message"),  # each worker's part stands in its prompt
        ("e3", "e5", "message"),
        ("e4", "e6", "return"),
        ("e5", "e6", "return"),
    }


def test_questions_status_and_answers_stand_at_the_ends():
    view = swarm_view()
    first, last = view["events"][0], view["events"][-1]
    assert first["question"] == "How many legs have 3 cats?"
    assert (last["type"], last["agent"], last["status"], last["answer"]) == (
        "aggregate", "aggregator_0", "finished", "\\boxed{12}",
    )  # fmt: skip


def test_times_run_in_waves():
    """Three voters of 2, 3 and 4 s at once, then the aggregator for 1 s."""
    session = Session(Play(make_workflow("voting"), QUESTION))
    for text, seconds in (("\\boxed{9}", 2.0), ("\\boxed{12}", 3.0), ("\\boxed{7}", 4.0), ("Solution 2 it is", 1.0)):
        session.reply(text, 10, 5, seconds)
    view = to_orchestration(trace_of("voting", {}, session))
    assert [(e["t"], e["seconds"]) for e in view["events"]] == [(0.0, 2.0), (0.0, 3.0), (0.0, 4.0), (4.0, 1.0)]
    assert view["costs"] == {
        "tokens": 60, "wall_clock_s": 5.0, "tool_calls": 0, "messages": 3, "calls": 4, "work_s": 10.0,
    }  # fmt: skip
    assert {(e["src"], e["dst"], e["type"]) for e in view["edges"]} == {
        ("e0", "e1", "temporal"),
        ("e1", "e2", "temporal"),
        ("e0", "e3", "aggregate"),
        ("e1", "e3", "aggregate"),
        ("e2", "e3", "aggregate"),
    }
    assert view["metrics"]["critical_path_s"] == 5.0
    assert view["metrics"]["speed_up"] == 2.0
    assert view["metrics"]["parallelism_efficiency"] == pytest.approx(2 / 3)


def test_tools_and_who_reads_what_they_found():
    script = SCRIPTS["search_answer"]
    session = Session(Play(make_workflow("search_answer"), script.question), script.replies)
    view = to_orchestration(trace_of("search_answer", {}, session))
    types = {e["id"]: (e["type"], e["agent"]) for e in view["events"]}
    calls = [e for e in view["events"] if e["type"] == "tool_call"]
    assert [(e["tool"], e["args"]) for e in calls] == [
        ("search", {"query": "author of Emma"}), ("search", {"query": "Jane Austen born"})
    ]  # fmt: skip
    results = [e for e in view["events"] if e["type"] == "tool_result"]
    assert all(e["trusted"] is False for e in results)
    readers = {(types[e["src"]][0], types[e["dst"]][1]) for e in view["edges"] if e["type"] == "tool_dependency"}
    assert ("tool_result", "generator_0") in readers  # the generator reads passages ...
    flows = {(types[e["src"]], types[e["dst"]]) for e in view["edges"] if e["type"] in ("message", "return")}
    assert not [flow for flow in flows if flow[0][1] == "searcher_0"]  # ... and never the searcher's words


def test_texts_can_be_left_out():
    script = SCRIPTS["eval_opt"]
    session = Session(Play(make_workflow("eval_opt"), script.question), script.replies)
    trace = trace_of("eval_opt", {}, session)
    bare, whole = to_orchestration(trace, texts=False), to_orchestration(trace)
    VALIDATOR.validate(bare)
    written = json.dumps(bare)
    assert not [text for text in (script.question.text, *script.replies) if text in written]
    assert [e["content_ref"] for e in bare["events"]] == [e["content_ref"] for e in whole["events"]]
    assert len({e["content_ref"] for e in bare["events"]}) == len(bare["events"])
    assert bare["edges"] == whole["edges"]


def test_grades_become_channels():
    env = make("arithmetic/eval_opt-v1")
    env.reset(seed=3)
    gold = env.problem.gold
    for text in ("\\boxed{0}", "\\boxed{Incorrect}", f"\\boxed{{{gold}}}", "\\boxed{Correct}"):
        if env.agents:
            env.step(text)
    view = to_orchestration(env.trace(), env.outcome)
    # the verdicts are decisions: no word of the question, nothing faster, and no better than the generator's last answer
    assert view["rewards"] == {"team": 1.0, "answer": 0.5, "verdict": 1.0, "orchestration": 0.0}
    claims = [claim for event in view["events"] for claim in event.get("claims", ())]
    assert [(claim["kind"], claim["grade"]) for claim in claims] == [
        ("answer", 0.0), ("verdict", 1.0), ("answer", 1.0), ("verdict", 1.0),
    ]  # fmt: skip
    assert to_orchestration(env.trace())["rewards"] == {"team": 1.0}


def test_tools_and_organisation_are_channels():
    """Two searches of which one found something; one hired worker beside another: 4 calls on a path of 3, half of the words handed out."""
    env = made("atlas/search_answer-v1")
    env.reset(seed=0)
    question = env.session.play.question.text
    for text in (f"<search>{question}</search>", "<search>zzyzx</search>", "<stop>", "<answer>x</answer>"):
        env.step(text)
    assert to_orchestration(env.trace(), env.outcome)["rewards"]["tool"] == pytest.approx(0.1 - 2 * 0.02)
    env = make("arithmetic/orch_workers-v1")
    env.reset(seed=0)
    for text in ("STRATEGY 1: units\nSTRATEGY 2: tens", "\\boxed{-1}", "\\boxed{-1}", "\\boxed{-1}"):
        while env.terminations[env.agent_selection]:
            env.step(None)
        env.step(text)
    coverage = split_coverage(env.outcome)
    found = to_orchestration(env.trace(), env.outcome)["rewards"]
    assert found["orchestration"] == pytest.approx(0.1 * (4 / 3 - 1) + 0.1 * coverage)
    assert "tool" not in found


def test_an_episode_without_events_is_refused():
    session = Session(Play(make_workflow("solo"), QUESTION))
    session.fail("the model is out of reach")
    with pytest.raises(TraceError, match=r"has no events .*out of reach"):
        to_orchestration(trace_of("solo", {}, session))


def test_every_workflow_names_a_topology():
    from llm_marl_envs.catalog import names

    found = {name: topology_of(name) for name in names("llm_marl_envs.workflows")}
    assert set(found.values()) <= set(TOPOLOGIES)
    assert [name for name, topology in found.items() if topology == "unknown"] == ["solo"]
    assert topology_of("no such workflow") == "unknown"


def test_our_lists_are_the_schemas():
    assert list(EVENT_TYPES) == SCHEMA["$defs"]["event"]["properties"]["type"]["enum"]
    assert list(EDGE_TYPES) == SCHEMA["$defs"]["edge"]["properties"]["type"]["enum"]
    assert list(TOPOLOGIES) == SCHEMA["properties"]["topology"]["enum"]


def with_change(path: list, value) -> dict:
    view = copy.deepcopy(swarm_view())
    place = view
    for key in path[:-1]:
        place = place[key]
    if value is KeyError:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return view


SCHEMA_FAULTS = [
    (["trace_id"], KeyError), (["task_id"], 3), (["events"], []), (["events"], {}), (["events", 1], "spawn"),
    (["events", 0, "id"], KeyError), (["events", 0, "t"], -1), (["events", 0, "t"], "0"), (["events", 0, "t"], True),
    (["events", 2, "type"], "spawned"), (["events", 2, "agent"], None), (["events", 2, "to"], ["a"]),
    (["events", 2, "trusted"], 1), (["edges"], None), (["edges", 0, "type"], "cause"), (["edges", 0, "why"], "x"),
    (["edges", 0, "src"], KeyError), (["rewards"], KeyError), (["rewards", "team"], "1"), (["costs", "tokens"], KeyError),
    (["costs", "tokens"], -1), (["costs", "wall_clock_s"], "1"), (["metrics", "x"], None), (["metrics"], []),
    (["topology"], "star"), (["system"], 1), (["note"], "hello"),
]  # fmt: skip
OTHER_FAULTS = [
    (["events", 1, "id"], "e0"), (["edges", 0, "src"], "e999"), (["edges", 0, "dst"], "e999"), (["edges"], []),
    (["rewards", "team"], float("nan")), (["costs", "x"], -1.0),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), [*SCHEMA_FAULTS, *OTHER_FAULTS], ids=str)
def test_planted_faults_are_caught(path, value):
    assert check_view(swarm_view()) == []
    assert check_view(with_change(path, value))


@pytest.mark.parametrize(("path", "value"), SCHEMA_FAULTS, ids=str)
def test_the_schema_catches_what_we_catch(path, value):
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(with_change(path, value))


@pytest.mark.parametrize("junk", [None, [], "x", 3, {}, {"events": 1}])
def test_junk_is_no_view(junk):
    assert check_view(junk)


def test_forks_name_their_parent_and_are_held_to_it():
    session = Session(Play(make_workflow("voting"), QUESTION, 10))
    for text in ("\\boxed{9}", "\\boxed{12}", "", "Solution 1"):
        session.reply(text)
    parent = trace_of("voting", {}, session)
    fork = session.fork(2)
    while fork.waiting:
        fork.reply("\\boxed{1}")
    child = Trace.from_json(trace_of("voting", {}, fork, parent=(parent.id, 2)).to_json())
    assert child.parent == (parent.id, 2)
    assert to_orchestration(child)["events"][0]["parent"] == {"trace_id": parent.id, "turn": 2}
    assert child.status is Status.FINISHED
    child.check_fork(parent)
    with pytest.raises(Exception, match="does not begin with the first 3 replies"):
        trace_of("voting", {}, fork, parent=(parent.id, 3)).check_fork(parent)
    with pytest.raises(Exception, match="says its parent is"):
        child.check_fork(random_trace("voting", {}, 11)[0])
    assert random_trace("voting", {}, 11)[0].parent is None
    assert Trace.of(fork, parent.spec, None, meta={"parent": "nonsense"}).parent is None

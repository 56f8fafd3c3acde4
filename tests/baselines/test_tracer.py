"""TRACER against sums taken by hand, and gates that learn among scripted speakers."""

from __future__ import annotations

import json
import re
from collections import Counter
from random import Random

import pytest
from cases import every

from baselines.credit.propose_review import candidates_relative, decisions, needs_call, role_rewards, told_in
from baselines.engines.router import EngineRouter
from baselines.engines.scripted import Scripted
from baselines.evaluate import evaluate, traces_of
from baselines.methods import make_method
from baselines.players.gates import Gates
from baselines.rollout import cut, groups, rollout
from baselines.types import Completion, Episode, Request, Sampling, Turn
from llm_marl_envs import Ask, EnvSpec, Limits, Play, Session, Status, make_task, make_workflow
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.outcome import outcome_of
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.traces.verify import Verified, verified

TASK = make_task("arithmetic")
PROBLEM = TASK.problems("train")[0]
GOOD, BAD, NONE = f"\\boxed{{{PROBLEM.gold}}}", f"\\boxed{{{int(PROBLEM.gold) + 1}}}", "no idea"


def talked(*said: str, group: int = 0, origin=None, calls: int | None = None, **knobs) -> Episode:
    """An episode in which this was said; turns for all of it, except a forced reply where `origin` says that one was."""
    workflow = make_workflow("propose_review", **knobs)
    session = Session(Play(workflow, PROBLEM.question, limits=Limits(calls=calls or len(said))), said)
    asks = [event.call for event in session.events if event.reply is not None]
    turns = tuple(
        Turn(k, ask.agent, ask.agent[:-2], "p", Completion(text))
        for k, (ask, text) in enumerate(zip(asks, said, strict=True))
    )
    outcome = outcome_of(session, TASK, PROBLEM)
    return Episode(session, PROBLEM, group, 0, turns, outcome, role_rewards(outcome), origin)


def forced(parent: Episode, turn: int, *said: str, **knobs) -> Episode:
    """The future in which the reply `turn` was another: `said` is that and what follows."""
    past = [reply.text for reply in parent.session.replies[:turn]]
    made = talked(*past, *said, origin=(parent, turn), **knobs)
    turns = tuple(t for t in made.turns if t.index != turn)
    return Episode(made.session, PROBLEM, 9, 0, turns, made.outcome, made.rewards, made.origin)


@every(("said", "rewards", "before", "knobs"), [
    # a wrong solution; a review that falls for it; a right one; a review that says so
    ((BAD, "speak", "RIGHT", "refresh", GOOD, "speak", "RIGHT"), [-1, 0, -1, 0, 1, 0, 1], [-1, -1, -1, -1, -1, 1, 1], {}),
    # true and false the other way, and a review without a verdict
    ((BAD, "speak", "WRONG", "refresh", GOOD, "speak", "WRONG"), [-1, 0, 1, 0, 1, 0, -1], [-1, -1, -1, -1, -1, 1, 1], {}),
    ((GOOD, "speak", "maybe", "keep"), [1, 0, 0, 0], [-1, 1, 1, 1], {}),
    # what cannot be read is wrong, and to say so is true; the next proposal is no gate's choice
    ((NONE, "speak", "WRONG", GOOD), [-1, 0, 1, 1], [-1, -1, -1, -1], {}),
    # an unreadable refresh takes a right solution away, unless it is kept; it is never rewarded
    ((GOOD, "skip", "refresh", NONE, "skip"), [1, 0, 0, -1, 0], [-1, 1, 1, 1, -1], {}),
    ((GOOD, "skip", "refresh", NONE, "skip"), [1, 0, 0, -1, 0], [-1, 1, 1, 1, 1], {"keep_answer": True}),
    ((NONE, "skip", NONE, "skip"), [-1, 0, -1, 0], [-1, -1, -1, -1], {"keep_answer": True}),
])  # fmt: skip
def test_what_each_reply_is_worth(said, rewards, before, knobs):
    told = told_in(talked(*said, **knobs).outcome)
    assert [t.reward for t in told] == rewards
    assert [t.before for t in told] == before


def test_rewards_of_agents():
    """Proposals -1 and 1, one true verdict; the team is right: those who wrote nothing are rewarded by that."""
    rewards = talked(BAD, "speak", "WRONG", "refresh", GOOD, "skip", "keep", calls=99).rewards
    assert rewards["proposer_0"] == 0
    assert rewards["reviewer_1"] == rewards["proposercontroller_0"] == rewards["proposer_1"] == 1


KEPT, REFRESHED = (BAD, "skip", "keep"), (BAD, "skip", "refresh", GOOD)
SKIPPED, SPOKEN = (GOOD, "skip"), (GOOD, "speak", "WRONG")


@every(("said", "future", "how", "values"), [
    # the proposer's gate at reply 2: keeping a wrong solution is -1, refreshing what comes of it
    (KEPT, ("refresh", GOOD), "call", (-1, 1)),
    (KEPT, ("refresh", BAD), "call", (-1, -1)),
    (KEPT, ("refresh", NONE), "call", (-1, -1)),
    (KEPT, None, "call", None),
    (KEPT, None, "release", (-1, -1)),
    (KEPT, None, "none", (-1, 0)),
    (REFRESHED, None, "call", (-1, 1)),
    (REFRESHED, None, "release", (-1, 1)),
    (REFRESHED, None, "none", (0, 1)),
    (REFRESHED[:3], None, "call", None),
    ((GOOD, "skip", "refresh", NONE), None, "call", (1, -1)),
    ((GOOD, "skip", "hm"), ("refresh", BAD), "call", (1, -1)),
    # the reviewer's at reply 1: skipping is the solution's worth, speaking the review's reward
    (SKIPPED, ("speak", "RIGHT"), "call", (1, 1)),
    (SKIPPED, ("speak", "WRONG"), "release", (1, -1)),
    (SKIPPED, ("speak", "maybe"), "call", (1, 0)),
    (SKIPPED, None, "release", None),
    (SKIPPED, None, "none", (1, 0)),
    (SPOKEN, None, "call", (1, -1)),
    (SPOKEN, None, "none", (0, -1)),
    ((BAD, "speak", "WRONG"), None, "release", (-1, 1)),
])  # fmt: skip
def test_what_each_choice_is_worth(said, future, how, values):
    episode = talked(*said)
    gate = 1 if said in (SKIPPED, SPOKEN) or said[1] == "speak" else 2
    futures = [forced(episode, gate, *future)] if future else []
    found = {decision.turn: decision for decision in decisions(episode, futures, how)}
    assert found[gate].values == values
    assert found[gate].taken == (said[gate] in ("refresh", "speak"))


def test_an_unreadable_refresh_that_is_dropped_is_worth_as_much_as_keeping():
    episode = talked(GOOD, "skip", "keep", keep_answer=True)
    future = forced(episode, 2, "refresh", NONE, keep_answer=True)
    assert decisions(episode, [future], "call")[1].values == (1, 1)


def test_which_choices_need_a_call():
    """Only those that cost nothing, for what they did not do; the release tries reviews alone."""
    roles = ("proposercontroller", "reviewercontroller")
    for how, wanted in {"call": [True, True], "release": [False, True], "none": [False, False]}.items():
        assert [needs_call(role, 0, how) for role in roles] == wanted
        assert not any(needs_call(role, 1, how) for role in roles)


def test_a_step_of_the_gates_by_hand():
    """Two decisions at one infoset, both played with 1/2, 1/2. Values (keep, refresh) of -1, 1 and of 1, -1: regrets -1, 1 and 1, -1,
    sum 0, 0. A third of -1, 1: -1, 1. So refresh is played always, and has been half of the time."""
    gates = Gates()
    key = "proposercontroller_0 vote_0 last"
    episodes = [talked(*REFRESHED, rounds=3), talked(GOOD, "skip", "refresh", BAD, rounds=3)]
    first = gates.learn(episodes, 0)
    assert gates.tables.rows[key].regret == [0, 0]
    assert (first["decisions"], first["not_valued"]) == (4, 2), "what came of speaking was not tried"
    kept = talked(*KEPT, rounds=3)
    candidate = talked(GOOD, origin=(kept, 0))
    figures = gates.learn([kept, forced(kept, 2, "refresh", GOOD, rounds=3), candidate], 1)
    row = gates.tables.rows[key]
    assert (row.regret, row.visits) == ([-1, 1], 3)
    assert figures[f"current refresh {key}"] == 1
    assert figures[f"average refresh {key}"] == 0.5
    assert figures["regret"] == pytest.approx(1 / 3)


def test_candidates_by_hand():
    """Proposals 1, 1, 1, -1: mean .5, population std sqrt(.75), so 1/sqrt(3) three times and -sqrt(3). The reviews of one reply, 1
    and 0: mean .5, std .5, so 1 and -1. Equal ones teach nothing, nor does a counterfactual."""
    parent = talked(GOOD, "speak", "RIGHT", "keep")
    first = [talked(text, origin=(parent, 0)) for text in (GOOD, GOOD, BAD)]
    second = talked(GOOD, "speak", "maybe", origin=(parent, 2))
    other = forced(parent, 3, "refresh", BAD)
    lone = talked(BAD, "skip", "refresh", GOOD, "skip")
    equal = [talked(BAD, origin=(lone, 0)), talked(NONE, origin=(lone, 0))]
    batch = [parent, *first, second, other, lone, *equal]
    credit = candidates_relative(batch, ("proposer", "reviewer"), 0.05)
    low, high = 3**-0.5, 3**0.5
    assert credit == pytest.approx({(0, 0): low, (1, 0): low, (2, 0): low, (3, 0): -high, (0, 2): 1, (4, 2): -1})
    assert set(candidates_relative(batch, ("reviewer",), 0.05)) == {(0, 2), (4, 2)}
    assert candidates_relative(batch, ("proposer", "reviewer"), 0.9) == {}


def test_the_ratio_of_a_reply_is_kept_within_e_squared():
    """Log ratios 3 and 5, mean 4, kept at 2; A = -1: -min(-e^2, -1.1) = e^2. With A = 1 it is clipped at 1.1."""
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    for advantage, expected in ((-1.0, 2.718281828**2), (1.0, -1.1)):
        batch = SimpleNamespace(
            segment=torch.ones(1, 2), advantage=torch.full((1, 2), advantage), old=torch.tensor([[-4.0, -6.0]])
        )
        per_token, _ = make_method("tracer").loss("proposer")(torch.tensor([[-1.0, -1.0]]), None, batch)
        assert per_token[0].tolist() == pytest.approx([expected] * 2, rel=1e-6)


def speak(request: Request) -> str:
    """A proposer that is right half of the time, and nine times in ten after a WRONG; a reviewer that is, nine times in ten."""
    a, b = re.search(r"What is (\d+) \+ (\d+)", request.messages[0]["content"]).groups()
    right, prompt = int(a) + int(b), request.messages[0]["content"]
    draw = Random(seed_of("speaker", request.seed)).random()
    if request.ask.agent.startswith("proposer"):
        return f"\\boxed{{{right + (draw >= (0.9 if 'WRONG' in prompt else 0.5))}}}"
    truth = f"Current solution: \\boxed{{{right}}}" in prompt
    return "RIGHT" if truth == (draw < 0.9) else "WRONG"


def team(method, say=speak, **knobs):
    workflow = method.training(make_workflow("propose_review", **knobs))
    route, players = method.route(workflow.roster), method.players(workflow.roster, 0)
    engine = EngineRouter({**dict.fromkeys(("proposer", "reviewer"), Scripted(say)), **players})
    return workflow, route, engine, players["gates"]


def learned(method, steps: int, problems: int = 24, first: int = 0, state=None, say=speak):
    """Gates after some steps with scripted speakers."""
    workflow, route, engine, gates = team(method, say)
    gates.load(state or {})
    for step in range(first, steps):
        starts = groups(
            workflow, TASK.problems("train")[step * problems : (step + 1) * problems], 1, seed_of("t", step)
        )
        gates.learn(method.collect(starts, lambda s: rollout(s, route, engine, TASK, rule=method.rule), TASK), step)
    return gates


def held_out(method, gates, say=speak, **knobs):
    """Accuracy, and how often proposers and reviewers were asked."""
    workflow, route, engine, player = team(method, say, **knobs)
    player.load(gates.state())
    found = evaluate(TASK, workflow, TASK.problems("test")[:100], route, engine)
    written = Counter(t.role for e in found.episodes for t in e.turns)
    return found.accuracy.mean, written["proposer"], written["reviewer"]


def test_gates_learn_when_to_refresh():
    """Better than to keep always by a wide margin, and than to refresh and review always at fewer calls."""
    method = make_method("tracer", text="none")
    gates = learned(method, 8)
    accuracy, proposals, reviews = held_out(method, gates)
    kept, *_ = held_out(make_method("tracer", text="none", gates="keep"), gates)
    always, *most = held_out(method, gates, controllers="none")
    assert most == [3 * 100, 2 * 100]
    assert accuracy > kept + 0.2
    assert accuracy > always + 0.05
    assert proposals + reviews < 0.8 * sum(most)
    table = {key: row.average[1] for key, row in gates.tables.rows.items()}
    assert (
        table["proposercontroller_0 vote_minus_1 not_last"] > 0.8 > 0.2 > table["proposercontroller_0 vote_plus_1 last"]
    )


def test_saboteurs_show_and_are_passed_over():
    """A reviewer that says RIGHT to all is rewarded as skipping is, so that no regret ever arises and, of equals, the gate skips. One
    that is mostly false is regretted."""
    method = make_method("tracer", text="none")

    def agrees(request: Request) -> str:
        return "RIGHT" if request.ask.agent.startswith("reviewer") else speak(request)

    def lies(request: Request) -> str:
        return {"RIGHT": "WRONG", "WRONG": "RIGHT"}.get(said := speak(request), said)

    for say in (agrees, lies):
        gates = learned(method, 3, 16, say=say)
        rows = [row for key, row in gates.tables.rows.items() if key.startswith("reviewer") and row.visits > 20]
        assert rows
        assert all(row.average_regret == 0 if say is agrees else row.average[1] < 0.2 for row in rows)
        assert held_out(method, gates, say)[2] == 0


def test_stopped_and_loaded_they_go_on_with_the_same_bytes():
    method = make_method("tracer", text="none")
    half = json.loads(json.dumps(learned(method, 1, 6).state()))
    assert json.dumps(learned(method, 2, 6, first=1, state=half).state()) == json.dumps(learned(method, 2, 6).state())


def test_candidates_and_counterfactuals_cost_one_call_each():
    method = make_method("tracer", candidates=3)
    workflow, route, engine, gates = team(method)
    starts = groups(workflow, TASK.problems("train")[:6], 1, 1)
    episodes = method.collect(starts, lambda s: rollout(s, route, engine, TASK, rule=method.rule), TASK)
    own = [e for e in episodes if e.origin is None]
    written = sum(t.role in ("proposer", "reviewer") for e in own for t in e.turns)
    cheap = sum(t.completion.text in ("keep", "skip") for e in own for t in e.turns)
    branches = [e for e in episodes if e.origin is not None]
    assert len(branches) == 2 * written + cheap
    assert all(len(e.own_turns) == 1 for e in branches)
    assert gates.learn(episodes, 0)["not_valued"] == 0
    traces = traces_of(episodes, EnvSpec.of(TASK, workflow), "train", {"entry": "x"})
    assert all(isinstance(verified(trace, TASK), Verified) for trace in traces)
    for trace, e in zip(traces, episodes, strict=True):
        if trace.parent is not None:  # ended by itself within the parent's own budget
            assert e.session.play.limits == e.origin[0].session.play.limits
    assert all(
        trace.parent or trace.meta.get("cut_from") for trace, e in zip(traces, episodes, strict=True) if e.origin
    )


def test_a_cut_start_ends_within_the_budget_that_is_left():
    (start,) = groups(make_workflow("propose_review"), [PROBLEM], 1, 0, Limits(calls=2))
    start.session.reply(GOOD)
    for calls, most in ((1, 2), (5, 2)):
        assert cut(start, calls).session.play.limits.calls == most
    start.session.reply("speak")
    assert cut(start, 1).session.status is Status.TRUNCATED
    (free,) = groups(make_workflow("propose_review"), [PROBLEM], 1, 0, Limits(calls=None))
    assert cut(free, 3).session.play.limits.calls == 3


def ask(agent: str, *infoset: str, greedy: bool = False, seed: int = 0) -> Request:
    choices = ("keep", "refresh") if agent.startswith("p") else ("skip", "speak")
    sampling = Sampling(0.0) if greedy else Sampling()
    return Request("gates", (), seed, Ask(agent, "", choices=choices, infoset=infoset), sampling=sampling)


P, R = "proposercontroller_0", "reviewercontroller_1"


@every(("rule", "agent", "vote", "says"), [
    ("keep", P, "vote_minus_1", "keep"), ("refresh", P, "vote_plus_1", "refresh"), ("protected", P, "vote_0", "keep"),
    ("protected", P, "vote_plus_2", "keep"), ("votes", P, "vote_minus_1", "refresh"), ("votes", P, "vote_0", "keep"),
    ("votes", R, "vote_0", "speak"), ("protected", P, "vote_minus_1", None), ("keep", R, "vote_0", None),
    ("uniform", P, "vote_0", None), ("regret", P, "vote_0", None),
])  # fmt: skip
def test_rules_of_gates(rule, agent, vote, says):
    gates = Gates(rule)
    said = {c.text for c in gates.generate([ask(agent, vote, "last", seed=s) for s in range(40)])}
    assert said == ({says} if says else set(ask(agent).ask.choices))
    assert gates.learns_from(ask(agent, vote).ask) is (says is None and rule != "uniform")


def test_training_plays_the_current_strategy_and_evaluation_the_average():
    """Against 1/2, 1/2 values 0, 1 give regrets -.5, .5; then twice 1, .5 against 0, 1: 0, .5 and .5, .5; then 9, 0 against 1/2, 1/2:
    5, -4. So the current strategy is 1, 0; 1/2, 1/2 was played twice and 0, 1 twice: 1/4, 3/4."""
    how = {"greedy": Gates(), "sampled": Gates(evaluation="sampled")}
    for gates in how.values():
        for values in ([0, 1], [1, 0.5], [1, 0.5], [9, 0]):
            gates.tables.update(f"{P} s", ("keep", "refresh"), [values])
        row = gates.tables.rows[f"{P} s"]
        assert (row.current, row.average) == ([1, 0], [0.25, 0.75])
    seeds = range(400)
    training = how["greedy"].generate([ask(P, "s", seed=s) for s in seeds])
    assert {c.text for c in training} == {"keep"}
    greedy = how["greedy"].generate([ask(P, "s", greedy=True, seed=s) for s in seeds])
    assert {c.text for c in greedy} == {"refresh"}
    sampled = how["sampled"].generate([ask(P, "s", greedy=True, seed=s) for s in seeds])
    assert sum(c.text == "refresh" for c in sampled) / 400 == pytest.approx(0.75, abs=0.05)
    unseen = how["greedy"].generate([ask(P, "t", greedy=True)])
    assert unseen[0].text == "keep", "of equals the one that costs nothing"


@every(("knobs", "error", "said"), [
    ({"gates": "regrets"}, ConfigError, "gates is one of regret, uniform.*got 'regrets'"),
    ({"counterfactual": "full"}, ConfigError, "counterfactual is one of call, release, none"),
    ({"evaluation": "average"}, ConfigError, "evaluation is one of greedy, sampled"),
    ({"text": "all"}, ConfigError, "text is one of both, proposer, reviewer, none"),
    ({"candidates": 1}, ConfigError, "candidates are at least 2"),
    ({"candidates": 2.5}, ConfigError, "candidates are at least 2"),
    ({"min_std": 0}, ConfigError, "min_std is above 0"),
    ({"clip": 1}, ConfigError, "clip between 0 and 1"),
    ({"candidate": 4}, UnknownName, "Did you mean 'candidates'"),
])  # fmt: skip
def test_bad_knobs_say_so(knobs, error, said):
    with pytest.raises(error, match=said):
        make_method("tracer", **knobs)


def test_workflows_that_do_not_fit_say_so():
    with pytest.raises(
        ConfigError, match=r"tracer plays propose_review; the roles proposer, .* --workflow propose_review"
    ):
        make_method("tracer").route(make_workflow("eval_opt").roster)
    for rule in ("votes", "protected"):
        with pytest.raises(ConfigError, match=f"gates={rule} needs votes, which state=time hides"):
            make_method("tracer", gates=rule).training(make_workflow("propose_review", state="time"))


def test_who_writes():
    roster = make_workflow("propose_review").roster
    assert make_method("tracer").route(roster).policies == ("proposer", "reviewer", "gates")
    assert make_method("tracer", shared=True).route(roster).policies == ("shared", "gates")
    assert make_method("tracer", text="reviewer").trained == ("reviewer",)

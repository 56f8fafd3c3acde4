"""Batched rollouts: the width changes nothing, forks keep the earlier turns, failures are separate."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import ClassVar

import pytest

from baselines.engines.scripted import Scripted
from baselines.evaluate import evaluate, traces_of
from baselines.policies import PolicyRouter
from baselines.rollout import collector_paused, forced, forks, groups, libraries_kept, rollout
from baselines.types import Completion, Sampling
from llm_marl_envs import Ask, Claim, EnvSpec, Limits, Roster, Score, Status, UseTool, make_task, make_workflow
from llm_marl_envs.errors import ToolFailed
from llm_marl_envs.seeds import seed_of
from llm_marl_envs.testing import GARBAGE, WELL_FORMED
from llm_marl_envs.traces.verify import Verified, verified

TASK = make_task("arithmetic")
WORKFLOWS = ["solo", "eval_opt", "voting", "orch_workers"]


def say(request) -> str:
    """Anything at all, decided by the request's seed alone."""
    replies = (*WELL_FORMED, *GARBAGE)
    return replies[request.seed % len(replies)]


def play(name: str, width: int = 4096, count: int = 12, **knobs):
    workflow = make_workflow(name, **knobs)
    route = PolicyRouter.isolated(workflow.roster)
    starts = groups(workflow, TASK.problems("train")[:count], 3, seed=1)
    return rollout(starts, route, Scripted(say), TASK, width=width)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_the_width_changes_nothing(name):
    wide = play(name)
    assert [(e.group, e.sample) for e in wide] == [(g, s) for g in range(12) for s in range(3)]
    for width in (1, 7):
        narrow = play(name, width)
        assert [e.session.events for e in narrow] == [e.session.events for e in wide]
        assert [(e.turns, e.outcome, e.rewards) for e in narrow] == [(e.turns, e.outcome, e.rewards) for e in wide]
    assert len({tuple(e.session.replies) for e in wide}) > 3


def test_turns_name_their_reply_role_and_policy():
    for episode in play("orch_workers"):
        for turn in episode.turns:
            assert episode.session.replies[turn.index].text == turn.completion.text
            assert turn.policy == turn.role == turn.agent.rpartition("_")[0]


def test_forks_live_the_same_past_and_other_futures():
    for episode in play("eval_opt", count=4):
        for turn in range(len(episode.session.replies)):
            starts = forks(episode, turn, 3, seed=5)
            assert len({s.group for s in starts}) == 1
            futures = rollout(starts, PolicyRouter.isolated(make_workflow("eval_opt").roster), Scripted(say), TASK)
            for future in futures:
                assert future.session.replies[:turn] == episode.session.replies[:turn]
                assert future.turns[: len(starts[0].turns)] == tuple(t for t in episode.turns if t.index < turn)
            assert len({s.seed for s in starts}) == 3
            parent, *children = traces_of(
                [episode, *futures], EnvSpec("arithmetic", "eval_opt"), "train", {"entry": "x"}
            )
            for child in children:
                assert child.parent == (parent.id, turn)
                child.check_fork(parent)
                assert isinstance(verified(child, TASK), Verified)


def test_forks_of_forks_are_a_tree():
    episode, *_ = play("eval_opt", count=1)
    route = PolicyRouter.isolated(make_workflow("eval_opt").roster)
    (child,) = rollout(forks(episode, 0, 1, seed=1), route, Scripted(say), TASK)
    (grandchild,) = rollout(forks(child, 1, 1, seed=2), route, Scripted(say), TASK)
    third, first, second = traces_of([grandchild, episode, child], EnvSpec("arithmetic", "eval_opt"), "train", {})
    assert (first.parent, second.parent, third.parent) == (None, (first.id, 0), (second.id, 1))


def test_forks_of_forks_have_names_of_their_own():
    """Children of one episode share its play's seed; their children must share neither a group nor a sampling seed."""
    episode, *_ = play("eval_opt", count=1)
    route = PolicyRouter.isolated(make_workflow("eval_opt").roster)
    for speaks in (say, lambda request: "\\boxed{Incorrect}"):  # siblings that say different things, or all the same
        children = rollout(forks(episode, 0, 3, seed=1), route, Scripted(speaks), TASK)
        starts = [start for child in children for start in forks(child, 1, 2, seed=1)]
        starts += [start for child in children for start in forced(child, 1, "no", seed=1, samples=2)]
        starts += [start for child in children for start in forced(child, 1, "yes", seed=1, samples=2)]
        assert len({start.group for start in starts}) == 9
        assert len({start.seed for start in starts}) == 18
        again = [start for child in children for start in forks(child, 1, 2, seed=1)]
        assert [(s.group, s.seed) for s in again] == [(s.group, s.seed) for s in starts[:6]]


@dataclass(frozen=True)
class Lookup:
    roster: ClassVar = Roster(asker=1)

    def talk(self, question, rng):
        found = yield UseTool("asker_0", "search", {"query": question.text})
        answer = yield Ask("asker_0", found)
        yield Claim("asker_0", answer)
        return answer


class Searchable:
    """Every third problem's search finds the service down."""

    splits: ClassVar = ("train",)

    def __init__(self):
        self.tools = {"search": self.search}
        self.down = {p.question.text for p in TASK.problems("train")[2:6:3]}

    def search(self, query: str) -> str:
        if query in self.down:
            raise ToolFailed("http://retriever.invalid is down")
        return f"found {query}"

    def grade(self, problem, text, kind="answer"):
        return Score(1.0, "", text)


def test_a_tool_that_cannot_run_fails_its_episode_alone():
    workflow = Lookup()
    route = PolicyRouter.shared(workflow.roster)
    starts = groups(workflow, TASK.problems("train")[:6], 1, seed=0)
    episodes = rollout(starts, route, Scripted(lambda r: r.messages[-1]["content"]), Searchable())
    failed = [e.outcome.status is Status.FAILED for e in episodes]
    assert failed == [False, False, True, False, False, True]
    assert "http://retriever.invalid is down" in episodes[2].outcome.team.why
    assert set(episodes[2].rewards.values()) == {0.0}
    done = evaluate(Searchable(), workflow, TASK.problems("train")[:6], route, Scripted(lambda r: "x"))
    assert done.figures["failed"] == 2.0
    assert done.accuracy.mean == 1.0, "failed episodes are not counted as wrong"


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_budget_that_runs_out_in_a_wave_truncates(calls):
    workflow = make_workflow("voting")
    starts = groups(workflow, TASK.problems("train")[:2], 1, seed=0, limits=Limits(calls=calls))
    for episode in rollout(starts, PolicyRouter.shared(workflow.roster), Scripted(lambda r: "\\boxed{1}"), TASK):
        assert episode.outcome.status is Status.TRUNCATED
        assert len(episode.turns) == calls
        assert episode.outcome.team.value == 0.0


def test_a_grader_that_crashes_fails_the_episode():
    class Crashing(Searchable):
        def grade(self, problem, text, kind="answer"):
            raise RuntimeError("out of order")

    workflow = make_workflow("solo")
    starts = groups(workflow, TASK.problems("train")[:1], 1, seed=0)
    (episode,) = rollout(starts, PolicyRouter.shared(workflow.roster), Scripted(lambda r: "5"), Crashing())
    assert episode.outcome.status is Status.FAILED
    assert "out of order" in episode.outcome.team.why


def test_sampling_seeds_are_named_not_counted():
    seen = set()
    for run in (0, 1):
        for start in groups(make_workflow("solo"), TASK.problems("train")[:50], 4, seed=run):
            seen |= {seed_of(start.seed, turn) for turn in range(4)}
    assert len(seen) == 2 * 50 * 4 * 4


def test_traces_of_episodes_replay():
    workflow = make_workflow("orch_workers")
    episodes = play("orch_workers")
    for trace in traces_of(episodes, EnvSpec.of(TASK, workflow), "train", {"entry": "x"}):
        assert trace.session().answer == trace.answer


def test_the_collector_is_left_as_it_was():
    for on in (True, False):
        (gc.enable if on else gc.disable)()
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() is on
    gc.enable()


def test_what_was_there_before_a_run_is_left_out_of_collections_until_it_ends():
    assert gc.get_freeze_count() == 0
    with libraries_kept():
        assert gc.get_freeze_count() > 10_000
    assert gc.get_freeze_count() == 0

    def broken():
        with libraries_kept():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert gc.get_freeze_count() == 0


def run(starts, speaks=say, name: str = "eval_opt", **options):
    return rollout(starts, PolicyRouter.isolated(make_workflow(name).roster), Scripted(speaks), TASK, **options)


def fresh(name: str = "eval_opt", count: int = 6, **knobs):
    return groups(make_workflow(name, **knobs), TASK.problems("train")[:count], 2, seed=1)


def seen(episodes) -> list:
    return [(e.session.events, e.turns, e.outcome, e.rewards, e.group, e.sample) for e in episodes]


@pytest.mark.parametrize("name", ["eval_opt", "orch_workers"])
def test_played_in_parts_is_played_at_once(name):
    whole = seen(run(fresh(name), name=name))
    for waves in (1, 2):
        parts = fresh(name)
        for _ in range(3):
            before = [s.session.turns for s in parts]
            parts = run(parts, name=name, waves=waves, width=5)
            for start, turns in zip(parts, before, strict=True):
                assert start.session.turns == turns + waves or start.session.over
        assert seen(run(parts, name=name)) == whole


def test_a_tree_branches_after_each_wave():
    (root,) = groups(make_workflow("eval_opt"), TASK.problems("train")[:1], 1, seed=0)
    level = [root]
    for depth in (1, 2):
        level = run(level, waves=1)
        assert all(len(s.turns) == len(s.session.replies) == depth for s in level)
        level = [branch for s in level if not s.session.over for branch in forks(s, depth, 3, seed=5)]
    leaves = run(level)
    assert len(leaves) == 9
    assert len({leaf.session.replies[0].text for leaf in leaves}) == 1
    assert len({leaf.group for leaf in leaves}) == 3, "one group for each draft and verdict"
    assert len({tuple(leaf.session.replies) for leaf in leaves}) > 3
    assert all(leaf.origin is None and leaf.turns[0] == leaves[0].turns[0] for leaf in leaves)


def test_a_start_that_is_over_is_graded_when_it_is_played():
    ended = run(fresh("solo"), name="solo", waves=5)
    assert all(start.session.over for start in ended)
    asked = []
    episodes = run(ended, lambda r: asked.append(r) or "", name="solo")
    assert seen(episodes) == seen(run(fresh("solo"), name="solo"))
    assert not asked


def test_forced_replies_are_what_the_team_heard_and_nobody_sampled():
    for episode in run(fresh()):
        last = len(episode.session.replies) - 1
        for turn in {0, last}:
            starts = forced(episode, turn, "\\boxed{Incorrect}", seed=3, samples=2)
            for future in run(starts):
                assert future.session.replies[turn].text == "\\boxed{Incorrect}"
                assert future.session.replies[:turn] == episode.session.replies[:turn]
                assert turn not in {t.index for t in future.turns}
                assert {t.index for t in future.turns} == set(range(len(future.session.replies))) - {turn}
                assert future.origin == (episode, turn)
    parts = run(fresh(), waves=1)
    assert run([*forced(parts[0], 0, "\\boxed{7}", seed=3)])[0].session.replies[0].text == "\\boxed{7}"


class Counting:
    """Every prompt and reply is one new token after what went before; keeps the requests."""

    def __init__(self):
        self.asked = []

    def generate(self, requests):
        self.asked += requests
        return [
            Completion(say(r), (*r.context, *range(-r.new, 0)), (100 + len(r.context),), (-1.0,))
            for r in requests
        ]  # fmt: skip


def test_what_was_forced_does_not_vanish_from_a_conversation():
    """eval_opt with memory: whatever was said for the generator, the engine is told how many messages have no ids yet."""
    workflow = make_workflow("eval_opt", memory=True, rounds=4)
    route = PolicyRouter.isolated(workflow.roster)
    no = "\\boxed{Incorrect}"

    def asked(starts, turn: int) -> dict[int, tuple[int, int]]:
        engine = Counting()
        rollout(starts, route, engine, TASK)
        mine = [r for r in engine.asked if r.policy == "generator"]
        for request in mine:
            covered = len(request.messages) - request.new
            assert [m["role"] for m in request.messages[covered:]] == (["assistant", "user"] * request.new)[
                -request.new :
            ]
        return {len(r.messages): (len(r.context) > 0, r.new) for r in mine if len(r.messages) > turn + 1}

    (start,) = groups(workflow, TASK.problems("train")[:1], 1, seed=0)
    first = rollout(
        forced(start, 0, "\\boxed{1}", seed=0), route, Counting(), TASK, waves=1
    )  # a draft put into its mouth
    (then,) = [s for one in first for s in forced(one, 1, no, seed=0)]
    assert asked([then], 0)[3] == (False, 3), "no ids at all: the whole chat"
    (again,) = [s for one in forced(then, 2, "\\boxed{2}", seed=0) for s in forced(one, 3, no, seed=0)]
    assert asked([again], 2)[5] == (False, 5)

    (start,) = groups(workflow, TASK.problems("train")[:1], 1, seed=0)
    (played,) = rollout(
        [start], route, Counting(), TASK, waves=1
    )  # a draft with ids, then all is put into their mouths
    (then,) = forced(played, 1, no, seed=0)
    assert asked([then], 0)[3] == (True, 1)
    (then,) = forced(played, 1, no, seed=0)
    (again,) = [s for one in forced(then, 2, "\\boxed{2}", seed=0) for s in forced(one, 3, no, seed=0)]
    assert asked([again], 2)[5] == (True, 3), (
        "the draft's ids, then the question, what was forced, and the next question"
    )


def test_only_an_agents_reply_is_forced():
    workflow = Lookup()
    starts = groups(workflow, TASK.problems("train")[:1], 1, seed=0)
    (episode,) = rollout(starts, PolicyRouter.shared(workflow.roster), Scripted(lambda r: "x"), Searchable())
    with pytest.raises(ValueError, match=r"reply 0 .*UseTool.*only an agent's can be forced"):
        forced(episode, 0, "found nothing", seed=0)


def test_every_role_decodes_as_it_is_told():
    how = {"generator": Sampling(0.3, 9, top_k=5, stop=("}",)), "evaluator": Sampling(1.0, 4, top_p=0.5)}
    heard = set()

    def speaks(request) -> str:
        heard.add((request.policy, request.sampling))
        return "\\boxed{1} and more" if request.policy == "generator" else "\\boxed{Incorrect}}"

    for episode in run(fresh(), speaks, sampling=how):
        for turn in episode.turns:
            assert turn.sampling == how[turn.role]
            assert turn.completion.text == ("\\boxed{1" if turn.role == "generator" else "\\boxed{Incorrect}}")
    assert heard == set(how.items())

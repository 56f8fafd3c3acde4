"""Engines by policy name: one batch each, completions in order, and clear errors."""

from __future__ import annotations

import pytest

from baselines.engines.router import EngineRouter
from baselines.engines.scripted import Scripted
from baselines.policies import PolicyRouter
from baselines.rollout import groups, rollout
from baselines.types import Completion, Request
from llm_marl_envs import Ask, make_task, make_workflow
from llm_marl_envs.errors import UnknownName


class Recording:
    """Says its own name and the prompt; remembers what it was given."""

    def __init__(self, name: str):
        self.name, self.batches = name, []

    def generate(self, requests):
        self.batches.append([r.messages[0]["content"] for r in requests])
        return [Completion(f"{self.name}: {r.messages[0]['content']}") for r in requests]


def ask(policy: str, text: str) -> Request:
    return Request(policy, ({"role": "user", "content": text},), 0, Ask("solver_0", text))


def test_one_batch_per_engine_and_the_order_is_kept():
    one, other = Recording("one"), Recording("other")
    router = EngineRouter({"a": one, "b": other, "c": one})
    done = router.generate([ask(p, f"{p}{i}") for i, p in enumerate("abcabcb")])
    assert [c.text for c in done] == ["one: a0", "other: b1", "one: c2", "one: a3", "other: b4", "one: c5", "other: b6"]
    assert one.batches == [["a0", "c2", "a3", "c5"]]
    assert other.batches == [["b1", "b4", "b6"]]


def test_engines_that_are_equal_are_still_two():
    class Same(Recording):
        def __eq__(self, other):
            return True

        __hash__ = None  # type: ignore[assignment]  # nor does an engine have to be hashable

    one, other = Same("one"), Same("other")
    done = EngineRouter({"a": one, "b": other}).generate([ask("b", "x"), ask("a", "y")])
    assert [c.text for c in done] == ["other: x", "one: y"]


def test_an_engine_without_requests_is_not_asked():
    one, other = Recording("one"), Recording("other")
    router = EngineRouter({"a": one, "b": other})
    assert router.generate([]) == []
    router.generate([ask("a", "x")])
    assert (one.batches, other.batches) == ([["x"]], [])


def test_an_unknown_policy_is_said_before_any_engine_works():
    one = Recording("one")
    with pytest.raises(UnknownName, match=r"policy 'solvr'.*Did you mean 'solver'\? Known: judge, solver"):
        EngineRouter({"solver": one, "judge": one}).generate([ask("judge", "x"), ask("solvr", "y")])
    assert one.batches == []


@pytest.mark.parametrize("extra", [-1, 1])
def test_a_wrong_number_of_completions_names_the_engine(extra):
    class Miscounting(Recording):
        def generate(self, requests):
            return [Completion("x")] * (len(requests) + extra)

    router = EngineRouter({"a": Recording("one"), "b": (bad := Miscounting("bad")), "c": bad})
    requests = [ask("a", "x"), ask("b", "y"), ask("c", "z")]
    with pytest.raises(
        ValueError, match=rf"Miscounting \(policies: b, c\) returned {2 + extra} completions for 2 requ"
    ):
        router.generate(requests)


def test_a_rollout_goes_through_it_and_the_script_sees_the_asks():
    workflow = make_workflow("eval_opt")
    route = PolicyRouter.isolated(workflow.roster)
    heard: dict[str, set[str]] = {}

    def script(name: str) -> Scripted:
        def say(request: Request) -> str:
            assert request.messages[-1]["content"] == request.ask.prompt
            heard.setdefault(name, set()).add(request.ask.agent)
            return "\\boxed{Incorrect}"

        return Scripted(say)

    router = EngineRouter({policy: script(policy) for policy in route.policies})
    task = make_task("arithmetic")
    episodes = rollout(groups(workflow, task.problems("train")[:3], 2, seed=0), route, router, task)
    assert len(episodes) == 6
    assert heard == {"generator": {"generator_0"}, "evaluator": {"evaluator_0"}}

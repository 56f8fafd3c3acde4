"""One conversation of an episode: who is refused, what a row holds, and that what fails is tried where it stands."""

from __future__ import annotations

from typing import Any

import pytest

from llm_marl_envs.conversation import ConversationEnv, later_asks, make_conversation
from llm_marl_envs.errors import AgentFailed, ConfigError, ToolFailed
from llm_marl_envs.protocol import Ask, Claim, Roster, UseTool
from llm_marl_envs.session import Limits
from llm_marl_envs.spec import EnvSpec, make_task, make_workflow
from llm_marl_envs.task import Problem, Question, Score

QUESTION = Question("q", "What is 2 + 2?")
SPEC = EnvSpec.of(make_task("arithmetic"), make_workflow("solo"))  # toys have no id of their own


def rejects(agent: str, messages: Any, info: Any) -> str:
    return r"\boxed{Incorrect}"


@pytest.mark.parametrize(
    ("env_id", "role", "knobs", "continued"),
    [
        ("arithmetic/solo-v1", None, {}, False),
        ("arithmetic/eval_opt-v1", "generator", {"memory": True}, True),
        ("arithmetic/eval_opt-v1", "generator", {"rounds": 1}, False),
        ("arithmetic/voting-v1", "generator_1", {}, False),
        ("arithmetic/voting-v1", "aggregator", {}, False),
        ("atlas/search_answer-v1", "searcher", {"size": 200, "train_size": 4}, True),
        ("atlas/search_answer-v1", "generator", {"size": 200, "train_size": 4}, False),
        ("atlas/route_search-v1", "answerer", {"size": 200, "train_size": 4}, False),
    ],
)
def test_who_has_one_conversation(env_id, role, knobs, continued):
    assert make_conversation(env_id, role, rejects, **knobs).continued is continued


@pytest.mark.parametrize(
    ("workflow", "seat", "knobs"),
    [
        ("eval_opt", "generator_0", {}),
        ("eval_opt", "evaluator_0", {"memory": True}),
        ("search_answer", "generator_0", {"every_turn": True}),
        ("route_search", "searcher_0", {}),  # only where the verifier keeps saying no
        ("solve_verify", "solver_0", {}),
        ("debate", "debater_1", {}),
        ("code_and_tests", "coder_0", {}),
        ("propose_review", "proposer_0", {}),
        ("topology", "decider_0", {}),
    ],
)
def test_later_asks_finds_fresh_ones(workflow, seat, knobs):
    asks = list(later_asks(make_workflow(workflow, **knobs), seat, QUESTION))
    assert any(ask.fresh for ask in asks) is (workflow != "topology")


def test_refusals_say_what_to_do():
    with pytest.raises(ConfigError, match=r"asks generator_0 again with fresh=True.*memory=True"):
        make_conversation("arithmetic/eval_opt-v1", "generator", rejects)
    with pytest.raises(
        ConfigError, match=r"got generator_0 and generator_1 and generator_2. Give one seat.*'generator_0'"
    ):
        make_conversation("arithmetic/voting-v1", "generator", rejects)
    with pytest.raises(ConfigError, match="nobody plays evaluator_0"):
        make_conversation("arithmetic/eval_opt-v1", "generator", memory=True)


def test_a_row_only_grows_and_teams_may_be_texts():
    env = make_conversation("arithmetic/eval_opt-v1", "generator", ["evaluator=random:1"], memory=True, rounds=4)
    for seed in range(8):
        seen, _ = env.reset(seed=seed)
        before, over = list(seen["messages"]), False
        while not over:
            seen, _, over, _, _ = env.step("no")
            if not over:
                assert list(seen["messages"][: len(before) + 1]) == [*before, {"role": "assistant", "content": "no"}]
                assert len(seen["messages"]) == len(before) + 2
                before = list(seen["messages"])


class Once:
    """A workflow that continues in random play, and begins anew when told."""

    roster = Roster(a=1, b=1)
    needs = frozenset({"look"})

    def talk(self, question, rng):
        said = yield Ask("a_0", "first")
        found = yield UseTool("a_0", "look", {"text": said})
        heard = yield Ask("b_0", found)
        if heard == "skip a":
            return None
        last = yield Ask("a_0", heard, fresh=said == "anew")
        yield Claim("a_0", last)
        return last


class Odd:
    """Its tool and its grader fail as often as is told."""

    splits = ("train",)

    def __init__(self, tool: int = 0, grade: int = 0):
        self.left = {"tool": tool, "grade": grade}

    def _fail(self, what: str) -> bool:
        self.left[what] -= 1
        return self.left[what] >= 0

    @property
    def tools(self):
        def look(text: str) -> str:
            if self._fail("tool"):
                raise ToolFailed("the index is gone")
            return f"found {text}"

        return {"look": look}

    def problems(self, split):
        return [Problem(Question(f"odd/{i}", f"question {i}"), "x") for i in range(3)]

    def grade(self, problem, text, kind="answer"):
        if self._fail("grade"):
            raise RuntimeError("the grader fell over")
        return Score(float(text == "x"), "", text)


def of(task: Odd, partner: Any, **options: Any) -> ConversationEnv:
    return ConversationEnv(task, Once(), "a", {"b": partner}, spec=SPEC, **options)  # type: ignore[arg-type]


def echo(agent: str, messages: Any, info: Any) -> str:
    return messages[-1]["content"]


@pytest.mark.parametrize("fails", [{"tool": 9}, {"grade": 9}, {"tool": 3, "grade": 4}])
def test_what_fails_is_tried_again_where_it_stands(fails):
    env = of(Odd(**fails), echo)
    first, _ = env.reset(options={"problem": "odd/2"})
    seen, _, over, _, info = env.step("hello")
    assert not over
    assert [m["content"] for m in seen["messages"]] == ["first", "hello", "found hello"]
    _, reward, over, _, info = env.step("x")
    assert (reward, over, info["status"], info["failed"], env.problem.question.id) == (
        1.0,
        True,
        "finished",
        0,
        "odd/2",
    )
    assert first["messages"] == seen["messages"][:1]


@pytest.mark.parametrize(
    ("fails", "said"), [({"tool": 10}, "the index is gone"), ({"grade": 30}, "the grader fell over")]
)
def test_after_ten_failures_the_reason_is_raised(fails, said):
    env = of(Odd(**fails), echo)
    env.reset()
    if "grade" in fails:
        env.step("hello")
    with pytest.raises(ToolFailed, match=f"10 tries in a row failed.*{said}"):
        env.step("x")


def test_partners_that_are_down_are_asked_again():
    tries = []

    def shaky(agent: str, messages: Any, info: Any) -> str:
        tries.append(messages)
        if len(tries) < 10:
            raise AgentFailed("no route")
        return "go on"

    env = of(Odd(), shaky)
    env.reset()
    seen, *_ = env.step("hello")
    assert (seen["messages"][-1]["content"], len(tries)) == ("go on", 10)


def test_a_second_conversation_that_random_play_did_not_show():
    env = of(Odd(), echo)
    env.reset()
    with pytest.raises(ConfigError, match="asks a_0 again with fresh=True"):
        env.step("anew")


def test_a_budget_that_ran_out_is_an_end():
    env = of(Odd(), echo, limits=Limits(calls=2))
    env.reset()
    _, reward, over, cut, info = env.step("hello")
    assert (reward, over, cut, info["status"]) == (0.0, True, False, "truncated")

"""DAC on a library of six passages: who is asked what, and what each reply is trained with, by hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from baselines.evaluate import traces_of
from baselines.methods import make_method
from baselines.methods.dac import attempts, evidence_of
from baselines.rollout import groups, rollout
from baselines.types import Completion, Episode
from llm_marl_envs import Problem, Question, make_workflow
from llm_marl_envs.errors import ConfigError, ToolFailed
from llm_marl_envs.grading.spans import Gold, grade_span
from llm_marl_envs.reading import NOTHING_FOUND
from llm_marl_envs.spec import EnvSpec, knobs_of
from llm_marl_envs.tools.index import Passage
from llm_marl_envs.tools.search import show_passages

SHELF = [Passage(str(n), f"T{n}", "Its capital is Lima." if n == 2 else f"Text {n}.") for n in range(1, 7)]
P1, P2, P3, P4, P5, P6 = (f'(Title: "T{p.id}") {p.text}' for p in SHELF)
RANKS = {"one": [1], "two": [2], "none": [], "capital?": [2, 3, 1, 4, 5, 6]}
RIGHT, WRONG, UNKNOWN = (f"<answer>{said}</answer>" for said in ("Lima", "Cuzco", "unknown"))
ONE, TWO, NONE = (f"<search>{said}</search>" for said in ("one", "two", "none"))


@dataclass(frozen=True)
class Library:
    """`top_k` passages in a known order; the second holds the answer."""

    top_k: int = 1
    down: bool = False
    splits = ("train",)

    @property
    def tools(self):
        def search(query: str) -> str:
            if self.down and query == "capital?":
                raise ToolFailed("the server is down")
            return show_passages([SHELF[n - 1] for n in RANKS[query][: self.top_k]])

        return {"search": search}

    def problems(self, split):
        return (Problem(Question("q", "capital?"), Gold(("Lima",))),)

    def grade(self, problem, text, kind="answer"):
        return grade_span(problem.gold, text, kind)


class Script:
    """Each role's replies in the order in which they are asked for; each prompt and reply has token ids of its own."""

    def __init__(self, searcher: Iterable[str], generator: Iterable[str]):
        self.left = {"searcher": iter(searcher), "generator": iter(generator)}
        self.asked: list[Any] = []

    def generate(self, requests):
        made = []
        for request in requests:
            self.asked.append(request.ask)
            n = len(self.asked)
            made.append(Completion(next(self.left[request.policy]), (100 + n,), (200 + n, 300 + n), (-1.0, -1.0)))
        return made


def collect(method, searcher, generator, samples=1, task=Library(), **knobs) -> tuple[list[Episode], list[Any]]:
    flow = method.training(make_workflow("search_answer", turns=3, **knobs))
    script, route = Script(searcher, generator), method.route(flow.roster)

    def play(starts):
        return rollout(starts, route, script, task, rule=method.rule)

    return method.collect(groups(flow, task.problems("train"), samples, 0), play, task), script.asked


def zeros(episodes) -> dict:
    return {(i, t.index): (0.0, 0.0) for i, e in enumerate(episodes) for t in e.turns if t.role == "searcher"}


PLAIN = {"whiten": False, "std": False, "answers": 2}
SEARCHED = [ONE, TWO, "<stop>"]  # replies 0, 3 and 6; the generator is asked at 2 and 5


def test_hard_positives_are_the_evidence_and_three_passages_in_reverse_order():
    """Ranked 2, 3, 1, 4, 5, 6 for the question; 1 and 2 are found; of the rest the best three are 3, 4, 5."""
    method = make_method("dac", **PLAIN)
    episodes, asked = collect(method, SEARCHED, [UNKNOWN, RIGHT, RIGHT, UNKNOWN, RIGHT, WRONG])
    assert [e.session.play.workflow.given for e in episodes] == [(), *[(P1, P2)] * 2, *[(P1, P2, P5, P4, P3)] * 2]
    assert asked[3].prompt == asked[5].prompt == asked[6].prompt, "on E it is asked what it was asked in the episode"
    assert "answer unknown" in asked[5].prompt, "it may abstain"
    assert [(e.origin and (e.origin[0] is episodes[0], e.origin[1])) for e in episodes] == [None, *[(True, 0)] * 4]
    assert len({e.group for e in episodes}) == 3
    assert [len(e.own_turns) for e in episodes[1:]] == [1] * 4
    few, _ = collect(replace(method, hard=1), SEARCHED, [UNKNOWN, RIGHT, *[RIGHT] * 4])
    assert few[-1].session.play.workflow.given == (P1, P2, P3)
    without, _ = collect(replace(method, hard=0), SEARCHED, [UNKNOWN, RIGHT, *[RIGHT] * 2])
    assert len(without) == 3


def test_credit_by_hand():
    """The searcher: insufficient (0), then sufficient and accepted (+1 on the last token of reply 3), then `<stop>` (0); with values
    of 0 and gamma = lam = 1 advantages are what is to come. The generator on E: right, unknown -> r_G = 1, 0 -> +-.5;
    on E': unknown, wrong -> 0, 0."""
    method = make_method("dac", **PLAIN)
    episodes, _ = collect(method, SEARCHED, [UNKNOWN, RIGHT, RIGHT, UNKNOWN, UNKNOWN, WRONG])
    credit = method.credit(episodes, zeros(episodes), 0)
    got = {place: signal if isinstance(signal, float) else signal.advantage for place, signal in credit.items()}
    assert got == {
        (0, 0): (1.0, 1.0), (0, 3): (1.0, 1.0), (0, 6): (0.0, 0.0),
        (1, 0): 0.5, (2, 0): -0.5, (3, 0): 0.0, (4, 0): 0.0,
    }  # fmt: skip
    assert episodes[0].rewards == {"searcher_0": 1.0, "generator_0": 1.0}
    with_std = replace(method, std=True).credit(episodes, zeros(episodes), 0)
    assert with_std[1, 0] == pytest.approx(0.5 / (0.5**0.5 + 1e-4))


def test_abstention_is_justified_by_insufficient_evidence_alone():
    """Only passage 1 is found, so there is no hard positive: unknown 1, wrong 0; and right is right without evidence."""
    method = make_method("dac", **PLAIN | {"answers": 3})
    episodes, _ = collect(method, [ONE, "<stop>"], [UNKNOWN, UNKNOWN, WRONG, RIGHT])
    assert [a.reward for a in attempts(episodes)] == [1.0, 0.0, 1.0]
    credit = method.credit(episodes, zeros(episodes), 0)
    assert [credit[i, 0] for i in (1, 2, 3)] == pytest.approx([1 / 3, -2 / 3, 1 / 3])
    assert credit[0, 0].advantage == (0.0, 0.0)


def test_the_ablations_pay_the_searcher_for_other_things():
    """What is to come after replies 0, 3 and 6, where the generator guesses right too early and declines what would suffice."""
    for knobs, first, second, stop, total in [
        ({}, 0.0, 0.0, 0.0, 0.0),  # insufficient; declined
        ({"searcher": "sufficient"}, 1.0, 1.0, 0.0, 1.0),
        ({"searcher": "answer"}, 0.0, -1.0, 0.0, 0.0),  # +1, then -1
    ]:
        method = make_method("dac", hard=0, **PLAIN | knobs)
        episodes, _ = collect(method, SEARCHED, [RIGHT, UNKNOWN, *[WRONG] * 2])
        credit = method.credit(episodes, zeros(episodes), 0)
        assert [credit[0, k].returns[-1] for k in (0, 3, 6)] == [first, second, stop], knobs
        assert episodes[0].rewards["searcher_0"] == total


def test_without_turn_rewards_the_generator_is_asked_once_and_all_is_paid_at_the_end():
    method = make_method("dac", hard=0, turn_reward=False, gamma=0.5, **PLAIN)
    episodes, asked = collect(method, SEARCHED, [RIGHT, *[WRONG] * 2])
    assert sum(ask.agent == "generator_0" for ask in asked) == 1 + 2
    credit = method.credit(episodes, zeros(episodes), 0)
    assert [credit[0, k].returns for k in (0, 2, 4)] == [(1 / 32, 1 / 16), (1 / 8, 1 / 4), (1 / 2, 1.0)]


def test_equal_evidence_is_asked_about_once():
    """Three episodes of one problem, two of which found the same; an episode that found nothing is asked about that."""
    method = make_method("dac", hard=0, **PLAIN)
    searcher = [ONE, ONE, NONE, *["<stop>"] * 3]
    episodes, asked = collect(method, searcher, [UNKNOWN] * 20, samples=3)
    assert [e.session.play.workflow.given for e in episodes[3:]] == [*[(P1,)] * 2, *[(NOTHING_FOUND,)] * 2]
    assert [a.reward for a in attempts(episodes)] == [1.0] * 4
    assert NOTHING_FOUND in asked[-1].prompt


def test_lessons_are_answers_that_distractors_spoil():
    """k = 0: right on E, wrong on E' -> a lesson; k = 1: right on both; k = 2: wrong on E."""
    method = make_method("dac", sft=0.05, **PLAIN | {"answers": 3})
    said = [UNKNOWN, RIGHT, RIGHT, RIGHT, WRONG, UNKNOWN, RIGHT, WRONG]
    episodes, _ = collect(method, SEARCHED, said)
    (lesson,) = method.lessons(episodes)
    easy, hard = episodes[1].turns[0].completion, episodes[4].turns[0].completion
    assert (lesson.policy, lesson.role) == ("generator", "generator")
    assert lesson.ids == hard.prompt_ids + easy.token_ids
    (span,) = lesson.spans
    assert (span.start, span.end, span.advantage, span.logprobs) == (1, 3, 0.05, ())
    assert replace(method, sft=0.0).lessons(episodes) == []


def test_the_stackelberg_figures_by_hand():
    """Two episodes: (P1,) is insufficient, (P1, P2) suffices. Six answers, two of each kind: alpha = beta = gamma = 1/3. Of the
    hard, one declines and one is right: c = 1, margin = 1/3 - 1/3."""
    method = make_method("dac", **PLAIN)
    searcher = [ONE, ONE, "<stop>", TWO, "<stop>"]
    said = [UNKNOWN, UNKNOWN, RIGHT, UNKNOWN, WRONG, RIGHT, RIGHT, RIGHT, UNKNOWN]
    episodes, _ = collect(method, searcher, said, samples=2)
    third = pytest.approx(1 / 3)
    assert method.figures(episodes) == {
        "stackelberg_alpha": third, "stackelberg_beta": third, "stackelberg_gamma": third, "stackelberg_c": 1.0,
        "stackelberg_margin": pytest.approx(0.0), "hard_missing": 0.0, "declined": third,
    }  # fmt: skip
    assert method.figures(episodes[:2]) == {}
    unhard, _ = collect(replace(method, hard=0), searcher, said, samples=2)
    assert replace(method, hard=0).figures(unhard)["stackelberg_margin"] == -0.5, "without hard positives it is -alpha"


def test_a_search_that_fails_leaves_a_hard_positive_out_and_is_counted():
    method = make_method("dac", **PLAIN)
    episodes, _ = collect(method, SEARCHED, [UNKNOWN, RIGHT, RIGHT, RIGHT], task=Library(down=True))
    assert len(episodes) == 3
    assert method.figures(episodes)["hard_missing"] == 1.0


def test_the_danger_of_collapse_is_said_before_training():
    """EM 1/2 against 1 - evidence = 1/2: no danger; EM 0 against 1/2: danger."""
    method = make_method("dac", hard=0, **PLAIN)
    searcher = [ONE, ONE, "<stop>", TWO, "<stop>"]
    for last, dangerous in [(RIGHT, False), (WRONG, True)]:
        episodes, _ = collect(method, searcher, [UNKNOWN, UNKNOWN, last, *[WRONG] * 4], samples=2)
        assert [evidence_of(e)[1] for e in episodes[:2]] == [False, True]
        said = method.warnings(episodes[:2])
        assert len(said) == dangerous
    assert "EM is 0.000, less than 1 - evidence = 0.500" in said[0]
    assert method.warnings([]) == ()


def test_what_is_trained_is_not_what_is_evaluated():
    flow = make_workflow("search_answer", turns=3)
    assert knobs_of(make_method("dac").training(flow)) == {"turns": 3, "abstain": True, "every_turn": True}
    assert knobs_of(make_method("dac", turn_reward=False).training(flow)) == {"turns": 3, "abstain": True}
    assert knobs_of(flow) == {"turns": 3}
    for wrong in (make_workflow("solo"), replace(flow, given=("a",))):
        with pytest.raises(ConfigError, match="its workflow is search_answer without given; got"):
            make_method("dac").training(wrong)
    for knobs in ({"searcher": "best"}, {"answers": 1}, {"hard": 16}, {"sft": -1}, {"sft": 0.05, "hard": 0}):
        with pytest.raises((ValueError, ConfigError)):
            make_method("dac", **knobs)


def test_traces_of_the_asked_say_what_they_were_given():
    method = make_method("dac", **PLAIN)
    episodes, _ = collect(method, SEARCHED, [UNKNOWN, RIGHT, *[RIGHT] * 4])
    spec = EnvSpec("atlas", "search_answer", {}, knobs_of(episodes[0].session.play.workflow))
    for trace, e in zip(traces_of(episodes, spec, "train", {}), episodes, strict=True):
        assert trace.spec.make_workflow() == e.session.play.workflow
        assert "parent" not in trace.meta, "it shares no reply with the episode that found its evidence"
        assert [event.call for event in trace.session().events] == [event.call for event in e.session.events]

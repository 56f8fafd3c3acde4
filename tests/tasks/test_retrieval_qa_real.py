"""Real questions: every gold answer is right, every hostile reply wrong, supporting paragraphs suffice and others do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from random import Random

import pytest
from cases import sizes
from grading.span_cases import hostile, mutated, second_f1, second_normal

from llm_marl_envs import Problem, make_task
from llm_marl_envs.data import read_jsonl
from llm_marl_envs.grading.spans import exact_match, f1
from llm_marl_envs.reading import normalize

DATA = os.environ.get("LLM_MARL_DATA")
SIZES = {
    "hotpotqa": {"train": 100, "validation": 396},
    "2wikimultihopqa": {"train": 500, "validation": 164},
    "musique": {"train": 100, "validation": 200},
    "bamboogle": {"test": 125},
}

pytestmark = pytest.mark.skipif(
    not DATA or not all((Path(DATA) / name).is_dir() for name in SIZES),
    reason=f"LLM_MARL_DATA is not set, or lacks one of {', '.join(SIZES)}",
)


@cache
def problems_of(name: str) -> tuple[Problem, ...]:
    task = make_task(name, DATA)
    by_split = {split: task.problems(split) for split in SIZES[name]}
    assert {split: len(problems) for split, problems in by_split.items()} == SIZES[name]
    return tuple(problem for problems in by_split.values() for problem in problems)


def is_closed(problem: Problem) -> bool:
    return all(normalize(answer) in ("yes", "no") for answer in problem.gold.answers)


def shown(problem: Problem) -> str:
    """The supporting paragraphs as the search tool shows passages."""
    return "\n".join(f'Doc {i}(Title: "{p.title}") {p.text}' for i, p in enumerate(problem.gold.supporting, 1))


@pytest.mark.parametrize("name", SIZES)
def test_every_gold_answer_is_right(name):
    task, graded = make_task(name, DATA), 0
    for problem in problems_of(name):
        for gold in problem.gold.answers:
            for reply in (
                gold,
                f"<answer>{gold}</answer>",
                f"So it is \\boxed{{{gold}}}.",
                f"Hm.\nFinal answer: {gold}",
            ):
                score = task.grade(problem, reply)
                assert score.value == 1.0, (problem.question.id, reply, score)
            graded += 1
    print(f"{name}: {len(problems_of(name))} questions, {graded} gold answers, each right in four forms")


@sizes("count", 8, 100)
@pytest.mark.parametrize("name", SIZES)
def test_hostile_replies_are_not_paid(name, count):
    task, rng = make_task(name, DATA), Random(0)
    for i, problem in enumerate(rng.sample(problems_of(name), count)):
        paragraphs = "\n".join(map(str, problem.gold.supporting))
        replies = (*hostile(problem.gold.answers).values(), problem.question.text, paragraphs)
        for reply in (reply for reply in replies if i == 0 or len(reply) < 50_000):
            assert task.grade(problem, reply).value == 0.0, (problem.question.id, reply[:200])


@pytest.mark.parametrize("name", SIZES)
def test_another_questions_answer_is_wrong(name):
    """It scores only if the two questions share an answer."""
    task, problems = make_task(name, DATA), problems_of(name)
    for problem, other in zip(problems, problems[1:] + problems[:1], strict=True):
        ours = {" ".join(second_normal(answer)) for answer in problem.gold.answers}
        same = " ".join(second_normal(other.gold.answers[0])) in ours
        assert task.grade(problem, other.gold.answers[0]).value == same


@sizes("count", 5_000, 50_000)
def test_measures_on_mutated_gold_answers(count):
    golds = [gold for name in SIZES for problem in problems_of(name) for gold in problem.gold.answers]
    rng = Random(2)
    for _ in range(count):
        gold = rng.choice(golds)
        prediction = mutated(rng, gold if rng.random() < 0.8 else rng.choice(golds))
        assert exact_match(prediction, gold) == (second_normal(prediction) == second_normal(gold)), (prediction, gold)
        assert f1(prediction, gold) == pytest.approx(float(second_f1(prediction, gold)), abs=1e-12), (prediction, gold)


# The one question whose answer ("America" and others) stands in its paragraphs only as a part of "American".
ONLY_PART_OF_A_WORD = {"musique": 1}


@pytest.mark.parametrize(("name", "closed"), [("hotpotqa", 36), ("2wikimultihopqa", 180), ("musique", 0)])
def test_supporting_paragraphs_suffice_and_others_do_not(name, closed):
    task, problems, rng = make_task(name, DATA), problems_of(name), Random(3)
    short: list[str] = []
    others: list[float] = []
    for problem in problems:
        score = task.grade(problem, shown(problem), "evidence")
        if score.value != 1.0:
            short.append(problem.question.id)
        if is_closed(problem):
            _, *rest = problem.gold.supporting
            less = "\n".join(map(str, rest))
            assert task.grade(problem, less, "evidence").value == 0.0, "each of them is needed"
        other = rng.choice(problems)
        if not {p.title for p in other.gold.supporting} & {p.title for p in problem.gold.supporting}:
            others.append(task.grade(problem, shown(other), "evidence").value)
    print(
        f"{name}: {len(problems) - len(short)} of {len(problems)} sufficient by their own paragraphs, "
        f"{sum(others):.0f} of {len(others)} by another question's"
    )
    assert sum(map(is_closed, problems)) == closed
    assert len(short) == ONLY_PART_OF_A_WORD.get(name, 0), short
    assert sum(others) < 0.03 * len(others)


def corpus_questions() -> Iterator[tuple[str, dict]]:
    for split in ("train", "validation"):
        for _, row in read_jsonl(Path(DATA or "") / "multihop_corpus" / f"{split}.jsonl.gz"):
            yield split, row


def test_the_shared_corpus_agrees():
    """Its questions, derived separately, have our gold answers, and its supporting paragraphs are graded like ours."""
    folder = Path(DATA or "") / "multihop_corpus"
    if not folder.is_dir():
        pytest.skip("LLM_MARL_DATA has no multihop_corpus folder")
    corpus = {row["id"]: row for _, row in read_jsonl(folder / "corpus.jsonl.gz")}
    known = {(name, problem.question.text): problem for name in SIZES for problem in problems_of(name)}
    count = 0
    short: list[str] = []
    for _, row in corpus_questions():
        problem = known[row["dataset"], row["question"]]
        assert set(problem.gold.answers) == set(row["golden_answers"])
        found = [corpus[id] for id in row["supporting_ids"]]
        text = "\n".join(f"{p['title']}: {p['text']}" for p in found)
        if make_task(row["dataset"]).grade(problem, text, "evidence").value != 1.0:
            short.append(problem.question.id)
        count += 1
    assert count == 1460
    assert len(short) == sum(ONLY_PART_OF_A_WORD.values()), short

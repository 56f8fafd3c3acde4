"""Atlas for small models: worlds that share their names and nothing else, plain words, and the share of one-hop questions."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import pytest
from atlas_reader import Reader

from llm_marl_envs import make_task
from llm_marl_envs.errors import ConfigError, ToolFailed
from llm_marl_envs.task import Question
from llm_marl_envs.tasks.atlas import SPLITS, Atlas
from llm_marl_envs.tools.corpora import encyclopaedia
from llm_marl_envs.tools.corpora.encyclopaedia_facts import RELATIONS

DRAWN = {"size": 100, "worlds": 3, "max_hops": 2}


@pytest.mark.parametrize("plain", [False, True])
def test_facts_are_drawn_anew_over_the_same_names(plain):
    task = Atlas(**DRAWN, plain=plain, train_size=90, test_size=30)
    worlds = {(split, k): w for split in SPLITS for k, w in enumerate(task.worlds_of(split))}
    assert len(worlds) == 9
    assert len({world.entities for world in worlds.values()}) == 1
    assert {w.entities for w in worlds.values()} == {encyclopaedia.world_of(0, 100).entities}
    words = [{v for v in w.facts.values() if isinstance(v, str) and not v.isdecimal()} for w in worlds.values()]
    assert set.intersection(*words), "and the same seas, languages and currencies"
    for key in (("book.author"), ("person.birthplace")):
        said = [tuple(v for (_, name), v in w.facts.items() if name == key) for w in worlds.values()]
        assert len(set(said)) == 9
        agree = sum(a == b for a, b in zip(said[0], said[1], strict=True)) / len(said[0])
        assert agree < 0.5, "by chance alone"
    ids = [article.id for article in task.corpus()]
    assert len(ids) == len(set(ids)) == 9 * len(worlds["test", 0].entities)


@pytest.mark.parametrize("knobs", [{}, {"plain": True}, {"plain": True, "one_hop": 0.5}], ids=str)
def test_questions_are_about_their_own_world_and_searched_there(knobs):
    task = Atlas(**DRAWN, **knobs, train_size=90, test_size=30, top_k=50)
    search, texts = task.tools["search"], defaultdict(set)
    for split in task.splits:
        worlds = task.worlds_of(split)
        problems = task.problems(split)
        assert Counter(p.question.id.split("/")[3] for p in problems) == dict.fromkeys("012", len(problems) // 3)
        for problem in problems:
            texts[split].add(problem.question.text)
            world = worlds[int(problem.question.id.split("/")[3])]
            assert {str(p) for p in problem.gold.supporting} <= {f"{a.title}: {a.text}" for a in world.articles}
        for problem in problems[:12]:
            found = search(" ".join(p.title for p in problem.gold.supporting), question=problem.question)
            assert task.grade(problem, found.text, "evidence").value == 1.0
            other = problems[(problems.index(problem) + 1) % 12].question
            assert search(problem.gold.supporting[-1].title, question=other) != search(
                problem.gold.supporting[-1].title, question=problem.question
            )
    assert not texts["train"] & (texts["test"] | texts["validation"])
    assert len({p.question.id for split in task.splits for p in task.problems(split)}) == 150


@pytest.mark.parametrize(
    "id",
    [
        "atlas/test/0/3",
        "atlas/test/0/3/0",
        "atlas/test/1/0/0",
        "atlas/dev/0/0/0",
        "atlas/test/0/-1/0",
        "gsm8k/test/0",
        "",
    ],
)
def test_a_question_of_another_task_cannot_be_searched(id):
    with pytest.raises(ToolFailed, match=r"no question .* in this task"):
        Atlas(**DRAWN).tools["search"]("Oslo", question=Question(id, "?"))


def test_plain_articles_say_each_fact_in_one_way():
    plain, usual = Atlas(size=100, plain=True, train_size=200, test_size=50), Atlas(size=100)
    facts = Reader(plain).facts
    assert facts == {key: value for key, value in Reader(usual).facts.items() if not key[1].endswith(".year")}
    tells = {relation.tell[0].split("{o}")[0].removeprefix("{x}") for relation in RELATIONS if not relation.of_year}
    for article in plain.corpus():
        _, *others = re.split(r"(?<=\.) (?=(?:It|He|She)\b)", article.text)
        assert all(any(tell in sentence for tell in tells) for sentence in others), article
        assert not re.search("[0-9]", article.text)
    asks = {relation.ask[0].split("{x}")[0] for relation in RELATIONS}
    problems = [p for split in SPLITS for p in plain.problems(split)]
    assert {p.gold.form for p in problems} == {"bridge"}
    assert {p.gold.hops for p in problems} == {1, 2, 3, 4}
    assert all(p.question.text.startswith(tuple(asks)) for p in problems)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_the_share_of_one_hop(share):
    task = Atlas(max_hops=3, one_hop=share, train_size=300)
    counts = Counter(p.gold.hops for p in task.problems("train"))
    assert counts[1] / 300 == pytest.approx(share, abs=0.08)
    assert share == 1 or min(counts[2], counts[3]) > 0.3 * (300 - counts[1])


@pytest.mark.parametrize("knobs", [
    {"worlds": 0}, {"worlds": 2, "retriever": "http://127.0.0.1:1"}, {"plain": True, "retriever": "http://127.0.0.1:1"},
    {"one_hop": 1.1}, {"one_hop": -0.1}, {"one_hop": 0.5, "max_hops": 1}, {"one_hop": 0.5, "min_hops": 2}, {"worlds": 101},
], ids=str)  # fmt: skip
def test_worlds_that_cannot_be(knobs):
    with pytest.raises(ConfigError, match="atlas does not accept"):
        make_task("atlas", **knobs)

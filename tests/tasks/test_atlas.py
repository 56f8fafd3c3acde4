"""The encyclopaedia's questions, answered again by a solver that reads nothing but the articles and the question."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict

import pytest
from atlas_reader import Reader
from cases import sizes

from llm_marl_envs import make, make_task
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.reading import normalize
from llm_marl_envs.spec import knobs_of
from llm_marl_envs.tasks.atlas import SPLITS, Atlas
from llm_marl_envs.testing import check_task
from llm_marl_envs.tools.corpora import encyclopaedia
from llm_marl_envs.tools.corpora.encyclopaedia_facts import OF, RELATIONS
from llm_marl_envs.tools.index import Index

KNOBS = [
    {},
    {"seed": 1, "size": 100},
    {"min_hops": 4},
    {"max_hops": 1},
    {"min_hops": 2, "max_hops": 3, "size": 300, "context": True},
    {"size": 3_000, "context": True, "distractors": 0},
    {"size": 100, "worlds": 3, "plain": True, "max_hops": 2, "one_hop": 0.4, "context": True},
]


@pytest.mark.parametrize("knobs", KNOBS, ids=str)
def test_the_contract(knobs):
    check_task(make_task("atlas", train_size=300, test_size=50, **knobs), sample=10)


# The questions, by an independent solver.


@sizes(("size", "rest"), (200, 100), (3_000, 300))
@pytest.mark.parametrize("knobs", [{}, {"seed": 7, "size": 300}], ids=str)
def test_every_question_has_one_answer_and_it_is_the_gold_one(knobs, size, rest):
    task = Atlas(train_size=size, test_size=rest, **knobs)
    reader = Reader(task)
    for split in task.splits:
        for problem in task.problems(split):
            answers = reader.answers(problem.question.text)
            assert list(answers.values()) == [problem.gold.answers[0]], problem.question.text


def test_a_question_rests_on_its_articles_and_on_each_of_them():
    """The first article is named in the question, each names the next, and the last of a bridge holds the answer."""
    for problem in Atlas(train_size=1_500).problems("train"):
        gold, words = problem.gold, f" {normalize(problem.question.text)} "
        texts = [f" {normalize(p.text)} " for p in gold.supporting]
        titles = [f" {normalize(p.title)} " for p in gold.supporting]
        assert len(set(titles)) == gold.hops == len(gold.supporting)
        assert titles[0] in words
        if gold.form == "bridge":
            answer = f" {normalize(gold.answers[0])} "
            assert all(then in text for text, then in zip(texts, titles[1:], strict=False))
            assert [answer in text for text in texts] == [False] * (gold.hops - 1) + [True]
            assert answer not in words
            assert not any(title in words for title in titles[1:]), "only the first is named"


@sizes("seeds", 6, 40)
def test_no_question_of_one_hop_names_its_answer(seeds):
    """In a small world, somebody named after a city was born there: this is not asked."""
    namesakes = 0
    for seed in range(seeds):
        task = Atlas(seed=seed, size=100, max_hops=1)
        named = {x for (x, _), v in Reader(task).facts.items() if v in x.split()}
        namesakes += len(named)
        for problem in (p for split in SPLITS for p in task.problems(split)):
            words = f" {normalize(problem.question.text)} "
            assert not any(f" {normalize(answer)} " in words for answer in problem.gold.answers), words
    assert namesakes > seeds / 4


def test_no_article_joins_the_question_to_its_answer():
    task = Atlas(min_hops=2)
    articles = [f" {normalize(p.title)} {normalize(p.text)} " for p in task.corpus()]
    bridges = [p.gold for p in task.problems("test") if p.gold.form == "bridge"]
    assert len(bridges) > 100
    for gold in bridges:
        start, answer = (f" {normalize(name)} " for name in (gold.supporting[0].title, gold.answers[0]))
        assert not any(start in article and answer in article for article in articles)


@sizes("size", 300, 1_000)
def test_a_single_search_finds_ever_less_of_what_is_needed(size):
    """BM25 with the question as query, top 3: how often all articles are found, and the last one of a bridge."""
    task = Atlas(test_size=size)
    found = Index.of(task.corpus())
    whole, last = defaultdict(list), defaultdict(list)
    for problem in (p for split in ("validation", "test") for p in task.problems(split)):
        titles = [p.title for p in problem.gold.supporting]
        top = {p.title for p in found.search(problem.question.text, 3)}
        whole[problem.gold.hops].append(sum(t in top for t in titles) / len(titles))
        if problem.gold.form == "bridge":
            last[problem.gold.hops].append(titles[-1] in top)
    recall = [sum(whole[hops]) / len(whole[hops]) for hops in (1, 2, 3, 4)]
    print("mean recall by hops", [f"{r:.2f}" for r in recall])
    assert recall[0] > 0.9
    assert all(more > less + 0.05 for more, less in itertools.pairwise(recall))
    assert recall[3] < 0.4
    assert all(sum(last[hops]) / len(last[hops]) < 0.05 for hops in (2, 3, 4))


# The world.


def test_names_are_unique_and_close():
    for seed in range(3):
        corpus = Atlas(seed=seed).corpus()
        names = [p.title for p in corpus]
        assert len({normalize(n) for n in names}) == len({p.id for p in corpus}) == len(names) == 1_000
        world = encyclopaedia.world_of(seed, 1_000)
        of = {kind: [world.entities[i].name for i in world.of_kind(kind)] for kind in OF}
        assert {kind: len(them) for kind, them in of.items()} == {
            k: 10 * share for k, share in encyclopaedia.SHARES.items()
        }
        surnames = Counter(name.split()[1] for name in of["person"])
        assert sum(count > 1 for count in surnames.values()) > 50, "people share surnames"
        cities = set(of["city"])
        assert len(cities & set(surnames)) > 10, "surnames are cities"
        assert sum(any(c[:-2] in r and c != r for c in cities) for r in of["river"]) > 15, "rivers resemble cities"
        works = [*of["book"], *of["film"], *of["song"]]
        assert sum(bool(cities & set(re.findall(r"\w+", w))) for w in works) > 50, "titles hold cities"


def test_articles_are_short_and_varied():
    corpus = Atlas().corpus()
    for passage in corpus:
        assert 2 <= len(re.findall(r"\.(?: |$)", passage.text)) <= 5, passage
    text = " ".join(p.text for p in corpus)
    for relation in RELATIONS:
        told = [len(re.findall(re.escape(re.sub(r"\{x\}('s)?", "", t).split("{o}")[0]), text)) for t in relation.tell]
        assert min(told) > 2, relation.name


def test_countries_are_governed_from_within():
    reader = Reader(Atlas())
    capitals = {x: v for (x, name), v in reader.facts.items() if name == "country.capital"}
    assert len(capitals) == 30
    assert all(reader.facts[city, "city.country"] == country for country, city in capitals.items())


# Splits, seeds, knobs.


@sizes(("size", "rest"), (300, 100), (1_500, 500))
def test_splits_share_nothing_whatever_the_knobs(size, rest):
    """No question is in two splits, or twice in one, in another wording or with its two sides exchanged."""
    reader = Reader(Atlas())
    seen: dict[str, set[str]] = {split: set() for split in SPLITS}
    for knobs in ({}, {"min_hops": 2}, {"max_hops": 2}):
        for split in SPLITS:
            problems = Atlas(train_size=size, test_size=rest, **knobs).problems(split)
            meanings = {meaning for p in problems for meaning in reader.answers(p.question.text)}
            assert len(meanings) == len(problems)
            seen[split] |= meanings
    assert all(len(meanings) > 1.8 * rest for meanings in seen.values())
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


@sizes(("seeds", "size"), (2, 200), (8, 2_000))
def test_neighbouring_seeds_share_no_id_and_no_question(seeds, size):
    ids, texts = Counter(), Counter()
    for seed in range(seeds):
        task = Atlas(seed=seed, train_size=size, test_size=size)
        for split in SPLITS:
            ids.update(p.question.id for p in task.problems(split))
            texts.update({p.question.text for p in task.problems(split)})
        ids.update({p.id for p in task.corpus()})
    assert max(ids.values()) == 1
    assert sum(count > 1 for count in texts.values()) < 0.02 * len(texts), "titles without names can occur twice"
    assert task.problems("test")[0].question.id == f"atlas/test/{seeds - 1}/0"


def test_sizes_hops_and_forms():
    task = Atlas()
    assert {split: len(task.problems(split)) for split in SPLITS} == {"train": 6_000, "validation": 500, "test": 500}
    counts = Counter((p.gold.hops, p.gold.form) for p in task.problems("train"))
    assert set(counts) == {(1, "bridge")} | {(h, f) for h in (2, 3, 4) for f in ("bridge", "compare", "same")}
    assert min(counts.values()) > 100
    said = Counter(p.gold.answers[0] for p in task.problems("train") if p.gold.form == "same")
    assert set(said) == {"yes", "no"}
    assert 0.45 < said["yes"] / said.total() < 0.55
    hops = {p.gold.hops for p in Atlas(min_hops=2, max_hops=3, train_size=200).problems("train")}
    assert hops == {2, 3}


@sizes(("seeds", "size"), (1, 3_000), (5, 6_000))
def test_yes_and_no_are_even_for_every_relation(seeds, size):
    said = defaultdict(Counter)
    worlds = (Atlas(seed=seed, min_hops=2, train_size=size) for seed in range(seeds))
    for problem in (p for world in worlds for p in world.problems("train")):
        if problem.gold.form == "same":
            said[" ".join(re.findall(r"\b[a-z]+\b", problem.question.text)[-3:])][problem.gold.answers[0]] += 1
    for words, counts in said.items():
        assert counts.total() < 60 or 0.3 < counts["yes"] / counts.total() < 0.7, (words, counts)


def test_a_small_world_gives_what_it_has():
    task = Atlas(size=100, max_hops=1, train_size=10**6)
    assert 150 < len(task.problems("train")) < 400
    assert len(set(task.problems("train"))) == len(task.problems("train"))


def test_materials():
    plain, given = Atlas(test_size=200), Atlas(test_size=200, context=True, distractors=5)
    places = Counter()
    for without, problem in zip(plain.problems("test"), given.problems("test"), strict=True):
        assert (without.question.text, without.gold) == (problem.question.text, problem.gold)
        assert without.question.materials == ()
        materials, needed = problem.question.materials, [str(p) for p in problem.gold.supporting]
        assert len(set(materials)) == len(materials) == len(needed) + 5
        assert set(needed) <= set(materials)
        places[materials.index(needed[0])] += 1
    assert len(places) > 5, "shuffled"
    articles = {f"{p.title}: {p.text}" for p in plain.corpus()}
    assert all(set(p.question.materials) <= articles for p in given.problems("test"))


DIGEST = """
import hashlib, sys
from llm_marl_envs.tasks.atlas import Atlas
task = Atlas(seed=5, size=300, context=True, train_size=100, test_size=50)
print(hashlib.sha256(repr((task.corpus(), [task.problems(s) for s in task.splits])).encode()).hexdigest())
"""


def test_everything_follows_from_the_seed():
    env = {**os.environ, "PYTHONHASHSEED": "4242"}
    there = subprocess.run([sys.executable, "-c", DIGEST], env=env, capture_output=True, text=True, check=True).stdout
    task = Atlas(seed=5, size=300, context=True, train_size=100, test_size=50)
    here = repr((task.corpus(), [task.problems(s) for s in task.splits])).encode()
    assert there.strip() == hashlib.sha256(here).hexdigest()


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"min_hops": 0}, "hops go from 1 to 4; got 0 to 4"),
        ({"max_hops": 5}, "hops go from 1 to 4; got 1 to 5"),
        ({"min_hops": 3, "max_hops": 2}, "got 3 to 2"),
        ({"size": 99}, "size starts at 100"),
        ({"test_size": 0}, "sizes and top_k at 1"),
        ({"distractors": -1}, "distractors at 0"),
    ],
)
def test_impossible_knobs(knobs, message):
    with pytest.raises(ConfigError, match=message):
        make_task("atlas", **knobs)
    with pytest.raises(UnknownName, match="split of atlas 'dev'"):
        Atlas().problems("dev")


# Grading and search.


def test_grading():
    task = Atlas()
    for problem in task.problems("test"):
        answer = problem.gold.answers[0]
        for reply in (f"<answer>{answer}</answer>", answer, f"Answer: {answer.upper()}"):
            assert task.grade(problem, reply).value == 1.0
        for reply in (
            f"<answer>not {answer}</answer>",
            f"{answer}land",
            f"{answer} Pelu",
            f"<answer>{answer[:-1]}</answer>",
            "unknown",
        ):
            assert task.grade(problem, reply).value == 0.0
        needed = "\n".join(f'Doc {i}(Title: "{p.title}") {p.text}' for i, p in enumerate(problem.gold.supporting, 1))
        assert task.grade(problem, needed, "evidence").value == 1.0
        if problem.gold.form != "compare":  # its answer is named by the article of either side
            less = "\n".join(needed.splitlines()[:-1])
            assert task.grade(problem, less, "evidence").value == 0.0


def test_search_is_over_its_own_articles():
    task = Atlas(seed=3, size=200, top_k=2)
    for passage in task.corpus()[::20]:
        lines = task.tools["search"](f"{passage.title} {passage.text}").text.splitlines()
        assert lines[0] == f'Doc 1(Title: "{passage.title}") {passage.text}'
        assert len(lines) == 2
    env = make("atlas/solo-v1", split="test", seed=3, size=200)
    env.reset(seed=0)
    assert env.problem in env.task.problems("test")


def test_the_retriever_is_no_part_of_the_task():
    task = Atlas(retriever="http://127.0.0.1:1")
    assert knobs_of(task) == {}
    with pytest.raises(ConfigError, match="http://"):
        Atlas(retriever="ftp://x").tools  # noqa: B018

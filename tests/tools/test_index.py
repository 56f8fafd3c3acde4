"""BM25 over corpus files: the formula by hand, bm25s's own results, any query, both layouts of rows."""

from __future__ import annotations

import gzip
import json
import math
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from cases import cpu_s, sizes
from corpora import WORDS, corpus
from Stemmer import Stemmer

from llm_marl_envs.errors import DataError, MissingExtra
from llm_marl_envs.tools import index
from llm_marl_envs.tools.index import LONGEST_QUERY, Index, Passage, open_index, passage_of, read_passages

# The scores.


def bm25_by_hand(passages: list[Passage], query: str, k: int) -> list[tuple[str, float]]:
    """Lucene's BM25 with k1 = 1.5 and b = 0.75, term by term (Kamphuis et al. 2020), ties in the corpus's order."""
    stop, stem = {"the", "of", "is", "a"}, Stemmer("english").stemWord

    def terms(text: str) -> list[str]:
        words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
        return [stem(w) for w in words if len(w) > 1 and w not in stop]

    docs = [Counter(terms(f"{p.title} {p.text}")) for p in passages]
    mean = sum(d.total() for d in docs) / len(docs)
    scores = [0.0] * len(docs)
    for term in terms(query):
        having = sum(term in d for d in docs)
        idf = math.log(1 + (len(docs) - having + 0.5) / (having + 0.5))
        for i, d in enumerate(docs):
            scores[i] += idf * d[term] / (d[term] + 1.5 * (0.25 + 0.75 * d.total() / mean)) if term in d else 0.0
    best = sorted((i for i, s in enumerate(scores) if s > 0), key=lambda i: (-round(scores[i], 4), i))[:k]
    return [(passages[i].id, scores[i]) for i in best]


def test_scores_are_the_formulas():
    passages, rng = corpus(), Random(1)
    found = Index.of(passages)
    for _ in range(100):
        query = " ".join(rng.choices([*WORDS, "unheard", "17", "!"], k=rng.randint(1, 6)))
        ours, theirs = found.search(query, 5), bm25_by_hand(passages, query, 5)
        assert [p.id for p in ours] == [id for id, _ in theirs], query
        assert [p.score for p in ours] == pytest.approx([s for _, s in theirs], rel=1e-5)


def test_equal_scores_stay_in_the_corpus_order():
    same = [Passage(str(i), "Oslo", "a city" if i % 2 else "a capital") for i in range(50)]
    found = Index.of(same)
    assert [p.id for p in found.search("city", 10)] == [str(i) for i in range(1, 21, 2)]
    assert [p.id for p in found.search("Oslo", 50)] == [str(i) for i in range(50)]
    assert [p.id for p in found.search("Oslo capital", 27)] == [*map(str, range(0, 50, 2)), "1", "3"]


def test_only_passages_that_share_a_word_are_found():
    found = Index.of([Passage("0", "Oslo", "city"), Passage("1", "Rome", "town"), Passage("2", "", "city of Rome")])
    assert [p.id for p in found.search("cities", 3)] == ["0", "2"]
    for query in ("", " ", "the", "x", "unheard of", "!?", "город"):
        assert found.search(query, 3) == []
    assert found.search("Rome", 0) == []
    assert len(found.search("Rome city", 99)) == 3
    assert found.search_batch(["Oslo", "", "town"], 1) == [found.search("Oslo", 1), [], found.search("town", 1)]


@pytest.mark.parametrize(
    "query",
    ["\ud800", "Oslo\ud800\udfff Oslo", "\x00Oslo\x00", "Oslo " * 200_000, "O" * 1_000_000, "\u202eolsO ́", "%s{0}\\"],
)
def test_any_text_can_be_asked(query):
    found = Index.of([Passage("0", "Oslo", "city \ud83d half a pair")])
    assert [p.id for p in found.search(query)] == (["0"] if "Oslo" in query else [])
    assert cpu_s(lambda: found.search(query)) < 0.5


def test_words_that_say_nothing_are_not_searched_for():
    """Not even where another word has the same stem: that of "ares" is "are"."""
    found = Index.of([Passage("0", "Ares", "god"), Passage("1", "", "they are gods")])
    assert [p.id for p in found.search("ares")] == ["0"]
    assert found.search("are") == []


def test_a_long_query_is_cut():
    found = Index.of([Passage("0", "Oslo", "city")])
    assert found.search(" " * (LONGEST_QUERY - 4) + "Oslo")
    assert found.search(" " * (LONGEST_QUERY - 3) + "Oslo") == []


def test_one_index_serves_many_threads():
    passages = corpus(500)
    found, queries = Index.of(passages), [f"{p.title} {p.text[:40]}" for p in passages]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(found.search, queries)) == found.search_batch(queries)


@sizes(("paragraphs", "asked"), (5_000, 200), (23_060, 760))
def test_bm25s_finds_the_same_on_real_paragraphs(tmp_path, paragraphs, asked):
    """All 760 validation questions over 23,060 paragraphs in the end: bm25s's own tokenising and retrieval give the same scores."""
    shared = Path(os.environ.get("LLM_MARL_DATA", "")) / "multihop_corpus"
    if not (shared / "corpus.jsonl.gz").is_file():
        pytest.skip("needs LLM_MARL_DATA with multihop_corpus")
    import bm25s

    with gzip.open(shared / "corpus.jsonl.gz") as whole:
        (tmp_path / "some.jsonl").write_bytes(b"".join(islice(whole, paragraphs)))
    found = open_index(tmp_path / "some.jsonl", tmp_path / "cache")
    stemmer = Stemmer("english")
    texts = [f"{p.title} {p.text}" for p in read_passages(tmp_path / "some.jsonl")]
    bare = bm25s.BM25()
    bare.index(bm25s.tokenize(texts, stemmer=stemmer, show_progress=False), show_progress=False)
    with gzip.open(shared / "validation.jsonl.gz") as file:
        questions = [json.loads(line)["question"] for line in islice(file, asked)]
    assert (len(found), len(questions)) == (paragraphs, asked)
    for question in questions:
        tokens = bm25s.tokenize(question, stemmer=stemmer, show_progress=False)
        _, scores = bare.retrieve(tokens, k=10, show_progress=False)
        assert [p.score for p in found.search(question, 10)] == scores[0].tolist(), question


# Corpus files.


def test_both_layouts(tmp_path):
    rows = [
        {"id": "a", "title": "Oslo", "text": "A city.\nIn Norway.", "sources": ["x"]},
        {"id": 7, "contents": '"Rome"\nA city.\nIn Italy.'},
        {"id": "c", "contents": "Paris\n"},
        {"id": "d", "title": "Bern", "contents": '"Geneva"\nA city.'},
        {"id": "e", "title": None, "text": "nameless city"},
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = open_index(path, tmp_path / "cache")
    assert [found[i] for i in range(len(found))] == [
        Passage("a", "Oslo", "A city.\nIn Norway."),
        Passage("7", "Rome", "A city.\nIn Italy."),
        Passage("c", "Paris", ""),
        Passage("d", "Bern", "A city."),
        Passage("e", "", "nameless city"),
    ]
    assert found.search("Geneva") == []
    assert found.search("Italy")[0].id == "7"


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"id": "1"},
        {"id": "1", "text": 3},
        {"id": None, "text": "t"},
        {"id": "1", "title": 3, "text": "t"},
        {"text": "t"},
    ],
)
def test_rows_that_are_no_passages(row, tmp_path):
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"id": "0", "title": "t", "text": "x"}\n' + json.dumps(row), encoding="utf-8")
    with pytest.raises(DataError, match=r"corpus\.jsonl line 2: expected the texts id, title, text \(or id, contents"):
        open_index(path, tmp_path / "cache")
    with pytest.raises(DataError, match="here: expected"):
        passage_of(row, "here")
    assert not [p for p in (tmp_path / "cache").rglob("*") if p.is_file()], "nothing half-built is left"


@pytest.mark.parametrize("text", ["", '{"id": "0", "title": "!", "text": "a the x"}\n'])
def test_a_corpus_without_words(text, tmp_path):
    (tmp_path / "corpus.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match="not one word of two letters"):
        open_index(tmp_path / "corpus.jsonl", tmp_path / "cache")


def test_no_corpus(tmp_path):
    with pytest.raises(DataError, match=r"no corpus at .*none\.jsonl: No such file"):
        open_index(tmp_path / "none.jsonl")


def test_without_the_extra(monkeypatch):
    index._packages.cache_clear()
    monkeypatch.setitem(sys.modules, "Stemmer", None)
    with pytest.raises(MissingExtra, match=r"pip install 'llm-marl-envs\[search\]'"):
        Index.of(corpus(3))
    index._packages.cache_clear()

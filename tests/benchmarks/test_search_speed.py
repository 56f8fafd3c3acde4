"""Search against bare bm25s, and loading an index against building it, in ratios within one run.

The corpus is multihop_corpus of LLM_MARL_DATA, or as many generated paragraphs of about as many words.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from itertools import accumulate
from pathlib import Path
from random import Random

import pytest
from benchmarks.ratio import compare

from llm_marl_envs.tools import index
from llm_marl_envs.tools.index import open_index, read_passages
from llm_marl_envs.tools.search import search_tool

bm25s = pytest.importorskip("bm25s")
Stemmer = pytest.importorskip("Stemmer").Stemmer

PARAGRAPHS, QUESTIONS = 23_060, 760


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple[Path, list[str]]:
    """A corpus file and questions about it."""
    shared = Path(os.environ.get("LLM_MARL_DATA", "")) / "multihop_corpus"
    if (shared / "corpus.jsonl.gz").is_file():
        with gzip.open(shared / "validation.jsonl.gz") as file:
            return shared / "corpus.jsonl.gz", [json.loads(line)["question"] for line in file]
    rng = Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 10))) for _ in range(60_000)]
    zipf = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
    path = tmp_path_factory.mktemp("corpus") / "corpus.jsonl.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        for i in range(PARAGRAPHS):
            text = " ".join(rng.choices(words, cum_weights=zipf, k=81))
            file.write(json.dumps({"id": str(i), "title": rng.choice(words), "text": text}) + "\n")
    return path, [" ".join(rng.choices(words, cum_weights=zipf, k=15)) for _ in range(QUESTIONS)]


def test_search_costs_what_bm25s_costs(benchmark, corpus, tmp_path):
    path, questions = corpus
    search = search_tool(open_index(path, tmp_path), top_k=3)
    stemmer = Stemmer("english")
    texts = [f"{p.title} {p.text}" for p in read_passages(path)]
    bare = bm25s.BM25(backend="numpy")
    bare.index(bm25s.tokenize(texts, stemmer=stemmer, show_progress=False), show_progress=False)

    def ours() -> float:
        began = time.perf_counter()
        for question in questions:
            search(question)
        return (time.perf_counter() - began) / len(questions)

    def theirs() -> float:
        began = time.perf_counter()
        for question in questions:
            tokens = bm25s.tokenize(question, stemmer=stemmer, show_progress=False)
            bare.retrieve(tokens, k=3, show_progress=False, backend_selection="numpy")
        return (time.perf_counter() - began) / len(questions)

    assert compare(benchmark, ours, theirs, "a search, against bare bm25s (s)") < 1.1


def test_loading_takes_a_tenth_of_building(benchmark, corpus, tmp_path):
    path, _ = corpus
    caches = (tmp_path / str(i) for i in range(100))
    full = tmp_path / "full"

    def opened(cache: Path) -> float:
        index._open.cache_clear()
        began = time.perf_counter()
        assert len(open_index(path, cache)) == PARAGRAPHS
        return time.perf_counter() - began

    opened(full)
    ratio = compare(
        benchmark, lambda: opened(full), lambda: opened(next(caches)), "loading an index, against building it (s)"
    )
    assert ratio < 0.1

"""BM25 over a corpus of passages: built once, cached by content, memory-mapped.

A corpus is a `corpus.jsonl[.gz]` with the fields id, title, text (or id and contents = '"title"\\ntext', the layout of
FlashRAG and Search-R1). Scoring is bm25s (Lu 2024, arXiv 2407.03618) with its defaults, its numpy back end and Snowball's
English stemmer; ties go to the passage that comes first in the corpus, so results are the same in every process.

The cache holds one folder per (corpus bytes, settings, versions); a torn or changed one is rebuilt. A corpus over
HASH_EACH_TIME bytes is hashed once and its digest remembered under its path, size and time of change: hashing a dump of
14 GB takes longer than loading its index. Indexing itself happens in memory (about six times the text).
"""

from __future__ import annotations

import functools
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from rich.console import Console

from llm_marl_envs.data import read_jsonl
from llm_marl_envs.errors import DataError, MissingExtra
from llm_marl_envs.files import HASH_EACH_TIME, atomic_write, cache_folder, cached_folder, digest_of

VERSION = 1  # of the folder's layout and of how a text becomes words
LONGEST_QUERY = 4_096  # characters; the rest of a longer query is not looked at, so its cost is bounded
WORDS = re.compile(r"\b\w\w+\b")
BUSY = 2_000  # passages between two progress reports while building
PASSAGES, OFFSETS = "passages.jsonl", "offsets.npy"


class Passage(NamedTuple):
    """A passage of a corpus; `score` is the retriever's, higher is better."""

    id: str
    title: str
    text: str
    score: float = 0.0


class Index:
    """Finds passages by BM25. It only reads, so threads may share one."""

    def __init__(self, bm25: Any, passages: np.ndarray, offsets: np.ndarray):
        bm25s, self._stemmer = _packages()
        self._stopwords = frozenset(bm25s.stopwords.STOPWORDS_EN)
        self._bm25, self._passages, self._offsets = bm25, passages, offsets
        self._vocabulary: dict[str, int] = bm25.vocab_dict

    @classmethod
    def of(cls, passages: Iterable[Passage]) -> Index:
        """An index in memory. Raises DataError if no passage has a word to be found by."""
        sink = io.BytesIO()
        bm25, offsets = _build(passages, sink)
        return cls(bm25, np.frombuffer(sink.getbuffer(), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, place: int) -> Passage:
        """The passage at a place in the corpus, from 0."""
        start, end = self._offsets[place], self._offsets[place + 1]
        return Passage(*json.loads(self._passages[start:end].tobytes()))

    def search(self, query: str, k: int = 3) -> list[Passage]:
        """The k passages that match best, best first; fewer if fewer share a word with the query. Takes any text."""
        words = [w for w in WORDS.findall(query[:LONGEST_QUERY].lower()) if w not in self._stopwords]
        stems = self._stemmer("english").stemWords(words)  # made anew: a stemmer cannot be shared between threads
        ids = [id for stem in stems if (id := self._vocabulary.get(stem)) is not None]
        if not ids or k < 1:
            return []
        scores = self._bm25.get_scores_from_ids(ids)
        least = np.partition(scores, -k)[-k] if k < len(scores) else 0
        hits = np.flatnonzero(scores >= least if least > 0 else scores > 0)
        best = hits[np.argsort(-scores[hits], kind="stable")[:k]]
        return [self[place]._replace(score=float(scores[place])) for place in best.tolist()]

    def search_batch(self, queries: Sequence[str], k: int = 3) -> list[list[Passage]]:
        """`search` for several queries."""
        return [self.search(query, k) for query in queries]


def open_index(path: str | Path, cache: Path | None = None) -> Index:
    """The index of a corpus file, from the cache if it is there (`cache_folder()` unless another is given).

    Raises DataError for a corpus that is missing or malformed. Without a writable cache it works in memory, with a warning.
    """
    try:
        stat = os.stat(path)
    except OSError as bad:
        raise DataError(
            f"no corpus at {path}: {bad.strerror}. Expected a .jsonl[.gz] file with the fields id, title, text "
            f"(or id, contents)."
        ) from None
    return _open(Path(path).absolute(), stat.st_size, stat.st_mtime_ns, cache or cache_folder())


@functools.lru_cache(maxsize=8)
def _open(path: Path, size: int, changed: int, cache: Path | None) -> Index:
    bm25s, _ = _packages()
    if cache is None:
        warnings.warn(f"no home folder to cache the index of {path} in: it is built in memory each time", stacklevel=3)
        return Index.of(read_passages(path))
    name = blake2b(f"{VERSION} {bm25s.__version__} {_digest(path, cache)}".encode(), digest_size=16).hexdigest()
    try:
        return _load(cached_folder(cache / "search" / name, functools.partial(_build_in, corpus=path)))
    except OSError as bad:  # the disk is full, for example
        warnings.warn(f"the index of {path} cannot be cached ({bad}): it is built in memory each time", stacklevel=3)
        return Index.of(read_passages(path))


def _build_in(folder: Path, corpus: Path) -> None:
    with open(folder / PASSAGES, "wb") as sink:
        bm25, offsets = _build(read_passages(corpus), sink)
    bm25.save(folder, show_progress=False)
    np.save(folder / OFFSETS, offsets)


def _load(folder: Path) -> Index:
    bm25s, _ = _packages()
    bm25 = bm25s.BM25.load(folder, mmap=True)
    # Plain views of the mapped arrays: every slice of a numpy.memmap has the cost of one.
    bm25.scores = {name: np.asarray(value) if name != "num_docs" else value for name, value in bm25.scores.items()}
    offsets = np.asarray(np.load(folder / OFFSETS, mmap_mode="r"))
    return Index(bm25, np.asarray(np.memmap(folder / PASSAGES, np.uint8, "r")), offsets)


def _digest(path: Path, cache: Path) -> str:
    """A corpus' content hash; that of a large one is remembered for as long as its size and time of change stay."""
    stat = os.stat(path)
    if stat.st_size <= HASH_EACH_TIME:
        return digest_of(path)
    known = {"size": stat.st_size, "changed": stat.st_mtime_ns, "version": VERSION}
    memory = cache / "digests" / f"{blake2b(os.fsencode(path.absolute()), digest_size=16).hexdigest()}.json"
    with suppress(OSError, ValueError, AttributeError):
        told = json.loads(memory.read_bytes())
        if told.get("digest") and {k: told.get(k) for k in known} == known:
            return str(told["digest"])
    digest = digest_of(path)
    with suppress(OSError), atomic_write(memory) as file:
        file.write(json.dumps(known | {"digest": digest}).encode())
    return digest


def read_passages(path: Path) -> Iterator[Passage]:
    """The passages of a corpus file. Raises DataError with the line that is not one."""
    for where, row in read_jsonl(path):
        yield passage_of(row, where)


def passage_of(row: Mapping[str, Any], where: str) -> Passage:
    """A passage from a row with id, title, text, or with id, contents. Raises DataError if it has neither."""
    id, title, text = row.get("id"), row.get("title") or "", row.get("text")
    if text is None and isinstance(row.get("contents"), str):
        head, _, text = row["contents"].partition("\n")
        title = title or head.strip().removeprefix('"').removesuffix('"')
    if not isinstance(id, str | int) or not isinstance(title, str) or not isinstance(text, str):
        raise DataError(
            f"{where}: expected the texts id, title, text (or id, contents = '\"title\"\\ntext'); got {str(row)[:120]}"
        )
    return Passage(str(id), title, text)


def _build(passages: Iterable[Passage], sink: BinaryIO) -> tuple[Any, np.ndarray]:
    """Write the passages to `sink`; return their BM25 scores and where each begins (and the last one ends) in `sink`."""
    bm25s, stemmer = _packages()
    stem = stemmer("english").stemWord
    vocabulary: dict[str, int] = {}
    id_of: dict[str, int | None] = dict.fromkeys(bm25s.stopwords.STOPWORDS_EN)
    ids: list[list[int]] = []
    offsets = [0]
    with _signs_of_life() as tell:
        for place, passage in enumerate(passages):
            if place % BUSY == 0:
                tell(f"{place:,} passages read")
            words = WORDS.findall(f"{passage.title} {passage.text}".lower())
            for word in words:
                if word not in id_of:
                    id_of[word] = vocabulary.setdefault(stem(word), len(vocabulary))
            ids.append([id for word in words if (id := id_of[word]) is not None])
            offsets.append(offsets[-1] + sink.write(json.dumps(passage[:3]).encode()))
        if not vocabulary:
            raise DataError(f"the corpus has {len(ids)} passages and not one word of two letters to find them by")
        tell(f"{len(ids):,} passages read, scoring")
        bm25 = bm25s.BM25()
        tokens = bm25s.tokenization.Tokenized(ids, vocabulary)
        bm25.index(tokens, create_empty_token=False, show_progress=False)
    return bm25, np.array(offsets, np.int64)


@contextmanager
def _signs_of_life() -> Iterator[Any]:
    """A way to say how far building has come: on a terminal, and silent elsewhere."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    with Console(stderr=True).status("indexing the corpus (once)") as status:
        yield lambda text: status.update(f"indexing the corpus (once): {text}")


@functools.cache
def _packages() -> tuple[Any, Any]:
    try:
        import bm25s
        from Stemmer import Stemmer
    except ImportError:
        raise MissingExtra("searching a corpus", "search") from None
    return bm25s, Stemmer

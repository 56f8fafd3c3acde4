"""Questions with short answers, to be found by search: code shared by HotpotQA, NQ and similar tasks.

Each of these tasks reads two layouts: its own on the hub, and the common one of FlashRAG and Search-R1: `id`, `question`,
`golden_answers` (a list), and sometimes the original fields in `metadata`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeGuard, get_args

from llm_marl_envs.errors import ConfigError, DataError
from llm_marl_envs.grading.spans import Gold, Metric, Paragraph, grade_span
from llm_marl_envs.task import WHERE, Problem, Question, Score, Tool
from llm_marl_envs.tasks.families.dataset import DatasetTask, LeftOut
from llm_marl_envs.tools.search import search_tools

ANSWER_FORMAT = "Write the answer once, in as few words as possible (a name, a date, a number, yes or no), inside <answer> and </answer>."
FLASHRAG = ("question", "golden_answers")
METRIC = (
    "exact match with any gold answer after SQuAD normalisation, 0 or 1 (metric='f1': the best token F1). Numbers keep their points "
    "and signs (3.5 is not 35), typographic apostrophes and dashes are the ASCII ones; official=True gives the official metric"
)


@dataclass(frozen=True)
class RetrievalQA(DatasetTask):
    """The base of the family: a task has a card, `answers` that reads its own layout, and `paragraphs` if rows have some.

    corpus: the file that `search` uses, a `corpus.jsonl[.gz]` (id, title, text). retriever: instead, the URL of a server
    with Search-R1's protocol. With neither there is no search tool. top_k: passages per search. context: the paragraphs
    that come with a question are its materials. metric: how an answer is scored. official: by SQuAD's normalisation alone.
    """

    corpus: str | None = field(default=None, metadata=WHERE)
    retriever: str | None = field(default=None, metadata=WHERE)
    top_k: int = 3
    context: bool = False
    metric: Metric = "em"
    official: bool = False

    has_context: ClassVar[bool] = False  # do rows have paragraphs?

    def __post_init__(self):
        name = self.card.source.name
        if self.context and not self.has_context:
            raise ConfigError(f"{name}'s questions come without paragraphs; leave context out and give a corpus")
        if self.metric not in get_args(Metric):
            raise ConfigError(f"{name}'s metric is one of {', '.join(get_args(Metric))}; got {self.metric!r}")
        if self.top_k < 1:
            raise ConfigError(f"top_k starts at 1; got {self.top_k}")

    @property
    def tools(self) -> Mapping[str, Tool]:
        return search_tools(corpus=self.corpus, retriever=self.retriever, top_k=self.top_k)

    def answers(self, row: dict[str, Any], id: str) -> tuple[str, ...]:
        """The gold answers of a row in the task's own layout."""
        return (text_of(row, "answer", id),)

    def paragraphs(self, row: dict[str, Any], id: str) -> list[tuple[Paragraph, bool]]:
        """The paragraphs that come with a row, each with whether it supports the answer."""
        return []

    def read(self, row: dict[str, Any], id: str) -> Problem | LeftOut:
        question = text_of(row, "question", id)
        if "golden_answers" in row:
            answers, original = texts_of(row["golden_answers"], "golden_answers", id), row.get("metadata")
        else:
            answers, original = self.answers(row, id), row
        given = self.paragraphs(original, id) if isinstance(original, dict) else []
        if self.context and not given:
            raise DataError(f"{id}: context=True needs rows with paragraphs, this one has none; use the hub's layout")
        materials = tuple(str(paragraph) for paragraph, _ in given if paragraph.text) if self.context else ()
        gold = Gold(answers, tuple(paragraph for paragraph, supports in given if supports))
        return Problem(Question(id, question, "qa", ANSWER_FORMAT, materials), gold)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return grade_span(problem.gold, text, kind, self.metric, self.official)


def text_of(row: Mapping[str, Any], name: str, id: str) -> str:
    """A field that must be a non-empty text."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{id}: expected a text as {name}, got {value!r:.80}")
    return value


def texts_of(value: Any, name: str, id: str, *, some: bool = True) -> tuple[str, ...]:
    """The different texts of a list, without blank ones. `some`: at least one must remain."""
    if not _is_list(value) or not all(isinstance(text, str) for text in value):
        raise DataError(f"{id}: expected a list of texts as {name}, got {value!r:.80}")
    texts = tuple(dict.fromkeys(text for text in value if text.strip()))
    if some and not texts:
        raise DataError(f"{id}: expected at least one text in {name}, got {value!r:.80}")
    return texts


def json_texts_of(row: Mapping[str, Any], name: str, id: str) -> tuple[str, ...]:
    """The texts of a field that holds a list, or a list written as JSON."""
    value = row.get(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise DataError(f"{id}: expected a JSON list of texts as {name}, got {value!r:.80}") from None
    return texts_of(value, name, id)


def structs_of(row: Mapping[str, Any], name: str, fields: tuple[str, ...], id: str) -> list[tuple[Any, ...]]:
    """A sequence of structs as tuples. `datasets` gives a dict of lists or a list of dicts, by version; the original JSON
    files of HotpotQA have a list of lists."""
    value = row.get(name)
    if isinstance(value, Mapping):
        columns = [value.get(field) for field in fields]
        if all(_is_list(column) for column in columns) and len({len(column) for column in columns}) == 1:  # type: ignore[arg-type]
            return list(zip(*columns, strict=True))  # type: ignore[arg-type]
    elif _is_list(value):
        if all(isinstance(item, Mapping) and all(field in item for field in fields) for item in value):
            return [tuple(item[field] for field in fields) for item in value]
        if all(_is_list(item) and len(item) == len(fields) for item in value):
            return [tuple(item) for item in value]
    raise DataError(f"{id}: expected lists of equal length for {', '.join(fields)} in {name}, got {value!r:.80}")


def _is_list(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def hotpot_paragraphs(row: dict[str, Any], id: str) -> list[tuple[Paragraph, bool]]:
    """The paragraphs of HotpotQA's layout: `context` {title, sentences}, `supporting_facts` {title, sent_id}.

    A supporting title without a paragraph (the data has some) becomes a paragraph with only a title.
    """
    if "context" not in row or "supporting_facts" not in row:  # FlashRAG's metadata may lack them
        return []
    facts = structs_of(row, "supporting_facts", ("title", "sent_id"), id)
    titles = tuple(_text(title, "a title in supporting_facts", id) for title, _ in facts)
    context = row["context"]
    written = "content" if isinstance(context, Mapping) and "sentences" not in context else "sentences"
    paragraphs: list[tuple[Paragraph, bool]] = []
    for title, sentences in structs_of(row, "context", ("title", written), id):
        title = _text(title, "a title in context", id)
        if not _is_list(sentences):
            raise DataError(f"{id}: expected a list of sentences under {title!r:.80}, got {sentences!r:.80}")
        text = " ".join(_text(sentence, f"a sentence under {title!r:.80}", id).strip() for sentence in sentences)
        paragraphs.append((Paragraph(title, text), title in titles))
    known = {paragraph.title for paragraph, _ in paragraphs}
    return paragraphs + [(Paragraph(title, ""), True) for title in dict.fromkeys(titles) if title not in known]


def _text(value: Any, name: str, id: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{id}: expected a text as {name}, got {value!r:.80}")
    return value

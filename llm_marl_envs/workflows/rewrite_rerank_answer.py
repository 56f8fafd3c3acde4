"""Rewrite, rerank, answer: a search pipeline of three roles (MHGPO, arXiv 2506.02718)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from llm_marl_envs.protocol import Ask, Claim, Malformed, Roster, Talk, UseTool
from llm_marl_envs.reading import passages_in, tagged
from llm_marl_envs.task import Question
from llm_marl_envs.workflows.prompts import listed

REWRITE = "Question: {question}\nWrite up to {queries} search queries that would find its answer, each as <search>query</search>."
RERANK = (
    "Question: {question}\nPassages:\n{passages}\nWhich of them help to answer, the most useful first? At most {keep}. End with "
    "their numbers as <keep>2, 1</keep>."
)
ANSWER = "Question: {question}\nPassages:\n{passages}\nAnswer from the passages. {form}"


@dataclass(frozen=True)
class RewriteRerankAnswer:
    """The rewriter turns the question into queries, which are run at the same time; the reranker keeps the best passages; the answerer answers.

    queries: maximum number of queries; without a readable one, the question itself is the query. keep: passages that the answerer sees;
    without a readable choice, these are the first ones found.
    """

    queries: int = 3
    keep: int = 3
    topology: ClassVar[str] = "mixed"
    roster: ClassVar[Roster] = Roster(rewriter=1, reranker=1, answerer=1)
    needs: ClassVar[frozenset[str]] = frozenset({"search"})

    def __post_init__(self):
        if self.queries < 1 or self.keep < 1:
            raise ValueError(f"queries and keep start at 1; got {self.queries} and {self.keep}")

    def talk(self, question: Question, rng: Random) -> Talk:
        said = yield Ask("rewriter_0", REWRITE.format(question=question.text, queries=self.queries))
        queries = _queries(said)[: self.queries]
        if not queries:
            yield Malformed("rewriter_0", "<search>query</search>")
            queries = [question.text]
        found = yield tuple(UseTool("rewriter_0", "search", {"query": query}) for query in queries)
        passages = list(dict.fromkeys(passage for text in found for passage in passages_in(text)))
        yield Claim("rewriter_0", "\n".join(passages), "evidence")
        if passages:
            ask = RERANK.format(question=question.text, passages=listed(passages), keep=self.keep)
            said = yield Ask("reranker_0", ask, kind="decision")
            kept = _numbers(tagged(said, "keep") or "", len(passages))[: self.keep]
            if not kept:
                yield Malformed("reranker_0", "numbers of passages as <keep>2, 1</keep>")
                kept = list(range(1, self.keep + 1))
            passages = [passages[i - 1] for i in kept if i <= len(passages)]
            yield Claim("reranker_0", "\n".join(passages), "evidence")
        ask = ANSWER.format(question=question.text, passages=listed(passages), form=question.answer_format)
        answer = yield Ask("answerer_0", ask, kind="return")
        yield Claim("answerer_0", answer)
        return answer


def _queries(said: str) -> list[str]:
    """The queries in a reply, each once."""
    parts = (tagged(f"<search>{part}", "search") for part in said.split("<search>")[1:33])
    return list(dict.fromkeys(query for query in parts if query))


def _numbers(text: str, most: int) -> list[int]:
    """The numbers of passages in a text, each once."""
    numbers = (int(digits) for digits in re.findall(r"(?<![0-9])[0-9]{1,4}(?![0-9])", text))
    return list(dict.fromkeys(n for n in numbers if 1 <= n <= most))

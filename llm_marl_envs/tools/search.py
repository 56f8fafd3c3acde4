"""The `search` tool: passages for a query, from a corpus by BM25 or from a retriever behind HTTP."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from llm_marl_envs.errors import ConfigError
from llm_marl_envs.reading import NOTHING_FOUND
from llm_marl_envs.task import Tool, ToolResult
from llm_marl_envs.tools.corpora.atlas import atlas_index
from llm_marl_envs.tools.index import Passage, open_index
from llm_marl_envs.tools.retriever import Retriever


class Searcher(Protocol):
    """What finds passages: an `Index` or a `Retriever`."""

    def search(self, query: str, k: int = 3) -> list[Passage]: ...


def search_tools(
    *, corpus: str | None, retriever: str | None, top_k: int = 3, timeout: float = 10.0
) -> Mapping[str, Tool]:
    """`{"search": tool}` over a corpus file ("atlas": the generated encyclopaedia) or a retriever's URL; `{}` if neither is
    given. A retriever has `timeout` seconds for a search.

    Raises ConfigError for both at once or an impossible value, DataError for a corpus that cannot be read.
    """
    if corpus is not None and retriever is not None:
        raise ConfigError(f"search takes a corpus or a retriever, not both; got {corpus!r} and {retriever!r}")
    if corpus == "atlas":
        return {"search": search_tool(atlas_index(), top_k)}
    if corpus is not None:
        return {"search": search_tool(open_index(corpus), top_k)}
    if retriever is not None:
        return {"search": search_tool(Retriever(retriever, timeout), top_k)}
    return {}


def search_tool(searcher: Searcher, top_k: int = 3) -> Tool:
    """The tool `search(query)` over a searcher; it takes any text and raises only ToolFailed."""
    if top_k < 1:
        raise ConfigError(f"top_k starts at 1; got {top_k}")

    def search(query: str) -> ToolResult:
        """Search for passages and return the best."""
        found = searcher.search(query, top_k)
        return ToolResult(show_passages(found), float(bool(found)))

    return search


def show_passages(passages: Iterable[Passage]) -> str:
    """Passages as an agent reads them, in Search-R1's layout, one per line:

    >>> show_passages([Passage("7", "Oslo", "Oslo is a city."), Passage("9", "Bergen", "So is Bergen.")])
    'Doc 1(Title: "Oslo") Oslo is a city.\\nDoc 2(Title: "Bergen") So is Bergen.'
    """
    lines = (f'Doc {i}(Title: "{_flat(p.title)}") {_flat(p.text)}' for i, p in enumerate(passages, 1))
    return "\n".join(lines) or NOTHING_FOUND


def _flat(text: str) -> str:
    """On one line, whatever a reader takes for the end of one."""
    return " ".join(text.splitlines())

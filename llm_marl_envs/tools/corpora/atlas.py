"""The corpus "atlas": the encyclopaedia of a generated world, to search without downloading anything."""

from __future__ import annotations

import functools
from collections.abc import Callable

from llm_marl_envs.tools.corpora.encyclopaedia import Version, world_of
from llm_marl_envs.tools.index import Index

SEED, SIZE = 0, 1_000  # of the world that the name "atlas" stands for


@functools.lru_cache(maxsize=8)
def atlas_index(seed: int = SEED, size: int = SIZE, plain: bool = False) -> Index:
    """A BM25 index of the articles of the world (seed, size), kept in memory."""
    return Index.of(world_of(seed, size, plain=plain).articles)


@functools.lru_cache(maxsize=8)
def indexes_of(seed: int, size: int, plain: bool) -> Callable[[Version], Index]:
    """The index of each version of a world, made when it is first searched and kept with the others."""
    return functools.cache(lambda version: Index.of(world_of(seed, size, version, plain).articles))

"""Seeds are hashed names, so neighbouring seeds, splits and turns never share a random stream."""

from hashlib import blake2b
from random import Random
from typing import Any


def seed_of(*parts: object) -> int:
    """A 64-bit seed named by `parts` (their `repr`): the same on every machine and in every process.

    >>> seed_of("episode", 0) != seed_of("episode", 1)
    True
    """
    return int.from_bytes(blake2b(repr(parts).encode(), digest_size=8).digest(), "big")


class LazyRandom:
    """A `Random` named by `parts` that is seeded when it is first used: most talks never draw, and seeding costs more than a call."""

    def __init__(self, *parts: object):
        self._parts = parts

    def __getattr__(self, name: str) -> Any:
        drawn = Random(seed_of(*self.__dict__.pop("_parts")))
        methods = {n: getattr(drawn, n) for n in dir(drawn) if not n.startswith("_")}
        self.__dict__.update(methods)
        return methods[name]

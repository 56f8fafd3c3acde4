"""Spaces for texts and chats. Gymnasium's `Text` allows 62 characters and no empty string; language needs all of Unicode."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from llm_marl_envs.session import Message

MAX_LENGTH = 1_000_000
Observation = dict[str, tuple[Message, ...]]


class UnicodeText(spaces.Space[str]):
    """Any `str` of up to `max_length` characters, including the empty one.

    `contains` checks type and length only. `sample` draws 0 to 32 characters of a short alphabet, for random play.
    """

    ALPHABET = "abc XYZ\n019.,?éß中🙂{}\\"

    def __init__(self, max_length: int = MAX_LENGTH, seed: int | np.random.Generator | None = None):
        self.max_length = max_length
        super().__init__(dtype=str, seed=seed)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        if mask is not None or probability is not None:
            raise ValueError("UnicodeText takes no mask: a text action has no finite set of choices to mask")
        picks = self.np_random.integers(
            len(self.ALPHABET), size=int(self.np_random.integers(min(32, self.max_length) + 1))
        )
        return "".join(self.ALPHABET[i] for i in picks)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    def is_np_flattenable(self) -> bool:
        return False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"


def chat_space(seed: int | None = None) -> spaces.Dict:
    """`{"messages": ({"role": ..., "content": ...}, ...)}`, the chat format of `tokenizer.apply_chat_template`.

    The key is not "observation": PettingZoo's `api_test` would look for a numpy dtype there.
    """
    message = spaces.Dict({"role": UnicodeText(64), "content": UnicodeText()})
    return spaces.Dict({"messages": spaces.Sequence(message)}, seed=seed)

"""What a chat is in numbers, and what a number is as a text: for learners that take arrays. `numeric` puts them on a view.

An observation codec has a `space` and is called with the chat and the ask (None: nobody is asked). An action codec says a role's `space`,
which of its actions are allowed (`mask`, None if all always are), and their texts (`decode`).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces

from llm_marl_envs.envs.spaces import UnicodeText
from llm_marl_envs.errors import ConfigError, UnknownName
from llm_marl_envs.protocol import Ask, Workflow, decision_of
from llm_marl_envs.session import Message

Messages = tuple[Message, ...]


class ObsCodec(Protocol):
    """A chat in numbers."""

    @property
    def space(self) -> spaces.Space[Any]: ...

    def __call__(self, messages: Messages, ask: Ask | None) -> Any:
        """An element of the space. Equal chats give equal elements."""
        ...


class ActCodec(Protocol):
    """Numbers as texts."""

    def space(self, role: str) -> spaces.Space[Any]: ...

    def mask(self, role: str, ask: Ask | None) -> np.ndarray | None:
        """int8 (actions,), 1 where one is allowed; of a role that is not asked, one-hot on action 0, so that the log-prob of what
        it does is exactly 0. None: there is nothing to mask."""
        ...

    def decode(self, role: str, action: Any, ask: Ask | None) -> str: ...


def flat_text(messages: Messages) -> str:
    """A chat as one text: each message after its role and a colon."""
    return "\n".join(f"{message['role']}: {message['content']}" for message in messages)


class FlatText:
    """The chat as one text."""

    space = UnicodeText()

    def __call__(self, messages: Messages, ask: Ask | None) -> str:
        return flat_text(messages)


class TokenIds:
    """The last `length` tokens of the chat, (length,): ids from 1 on, 0 is padding, on the left.

    encode: text -> ids from 0 to `size` - 1, such as `tokenizer.encode` (tokens that a tokenizer adds to every text are the caller's);
    UTF-8 bytes by default.
    """

    def __init__(
        self,
        length: int,
        encode: Callable[[str], Sequence[int]] | None = None,
        size: int = 256,
        dtype: Any = np.int64,
    ):
        if length < 1:
            raise ConfigError(f"length starts at 1; got {length}")
        self.length, self.encode, self.size = length, encode or _bytes, size
        self.space = spaces.Box(0, size, (length,), dtype)

    def __call__(self, messages: Messages, ask: Ask | None) -> np.ndarray:
        seen = np.zeros(self.length, self.space.dtype)
        ids = np.asarray(self.encode(flat_text(messages))[-self.length :], np.int64) if messages else ()
        if len(ids):
            if min(ids) < 0 or max(ids) >= self.size:
                raise ConfigError(f"encode gave the id {max(ids)}; size says that ids are 0 to {self.size - 1}")
            seen[-len(ids) :] = np.asarray(ids) + 1
        return seen


class Hashed:
    """Words and where they stand, counted from either end, hashed into (size,) zeros and ones. What two texts have in common is seen as
    long as it stands at the same place."""

    def __init__(self, size: int = 256):
        self.space = spaces.Box(0.0, 1.0, (size,), np.float32)

    def __call__(self, messages: Messages, ask: Ask | None) -> np.ndarray:
        seen = np.zeros(self.space.shape, np.float32)
        words = flat_text(messages).split()
        for i, word in enumerate(words):
            for place in (f"{i}", f"-{len(words) - i}"):
                seen[zlib.crc32(f"{place}:{word}".encode(errors="backslashreplace")) % len(seen)] = 1.0
        return seen


class Features:
    """What a function of (messages, ask) says, (size,) float32, each from `low` to `high` (what is beyond is cut)."""

    def __init__(
        self,
        function: Callable[[Messages, Ask | None], Sequence[float]],
        size: int,
        low: float = -np.inf,
        high: float = np.inf,
    ):
        self.function, self.space = function, spaces.Box(low, high, (size,), np.float32)

    def __call__(self, messages: Messages, ask: Ask | None) -> np.ndarray:
        found = np.asarray(self.function(messages, ask), np.float32)
        if found.shape != self.space.shape:
            raise ConfigError(f"the function gave features of shape {found.shape}; size says {self.space.shape}")
        return np.clip(found, self.space.low, self.space.high)


class Infoset:
    """The infosets of all roles that decide, side by side, (size,) float32: numbers as they are, one of several values as a one-hot. Of
    who is not asked all are 0."""

    def __init__(self, workflow: Workflow):
        self.workflow, self.start, size = workflow, dict[str, int](), 0
        for role in workflow.roster.roles:
            self.start[role] = size
            size += sum(map(_width, decision_of(workflow, role).infoset))
        if not size:
            raise ConfigError(f"no role of {workflow} decides by an infoset; use Hashed, TokenIds or Features")
        self.space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def __call__(self, messages: Messages, ask: Ask | None) -> np.ndarray:
        seen = np.zeros(self.space.shape, np.float32)
        if ask is None or not ask.infoset:
            return seen
        role = self.workflow.roster.role(ask.agent)
        place = self.start[role]
        for value, declared in zip(ask.infoset, decision_of(self.workflow, role).infoset, strict=True):
            if isinstance(declared, tuple):
                seen[place + declared.index(value)] = 1.0
            else:
                seen[place] = float(value)
            place += _width(declared)
        return seen


class Menu:
    """Discrete: an action is one of a role's texts. texts: those of everybody, or by role; what a workflow declares as a role's
    choices (its `decisions`) needs none. Where an ask has choices, only these are allowed.

    same_spaces: every role's menu is as long as the longest, and the rest of it is never allowed. An action that is not allowed is
    taken as the first one that is.
    """

    def __init__(
        self, workflow: Workflow, texts: Sequence[str] | Mapping[str, Sequence[str]] = (), *, same_spaces: bool = False
    ):
        roles = workflow.roster.roles
        given = texts if isinstance(texts, Mapping) else dict.fromkeys(roles, texts)
        for role in given:
            if role not in roles:
                raise UnknownName(f"role of {type(workflow).__name__}", role, roles)
        self.texts = {role: tuple(given.get(role, ())) or decision_of(workflow, role).choices for role in roles}
        if silent := [role for role, menu in self.texts.items() if not menu]:
            raise ConfigError(f"{silent[0]} has no menu of its own: give texts={{{silent[0]!r}: [...]}}")
        self.length = {role: len(menu) for role, menu in self.texts.items()}
        if same_spaces:
            self.length = dict.fromkeys(roles, max(self.length.values()))

    def space(self, role: str) -> spaces.Discrete:
        return spaces.Discrete(self.length[role])

    def mask(self, role: str, ask: Ask | None) -> np.ndarray:
        allowed = np.zeros(self.length[role], np.int8)
        menu = self.texts[role]
        if ask is None:
            allowed[0] = 1
            return allowed
        allowed[: len(menu)] = [not ask.choices or text in ask.choices for text in menu]
        return allowed if allowed.any() else np.array([i < len(menu) for i in range(len(allowed))], np.int8)

    def decode(self, role: str, action: Any, ask: Ask | None) -> str:
        allowed = self.mask(role, ask)
        index = int(action)
        return self.texts[role][index if 0 <= index < len(allowed) and allowed[index] else int(allowed.argmax())]


class Candidates:
    """Discrete: an action is one of up to `size` texts that a function draws up from the ask, such as the options of its question or
    the passages that it shows. Where it finds fewer the rest is not allowed, and where it finds none the text is empty."""

    def __init__(self, function: Callable[[Ask], Sequence[str]], size: int):
        if size < 1:
            raise ConfigError(f"size starts at 1; got {size}")
        self.function, self.size = function, size

    def space(self, role: str) -> spaces.Discrete:
        return spaces.Discrete(self.size)

    def mask(self, role: str, ask: Ask | None) -> np.ndarray:
        found = len(self.function(ask)[: self.size]) if ask else 1
        return (np.arange(self.size) < max(1, found)).astype(np.int8)

    def decode(self, role: str, action: Any, ask: Ask | None) -> str:
        found = self.function(ask)[: self.size] if ask else ()
        return found[int(action) if 0 <= int(action) < len(found) else 0] if found else ""


class Tokens:
    """MultiDiscrete: up to `length` symbols of an alphabet (characters, or any texts); 0 ends the text, i is alphabet[i - 1]. The text stands
    between `prefix` and `suffix`, such as a box."""

    def __init__(self, alphabet: Sequence[str], length: int, prefix: str = "", suffix: str = ""):
        if not alphabet or length < 1:
            raise ConfigError(f"an alphabet of symbols and a length from 1 on; got {len(alphabet)} and {length}")
        self.alphabet, self.length, self.prefix, self.suffix = tuple(alphabet), length, prefix, suffix

    def space(self, role: str) -> spaces.MultiDiscrete:
        return spaces.MultiDiscrete([len(self.alphabet) + 1] * self.length)

    def mask(self, role: str, ask: Ask | None) -> None:
        return None

    def decode(self, role: str, action: Any, ask: Ask | None) -> str:
        ids = [int(i) for i in np.asarray(action).reshape(-1)]
        said = ids[: ids.index(0)] if 0 in ids else ids
        return self.prefix + "".join(self.alphabet[i - 1] for i in said) + self.suffix


def _bytes(text: str) -> Sequence[int]:
    return np.frombuffer(text.encode(errors="backslashreplace"), np.uint8)  # type: ignore[return-value]


def _width(declared: type | tuple[Any, ...]) -> int:
    return len(declared) if isinstance(declared, tuple) else 1

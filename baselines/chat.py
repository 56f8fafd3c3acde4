"""Chats to token ids and back. A conversation only grows: sampled tokens are never tokenised again."""

from __future__ import annotations

from typing import Any

from llm_marl_envs.errors import ConfigError
from llm_marl_envs.session import Message

_REMEMBERED = 50_000


class Chat:
    """A tokenizer with a chat template, as the engine sees it."""

    def __init__(self, tokenizer: Any, stop_ids: tuple[int, ...] = ()):
        self.tokenizer = tokenizer
        self.stop_ids = frozenset(stop_ids) | {tokenizer.eos_token_id} - {None}
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        self._opened: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}

    def open(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """The prompt's ids, up to where the assistant begins to speak."""
        key = tuple((m["role"], m["content"]) for m in messages)
        ids = self._opened.get(key)
        if ids is None:
            if len(self._opened) > _REMEMBERED:
                self._opened.clear()
            ids = self._opened[key] = self._encode(self._render(messages, prompt=True))
        return ids

    def follow(self, context: tuple[int, ...], messages: tuple[Message, ...]) -> tuple[int, ...]:
        """`context` (earlier prompt and reply ids, kept as they are) plus what the template puts around the last message."""
        base = ({"role": "user", "content": "x"}, {"role": "assistant", "content": "y"})
        before = self._render(base, prompt=False)
        after = self._render((*base, messages[-1]), prompt=True)
        if not after.startswith(before):
            raise ConfigError(
                "this chat template rewrites earlier turns, so a conversation cannot grow token by token; "
                "use a workflow with fresh asks (for eval_opt: memory=False) or another template"
            )
        closing = self._encode(before[before.rindex("y") + 1 :])  # the end of an assistant's turn, such as <|im_end|>\n
        if context and closing and context[-1] == closing[0]:
            closing = closing[1:]  # the reply sampled its own end token
        return context + closing + self._encode(after[len(before) :])

    def decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _render(self, messages: tuple[Message, ...], *, prompt: bool) -> str:
        return self.tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=prompt, enable_thinking=False
        )

    def _encode(self, text: str) -> tuple[int, ...]:
        clean = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates, which no tokenizer takes
        return tuple(self.tokenizer(clean, add_special_tokens=False)["input_ids"])

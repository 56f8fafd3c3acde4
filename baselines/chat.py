"""Chats to token ids and back. A conversation only grows: sampled tokens are never tokenised again.

What people and agents say is text, never control: a reply that holds `<|im_end|>` stays those letters in the next prompt. Only
the template's own marks become special tokens.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any

from llm_marl_envs.errors import ConfigError
from llm_marl_envs.protocol import Workflow
from llm_marl_envs.reading import spoken, thought_left_open
from llm_marl_envs.session import Message
from llm_marl_envs.task import Question
from llm_marl_envs.testing import play_randomly

_REMEMBERED = 50_000
_SAID = "\ue002said\ue002"  # stands for an earlier reply whose ids are known
_HELD = re.compile("\ue000([0-9]+)\ue001")  # stands for the mark with this number
_CHANNELS = re.compile(r"<\|channel\|>\s*(\w+)(?:(?!<\|message\|>).)*<\|message\|>(.*?)(?=<\|(?:end|start|return|call|channel)\|>|\Z)", re.DOTALL)  # fmt: skip


class Chat:
    """A tokenizer with a chat template, as the engine sees it.

    stop_ids: tokens that end a reply, beside the tokenizer's own. thinking: given to templates that know `enable_thinking`.
    system: a system prompt before every chat.
    """

    def __init__(self, tokenizer: Any, stop_ids: tuple[int, ...] = (), *, thinking: bool = False, system: str = ""):
        self.tokenizer, self.thinking, self.system = tokenizer, thinking, system
        self.stop_ids = frozenset(stop_ids) | {tokenizer.eos_token_id} - {None}
        self.pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        added = getattr(tokenizer, "added_tokens_decoder", {})
        self._special = {id for id, token in added.items() if token.special} | set(tokenizer.all_special_ids)
        template = tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else str(tokenizer.chat_template)
        control = {str(t): id for id, t in added.items() if token_is_control(str(t), t.special, template)}
        control |= dict(zip(tokenizer.all_special_tokens, tokenizer.all_special_ids, strict=True))
        self._marks = sorted((mark for mark in control if mark), key=len, reverse=True)
        self._control_ids = frozenset(control.values())
        self._mark = re.compile("|".join(map(re.escape, self._marks))) if self._marks else None
        self._harmony = "<|channel|>" in control
        self._opened: dict[tuple[tuple[str, str], ...], tuple[int, ...]] = {}
        tail = self._render(({"role": "user", "content": _SAID},), prompt=True).partition(_SAID)[2]
        self.opens = thought_left_open(tail)  # the mark of the thought in which this template has a reply begin

    def open(self, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """The prompt's ids, up to where the assistant begins to speak."""
        key = tuple((m["role"], m["content"]) for m in messages)
        ids = self._opened.get(key)
        if ids is None:
            if len(self._opened) > _REMEMBERED:
                self._opened.clear()
            ids = self._opened[key] = self._encode(self._render(self._with_system(messages), prompt=True))
        return ids

    def resume(self, context: tuple[int, ...], new: int, messages: tuple[Message, ...]) -> tuple[int, ...]:
        """The prompt's ids for a chat of which all but the last `new` messages are `context`, ids that are kept as they are.

        Without a context, the chat is opened. A reply among the new messages, which was said for the agent and not sampled,
        becomes tokens of its own: what follows is as if the agent had said it.
        """
        if not context:
            first = next((i for i, m in enumerate(messages) if m["role"] == "assistant"), len(messages))
            context, new = self.open(messages[:first]), len(messages) - first
        for message in messages[len(messages) - new :]:
            if message["role"] == "assistant":
                context += self._encode(self._held(message["content"].removeprefix(self.opens)))
            else:
                context = self.follow(context, (message,))
        return context

    def follow(self, context: tuple[int, ...], messages: tuple[Message, ...]) -> tuple[int, ...]:
        """`context` (earlier prompt and reply ids, kept as they are), then what the template puts between a reply and the
        next: the end of the assistant's turn, the last message, and the beginning of the assistant's next turn. What the
        template would make of earlier turns does not matter. Raises ConfigError if it leaves them out."""
        between = self._between(messages[-1])
        ids = self._encode(between)
        if context and ids and context[-1] in self.stop_ids and self._is_an_end(ids[0]):
            ids = ids[1:]  # the reply sampled an end of its own
        return context + ids

    def check_continuation(self) -> None:
        """Raises ConfigError if this template cannot continue a conversation."""
        self._between({"role": "user", "content": "x"})

    def decode(self, ids: list[int]) -> str:
        """The text of sampled ids, with the mark of a thought that the prompt opened. Special tokens are left out, except
        those that mark thinking."""
        if self._harmony:
            return _of_channels(self._text(ids, skip=False))
        parts, start = [], 0
        for i, id in enumerate(ids):
            if id in self._special and spoken(mark := self._text([id], skip=False)) != mark:
                parts += [self._text(ids[start:i]), mark]
                start = i + 1
        return self.opens + "".join((*parts, self._text(ids[start:])))

    def _text(self, ids: list[int], *, skip: bool = True) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=skip, clean_up_tokenization_spaces=False)

    def _between(self, message: Message) -> str:
        chat = ({"role": "user", "content": "x"}, {"role": "assistant", "content": _SAID}, message)
        rendered = self._render(chat, prompt=True)
        if _SAID not in rendered:
            raise ConfigError(
                "this chat template leaves out an agent's earlier replies, so its conversation cannot be continued; use a "
                "workflow with fresh asks (for eval_opt: memory=False) or another template"
            )
        return rendered.partition(_SAID)[2]

    def _is_an_end(self, id: int) -> bool:
        return id in self.stop_ids or (id in self._special and self._closes)

    @cached_property
    def _closes(self) -> bool:
        """Whether the assistant's turn ends with a special token in this template."""
        chat = ({"role": "user", "content": "x"}, {"role": "assistant", "content": _SAID})
        ids = self._encode(self._render(chat, prompt=False).partition(_SAID)[2])
        return bool(ids) and ids[0] in self._special

    def _with_system(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        if not self.system:
            return messages
        own = messages[0]["content"] if messages[0]["role"] == "system" else ""
        rest = messages[1:] if own else messages
        return ({"role": "system", "content": "\n\n".join(filter(None, (self.system, own)))}, *rest)

    def _render(self, messages: tuple[Message, ...], *, prompt: bool) -> str:
        from jinja2 import TemplateError

        chat = [{"role": m["role"], "content": self._held(m["content"])} for m in messages]
        options = {"tokenize": False, "add_generation_prompt": prompt, "enable_thinking": self.thinking}
        try:
            return self.tokenizer.apply_chat_template(chat, **options)
        except TemplateError as bad:
            if chat[0]["role"] != "system" or len(chat) < 2:
                raise ConfigError(f"this chat template refuses {[m['role'] for m in chat]}: {bad}") from None
        first = {"role": chat[1]["role"], "content": f"{chat[0]['content']}\n\n{chat[1]['content']}"}
        try:  # templates without a system role, such as Gemma's
            return self.tokenizer.apply_chat_template([first, *chat[2:]], **options)
        except TemplateError as bad:
            raise ConfigError(f"this chat template refuses {[m['role'] for m in chat]}: {bad}") from None

    def _held(self, text: str) -> str:
        """The text with a number in the place of each control mark, so that the template passes it on as it is."""
        if self._mark is None or not self._mark.search(text):
            return text
        return self._mark.sub(lambda found: f"\ue000{self._marks.index(found[0])}\ue001", text)

    def _encode(self, text: str) -> tuple[int, ...]:
        """The ids of a rendered chat: marks of the template are special tokens, held ones are the letters they are made of."""
        clean = text.encode("utf-8", "replace").decode("utf-8")  # lone surrogates, which no tokenizer takes
        ids: list[int] = []
        for i, part in enumerate(_HELD.split(clean) if "\ue000" in clean else (clean,)):
            if i % 2:
                ids += self._letters(self._marks[int(part)] if int(part) < len(self._marks) else part)
            elif part:
                ids += self.tokenizer(part, add_special_tokens=False)["input_ids"]
        return tuple(ids)

    def _letters(self, mark: str) -> list[int]:
        ids = self.tokenizer(mark, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if self._control_ids.isdisjoint(ids):
            return ids
        return [id for letter in mark for id in self.tokenizer(letter, add_special_tokens=False)["input_ids"]]


def token_is_control(token: str, special: bool, template: str) -> bool:
    """Whether a token that was added to a vocabulary steers the model: a special one, or one that the template writes."""
    return special or (len(token.strip()) > 1 and token in template)


def _of_channels(text: str) -> str:
    """A reply of gpt-oss: what is not in the final channel is thinking. A channel that was cut off is left open."""
    parts = []
    for channel in _CHANNELS.finditer(text):
        closed = channel.end() < len(text)
        parts.append(channel[2] if channel[1] == "final" else f"<think>{channel[2]}{'</think>' if closed else ''}")
    return "".join(parts) if parts else re.sub(r"<\|[a-z]+\|>", "", text)


def continues(workflow: Workflow, question: Question) -> bool:
    """Whether a workflow continues agents' conversations (asks with `fresh=False`), as far as random play shows it."""
    calls = (call for seed in range(16) for call, _, _ in play_randomly(workflow, seed, question).events)
    return any(not getattr(call, "fresh", True) for call in calls)

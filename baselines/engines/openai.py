"""Any endpoint that speaks OpenAI's chat completions: vLLM, `transformers serve`, SGLang, Ollama, a provider.

It gives texts and token counts, no ids: what it says can be played, evaluated and trained *with*, not trained.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from concurrent.futures import wait
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from threading import Lock
from time import sleep
from typing import Any

import httpx

from baselines.threads import Threads
from baselines.types import Completion, Request
from llm_marl_envs.errors import ConfigError
from llm_marl_envs.seeds import seed_of

AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))  # answers after which another try may succeed
REFUSED = frozenset((401, 403, 404))  # answers that every other request would get too
LONGEST_WAIT_S = 30.0


@dataclass
class Usage:
    """What an endpoint was asked, and what it counted. tries: requests sent, those that failed included."""

    tries: int = 0
    replies: int = 0
    failures: int = 0  # asks without a reply after all tries
    prompt_tokens: int = 0
    reply_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.reply_tokens


@dataclass
class OpenAIEngine:
    """Asks `url` (which ends in /v1) for a model's chat completions, not streamed, up to `at_once` at a time.

    model: by default the only one that the endpoint serves. key: by default that of OPENAI_API_KEY, if it is set. tries: how often an
    ask is sent, before it is a failure; waits between them double from half a second on, drawn between half and all of it, or are what
    the server asks for. budget: tokens, prompts included, after which asks fail unsent. extra: more fields of the request's body.

    Whatever a server sends is a reply or a failure of that one ask; only an answer that all asks would get (401, 403, 404: the key,
    the model, the address) raises ConfigError.
    """

    url: str
    model: str = ""
    key: str = field(default="", repr=False)
    at_once: int = 16
    tries: int = 5
    timeout_s: float = 300.0
    budget: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage, init=False)

    def __post_init__(self):
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"an endpoint's address starts with http:// or https://, as in http://127.0.0.1:8000/v1; got {self.url!r}"
            )
        if min(self.at_once, self.tries) < 1 or self.timeout_s <= 0:
            raise ConfigError(
                f"at_once and tries start at 1, timeout_s above 0; got {self.at_once}, {self.tries}, {self.timeout_s}"
            )
        key = self.key or os.environ.get("OPENAI_API_KEY", "")
        self._client = httpx.Client(
            base_url=self.url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(self.timeout_s, connect=min(10.0, self.timeout_s)),
            limits=httpx.Limits(max_connections=self.at_once),
        )
        self._lock = Lock()
        weakref.finalize(self, self._client.close)

    def generate(self, requests: list[Request]) -> list[Completion]:
        """One completion per request, in order; one that failed says why."""
        if not requests:
            return []
        self.model = self.model or self._served()
        with closing(Threads(min(self.at_once, len(requests)))) as threads:
            asked = [threads.submit(self._ask, request) for request in requests]
            wait(asked)
            return [future.result() for future in asked]

    def _served(self) -> str:
        try:
            answer = self._client.get("/models")
            served = [entry["id"] for entry in answer.raise_for_status().json()["data"]]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as bad:
            raise ConfigError(
                f"{self.url} does not say which models it serves ({_short(bad)}); is it up? Name one: model=..."
            ) from bad
        if len(served) != 1:
            raise ConfigError(
                f"{self.url} serves {', '.join(map(str, served)) or 'no model'}; name one of them: model=..."
            )
        return served[0]

    def _ask(self, request: Request) -> Completion:
        why = ""
        for turn in range(self.tries):
            if self.budget is not None and self.usage.tokens >= self.budget:
                why = f"the budget of {self.budget} tokens is used up"
                break
            answer, why = self._send(request)
            if answer is not None and answer.status_code in REFUSED:
                raise ConfigError(
                    f"{self.url} refuses {self.model!r}: {why}. Check the address, the model's name and the key"
                )
            if answer is not None and answer.status_code == 200 and (read := self._read(answer)):
                return read
            if answer is not None and answer.status_code not in AGAIN and answer.status_code != 200:
                break
            if turn + 1 < self.tries:
                sleep(_wait_s(answer, turn, request.seed))
        self._count(failures=1)
        return Completion("", failure=f"{self.url}: {why}")

    def _send(self, request: Request) -> tuple[httpx.Response | None, str]:
        """The server's answer, if there was one, and what is wrong with it."""
        self._count(tries=1)
        try:
            answer = self._client.post("/chat/completions", json=self._body(request))
        except httpx.HTTPError as bad:
            return None, _short(bad)
        return (
            answer,
            f"{answer.status_code} {answer.text[:200].strip()}"
            if answer.status_code != 200
            else "an answer that is no reply",
        )

    def _body(self, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{k: _sendable(v) for k, v in message.items()} for message in request.messages],
            "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens,
            "seed": request.seed % 2**31,
            "stream": False,
        }
        if sampling.top_p < 1:
            body["top_p"] = sampling.top_p
        if sampling.top_k:
            body["top_k"] = sampling.top_k
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        return body | dict(self.extra)

    def _read(self, answer: httpx.Response) -> Completion | None:
        """The reply, with what the model thought before it, or None if this is none."""
        try:
            said = answer.json()
            choice = said["choices"][0]
            message = choice["message"]
            text = message.get("content") or ""
            thought = message.get("reasoning_content") or message.get("reasoning") or ""
            usage = said.get("usage") or {}
            counted = tuple(max(0, int(usage.get(name) or 0)) for name in ("prompt_tokens", "completion_tokens"))
            if not isinstance(text, str) or not isinstance(thought, str):
                return None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return None
        self._count(replies=1, prompt_tokens=counted[0], reply_tokens=counted[1])
        text = f"<think>{thought}</think>{text}" if thought else text
        finish = "length" if choice.get("finish_reason") == "length" else "stop"
        return Completion(text, finish=finish, counted=(counted[0], counted[1]))

    def _count(self, **more: int) -> None:
        with self._lock:
            for name, amount in more.items():
                setattr(self.usage, name, getattr(self.usage, name) + amount)


def _wait_s(answer: httpx.Response | None, turn: int, seed: int) -> float:
    asked = answer.headers.get("retry-after", "") if answer is not None else ""
    if asked.replace(".", "", 1).isdigit():
        return min(LONGEST_WAIT_S, float(asked))
    longest = min(LONGEST_WAIT_S, 0.5 * 2**turn)
    return longest * Random(seed_of("wait", seed, turn)).uniform(0.5, 1.0)


def _sendable(text: str) -> str:
    """JSON's UTF-8 has no room for half a character."""
    return text.encode("utf-8", "replace").decode()


def _short(bad: Exception) -> str:
    return f"{type(bad).__name__}: {str(bad)[:200]}".rstrip(": ")

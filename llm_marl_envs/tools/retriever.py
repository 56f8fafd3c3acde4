"""A retriever behind HTTP, by the protocol of Search-R1 (Jin et al. 2025, arXiv 2503.09516).

    POST <url>/retrieve   {"queries": ["..."], "topk": 3, "return_scores": true}
    200                   {"result": [[{"document": {"id": "7", "contents": "\\"title\\"\\ntext"}, "score": 0.9}, ...]]}

Whatever goes wrong is a ToolFailed that names the URL, never an empty result: an agent that reads "nothing found" because a
server is down learns from it. Redirects are not followed and no proxy is used, so the texts go to the given host alone.
"""

from __future__ import annotations

import functools
import http.client
import io
import json
import math
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urlsplit

from llm_marl_envs.errors import ConfigError, DataError, ToolFailed
from llm_marl_envs.tools.index import LONGEST_QUERY, Passage, passage_of

LARGEST_REPLY = 16 << 20  # bytes
RETRIES = 2  # of what may pass: a connection that fails, a 5xx
BACK_OFF = 0.05  # seconds before the first retry, four times as many before the second
SHOWN = 200  # characters of a bad reply in a message


@dataclass(frozen=True)
class Retriever:
    """Asks a server for passages. `timeout` bounds a search as a whole, retries included, in seconds (a name server that
    does not answer comes on top). Raises ConfigError for a URL that cannot be one."""

    url: str
    timeout: float = 10.0
    _to: _Address = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        if not 0 < self.timeout < math.inf:
            raise ConfigError(f"a retriever's timeout is a positive number of seconds; got {self.timeout}")
        object.__setattr__(self, "_to", _address(self.url))

    def search(self, query: str, k: int = 3) -> list[Passage]:
        """The server's passages for a query, in its order, k at most. Raises ToolFailed if there is no proper reply."""
        return self.search_batch([query], k)[0]

    def search_batch(self, queries: Sequence[str], k: int = 3) -> list[list[Passage]]:
        """`search` for several queries in one request; an empty one finds nothing and is not sent."""
        # Half of a surrogate pair cannot be sent: servers refuse it, and then every text would be lost to one.
        sent = [query[:LONGEST_QUERY].encode("utf-8", "replace").decode() for query in queries]
        asked = [query for query in sent if query.strip()]
        if not asked:
            return [[] for _ in queries]
        body = json.dumps({"queries": asked, "topk": k, "return_scores": True}).encode()
        found = iter(self._read(self._ask(body), len(asked), k))
        return [next(found) if query.strip() else [] for query in sent]

    def _ask(self, body: bytes) -> bytes:
        """The body of a reply with status 200."""
        deadline = time.monotonic() + self.timeout
        attempt = 0
        while True:
            attempt += 1
            try:
                status, reply = _post(self._to, body, deadline)
                if status == 200:
                    return reply
                what, passes = f"status {status}: {_shown(reply)}", status >= 500
            except TimeoutError:
                what, passes = f"no complete reply within {self.timeout:g} s", False
            except (OSError, http.client.IncompleteRead) as bad:  # refused, reset, unknown host, cut off
                passes = not isinstance(bad, ssl.SSLCertVerificationError)
                what = f"{type(bad).__name__}: {bad}"
            except (http.client.HTTPException, _TooLarge) as bad:
                what, passes = f"not a proper HTTP reply: {type(bad).__name__}: {str(bad)[:SHOWN]!r}", False
            pause = BACK_OFF * 4 ** (attempt - 1)
            if not passes or attempt > RETRIES or time.monotonic() + pause >= deadline:
                self._fail(what + (f" (tried {attempt} times)" if attempt > 1 else ""))
            time.sleep(pause)

    def _read(self, reply: bytes, count: int, k: int) -> list[list[Passage]]:
        try:
            found = json.loads(reply, parse_constant=_no_number)
        except (ValueError, RecursionError) as bad:
            self._fail(f"not JSON ({str(bad)[:SHOWN]}): {_shown(reply)}")
        results = found.get("result") if isinstance(found, dict) else None
        if not isinstance(results, list) or not all(isinstance(result, list) for result in results):
            self._fail(f'expected {{"result": [[...], ...]}}, got {_shown(reply)}')
        if len(results) != count:
            self._fail(f"{len(results)} results for {count} queries: {_shown(reply)}")
        try:
            return [[_passage(item) for item in result][:k] for result in results]
        except (DataError, OverflowError) as bad:
            self._fail(str(bad))

    def _fail(self, what: str) -> NoReturn:
        raise ToolFailed(f"the retriever {self._to.url} failed: {what}") from None


class _TooLarge(Exception):
    pass


class _Address(NamedTuple):
    url: str
    secure: bool
    host: str
    port: int
    head: bytes  # of the request, up to the length of its body


def _address(url: str) -> _Address:
    wanted = "expected one such as http://127.0.0.1:8000"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as bad:  # UnicodeError is one
        raise ConfigError(f"the retriever's URL {url!r} cannot be read ({bad}); {wanted}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"the retriever's URL {url!r} is no http:// or https:// URL; {wanted}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"the retriever's URL must be a host and a path, without user, query or fragment; {wanted}")
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    path = path if path.endswith("/retrieve") else f"{path}/retrieve"
    secure = parts.scheme == "https"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {parts.netloc.encode('idna').decode()}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json\r\nAccept-Encoding: identity\r\nConnection: close\r\nContent-Length: "
    )
    return _Address(
        f"{parts.scheme}://{parts.netloc}{path}", secure, host, port or (443 if secure else 80), head.encode()
    )


def _post(to: _Address, body: bytes, deadline: float) -> tuple[int, bytes]:
    """Status and body of the reply. Raises TimeoutError at the deadline, however slowly the bytes come."""
    with _connect(to, deadline) as sock:
        sock.settimeout(_left(deadline))
        sock.sendall(to.head + b"%d\r\n\r\n" % len(body) + body)
        response = http.client.HTTPResponse(_Paced(sock, deadline), method="POST")  # type: ignore[arg-type]
        with response:
            response.begin()
            reply = response.read(LARGEST_REPLY + 1)
            if len(reply) > LARGEST_REPLY:
                raise _TooLarge(f"over {LARGEST_REPLY >> 20} MiB")
            if response.length:  # read(n) says nothing of a connection that closed early
                raise http.client.IncompleteRead(reply, response.length)
            return response.status, reply


def _connect(to: _Address, deadline: float) -> socket.socket:
    failed: OSError = OSError("the host has no address")
    for family, kind, protocol, _, address in socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(_left(deadline))
            sock.connect(address)
            return _tls().wrap_socket(sock, server_hostname=to.host) if to.secure else sock
        except OSError as bad:
            sock.close()
            failed = bad
    raise failed


@functools.cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class _Paced(io.RawIOBase):
    """A socket as the file that HTTPResponse reads: each read may take no longer than what is left until the deadline."""

    def __init__(self, sock: socket.socket, deadline: float):
        self._sock, self._deadline = sock, deadline

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(_left(self._deadline))
        return self._sock.recv_into(buffer)


def _passage(item: Any) -> Passage:
    """A passage from `{"document": {...}, "score": number}` or from a document alone."""
    document, score = (item.get("document", item), item.get("score", 0.0)) if isinstance(item, dict) else (None, 0.0)
    if not isinstance(document, dict):
        raise DataError(f"expected a document, got {str(item)[:SHOWN]!r}")
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        raise DataError(f"expected a number as score, got {str(score)[:SHOWN]!r}")
    return passage_of({"id": ""} | document, "a document")._replace(score=float(score))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _shown(reply: bytes) -> str:
    return repr(reply[: 4 * SHOWN].decode("utf-8", "replace")[:SHOWN])

"""A retriever behind HTTP, by the protocol of Search-R1 (Jin et al. 2025, arXiv 2503.09516).

    POST <url>/retrieve   {"queries": ["..."], "topk": 3, "return_scores": true}
    200                   {"result": [[{"document": {"id": "7", "contents": "\\"title\\"\\ntext"}, "score": 0.9}, ...]]}

Whatever goes wrong is a ToolFailed that names the URL, never an empty result: an agent that reads "nothing found" because a
server is down learns from it. Redirects are not followed and no proxy is used, so the texts go to the given host alone.
Connections are kept and used again.
"""

from __future__ import annotations

import functools
import http.client
import io
import json
import math
import os
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, urlsplit

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util.connection import create_connection

from llm_marl_envs.errors import ConfigError, DataError, ToolFailed
from llm_marl_envs.tools.index import LONGEST_QUERY, Passage, passage_of

LARGEST_REPLY = 16 << 20  # bytes, headers included
RETRIES = 2  # for temporary failures: a connection that fails, a 5xx
BACK_OFF = 0.05  # seconds before the first retry, four times as many before the second
SHOWN = 200  # characters of a bad reply in a message
KEPT = 64  # idle connections to a server
HEADERS = {"Content-Type": "application/json", "Accept": "application/json", "Accept-Encoding": "identity"}


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
            except (HTTPError, TimeoutError, ValueError) as wrapped:  # ValueError: a chunk of negative length
                bad = _cause(wrapped)
                what, passes = f"{type(bad).__name__}: {bad}", False
                if isinstance(bad, TimeoutError | ReadTimeoutError):
                    what = f"no complete reply within {self.timeout:g} s"
                elif isinstance(bad, OSError | http.client.IncompleteRead):  # refused, reset, unknown host, cut off
                    passes = not isinstance(bad, ssl.SSLCertVerificationError)
                else:
                    what = f"not a proper HTTP reply: {type(bad).__name__}: {str(bad)[:SHOWN]!r}"
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


class _Address(NamedTuple):
    url: str
    secure: bool
    host: str
    port: int
    path: str


def _address(url: str) -> _Address:
    wanted = "expected one such as http://127.0.0.1:8000"
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as bad:  # UnicodeError is one
        raise ConfigError(f"the retriever's URL {url!r} cannot be read ({bad}); {wanted}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"the retriever's URL {url!r} is not an http:// or https:// URL; {wanted}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ConfigError(f"the retriever's URL must be a host and a path, without user, query or fragment; {wanted}")
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
    path = path if path.endswith("/retrieve") else f"{path}/retrieve"
    secure = parts.scheme == "https"
    return _Address(f"{parts.scheme}://{parts.netloc}{path}", secure, host, port or (443 if secure else 80), path)


def _post(to: _Address, body: bytes, deadline: float) -> tuple[int, bytes]:
    """Status and body of the reply. Raises urllib3's HTTPError; at the deadline too, however slowly the bytes come, or
    TimeoutError."""
    pool = _pool(os.getpid(), to.secure, to.host, to.port)
    response = pool.urlopen(
        "POST", to.path, body, HEADERS, retries=False, redirect=False, timeout=Timeout(total=_left(deadline)),
        preload_content=False, decode_content=False,
    )  # fmt: skip
    try:  # in pieces: memory for a length that is a lie is not to be had
        return response.status, b"".join(iter(lambda: response.read(1 << 16), b""))
    finally:
        response.close()  # and its connection, if that is not already back in the pool


@functools.lru_cache(maxsize=32)
def _pool(pid: int, secure: bool, host: str, port: int) -> HTTPConnectionPool:
    """The connections of a process to a server. Not a retriever's own: that travels between processes, sockets cannot;
    and tasks make a new one for each call. A fork would talk into its parent's connections, so it gets its own."""
    if not secure:
        pool = HTTPConnectionPool(host, port, maxsize=KEPT)
        pool.ConnectionCls = _Plain  # type: ignore[assignment]
    else:
        pool = HTTPSConnectionPool(host, port, maxsize=KEPT, ssl_context=ssl.create_default_context())
        pool.ConnectionCls = _Secure  # type: ignore[assignment]
    return pool


def _cause(bad: BaseException) -> BaseException:
    """What urllib3 has wrapped, or the error itself."""
    inner = next((part for part in bad.args if isinstance(part, BaseException)), bad.__cause__)
    return bad if inner is None else _cause(inner)


# urllib3 grants the time to each address of a host and to each read anew, so a server that sends a byte now and then would
# be waited for without end, and within the headers nobody else can look at the clock or at the size. Hence what follows.


class _Paced(io.RawIOBase):
    """A socket's file whose reads together keep to the socket's time limit, and to the size of a reply."""

    def __init__(self, sock: socket.socket):
        self._sock, self._file = sock, sock.makefile("rb", buffering=0)
        self._deadline, self._room = time.monotonic() + (sock.gettimeout() or 0.0), LARGEST_REPLY

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left(self._deadline))
        read = self._file.readinto(buffer)
        self._room -= read or 0
        if self._room < 0:
            raise http.client.HTTPException(f"over {LARGEST_REPLY >> 20} MiB")
        return read

    def close(self) -> None:
        self._file.close()
        super().close()


class _Reply(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *arguments: Any, **named: Any):
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_Paced(sock))

    def begin(self) -> None:
        super().begin()
        length = ", ".join(self.headers.get_all("Content-Length", ["0"]))
        if not length.strip().isdecimal():  # urllib3 would refuse it too late to close the connection
            raise http.client.HTTPException(f"Content-Length: {length}")


def _connect(to: HTTPConnection) -> socket.socket:
    deadline = time.monotonic() + (to.timeout or 0.0)
    failed: OSError = OSError("the host has no address")
    for *_, address in socket.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM):
        try:
            sock = create_connection((str(address[0]), to.port), _left(deadline), socket_options=to.socket_options)
            sock.settimeout(max(deadline - time.monotonic(), 1e-3))  # for TLS, which takes the socket's own limit
            return sock
        except OSError as bad:
            failed = bad
    raise failed


class _Plain(HTTPConnection):
    response_class = _Reply

    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _Secure(HTTPSConnection):
    response_class = _Reply

    def _new_conn(self) -> socket.socket:
        return _connect(self)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


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

"""A server of Search-R1's protocol on a thread, which behaves well or badly as told; a task and a workflow that use it."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Any, ClassVar

from llm_marl_envs.protocol import Ask, Claim, Roster, Talk, UseTool
from llm_marl_envs.task import WHERE, Problem, Question, Score, Tool
from llm_marl_envs.tasks.atlas import Atlas
from llm_marl_envs.tools.search import search_tools

Answer = Callable[["Handler", dict[str, Any]], None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked))
        try:
            self.server.answer(self, asked)
        except OSError:  # the client has had enough
            self.close_connection = True

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Keeping(Handler):
    """Connections stay open for more requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    answer: Answer

    def __init__(self, answer: Answer, handler: type[Handler], tls: ssl.SSLContext | None):
        super().__init__(("127.0.0.1", 0), handler)
        self.answer, self.asked, self.connections = answer, [], []
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_address[1]}"
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections.append(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that hang up in a handshake are no error."""

    def hang_up(self) -> None:
        """On those who are connected."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(answer: Answer, handler: type[Handler] = Handler, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(answer, handler, tls)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        server.hang_up()
        thread.join()


def document(i: int, query: str, score: float | None = None) -> dict[str, Any]:
    """The i-th finding for a query, in Search-R1's layout."""
    found = {"id": str(i), "contents": f'"Title {i}"\nAbout {query}, {i}.'}
    return found if score is None else {"document": found, "score": score}


def well(handler: Handler, asked: dict[str, Any]) -> None:
    found = [[document(i, q, 1 / (i + 1)) for i in range(asked["topk"])] for q in asked["queries"]]
    handler.send(json.dumps({"result": found}).encode())


def without_scores(handler: Handler, asked: dict[str, Any]) -> None:
    found = [[document(i, q) for i in range(asked["topk"])] for q in asked["queries"]]
    handler.send(json.dumps({"result": found}).encode())


def saying(body: bytes, status: int = 200, **headers: str) -> Answer:
    return lambda handler, asked: handler.send(body, status, **headers)


def _in_turn(answers: list[Answer]) -> Answer:
    left = iter(answers)
    return lambda handler, asked: next(left)(handler, asked)


def failing(times: int, answer: Answer) -> Answer:
    """`answer` a few times, then well."""
    return _in_turn([answer] * times + [well] * 100)


def silent(handler: Handler, asked: dict[str, Any]) -> None:
    time.sleep(1.0)


def dripping(handler: Handler, asked: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(50):
        handler.wfile.write(b" ")
        time.sleep(0.02)


def dripping_headers(handler: Handler, asked: dict[str, Any]) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Padding: " + b"x" * 50:
        handler.wfile.write(bytes((byte,)))
        time.sleep(0.02)


def hanging_up(handler: Handler, asked: dict[str, Any]) -> None:
    handler.close_connection = True


def claiming(length: int | str) -> Answer:
    """Less comes than is said."""

    def answer(handler: Handler, asked: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(b'{"result": [[')

    return answer


def chunked(body: bytes) -> Answer:
    def answer(handler: Handler, asked: dict[str, Any]) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def endless_headers(handler: Handler, asked: dict[str, Any]) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\nX-Padding: " + b"x" * 60_000 + b"\r\n\r\n")


def no_http(handler: Handler, asked: dict[str, Any]) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")


def huge(handler: Handler, asked: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" " * (1 << 20))


def redirected(handler: Handler, asked: dict[str, Any]) -> None:
    """To itself, for ever."""
    handler.send(b"", 307, Location=f"{handler.server.url}{handler.path}")


ONE = b'{"result": [[{"document": {"id": "1", "contents": "T\\nt"}, "score": %s}]]}'

# What can go wrong, and a part of the message that says so. `silent` and the dripping ones need a short time-out.
FAILURES: dict[str, tuple[Answer, str]] = {
    "500": (saying(b"out of memory", 500), "status 500: 'out of memory' (tried 3 times)"),
    "503": (saying(b"busy", 503), "status 503: 'busy' (tried 3 times)"),
    "404": (saying(b"no such page", 404), "status 404: 'no such page'"),
    "422": (saying(b'{"detail": "bad query"}', 422), 'status 422: \'{"detail": "bad query"}\''),
    "no content": (saying(b"", 204), "status 204"),
    "silent": (silent, "no complete reply within 0.3 s"),
    "dripping": (dripping, "no complete reply within 0.3 s"),
    "dripping headers": (dripping_headers, "no complete reply within 0.3 s"),
    "hanging up": (hanging_up, "RemoteDisconnected"),
    "cut off": (claiming(1000), "IncompleteRead"),
    "length is a lie": (claiming(10**15), "more expected) (tried 3 times)"),
    "two lengths": (claiming("1000, 1001"), "HTTPException: 'Content-Length: 1000, 1001'"),
    "negative chunk": (chunked(b"-5\r\n[]"), "not a proper HTTP reply: ValueError"),
    "chunk of any length": (chunked(b"-1\r\n" + b" " * (17 << 20)), "over 16 MiB"),
    "endless headers": (endless_headers, "over 16 MiB"),
    "no HTTP": (no_http, "not a proper HTTP reply: BadStatusLine"),
    "huge": (huge, "over 16 MiB"),
    "redirected for ever": (redirected, "status 307"),
    "redirected to a file": (saying(b"", 302, Location="file:///etc/passwd"), "status 302"),
    "redirected elsewhere": (saying(b"moved", 301, Location="http://192.0.2.1/retrieve"), "status 301: 'moved'"),
    "garbage": (saying(b"<html>\xff\xfe"), "not JSON"),
    "empty body": (saying(b""), "not JSON"),
    "compressed": (saying(b"\x1f\x8b\x08\x00", Content_Encoding="gzip"), "not JSON"),
    "compressed, though nobody asked": (saying(gzip.compress(b"[]"), Content_Encoding="gzip"), "not JSON ('utf-8'"),
    "deep": (saying(b"[" * 100_000), "not JSON"),
    "long number": (saying(ONE % (b"9" * 5_000)), "not JSON"),
    "NaN": (saying(ONE % b"NaN"), "NaN is no JSON number"),
    "infinite": (saying(ONE % b"1e999"), "expected a number as score"),
    "large number": (saying(ONE % (b"9" * 400)), "too large"),
    "true score": (saying(ONE % b"true"), "expected a number as score"),
    "null": (saying(b"null"), 'expected {"result": [[...], ...]}'),
    "no result": (saying(b'{"results": [[]]}'), 'expected {"result": [[...], ...]}'),
    "flat result": (saying(b'{"result": [{"id": "1", "contents": "t"}]}'), 'expected {"result": [[...], ...]}'),
    "text result": (saying(b'{"result": "none"}'), 'expected {"result": [[...], ...]}'),
    "no results": (saying(b'{"result": []}'), "0 results for 1 queries"),
    "two results": (saying(b'{"result": [[], []]}'), "2 results for 1 queries"),
    "text document": (saying(b'{"result": [["t"]]}'), "expected a document, got 't'"),
    "null document": (saying(b'{"result": [[{"document": null, "score": 1}]]}'), "expected a document"),
    "no contents": (saying(b'{"result": [[{"document": {"id": "1"}}]]}'), "expected the texts id, title, text"),
    "numeric contents": (saying(b'{"result": [[{"id": "1", "contents": 7}]]}'), "expected the texts id, title, text"),
}


@dataclass(frozen=True)
class Remote:
    """A small atlas whose search is a server."""

    retriever: str = field(default="", metadata=WHERE)
    timeout: float = field(default=10.0, metadata=WHERE)
    atlas: ClassVar[Atlas] = Atlas(size=100, train_size=30, test_size=12)
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    @property
    def tools(self) -> Mapping[str, Tool]:
        return search_tools(corpus=None, retriever=self.retriever, top_k=2, timeout=self.timeout)

    def problems(self, split: str) -> Sequence[Problem]:
        return self.atlas.problems(split)

    def grade(self, problem: Problem, text: str | None, kind: str = "answer") -> Score:
        return self.atlas.grade(problem, text, kind)


@dataclass(frozen=True)
class SearchOnce:
    """The question is the query; the reader sees what was found and answers."""

    roster: ClassVar[Roster] = Roster(reader=1)

    def talk(self, question: Question, rng: Random) -> Talk:
        found = yield UseTool("reader_0", "search", {"query": question.text})
        yield Claim("reader_0", found, "evidence")
        answer = yield Ask("reader_0", f"{question.text}\n{found}")
        yield Claim("reader_0", answer)
        return answer

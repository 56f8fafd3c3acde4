"""A server of OpenAI's chat completions on a thread, which behaves well or badly as told."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]  # status, body (bytes as they are, else JSON), headers


def reply(text: str, **message: Any) -> Answer:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}


@dataclass
class ChatServer:
    """`answer(body, number of the request)` says what is sent back; the requests' bodies and headers are kept."""

    answer: Callable[[dict[str, Any], int], Answer]
    models: tuple[str, ...] = ("served",)
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""


@contextmanager
def serving(answer: Callable[[dict[str, Any], int], Answer], **settings: Any) -> Iterator[ChatServer]:
    chat, lock = ChatServer(answer, **settings), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            self.send(200, {"data": [{"id": name} for name in chat.models]} if self.path == "/v1/models" else {})

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                chat.asked.append(body)
                chat.keys.append(self.headers["Authorization"])
                number = len(chat.asked) - 1
                chat.at_once += 1
                chat.most_at_once = max(chat.most_at_once, chat.at_once)
            try:
                found = chat.answer(body, number)
            finally:
                with lock:
                    chat.at_once -= 1
            if found[0] == 0:  # hang up
                self.close_connection = True
                return
            self.send(*found)

        def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"Content-Length": str(len(raw)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()

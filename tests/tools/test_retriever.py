"""The remote retriever: Search-R1's protocol, and every way to fail is a ToolFailed that names the URL."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import socket
import ssl
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from retrieval_server import FAILURES, Keeping, failing, hanging_up, saying, serving, well, without_scores

from llm_marl_envs.errors import ConfigError, ToolFailed
from llm_marl_envs.tools.index import LONGEST_QUERY, Passage
from llm_marl_envs.tools.retriever import Retriever


@pytest.mark.parametrize("path", ["", "/", "/retrieve", "/retrieve/"])
def test_the_protocol(path):
    with serving(well) as server:
        found = Retriever(server.url + path).search("rivers", 2)
    assert server.asked == [("/retrieve", {"queries": ["rivers"], "topk": 2, "return_scores": True})]
    assert found == [
        Passage("0", "Title 0", "About rivers, 0.", 1.0),
        Passage("1", "Title 1", "About rivers, 1.", 0.5),
    ]


def test_replies_without_scores():
    with serving(without_scores) as server:
        found = Retriever(f"{server.url}/wiki").search("x", 1)
    assert server.asked[0][0] == "/wiki/retrieve"
    assert found == [Passage("0", "Title 0", "About x, 0.", 0.0)]


@pytest.mark.parametrize(
    ("document", "passage"),
    [
        ({"id": 7, "title": "T", "text": "t"}, Passage("7", "T", "t")),
        ({"contents": '"A "quoted" title"\nline\nline'}, Passage("", 'A "quoted" title', "line\nline")),
        ({"id": "1", "contents": "no title"}, Passage("1", "no title", "")),
        ({"id": "1", "title": "T", "contents": '"U"\nt', "extra": [1]}, Passage("1", "T", "t")),
    ],
)
def test_documents(document, passage):
    with serving(saying(json.dumps({"result": [[document]]}).encode())) as server:
        assert Retriever(server.url).search("x") == [passage]


def test_no_more_than_asked_for():
    with serving(
        saying(json.dumps({"result": [[{"id": i, "contents": "T\nt"} for i in range(9)]]}).encode())
    ) as server:
        assert [p.id for p in Retriever(server.url).search("x", 2)] == ["0", "1"]


def test_nothing_found_is_no_failure():
    with serving(saying(b'{"result": [[]]}')) as server:
        assert Retriever(server.url).search("x") == []


def test_a_batch_is_one_request_and_empty_queries_are_not_sent():
    with serving(well) as server:
        found = Retriever(server.url).search_batch(["a", " \n", "b"], 1)
        assert Retriever(server.url).search_batch(["", "\t"], 1) == [[], []]
    assert [asked["queries"] for _, asked in server.asked] == [["a", "b"]]
    assert [[p.text for p in passages] for passages in found] == [["About a, 0."], [], ["About b, 0."]]


def test_any_text_can_be_asked():
    with serving(well) as server:
        retriever = Retriever(server.url)
        for query in ("\ud800 half a pair", "\x00", '"}]\r\n\r\nGET /', "é中🙂\u202e", "x" * 1_000_000):
            assert len(retriever.search(query, 1)) == 1
    sent = [asked["queries"][0] for _, asked in server.asked]
    assert sent == ["? half a pair", "\x00", '"}]\r\n\r\nGET /', "é中🙂\u202e", "x" * LONGEST_QUERY]


@pytest.mark.parametrize("name", FAILURES)
def test_failures(name):
    answer, message = FAILURES[name]
    with serving(answer) as server:
        began = time.monotonic()
        with pytest.raises(ToolFailed) as bad:
            Retriever(server.url, timeout=0.3 if "0.3 s" in message else 5.0).search("x")
        took = time.monotonic() - began
    assert str(bad.value).startswith(f"the retriever {server.url}/retrieve failed: ")
    assert message in str(bad.value)
    assert len(str(bad.value)) < 700
    assert took < 2.0
    passing = "(tried 3 times)" in message or name in ("hanging up", "cut off")
    assert len(server.asked) == (3 if passing else 1), "only what may pass is tried again"


def test_a_server_that_is_not_there():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(
            ToolFailed, match=rf"retriever {url}/retrieve failed: ConnectionRefusedError.*tried 3 times"
        ):
            Retriever(url).search("x")


def test_a_host_that_does_not_exist():
    with pytest.raises(ToolFailed, match=r"http://retriever\.invalid/retrieve failed: gaierror"):
        Retriever("http://retriever.invalid").search("x")


def test_a_server_that_never_accepts():
    """The queue of connections is full: connecting itself takes for ever."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            waiting.append(sock)
        began = time.monotonic()
        with pytest.raises(ToolFailed, match=r"no complete reply within 0\.2 s"):
            Retriever(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.2).search("x")
        assert time.monotonic() - began < 10.0, "it waited for the kernel to give up"
        for sock in waiting:
            sock.close()


def test_the_time_is_for_all_addresses_of_a_host(monkeypatch):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        asked = socket.getaddrinfo
        monkeypatch.setattr(
            socket, "getaddrinfo", lambda host, *a, **k: asked("127.0.0.1", *a, **k) * (3 if host == "many" else 1)
        )
        began = time.monotonic()
        with pytest.raises(ToolFailed, match=r"no complete reply within 2 s"):
            Retriever(f"http://many:{port}", timeout=2.0).search("x")
        assert time.monotonic() - began < 5.0, "each of three addresses was given the whole time"
        for sock in waiting:
            sock.close()


def test_another_address_is_taken_where_one_refuses(monkeypatch):
    asked = socket.getaddrinfo

    def both(host, *a, **k):
        return asked("127.0.0.2", *a, **k) + asked("127.0.0.1", *a, **k) if host == "both" else asked(host, *a, **k)

    with serving(well) as server:
        monkeypatch.setattr(socket, "getaddrinfo", both)
        assert len(Retriever(server.url.replace("127.0.0.1", "both")).search("x", 1)) == 1


def test_plain_http_where_tls_is_expected():
    with serving(well) as server, pytest.raises(ToolFailed, match=r"https://127.*SSLError"):
        Retriever(server.url.replace("http:", "https:"), timeout=2.0).search("x")


@pytest.mark.parametrize("answer", [saying(b"busy", 503), hanging_up], ids=["503", "hanging up"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_passes_is_tried_again(answer, times):
    with serving(failing(times, answer)) as server:
        assert len(Retriever(server.url).search("x", 1)) == 1
    assert len(server.asked) == times + 1


def test_retries_keep_to_the_time_limit():
    with serving(saying(b"busy", 503)) as server, pytest.raises(ToolFailed, match=r"\(tried 2 times\)"):
        Retriever(server.url, timeout=0.15).search("x")
    assert len(server.asked) == 2, "the second pause, 0.2 s, would be too long"


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(well) as server:
        assert len(Retriever(server.url).search("x", 1)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "file:///etc/passwd",
        "ftp://127.0.0.1",
        "127.0.0.1:8000",
        "http://",
        "http://:80",
        "http://127.0.0.1:port",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://user:secret@127.0.0.1",
        "http://127.0.0.1/?a=b",
        "http://127.0.0.1/#a",
        "http://" + "a" * 70 + ".org",
        "http://a..b",
    ],
)
def test_urls_that_are_none(url):
    with pytest.raises(ConfigError, match="expected one such as http://127"):
        Retriever(url)


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("inf"), float("nan")])
def test_timeouts_that_are_none(timeout):
    with pytest.raises(ConfigError, match="positive number of seconds"):
        Retriever("http://127.0.0.1", timeout=timeout)


def test_retrievers_are_values():
    assert Retriever("http://127.0.0.1:1") == Retriever("http://127.0.0.1:1")
    assert repr(Retriever("http://127.0.0.1:1")) == "Retriever(url='http://127.0.0.1:1', timeout=10.0)"


# Connections that are kept.


def test_searches_share_a_connection():
    with serving(well, Keeping) as server:
        for i in range(5):
            assert Retriever(server.url).search(f"q{i}", 1)[0].text == f"About q{i}, 0."
        server.answer = saying(b"no such page", 404)
        with pytest.raises(ToolFailed, match="status 404"):
            Retriever(server.url).search("x")
        server.answer = well
        assert len(Retriever(server.url).search("x", 1)) == 1
    assert len(server.asked) == 7
    assert len(server.connections) == 1


def test_threads_share_a_retriever(caplog):
    def slow(handler, asked):
        time.sleep(0.002)
        well(handler, asked)

    with serving(slow, Keeping) as server:
        retriever = Retriever(server.url)
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda i: retriever.search(f"q{i}", 1), range(200)))
    assert [passages[0].text for passages in found] == [f"About q{i}, 0." for i in range(200)]
    assert len(server.asked) == 200
    assert len(server.connections) <= 8
    assert caplog.text == ""


def test_a_server_that_closed_meanwhile_fails_no_search():
    with serving(well, Keeping) as server:
        retriever = Retriever(server.url)
        for connections in (1, 2, 3):
            assert len(retriever.search("x", 1)) == 1
            assert len(server.connections) == connections
            server.hang_up()
            time.sleep(0.05)
    assert len(server.asked) == 3


def test_a_server_that_closes_just_now_fails_no_search():
    """It was still there when the connection was taken again, and never answers what comes by it."""

    class Once(Keeping):
        used = False

        def do_POST(self):
            if self.used:
                self.close_connection = True
                return
            self.used = True
            super().do_POST()

    with serving(well, Once) as server:
        retriever = Retriever(server.url)
        for connections in (1, 2, 3):
            assert len(retriever.search("x", 1)) == 1
            assert len(server.connections) == connections


@pytest.mark.parametrize("more", [b" ", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", b" " * 100_000])
def test_what_comes_after_a_reply_is_no_reply_to_the_next_search(more):
    def too_long(handler, asked):
        well(handler, asked)
        handler.wfile.write(more)

    with serving(too_long, Keeping) as server:
        for query in ("a", "b", "c"):
            assert Retriever(server.url).search(query, 1)[0].text == f"About {query}, 0."
            time.sleep(0.05)


def test_a_reply_that_came_too_late_is_no_reply_to_the_next_search():
    def late(handler, asked):
        time.sleep(0.3 if asked["queries"] == ["a"] else 0.0)
        well(handler, asked)

    with serving(late, Keeping) as server:
        with pytest.raises(ToolFailed, match=r"no complete reply within 0\.1 s"):
            Retriever(server.url, timeout=0.1).search("a", 1)
        time.sleep(0.4)
        assert Retriever(server.url).search("b", 1)[0].text == "About b, 0."


def test_a_copy_by_pickle_searches():
    with serving(well, Keeping) as server:
        retriever = Retriever(server.url, 3.0)
        retriever.search("x", 1)
        copy = pickle.loads(pickle.dumps(retriever))
        assert copy == retriever
        assert len(copy.search("x", 1)) == 1


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_a_connection_of_its_own():
    with serving(well, Keeping) as server:
        retriever = Retriever(server.url)
        assert len(retriever.search("x", 1)) == 1
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = int(retriever.search("child", 1)[0].text != "About child, 0.")
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert retriever.search("parent", 1)[0].text == "About parent, 0."
    assert len(server.connections) == 2, "the parent's, before and after, and the child's"


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_certificates_are_verified(tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=retriever", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    with serving(well, Keeping, tls) as server:
        with pytest.raises(ToolFailed, match=r"https://127.*SSLCertVerificationError") as bad:
            Retriever(server.url).search("x")
        assert "tried" not in str(bad.value)
        assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with serving(well, Keeping, tls) as server:
        for _ in range(3):
            assert len(Retriever(server.url).search("x", 1)) == 1
        assert len(server.connections) == 1
        server.answer = FAILURES["dripping"][0]
        with pytest.raises(ToolFailed, match=r"no complete reply within 0\.3 s"):
            Retriever(server.url, timeout=0.3).search("x")
        with pytest.raises(ToolFailed, match=r"SSLCertVerificationError.*localhost"):
            Retriever(server.url.replace("127.0.0.1", "localhost")).search("x")

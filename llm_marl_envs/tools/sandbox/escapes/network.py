"""Connections to anywhere. The host listens on its own sockets while these run, and must hear nothing."""

from __future__ import annotations

from llm_marl_envs.tools.sandbox.escapes import Escape

ESCAPES = (
    Escape("network", "TCP to the host's own port", """
import socket
def connect():
    with socket.create_connection(("127.0.0.1", @PORT@), 1) as line:
        line.sendall(b"hello")
attempt("connected to 127.0.0.1", connect)
attempt("connected to localhost", lambda: socket.create_connection(("localhost", @PORT@), 1).close())
attempt("a TCP socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close())
attempt("a TCP socket (IPv6)", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close())
"""),
    Escape("network", "UDP to the host's own port", """
import socket
def send():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(b"hello", ("127.0.0.1", @UDP@))
attempt("sent a datagram", send)
"""),
    Escape("network", "the outside world", """
import socket, urllib.request
for address in (("1.1.1.1", 53), ("8.8.8.8", 443), ("169.254.169.254", 80), ("10.0.0.1", 80)):
    attempt(f"connected to {address}", lambda: socket.create_connection(address, 0.5).close())
attempt("fetched a page", lambda: urllib.request.urlopen("http://127.0.0.1:@PORT@/", timeout=0.5))
attempt("a name was found", lambda: socket.getaddrinfo("example.com", 80))
attempt("an interface", lambda: len(socket.if_nameindex()) > 1)
""", dangerous=True),
    Escape("network", "raw and packet sockets", """
import socket
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("ping", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)))
"""),
    Escape("network", "rarer families of sockets", """
import socket
for family in range(0, 50):
    for kind in (1, 2, 3, 5):
        try:
            socket.socket(family, kind).close()
        except BaseException:
            continue
        escaped(f"a socket of family {family}, type {kind}")
""", dangerous=True),
    Escape("network", "a unix socket of the host's", """
import socket
def connect(address):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(address)
        line.sendall(b"hello")
attempt("a unix socket by its path", connect, "@SOCKET@")
attempt("a unix socket", lambda: socket.socket(socket.AF_UNIX).close())
"""),
    Escape("network", "unix sockets of services with rights", """
import socket
for path in ("/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private", "/run/dbus/system_bus_socket"):
    attempt(path, lambda: socket.socket(socket.AF_UNIX).connect(path))
""", dangerous=True),
    Escape("network", "an abstract unix socket of the host's", """
import socket
def connect():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.connect(b"\\0@ABSTRACT@")
        line.sendall(b"hello")
attempt("an abstract unix socket", connect)
"""),
    Escape("network", "an address after the fact on a socket pair", """
import socket, ctypes
left, right = socket.socketpair()
attempt("connected a socket pair elsewhere", lambda: left.connect(b"\\0@ABSTRACT@"))
attempt("bound a socket pair", lambda: left.bind(b"\\0planted"))
left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
attempt("sent a datagram from a socket pair", lambda: left.sendto(b"hello", b"\\0@ABSTRACT@-datagram"))
attempt("sent a datagram to a path", lambda: left.sendto(b"hello", "@SOCKET@-datagram"))
"""),
    Escape("network", "netlink", """
import socket
for protocol in (0, 4, 9, 15, 16):
    attempt(f"netlink {protocol}", lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol))
"""),
    Escape("network", "a service of one's own", """
import socket
def listen():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as line:
        line.bind(("0.0.0.0", 0))
        line.listen()
attempt("listened", listen)
def abstract():
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(b"\\0planted")
attempt("listened on an abstract socket", abstract)
"""),
    Escape("network", "asyncio streams", """
import asyncio
async def main():
    await asyncio.wait_for(asyncio.open_connection("127.0.0.1", @PORT@), 1)
attempt("asyncio connected", lambda: asyncio.run(main()))
"""),
)  # fmt: skip

"""Plain data between a program and its tests, which run in two processes.

The tests hold references to the program's functions and objects; calling one sends plain data over a pipe and gets plain
data back. What arrives is rebuilt from exact built-in types only, so nothing that a program returns can carry code, lie
about equality, or be unpickled. The program may be hostile: it can send any bytes, and all it can gain is an exception in
the tests. What it can never do is see them.

A frame is four bytes of length and UTF-8 JSON. A list is a JSON list; other types are {"k": kind, "v": ...}.
"""

from __future__ import annotations

import builtins
import collections
import datetime
import decimal
import fractions
import itertools
import json
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

LARGEST = 64 << 20  # bytes of a frame
_PLAIN = (str, bool, type(None))
_ITERATORS = (
    types.GeneratorType,
    map,
    filter,
    zip,
    enumerate,
    reversed,
    type(iter([])),
    type(iter(())),
    type(iter("")),
)
_ITERATORS += (
    type(iter({})),
    type(iter(set())),
    type(iter(range(0))),
)
_KEYS, _VALUES, _ITEMS = type({}.keys()), type({}.values()), type({}.items())
_NUMPY_KINDS = "?bBhHiIlLqQefdFD"


class ProgramError(Exception):
    """The program raised something that has no built-in name, or broke off the talk."""


def pack(value, refer):
    """`value` as JSON data; `refer(value)` stands in for what is no plain data. Raises RecursionError on endless nesting."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is int:
        return value if -(1 << 63) <= value < 1 << 63 else {"k": "int", "v": hex(value)}
    if kind is float:
        return value
    if isinstance(value, list):
        return [pack(v, refer) for v in list.__iter__(value)]
    if isinstance(value, tuple):
        return {"k": "tuple", "v": [pack(v, refer) for v in tuple.__iter__(value)]}
    if isinstance(value, dict):
        name = {collections.Counter: "Counter", collections.OrderedDict: "OrderedDict"}.get(kind, "dict")
        return {"k": name, "v": [[pack(k, refer), pack(v, refer)] for k, v in dict.items(value)]}
    if isinstance(value, set | frozenset):
        return {"k": "set" if isinstance(value, set) else "frozenset", "v": [pack(v, refer) for v in value]}
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return pack(int.__add__(value, 0), refer)
    if isinstance(value, float) and kind.__module__ != "numpy":
        return float.__add__(value, 0.0)
    return _pack_rarer(value, kind, refer)


def _pack_rarer(value, kind, refer):
    if kind is complex:
        return {"k": "complex", "v": [value.real, value.imag]}
    if isinstance(value, bytes | bytearray):
        return {"k": "bytes" if isinstance(value, bytes) else "bytearray", "v": bytes(value).hex()}
    if kind is range:
        return {"k": "range", "v": [pack(v, refer) for v in (value.start, value.stop, value.step)]}
    if isinstance(value, collections.deque):
        return {"k": "deque", "v": [pack(v, refer) for v in value]}
    if isinstance(value, _KEYS | _VALUES | _ITEMS):  # a view lives in its dict; over there it gets one of its own
        name = "keys" if isinstance(value, _KEYS) else "values" if isinstance(value, _VALUES) else "items"
        return {"k": name, "v": [pack(v, refer) for v in value]}
    if kind is types.MappingProxyType:
        return {"k": "dict", "v": [[pack(k, refer), pack(v, refer)] for k, v in value.items()]}
    if kind is memoryview:
        return {"k": "bytes", "v": bytes(value).hex()}
    if kind is decimal.Decimal:
        return {"k": "Decimal", "v": str(value)}
    if kind is fractions.Fraction:
        return {"k": "Fraction", "v": [pack(value.numerator, refer), pack(value.denominator, refer)]}
    if kind in (datetime.datetime, datetime.date, datetime.time) and getattr(value, "tzinfo", None) is None:
        return {"k": kind.__name__, "v": value.isoformat()}
    if kind is datetime.timedelta:
        return {"k": "timedelta", "v": [value.days, value.seconds, value.microseconds]}
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray | numpy.generic) and value.dtype.char in _NUMPY_KINDS:
        flat = [pack(v, refer) for v in numpy.asarray(value).ravel().tolist()]
        name = "array" if isinstance(value, numpy.ndarray) else "number"
        return {"k": name, "v": flat, "dtype": value.dtype.char, "shape": list(value.shape)}
    return refer(value)


_MAKERS = {
    "int": lambda v: int(v, 16),
    "complex": lambda v: complex(*map(float, v)),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "Decimal": decimal.Decimal,
    "datetime": datetime.datetime.fromisoformat,
    "date": datetime.date.fromisoformat,
    "time": datetime.time.fromisoformat,
    "timedelta": lambda v: datetime.timedelta(*map(int, v)),
}
_COLLECTIONS = {"tuple": tuple, "set": set, "frozenset": frozenset, "deque": collections.deque}
_COLLECTIONS |= {
    "keys": lambda items: dict.fromkeys(items).keys(),
    "values": lambda items: dict(enumerate(items)).values(),
    "items": lambda items: dict(items).items(),
}
_MAPPINGS = {"dict": dict, "OrderedDict": collections.OrderedDict, "Counter": collections.Counter}


def unpack(data, deref) -> Any:
    """What `pack` packed. Whatever else it is given raises some exception, and builds nothing but built-in types."""
    kind = type(data)
    if kind is list:
        return [unpack(v, deref) for v in data]
    if kind is not dict:
        return data
    name, value = data["k"], data["v"]
    if name in _COLLECTIONS:
        return _COLLECTIONS[name](unpack(v, deref) for v in value)
    if name in _MAPPINGS:
        return _MAPPINGS[name]({unpack(k, deref): unpack(v, deref) for k, v in value})
    if name in _MAKERS:
        return _MAKERS[name](value)
    if name == "range":
        return range(*(unpack(v, deref) for v in value))
    if name == "Fraction":
        return fractions.Fraction(*(unpack(v, deref) for v in value))
    if name in ("array", "number"):
        import numpy

        if data["dtype"] not in _NUMPY_KINDS or len(data["dtype"]) != 1:
            raise ValueError(f"no such kind of array: {data['dtype']!r:.40}")
        array = numpy.array([unpack(v, deref) for v in value], dtype=data["dtype"]).reshape(data["shape"])
        return array if name == "array" else array[()]
    if name == "ref":
        return deref(value, bool(data.get("iterator")))
    raise ValueError(f"no such kind: {name!r:.40}")


class Link:
    """One end of the talk between a program and its tests."""

    def __init__(self, inward: int, outward: int):
        self.inward, self.outward = inward, outward

    def send(self, message) -> None:
        body = json.dumps(message).encode()
        if len(body) > LARGEST:
            raise ValueError(f"{len(body)} bytes are too many to pass on")
        body = memoryview(len(body).to_bytes(4, "big") + body)
        while body:
            body = body[os.write(self.outward, body) :]

    def receive(self):
        """The next message. Raises EOFError at the end, ValueError for a frame that is none."""
        length = int.from_bytes(self._read(4), "big")
        if length > LARGEST:
            raise ValueError(f"a frame of {length} bytes")
        return json.loads(self._read(length))

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self.inward, min(size, 1 << 20))
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


class Remote:
    """In the tests: something of the program's that is no plain data. Equal only to itself."""

    def __init__(self, peer, ref):
        object.__setattr__(self, "_ask", lambda operation, *rest, **named: peer.ask(operation, ref, rest, named))
        object.__setattr__(self, "_ref", ref)

    def __call__(self, *arguments, **named):
        return self._ask("call", *arguments, **named)

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return self._ask("attribute", name)

    def __setattr__(self, name, value):
        self._ask("set", name, value)

    def __getitem__(self, key):
        return self._ask("item", key)

    def __len__(self):
        return self._ask("len")

    def __bool__(self):
        return self._ask("bool")

    def __contains__(self, value):
        return any(v == value for v in self)  # looked for here: the program could answer yes to anything

    def __str__(self):
        return self._ask("str")

    def __repr__(self):
        return f"<the program's object {self._ref}>"

    def __iter__(self) -> Iterator[object]:
        iterator = self._ask("iter")
        while chunk := iterator._ask("next"):
            yield from chunk


class RemoteIterator(Remote):
    def __iter__(self) -> Iterator[object]:
        return self

    def __next__(self):
        chunk = self._ask("next", 1)
        if not chunk:
            raise StopIteration
        return chunk[0]


class Tests:
    """The tests' end: asks, and rebuilds what comes back."""

    def __init__(self, link: Link):
        self.link, self.lent, self.made = link, [], {}

    def ask(self, operation, ref, rest=(), named=None):
        lend = self._lend
        arguments = [[pack(v, lend) for v in rest], {k: pack(v, lend) for k, v in (named or {}).items()}]
        try:
            self.link.send(
                [operation, ref if type(ref) is str else ref._ref if isinstance(ref, Remote) else ref, *arguments]
            )
            while True:
                outcome, value = self.link.receive()
                if outcome != "lent":
                    break
                self.link.send(self._call_lent(value))
        except (OSError, EOFError):
            raise ProgramError("the program ended before it answered") from None
        except (ValueError, TypeError, KeyError, RecursionError) as bad:
            raise ProgramError(f"the program broke off the talk: {type(bad).__name__}: {bad!s:.200}") from None
        if outcome == "raised":
            raise _exception(value)
        try:
            return unpack(value, self._deref)
        except Exception as bad:
            raise ProgramError(f"the program's result is no data: {type(bad).__name__}: {bad!s:.200}") from None

    def _deref(self, ref, iterator):
        if type(ref) is not int:
            raise ValueError("a reference is a number")
        if ref not in self.made:
            self.made[ref] = (RemoteIterator if iterator else Remote)(self, ref)
        return self.made[ref]

    def _lend(self, value):
        """A function of the tests that the program may call, or the program's own thing sent back to it."""
        if isinstance(value, Remote):
            return {"k": "mine", "v": value._ref}
        if isinstance(value, type) and vars(builtins).get(value.__name__) is value:
            return {"k": "type", "v": value.__name__}
        if isinstance(value, _ITERATORS):
            return pack(list(value), self._lend)
        if not callable(value):
            raise TypeError(f"the tests pass a {type(value).__name__}, which is no plain data")
        self.lent.append(value)
        return {"k": "lent", "v": len(self.lent) - 1}

    def _call_lent(self, request):
        """Call what was lent with plain data; only plain data goes back, so the tests' own objects stay out of reach."""
        try:
            index, arguments = request
            values = [unpack(v, self._deref) for v in arguments]
            return ["value", pack(self.lent[index](*values), _refuse)]
        except Exception as bad:
            return ["raised", [type(bad).__name__, str(bad)[:200]]]


def _refuse(value):
    raise TypeError(f"a {type(value).__name__} is no plain data")


_MEANINGFUL = (AssertionError, StopIteration, StopAsyncIteration)  # they would fail a test, or end a loop in it


def _exception(value) -> Exception:
    """A built-in exception by its name, or a ProgramError: never anything that is not an Exception."""
    name, text = (str(part)[:500] for part in value)
    cls = getattr(builtins, name, None)
    if isinstance(cls, type) and issubclass(cls, Exception) and cls not in _MEANINGFUL:
        try:
            return cls(text)
        except TypeError:
            pass
    return ProgramError(f"{name}: {text}")


class Program:
    """The program's end: serves what the tests ask. Runs beside hostile code, so nothing here is trusted by anybody."""

    def __init__(self, link: Link, namespace: dict):
        self.link, self.namespace, self.objects = link, namespace, []

    def serve(self) -> None:
        while True:
            operation, ref, rest, named = self.link.receive()
            try:
                self.link.send(["value", pack(self._do(operation, ref, rest, named), self._refer)])
            except BaseException as bad:  # SystemExit, too, is only the program's answer
                self.link.send(["raised", [type(bad).__name__, str(bad)[:500]]])

    def _do(self, operation, ref, rest, named):
        rest = [unpack(self._own(v), self._deref) for v in rest]
        if operation == "get":
            return self.namespace[ref]
        thing = self.objects[ref]
        if operation == "call":
            return thing(*rest, **{k: unpack(self._own(v), self._deref) for k, v in named.items()})
        if operation == "attribute":
            return getattr(thing, rest[0])
        if operation == "set":
            return setattr(thing, *rest)
        if operation == "item":
            return thing[rest[0]]
        if operation == "next":
            return list(itertools.islice(thing, rest[0] if rest else 1000))
        return {"len": len, "bool": bool, "str": str, "iter": iter}[operation](thing)

    def _refer(self, value):
        self.objects.append(value)
        return {"k": "ref", "v": len(self.objects) - 1, "iterator": hasattr(type(value), "__next__")}

    def _own(self, data):
        """Turn the kinds that only the tests send into references."""
        if type(data) is list:
            return [self._own(v) for v in data]
        if type(data) is dict:
            if data["k"] in ("mine", "lent", "type"):
                return {"k": "ref", "v": [data["k"], data["v"]]}
            return data | {"v": self._own(data["v"])}
        return data

    def _deref(self, ref, iterator):
        where, index = ref
        if where == "mine":
            return self.objects[index]
        if where == "type":
            return vars(builtins)[index]

        def lent(*arguments):
            self.link.send(["lent", [index, [pack(v, self._refer) for v in arguments]]])
            outcome, value = self.link.receive()
            if outcome == "raised":
                raise _exception(value)
            return unpack(value, None)

        return lent

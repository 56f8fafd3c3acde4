"""Files that are hard to read: sizes and bombs, and what is no file of traces."""

from __future__ import annotations

import gzip
import json
import os

from hostile.making import (
    GZ,
    MB,
    Case,
    between,
    data_of,
    edited,
    fresh,
    honest,
    many,
    members,
    remade,
    solo,
    tiny,
    write,
)

SIZES = (
    Case("65 kB of newlines", lambda p: members(p, (b"\n" * MB, 64), (honest(0) + b"\n", 1)), good=1, bad=0, file=GZ),
    Case("a bomb of newlines", lambda p: members(p, (b"\n" * 64 * MB, 32)), "no traces: the rest", 0, refused=True, file=GZ),
    Case("a bomb of nulls", lambda p: members(p, (b"\0" * 64 * MB, 32)), "no traces: the rest", 0, refused=True, file=GZ),
    Case("a gzip in a gzip", lambda p: write(p, gzip.compress(honest(0) * 99, mtime=0)), "UTF-8|not a trace", 0, file=GZ),
    Case("a line of 60 MB", many(b"x", 60), "to read it takes about", file=GZ),
    Case("a line of 300 MB", many(b"x", 300), "longer than", file=GZ),
    Case("lists in 30 MB", many(b"[],", 30, b"[", b"[]]\n"), "to read it takes about", file=GZ),
    Case("objects in 30 MB", many(b"{},", 30, b"[", b"{}]\n"), "to read it takes about", file=GZ),
    Case("short texts in 30 MB", many(b'"a",', 30, b"[", b'""]\n'), "to read it takes about", file=GZ),
    Case("numbers in 30 MB", many(b"1.5,", 30, b"[", b"1]\n"), "to read it takes about", file=GZ),
    Case("quotes that are escaped, in 60 MB", many(b'\\"', 60, b'["', b'"]\n'), "not a trace", file=GZ),
    Case("a text that never ends, in 60 MB", many(b"\\\\", 60, b'["'), "not a trace|to read", file=GZ),
    Case("wide characters in 60 MB", many("\U0001f600".encode(), 60, b'["', b'"]\n'), "to read it takes", file=GZ),
    Case("escapes in 60 MB", many(b"\\u00e9", 60, b'["', b'"]\n'), "not a trace", file=GZ),
    Case("a million brackets", between(b"[" * MB), "not a trace"),
    Case("a million objects, nested", between(b'{"a":' * (MB // 5)), "not a trace"),
    Case("a number of a million digits", between(b"9" * MB), "not a trace"),
    Case("a seed of 5,000 digits", between(edited(seed=0).replace(b'"seed": 0', b'"seed": ' + b"9" * 5000)), "not a trace"),
    Case("a seed of 4,000 digits", between(edited(seed=10**4000)), "seed must be a whole number"),
    Case("a reply of 20 MB", between(lambda: remade(fresh("x" * 20 * MB))), good=3, bad=0, value=0.0),
    Case("a reply of 20 MB of boxes", between(lambda: remade(fresh("\\boxed{1}" * (20 * MB // 9)))), good=3, bad=0, value=0.0),
    Case("a reply of 5,000 boxes", between(lambda: remade(fresh("".join(f"\\boxed{{{i}}} " for i in range(5000))))), good=3, bad=0, value=0.0, fast=True),
    Case("200,000 fields in meta", between(lambda: edited(meta={str(i): i for i in range(200_000)})), "digest|to read"),
    Case("a knob of 20 MB", between(lambda: remade(task_knobs={"operators": "+" * 20 * MB})), "cannot be made|to read|has no question|question's"),
    Case("20,000 agents", between(lambda: remade(env="arithmetic/voting-v1", workflow_knobs={"votes": 20_000})), "at most", fast=True),
    Case("60,000 events", between(lambda: edited(events=data_of(solo())["events"] * 30_000)), "60000 events|to read"),
    Case("3,000 tiny episodes", tiny(3000), good=3000, bad=0),
)  # fmt: skip


# Kinds of files.


TEXT = (honest(0) + b"\n").decode()
KINDS = (
    Case("a link to /dev/zero", lambda p: p.symlink_to("/dev/zero"), "no regular file", 0, refused=True, fast=True),
    Case("a FIFO", lambda p: os.mkfifo(p), "no regular file", 0, refused=True, fast=True),
    Case("a FIFO called gzipped", lambda p: os.mkfifo(p), "no regular file", 0, refused=True, file=GZ),
    Case("a folder", lambda p: p.mkdir(), "Is a directory", 0, refused=True, fast=True),
    Case("a link to itself", lambda p: p.symlink_to(p), "cannot read", 0, refused=True, fast=True),
    Case("a link to nothing", lambda p: p.symlink_to(p.with_name("y")), "cannot read", 0, refused=True, fast=True),
    Case("an empty file", lambda p: write(p, b""), "holds no traces", 0, fast=True),
    Case("an empty gzipped file", lambda p: p.write_bytes(b""), "holds no traces", 0, file=GZ, fast=True),
    Case("white space", lambda p: write(p, b" \n\t\n\r\n  \n"), "holds no traces", 0, fast=True),
    *(
        Case(name, lambda p, c=codec: write(p, TEXT.encode(c)), "UTF-8|not a trace", 0, bad=bad, fast=True)
        for name, codec, bad in (("UTF-16 with its mark", "utf-16", 1), ("UTF-16, little end", "utf-16-le", 1), ("UTF-16, big end", "utf-16-be", 1), ("UTF-32", "utf-32", 1))
    ),
    Case("a byte order mark", lambda p: write(p, TEXT.encode("utf-8-sig")), "not a trace", 0, fast=True),
    Case("latin-1", between('{"version": 2, "env": "caf\xe9"}'.encode("latin-1")), "UTF-8", fast=True),
    Case("NUL bytes", between(b"\0" * 5000), "not a trace", fast=True),
    Case("random bytes", between(bytes(range(11, 256)) * 40), "UTF-8", fast=True),
    Case("a ZIP file", lambda p: write(p, b"PK\x03\x04" + bytes(1000)), "holds no traces", 0, fast=True),
    Case("a gzip that is cut", lambda p: p.write_bytes(gzip.compress(TEXT.encode() * 2)[:-30]), "holds no traces|", 0, file=GZ),
    Case("a gzip and garbage", lambda p: p.write_bytes(gzip.compress(TEXT.encode()) + b"garbage"), good=1, bad=0, file=GZ, fast=True),
    Case("two gzips", lambda p: members(p, (honest(0) + b"\n", 1), (honest(1) + b"\n", 1)), bad=0, file=GZ, fast=True),
    Case("not gzipped, though called so", lambda p: p.write_bytes(TEXT.encode()), "cannot read", 0, refused=True, file=GZ, fast=True),
    Case("gzipped, though not called so", lambda p: p.write_bytes(gzip.compress(TEXT.encode())), "UTF-8|holds no traces", 0, bad=-1, fast=True),
    Case("JSON of others", between(b'{"role": "user", "content": "x"}'), "not a trace", fast=True),
    Case("CSV", between(b"id,score", b"1,1.0"), "not a trace", bad=2, fast=True),
    Case("one array of traces", lambda p: write(p, b"[" + honest(0) + b"," + honest(1) + b"]\n"), "not a trace", 0, fast=True),
    Case("an array of traces over lines", lambda p: write(p, b"[\n" + honest(0) + b",\n" + honest(1) + b"\n]\n"), "not a trace", 1, bad=3, fast=True),
    Case("CRLF", lambda p: write(p, honest(0) + b"\r\n" + honest(1) + b"\r\n"), bad=0, fast=True),
    Case("U+2028 between traces", lambda p: write(p, honest(0) + "\u2028".encode() + honest(1) + b"\n"), "not a trace", 0, fast=True),
    Case("U+2028, U+0085 in a reply", between(json.dumps(data_of(solo("a\u2028b\x85c")), ensure_ascii=False).encode()), good=3, bad=0, value=0.0, fast=True),
)  # fmt: skip

"""Untrusted text on a terminal."""

from __future__ import annotations

import sys


def printable(text: object, length: int | None = 120, *, lines: bool = False) -> str:
    """Text without control characters (they could overwrite what the terminal shows) and characters that standard output cannot
    write; at most `length` characters. `lines` keeps line breaks and tabs."""
    whole = str(text)
    cut = whole if length is None else whole[: length + 1]
    shown = "".join(c if c.isprintable() or (lines and c in "\n\t") else "?" for c in cut)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    shown = shown.encode(encoding, "replace").decode(encoding)
    return shown if length is None or len(shown) <= length else f"{shown[:length]}..."

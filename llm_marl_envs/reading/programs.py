"""Programs in fenced blocks, outside thinking."""

from __future__ import annotations

import re

from llm_marl_envs.reading.thinking import spoken

_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`\n]*)")
_PYTHON = re.compile(
    r"\{?\s*\.?(?:i?python|py)[0-9.]*(?![\w-])[^\n]*", re.IGNORECASE
)  # python3.10, {.python}, python:a.py


def find_program(text: str) -> str | None:
    """The last fenced block of a reply that is marked as Python; without such, the last that is not marked; else None.

    Fences are Markdown's: three or more backticks or tildes on their own line, closed by at least as many of the same sign.
    The indentation of a fence is removed from the lines of its block. A fence that is never closed opens no block: a
    reply that was cut off has not finished that program. A fence that is marked as Python inside an open block begins anew: the
    open block was torn, or closed by mistake if nothing follows. Linear time.
    """
    text = spoken(text)
    if "```" not in text and "~~~" not in text:
        return None
    found: dict[bool, str] = {}  # by whether it is marked
    lines, start, opened, torn = text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), 0, None, ""
    for number, line in enumerate(lines):
        fence = _FENCE.fullmatch(line.rstrip()) if "```" in line or "~~~" in line else None
        if fence is None:
            continue
        if opened is not None and _closes(fence, opened):
            info = opened[3].strip()
            if not info or _PYTHON.fullmatch(info):
                inside = _inside(lines[start:number], opened)
                found[bool(info)] = inside if inside.strip() or not torn else torn
            opened, torn = None, ""
        elif opened is None or (_PYTHON.fullmatch(fence[3].strip()) and len(fence[1]) <= len(opened[1])):
            torn = _inside(lines[start:number], opened) if opened is not None else ""
            opened, start = fence, number + 1
    return found.get(True, found.get(False))


def _closes(fence: re.Match[str], opened: re.Match[str]) -> bool:
    """Whether a fence closes the open block. A fence that is indented further, as in a docstring, belongs to the program."""
    same = fence[2][0] == opened[2][0] and len(fence[2]) >= len(opened[2])
    return same and not fence[3] and len(fence[1]) <= len(opened[1]) + 3


def _inside(lines: list[str], opened: re.Match[str]) -> str:
    return "\n".join(_dedented(line, opened[1]) for line in lines)


def _dedented(line: str, indent: str) -> str:
    return line[len(indent) :] if line.startswith(indent) else line.lstrip(" \t")

"""Lines of older versions as lines of this one.

Version 1 did not record how well a tool worked. It is derived here, once, from the texts of that version's tools; nothing else
reads it from a tool's text.
"""

from __future__ import annotations

import re
from typing import Any

_PASSED = re.compile(r"([0-9]{1,6}) of ([1-9][0-9]{0,5}) examples pass\.")
_NOTHING = ("No passage was found.", "(no output)", "Not run: ", "The problem statement shows no example")


def upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """A line's data with all that this version records. Raises KeyError or TypeError for data that is not a trace."""
    if data["version"] > 1:
        return data
    events = [
        event | {"worked": _worked(event["reply"])} if event["event"] == "UseTool" else event
        for event in data["events"]
    ]
    return data | {"events": events}


def _worked(text: str) -> float:
    if passed := _PASSED.match(text):
        return min(1.0, int(passed[1]) / int(passed[2]))
    failed = text.startswith(_NOTHING) or "Traceback (most recent call last)" in text or "\nStopped: " in f"\n{text}"
    return float(bool(text.strip()) and not failed)

"""One self-contained HTML page of orchestration data: timeline, prompts and replies, replay, search, and comparison.

It opens from disk and fetches nothing. Texts reach it as data and are shown as text; a content security policy that names the
page's own script and style by their digests keeps everything else from running.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from llm_marl_envs.errors import TraceError
from llm_marl_envs.files import atomic_write


def page_of(views: Sequence[Mapping[str, Any]], title: str = "Orchestration traces") -> str:
    """The page as a string. views: as of `to_orchestration` or an importer, in the order in which they are offered."""
    if not views:
        raise TraceError("nothing to show: expected at least one episode")
    here = files("llm_marl_envs.orchestration.page")
    style, reading, drawing = (here.joinpath(name).read_text("utf-8") for name in ("page.css", "views.js", "page.js"))
    script = reading + drawing
    plain = json.loads(json.dumps(list(views)), parse_constant=lambda _: None)  # NaN is no JSON
    data = json.dumps(plain).replace("<", "\\u003c").replace(">", "\\u003e")
    return Template(here.joinpath("template.html").read_text("utf-8")).substitute(
        TITLE=escape(title),
        STYLE=style,
        STYLE_HASH=_hash(style),
        SCRIPT=script,
        SCRIPT_HASH=_hash(script),
        DATA=data,
    )


def write_page(views: Sequence[Mapping[str, Any]], path: str | Path, title: str = "Orchestration traces") -> Path:
    """Write the page to a file. Raises WriteFailed where that cannot be done."""
    path = Path(path)
    text = page_of(views, title)
    with atomic_write(path, "Choose another place with --out.") as file:
        file.write(text.encode())
    return path


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"

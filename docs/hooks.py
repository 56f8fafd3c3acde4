"""What the site needs beside mkdocs: files of the repository that pages link to come along, so that these links lead somewhere."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(?<=\]\()[^)#\s:]+(?=[)#])")  # the target of a relative link, without its anchor


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A link out of docs/ becomes one to a copy under `files/`; one to nowhere stays as it is, and mkdocs complains of it."""
    here = posixpath.dirname(page.file.src_uri)

    def inside(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", here, link[0]))
        path = ROOT / target
        if target.startswith(("docs/", "..")) or not path.is_file():
            return link[0]
        uri = f"files/{target}" + (".txt" if path.suffix in (".py", ".md") else "")
        if files.get_file_from_path(uri) is None:
            files.append(File.generated(config, uri, content=path.read_bytes()))
        return posixpath.relpath(uri, here or ".")

    return LINK.sub(inside, markdown)

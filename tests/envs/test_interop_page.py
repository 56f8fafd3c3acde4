"""The snippet of the page on views runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_snippet_runs():
    page = (Path(__file__).parents[2] / "docs" / "interop.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict = {}
    exec(snippet, made)
    assert made["over"] is True
    seen, _ = made["arrays"].reset(seed=0)
    assert seen["action_mask"].sum() == 19

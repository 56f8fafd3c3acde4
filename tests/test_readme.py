"""The README's example runs as printed."""

from __future__ import annotations

import re

from places import ROOT


def test_the_example_runs(capsys):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.S)
    assert len(example.strip().splitlines()) <= 15
    names: dict[str, object] = {}
    exec(example, names)
    assert "Score(value=" in capsys.readouterr().out
    assert names["env"].outcome.calls == {"generator_0": 3, "evaluator_0": 2}

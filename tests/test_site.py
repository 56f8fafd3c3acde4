"""The documentation site builds without a network, its links lead somewhere, and it shows the examples as they are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("material")
pytest.importorskip("mkdocstrings")

ROOT = Path(__file__).parents[1]


def built(config: Path, site: Path) -> subprocess.CompletedProcess:
    env = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "http_proxy": "http://127.0.0.1:9",
        "https_proxy": "http://127.0.0.1:9",
    }
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--config-file",
        str(config),
        "--site-dir",
        str(site),
    ]
    return subprocess.run(command, env=env, capture_output=True, text=True, cwd=ROOT)


def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path):
    done = built(ROOT / "mkdocs.yml", tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*.html")}
    assert {"index.html", "faq.html", "tasks/atlas.html", "api/envs.html", "conformance.html"} <= set(pages)
    elsewhere = re.compile(r"<(?:script|img|link|iframe)[^>]*(?:src|href)=\"?(https?://[^\"\s>]+)")
    assert {name: found for name, page in pages.items() if (found := elsewhere.findall(page))} == {}
    assert "make_parallel" in pages["api/envs.html"]
    assert (tmp_path / "files" / "tests" / "golden" / "eval_opt.txt").read_text().startswith("EvalOpt(")
    shown = re.sub(r"<[^>]+>", "", pages["examples.html"])
    for example in (ROOT / "examples").glob("*.py"):
        assert example.read_text().split('"""')[1].splitlines()[0].split("`")[0][:60] in shown.replace("&#39;", "'")


def test_a_link_to_nowhere_breaks_the_build(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (tmp_path / "mkdocs.yml").write_text(
        f"INHERIT: {ROOT / 'mkdocs.yml'}\ndocs_dir: docs\nnav: [a.md]\nplugins: []\nhooks: ['{ROOT / 'docs' / 'hooks.py'}']\n"
    )
    (docs / "a.md").write_text("# A\n[here](#a) [a file](../pyproject.toml)\n")
    assert (done := built(tmp_path / "mkdocs.yml", tmp_path / "site")).returncode == 0, done.stderr
    nowhere = ("b.md", "#b", "../no/such.py", "../../outside.md")
    (docs / "a.md").write_text("# A\n" + " ".join(f"[there]({link})" for link in nowhere))
    done = built(tmp_path / "mkdocs.yml", tmp_path / "site")
    assert done.returncode == 1
    assert [link for link in nowhere if f"'{link}'" not in done.stderr] == []


def test_every_example_is_included():
    page = (ROOT / "docs" / "examples.md").read_text()
    shown = re.findall(r'^--8<-- "examples/(\w+\.py)"$', page, re.MULTILINE)
    assert sorted(shown) == sorted(p.name for p in (ROOT / "examples").glob("*.py"))

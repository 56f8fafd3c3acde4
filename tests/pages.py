"""Views to show as a page, and what is read from a page that is shown."""

from __future__ import annotations

import shutil

import pytest
from playthroughs import SCRIPTS
from playwright.sync_api import Page

from llm_marl_envs import EnvSpec, Play, Session, Trace, make_workflow
from llm_marl_envs.orchestration.export import to_orchestration
from llm_marl_envs.task import Question

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)")
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script><!--"


def view_of(name: str, replies: tuple[str, ...] = (), question: Question | None = None, seconds: float = 0.0) -> dict:
    script = SCRIPTS[name]
    session = Session(Play(make_workflow(name), question or script.question))
    for i, text in enumerate(replies or script.replies):
        session.reply(text, 10, 5, seconds * (i + 1))
    return to_orchestration(Trace.of(session, EnvSpec("arithmetic", name), None))


def big_view(events: int) -> dict:
    """A swarm of 20 with `events` events, messages between all."""
    made = [
        {"id": f"e{i}", "t": float(i // 20), "wave": i // 20, "type": ("message", "return", "tool_call")[i % 3], "agent": f"worker_{i % 20}", "prompt": f"prompt {i} " * 50, "text": f"text {i} " * 50}
        for i in range(events)
    ]  # fmt: skip
    edges = [
        {"src": f"e{i - back}", "dst": f"e{i}", "type": "message"} for i in range(41, events) for back in (20, 33, 41)
    ]
    return view_of("solo") | {"events": made, "edges": edges}


def lanes(page: Page) -> list[str]:
    return page.locator(".labels span").all_inner_texts()


def where(page: Page) -> str:
    return page.locator("#where").inner_text()

"""A browser that shows pages."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from pages import CHROMIUM
from playwright.sync_api import Page, sync_playwright

from llm_marl_envs.orchestration.page import write_page


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with sync_playwright() as play:
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = play.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


@pytest.fixture
def shown(browser, tmp_path) -> Iterator:
    """Opens views from disk, offline; at the end nothing may have been fetched and nothing complained about."""
    complaints, fetched = [], []
    context = browser.new_context(viewport={"width": 1400, "height": 900}, offline=True)

    def show(*views: dict, title: str = "A title") -> Page:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: fetched.append(request.url))
        page.goto(write_page(views, tmp_path / "page.html", title).as_uri())
        return page

    yield show
    context.close()
    assert complaints == []
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []

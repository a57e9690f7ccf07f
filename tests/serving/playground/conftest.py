"""A browser, and pages of real servers in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from model.triage import Triage
from tests.browser import CHROMIUM
from tests.serving.playground.visits import AppOf, Open, Serve, Visit


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    """Open the page of a server; at the end no visit may have had a complaint."""
    visits: list[Visit] = []

    def open_page(client: httpx.Client, *, ready: bool = True, **options: Any) -> Visit:
        context = stack.enter_context(browser.new_context(locale="en", **options))
        page = context.new_page()
        seen = Visit(page)
        visits.append(seen)
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("request", lambda one: seen.requests.append(one) if one.url.endswith("/v1/score") else None)
        page.goto(str(client.base_url))
        if ready:
            expect(page.locator("article .words").first).to_be_visible(timeout=20_000)
            seen.settled()
        return seen

    with ExitStack() as stack:
        yield open_page
    assert [complaint for seen in visits for complaint in seen.complaints] == []


@pytest.fixture
def server(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> httpx.Client:
    return serve(app_of(tiny_triage))

"""A page in a real browser, what it asked and what it shows."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, Request, expect

from data.files import read_labelled
from tests.conftest import SAMPLE

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]


@dataclass
class Visit:
    """A page, what it asked of the server, what was answered, and what the browser had to complain of."""

    page: Page
    requests: list[Request] = field(default_factory=list)
    """Those of POST /v1/score."""
    complaints: list[str] = field(default_factory=list)

    @property
    def asked(self) -> list[dict[str, Any]]:
        """The bodies of these requests."""
        return [json.loads(request.post_data or "") for request in self.requests]

    @property
    def answered(self) -> list[dict[str, Any]]:
        """The bodies of their answers."""
        return [response.json() for request in self.requests if (response := request.response())]

    @property
    def status(self) -> str:
        """What the page says last."""
        return self.page.inner_text("#status")

    def score(self, text: str, brand: str = "") -> None:
        """Put a list into the box and score it."""
        self.page.fill("#text", text)
        self.page.fill("#brand", brand)
        self.requests.clear()
        self.page.click("#score")
        self.settled()

    def settled(self) -> None:
        """Wait until nothing is on its way."""
        expect(self.page.locator("#running")).to_be_hidden(timeout=20_000)
        expect(self.page.get_by_text("Looking for them…")).to_have_count(0)

    def open(self, row: int) -> None:
        """Open a row, from 0, and wait for its words."""
        self.page.locator("summary").nth(row).click()
        expect(self.page.locator("article").first).to_be_visible()
        self.settled()

    def rows(self) -> list[dict[str, Any]]:
        """What the rows show."""
        shown: list[dict[str, Any]] = self.page.evaluate(
            """() => [...document.querySelectorAll("#list > li summary")].map(row => {
                 const shown = (part) => row.querySelector(part).textContent;
                 return { text: shown(".text"), score: Number(shown(".score b")), level: shown(".level"),
                          queue: shown(".due span") };
               })"""
        )
        return shown


Open = Callable[..., Visit]


def held_out(count: int) -> list[dict[str, Any]]:
    """Mentions of the sample as CSV rows, with authors and ages that move their priority."""
    now = datetime.now(UTC)
    return [
        {
            "id": f"m{place}",
            "text": mention.text,
            "brand": "|".join(mention.brand),
            "followers": place * 37 % 9_000,
            "created_at": "" if place % 3 == 0 else (now - timedelta(minutes=place * 7.3)).isoformat(),
        }
        for place, mention in enumerate(read_labelled(SAMPLE / "heldout.csv")[:count])
    ]


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    def cell(value: Any) -> str:
        return '"' + str(value).replace('"', '""') + '"'

    return "\n".join(",".join(map(cell, line)) for line in [list(rows[0]), *(row.values() for row in rows)])


def page_of(browser: Browser, server: httpx.Client) -> Page:
    """One page of this server, kept for the many examples of a property."""
    url = str(server.base_url)
    for context in browser.contexts:
        for page in context.pages:
            if page.url.startswith(url):
                return page
    page = browser.new_page()
    page.goto(url)
    return page


def ran(command: str) -> dict[str, Any]:
    """What a command prints when bash runs it."""
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer

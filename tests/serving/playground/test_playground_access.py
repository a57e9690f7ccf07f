"""The playground without a mouse and on any screen."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from model.triage import Triage
from tests.browser import axe, needs_browser
from tests.serving.playground.visits import AppOf, Open, Serve


@needs_browser
def test_everything_can_be_done_with_the_keyboard_alone(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    press, focused = seen.page.keyboard.press, "document.activeElement.id || document.activeElement.localName"

    def tab_to(name: str) -> None:
        for _ in range(40):
            press("Tab")
            style = seen.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            if seen.page.evaluate(focused) == name:
                assert name == "file" or style != "none", f"focus on {name} is not to be seen"
                return
        pytest.fail(f"Tab does not reach {name}")

    tab_to("text")
    press("Control+A")
    seen.page.keyboard.insert_text("thank you @northtel\nI am leaving @northtel, terrible")
    tab_to("brand")
    seen.page.keyboard.type("northtel")
    press("Enter")
    expect(seen.page.locator("#status")).to_have_text(re.compile("^2 mentions: "))
    for name in ("score", "file", "curl", "example", "weight-purchase"):
        tab_to(name)
    before = [row["score"] for row in seen.rows()]
    press("End")
    expect(seen.page.locator("#weights output").first).to_have_text("100")
    press("ArrowLeft")
    expect(seen.page.locator("#weights output").first).to_have_text("99")
    assert [row["score"] for row in seen.rows()] != before
    tab_to("reset")
    press("Enter")
    assert [row["score"] for row in seen.rows()] == before
    tab_to("summary")
    press("Enter")
    expect(seen.page.locator("article")).to_have_count(1)
    press("Enter")
    expect(seen.page.locator("article")).to_have_count(0)


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "telephone": {"viewport": {"width": 390, "height": 844}},
    "tablet": {"viewport": {"width": 820, "height": 1180}},
}


@needs_browser
@pytest.mark.parametrize("look", LOOKS)
def test_nothing_overflows_and_axe_finds_nothing(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, visit: Open, look: str
) -> None:
    seen = visit(serve(app_of(tiny_triage)), bypass_csp=True, **LOOKS[look])  # bypassed for axe alone
    seen.page.evaluate(axe())

    def check() -> None:
        found = seen.page.evaluate("axe.run()")["violations"]
        assert [(one["id"], node["html"]) for one in found for node in one["nodes"]] == []
        wide = """() => [...document.querySelectorAll("main *, header *, footer *")]
            .filter(one => one.checkVisibility() && !one.closest(".unseen, datalist"))
            .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map(one => one.outerHTML)"""
        assert seen.page.evaluate(wide) == []
        assert seen.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0

    check()
    seen.page.locator("#weight-praise").fill("93")
    seen.page.evaluate("document.getElementById('key-form').hidden = false")
    seen.score(f"text,brand\n{'x' * 300} terrible,a-very-long-brand-name-{'y' * 90}|b\nok,\nnot a,row,at all")
    seen.open(0)
    check()
    seen.score("")
    assert seen.page.inner_text("#problem").startswith("There is no mention yet")
    check()

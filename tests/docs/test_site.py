"""The documentation as a site: it builds without a warning, asks nothing of the network, and can be read by everybody.

Leaves out whether what it says is so (``tests.docs.test_commands``, ``tests.docs.test_policy_reference``).
"""

from __future__ import annotations

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from data.schema import INTENTS
from docs.hooks.command_line import commands
from docs.hooks.http_reference import document
from firstreply import parser
from tests.browser import CHROMIUM, axe, needs_browser
from tests.docs.blocks import ROOT


class _Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing of what is asked."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a link or an anchor that leads nowhere fails here."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def url(site: Path) -> Iterator[str]:
    """Where the site is served."""
    handler = functools.partial(_Files, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def words(page: Path) -> str:
    """What a page shows without a script."""
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))).split())


def test_the_http_reference_has_all_that_the_endpoint_says_of_itself(site: Path) -> None:
    page, api = words(site / "reference" / "http" / "index.html"), document()
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            assert f"{method.upper()} {path}" in page
            assert all(parameter["name"] in page for parameter in operation.get("parameters", ()))
            said = [answer["description"].replace("`", "") for answer in operation["responses"].values()]
            assert all(f"{status} {what}" in page for status, what in zip(operation["responses"], said, strict=True))
    for name, schema in api["components"]["schemas"].items():
        assert name in page
        for field, shape in schema.get("properties", {}).items():
            assert field in page
            assert shape.get("description", "").replace("`", "").replace("\n", " ") in page


def test_the_command_line_reference_has_every_command_and_option(site: Path) -> None:
    page = words(site / "reference" / "command-line" / "index.html")
    found = list(commands(parser()))
    assert "firstreply policy explain" in {one.prog for one in found}
    for one in found:
        assert one.prog in page
        assert all(option in page for action in one._actions[1:] for option in action.option_strings)


def test_what_pages_link_to_outside_of_the_documentation_comes_along(site: Path) -> None:
    assert (site / "files/model/policy.toml").read_bytes() == (ROOT / "model/policy.toml").read_bytes()
    assert (site / "files/README.md.txt").is_file()
    assert not list(site.rglob("*.py"))


@needs_browser
def test_pages_ask_nothing_of_the_network_and_can_be_read(site: Path, url: str) -> None:
    pages = sorted(page.parent.relative_to(site).as_posix() for page in site.rglob("index.html"))
    assert "tutorials/call" in pages
    asked, said, script = [], [], axe()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for scheme, rules in (("light", ["wcag2a", "wcag2aa"]), ("dark", ["color-contrast"])):
            page = browser.new_page()
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            page.on("request", lambda request: asked.append(request.url))
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(error.message))
            for name in pages:
                page.goto(url + name)
                assert page.locator("h1").count() == 1
                page.evaluate(script)
                found = page.evaluate("rules => axe.run({runOnly: rules})", rules)["violations"]
                assert [(rule["id"], node["html"]) for rule in found for node in rule["nodes"]] == [], (name, scheme)
            page.get_by_placeholder("Search").click()
            page.keyboard.type(INTENTS[1])
            page.locator(".md-search-result__item").first.wait_for()
        browser.close()
    assert said == []
    assert {address for address in asked if not address.startswith(url)} == set()

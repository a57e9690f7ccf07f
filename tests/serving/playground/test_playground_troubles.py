"""What the playground says and does when something is wrong: keys, a busy server, one that fails."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from data.schema import MentionError
from model.triage import Ready, Triage
from serving.keys import Keys, new_key
from serving.limits import Limits
from tests.browser import needs_browser
from tests.serving.playground.visits import AppOf, Open, Serve, ran


@needs_browser
def test_busy_server_is_waited_for_and_the_rest_can_be_cancelled(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, visit: Open, tmp_path: Path
) -> None:
    key = new_key(tmp_path / "keys.toml", "crm", per_second=0.1)
    seen = visit(serve(app_of(tiny_triage, keys=Keys.load(tmp_path / "keys.toml"))), ready=False)
    seen.page.fill("#key", key)
    seen.page.press("#key", "Enter")  # the one request of ten seconds goes to /v1/model
    expect(seen.page.locator("#status")).to_have_text("The server is busy; asking again in 10 s. 0 of 9 scored.")
    assert seen.page.locator("#progress").get_attribute("aria-label") == "Mentions scored"
    seen.page.click("#cancel")
    expect(seen.page.locator("#status")).to_have_text("Cancelled. 0 mentions.")
    assert seen.page.locator("#running").is_hidden()
    assert all("401" in one or "429" in one for one in seen.complaints)
    seen.complaints.clear()


@needs_browser
def test_key_is_asked_for_kept_in_memory_and_left_out_of_the_command(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, visit: Open, tmp_path: Path
) -> None:
    key = new_key(tmp_path / "keys.toml", "crm")
    client = serve(app_of(tiny_triage, keys=Keys.load(tmp_path / "keys.toml")))
    seen = visit(client, ready=False, permissions=["clipboard-read", "clipboard-write"])
    expect(seen.page.locator("#problem")).to_contain_text("This server asks for a key")
    expect(seen.page.locator("#key")).to_be_focused()
    seen.page.keyboard.type("wrong")
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#problem")).to_contain_text("The key is none of this server's")
    seen.page.keyboard.type(key)
    seen.page.keyboard.press("Enter")
    expect(seen.page.locator("#status")).to_have_text(re.compile("^9 mentions: "))
    assert seen.page.locator("#key-form").is_hidden()
    assert seen.page.input_value("#key") == ""
    assert seen.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
    seen.page.click("#curl")
    expect(seen.page.locator("#status")).to_have_text("Copied; put your key in the place of KEY.")
    command = seen.page.evaluate("navigator.clipboard.readText()")
    assert key not in command
    assert ran(command.replace("Bearer KEY", f"Bearer {key}"))["results"]
    assert all("401" in one for one in seen.complaints)
    seen.complaints.clear()


class Failing(Triage):
    """Takes its time, or dies, where a text asks for it."""

    def answer_ready(
        self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False
    ) -> list[list[dict[str, Any]] | MentionError]:
        """As ever for other texts."""
        if any("slow" in one.mention.text for one in turn):
            time.sleep(1.5)
        if any("broken" in one.mention.text for one in turn):
            raise RuntimeError
        return super().answer_ready(turn, as_of=as_of, explain=explain)


@needs_browser
@pytest.mark.parametrize(
    ("text", "limits", "status", "said"),
    [
        ("slow", Limits(seconds=1), 504, "no answer within 1 s; what was not begun is dropped. Score again"),
        ("broken", Limits(), 500, "look into the server's log"),
    ],
)
def test_problem_is_one_plain_line_that_says_what_to_do(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, visit: Open,
    text: str, limits: Limits, status: int, said: str,
) -> None:  # fmt: skip
    client = serve(app_of(Failing(tiny_triage.scorer, tiny_triage.policy), limits))
    seen = visit(client, ready=False)
    seen.settled()
    seen.complaints.clear()
    seen.score(text)
    problem = seen.page.inner_text("#problem")
    assert said in problem
    assert "\n" not in problem
    assert (seen.rows(), seen.status) == ([], "")
    assert [str(status) in one for one in seen.complaints] == [True]
    seen.complaints.clear()


@needs_browser
@pytest.mark.parametrize(
    ("row", "limits", "said"),
    [
        ("x" * 900 + ",", Limits(body_bytes=800), "larger than 800 bytes"),
        ("ok,a|b|c|d|e|f", Limits(mentions=5), "at most 5 are taken at once"),
    ],
)
def test_mention_beyond_the_limits_does_not_stop_the_others(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, visit: Open, row: str, limits: Limits, said: str
) -> None:
    seen = visit(serve(app_of(tiny_triage, limits)))
    seen.score(f"text,brand\nfirst,\n{row}\nlast,")
    assert {row["text"] for row in seen.rows()} == {"first", "last"}
    assert said in seen.page.inner_text("#unscored li")
    assert seen.status.endswith("; 1 not scored.")
    seen.complaints.clear()  # of the browser's own, that an answer was 413 or 422


@needs_browser
def test_server_that_is_gone_is_said(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    seen.page.context.set_offline(True)
    seen.score("ok")
    assert seen.page.inner_text("#problem").startswith(
        f"Nothing answers at {str(server.base_url).rstrip('/')}. See that"
    )
    seen.page.context.set_offline(False)
    seen.complaints.clear()
    seen.score("ok")
    assert seen.page.inner_text("#problem") == ""
    assert len(seen.rows()) == 1

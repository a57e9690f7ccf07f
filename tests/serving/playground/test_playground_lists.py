"""Lists and files that the playground is given, small and large."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect

from data.files import read_labelled, read_mentions
from data.schema import Mention, MentionError, mention_from_json
from model.triage import Triage
from serving.limits import Limits
from tests.browser import needs_browser
from tests.conftest import SAMPLE
from tests.serving.playground.visits import AppOf, Open, Serve, as_csv, page_of

CSV_TEXT = st.text(st.sampled_from('ab é😀,,""\r\n\n|[]\t\u2028 5.'), max_size=60)


def read_as(entry: dict[str, Any]) -> Mention | MentionError:
    """What an entry of the page is, or what the page or the server has against it."""
    if "error" in entry:
        return MentionError(**entry["error"])
    try:
        return mention_from_json(entry["mention"], "-")
    except MentionError as error:
        return error


@needs_browser
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=CSV_TEXT, columns=st.sampled_from(["text,brand", "brand,text,followers", "id,text", "text"]))
@example('"a, ""b""\r\nc",northtel|skyfone\r\n\r\n\n  ,x\n', "text,brand")
@example('"a"b,c\nd,"e', "text,brand")
@example('a,"[""x"", ""y|z""]"\nb,[\nc,[1]\nd,| x |x\n', "text,brand")
@example("é,x,1e3\ny,z,abc\ny,z, 5 \ny,z,-1\n", "brand,text,followers")
def test_csv_is_read_as_the_bulk_scorer_reads_it(
    server: httpx.Client, browser: Browser, tmp_path: Path, body: str, columns: str
) -> None:
    path = tmp_path / "mentions.csv"
    source = f"\ufeff{columns}\r\n{body}"
    path.write_bytes(source.encode("utf-8"))
    entries = page_of(browser, server).evaluate(
        'async text => (await import("/playground/mentions.js")).read(text, "mentions.csv", "")', source
    )
    wanted = [mention for _, mention in read_mentions(path)]
    assert len(entries) == len(wanted)
    for entry, mention in zip(entries, wanted, strict=True):
        found = read_as(entry)
        if isinstance(mention, MentionError):
            assert isinstance(found, MentionError)
            assert found.title == mention.title
        else:
            assert found == mention


@needs_browser
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"tweet,brand\na,b\n", "x.csv: no column “text” among “tweet”, “brand”; name the column that holds"),
        (b"text;brand\na;b\n", "separated by commas"),
        (b"text,text\na,b\n", "two columns are named “text”"),
        (b"", "x.csv is empty"),
        (b"text\n\xff\n", "x.csv is not UTF-8 text; save it as UTF-8."),
        (b"text\n" + b"a\n" * 5_001, "5,001 mentions are more than this page takes"),
    ],
)
def test_file_that_cannot_be_read_is_one_plain_line(
    server: httpx.Client, visit: Open, content: bytes, said: str
) -> None:
    seen = visit(server)
    seen.page.set_input_files("#file", {"name": "x.csv", "mimeType": "text/csv", "buffer": content})
    expect(seen.page.locator("#problem")).to_contain_text(said)
    assert "\n" not in seen.page.inner_text("#problem")
    assert len(seen.rows()) == 9  # what was there still is


@needs_browser
def test_dropped_file_is_scored_as_it_is_and_put_away_again(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    dropped = seen.page.evaluate_handle(
        """content => { const held = new DataTransfer();
                        held.items.add(new File([content], "x.csv"));
                        return held; }""",
        '\ufefftext,brand\r\n"two\r\nlines, ""quoted""",skyfone\r\n',
    )
    seen.requests.clear()
    seen.page.dispatch_event("body", "drop", {"dataTransfer": dropped})
    expect(seen.page.locator("#status")).to_have_text(re.compile("^1 mention: "))
    assert seen.asked[-1] == {"mentions": [{"id": "1", "text": 'two\r\nlines, "quoted"', "brand": "skyfone"}]}
    assert seen.page.inner_text("#file-name b") == "x.csv, 1 mention"
    seen.page.click("#drop-file")
    expect(seen.page.locator("#text")).to_be_focused()
    brands = seen.page.locator("#brands option").evaluate_all("options => options.map(one => one.value)")
    assert {"northtel", "skyfone"} <= set(brands)


@needs_browser
def test_thousand_mentions_stay_light_and_only_what_is_opened_is_explained(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    texts = [" ".join(mention.text.split()) for mention in read_labelled(SAMPLE / "train.csv")]
    seen.score("\n".join(f"{texts[number % len(texts)]} {number}" for number in range(1000)))
    assert seen.status.startswith("1,000 mentions: ")
    assert [len(body["mentions"]) for body in seen.asked] == [100] * 10
    assert not any(body.get("explain") for body in seen.asked)
    nodes = seen.page.locator("#list li").evaluate_all("rows => rows.map(row => row.querySelectorAll('*').length)")
    assert len(nodes) == 1000
    assert max(nodes) <= 25
    outside = "rows => rows.filter(row => row.checkVisibility({contentVisibilityAuto: true})).length"
    assert seen.page.locator("#list li summary").evaluate_all(outside) < 100  # the rest is not even laid out
    seen.open(0)
    assert seen.asked[10:] == [{"mentions": [seen.asked[10]["mentions"][0]], "explain": True}]
    before = seen.rows()
    seen.page.locator("#weight-praise").fill("100")
    expect(seen.page.locator("#weights output").nth(3)).to_have_text("100")
    assert seen.rows() != before
    assert len(seen.asked) == 11


@needs_browser
def test_lists_go_in_slices_within_the_servers_limits(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, visit: Open
) -> None:
    seen = visit(serve(app_of(tiny_triage, Limits(mentions=20, body_bytes=900))))
    texts = [f"mention {'x' * (number * 7 % 90)} {number}" for number in range(45)]
    rows = [{"id": "same", "text": text, "brand": "a|b"} for text in texts]
    seen.score(as_csv(rows))
    assert max(len(json.dumps(body, separators=(",", ":"))) for body in seen.asked) <= 900
    assert max(2 * len(body["mentions"]) for body in seen.asked) <= 20
    sent = [mention["text"] for body in seen.asked for mention in body["mentions"]]
    assert sent == texts
    assert {row["text"] for row in seen.rows()} == set(sent)

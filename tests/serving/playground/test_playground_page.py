"""What the playground shows is what the endpoint says."""

from __future__ import annotations

import re
import shutil

import httpx
import pytest
from playwright.sync_api import expect

from data.schema import INTENTS
from model.triage import Triage
from tests.browser import needs_browser
from tests.conftest import SAMPLE
from tests.serving.playground.visits import AppOf, Open, Serve, as_csv, ran

HOSTILE = """<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>"""


def test_page_and_its_files_are_served_with_a_strict_policy_and_kept_by_etag(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script>|<style|\sstyle=|\son\w+=", page.text)
    names = set(re.findall(r"playground/([\w.]+)", page.text))
    assert names == {"icon.svg", "style.css", "script.js"}
    for path in ("/", *(f"/playground/{name}" for name in names)):
        found = client.get(path)
        assert found.headers["Cache-Control"] == "no-cache"
        assert client.get(path, headers={"If-None-Match": found.headers["ETag"]}).status_code == 304
    for path in ("/playground/", "/playground/none.js", "/playground/%2e%2e/app.py", "/playground/..%2fapp.py"):
        assert client.get(path).status_code == 404
    assert client.post("/").status_code == 405


def test_playground_can_be_closed_alone(tiny_triage: Triage, serve: Serve, app_of: AppOf) -> None:
    client = serve(app_of(tiny_triage, closed=["playground"]))
    for path in ("/", "/playground/script.js"):
        assert client.get(path).headers["Content-Type"] == "application/problem+json"
    assert client.get("/docs").status_code == 200
    assert serve(app_of(tiny_triage, closed=["docs"])).get("/").status_code == 200


@needs_browser
def test_first_sight_is_a_scored_list_with_its_first_mention_explained(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    assert seen.status.startswith("9 mentions: ")
    first, explained = seen.answered
    assert len(seen.asked) == 2
    assert (len(seen.asked[0]["mentions"]), "explain" in seen.asked[0]) == (9, False)
    assert (len(seen.asked[1]["mentions"]), seen.asked[1]["explain"]) == (1, True)
    best = [result["priority"]["score"] for result in first["results"]]
    assert seen.rows()[0]["score"] == max(best)
    result = explained["results"][0]
    article = seen.page.locator("article").first
    model = server.get("/v1/model").json()
    bars = article.locator(".bars li")
    for intent, bar in zip(INTENTS, bars.all(), strict=True):
        said = bar.inner_text()
        assert intent.replace("_", " ") in said
        assert f"{result['probabilities'][intent] * 100:.1f} %" in said
        assert f"label from {model['thresholds']['balanced'][intent] * 100:.1f} %" in said
        assert ("✓" in said) == (intent in result["labels"])
    shown = [line.split("\n") for line in article.locator(".receipt li").all_inner_texts()]
    signals = [[signal["name"], f"{signal['points']:.1f}"] for signal in result["priority"]["signals"]]
    words = {"intent:": "", "keyword:": "words: ", "_": " "}
    plain = [[re.sub("intent:|keyword:|_", lambda one: words[one[0]], name), points] for name, points in signals]
    assert shown == [*plain, ["priority", f"{result['priority']['score']:.1f}"]]


@needs_browser
def test_two_brands_are_read_side_by_side(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    seen.score("I am leaving @northtel for @skyfone.\nok", "northtel|skyfone")
    assert [mention["brand"] for mention in seen.asked[0]["mentions"]] == [["northtel", "skyfone"]] * 2
    assert len(seen.rows()) == 2
    seen.open(0)
    assert seen.page.locator("article h3").all_inner_texts() == ["For northtel", "For skyfone"]
    left, right = (article.bounding_box() for article in seen.page.locator("article").all())
    assert left is not None
    assert right is not None
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] < right["x"]


@needs_browser
def test_marked_words_are_those_that_the_server_names_whatever_stands_before_them(
    server: httpx.Client, visit: Open
) -> None:
    seen = visit(server)
    text = "😡😡 👩‍👩‍👧 e\u0301 𝒲 terrible terrible service @northtel, I am leaving 🙌 never again"
    seen.score(text, "northtel")
    seen.open(0)
    why = [(word, found) for found in seen.answered[-1]["results"][0]["why"].values() for word in found]
    spans = {text[word["start"] : word["end"]] for word, _ in why if word["drop"] > 0}
    assert spans
    marks = seen.page.locator("mark").all_inner_texts()
    assert marks
    assert set(marks) <= spans
    assert seen.page.locator(".post-text").text_content() == text


@needs_browser
def test_answers_of_a_fast_tier_are_held_against_its_own_thresholds(serve: Serve, app_of: AppOf, visit: Open) -> None:
    client = serve(app_of(Triage.load(SAMPLE.parents[1] / "model" / "cascade")))
    model = client.get("/v1/model").json()
    seen = visit(client)
    seen.page.locator("summary").first.click()  # closes what was open
    assert {result["tier"] for result in seen.answered[0]["results"]} == {"fast", "full"}
    for tier, thresholds in (("fast", model["fast_thresholds"]), ("full", model["thresholds"])):
        row = seen.page.locator("li", has=seen.page.get_by_text(f"{tier} tier", exact=True)).first
        row.locator("summary").click()
        wanted = [f"label from {thresholds[model['cut']][intent] * 100:.1f} %" for intent in INTENTS]
        expect(row.locator("article").first.locator(".from")).to_have_text(wanted)
        row.locator("summary").click()


@needs_browser
def test_what_the_server_says_of_a_result_is_said(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    seen.score('text,followers\nok,5\n"long ' + "word " * 400 + '",5\nbad,-1\nworse,many\n"a,b\n')
    unscored = seen.page.locator("#unscored li").all_inner_texts()
    assert [re.split(r"[,:]", line)[0] for line in unscored] == ["Mention 4", "Mention 5", "Mention 3"]
    assert "followers “many” is not a number" in unscored[0]
    assert "line 6: a quote is never closed" in unscored[1]
    assert "greater than or equal to 0" in unscored[2]
    assert re.fullmatch("2 mentions: .*; 3 not scored.", seen.status)
    assert len(seen.rows()) == 2
    assert seen.page.locator(".flag", has_text="truncated").count() == 1


@needs_browser
def test_nothing_of_a_post_a_brand_or_an_id_becomes_markup(server: httpx.Client, visit: Open) -> None:
    seen = visit(server)
    rows = [{"id": HOSTILE, "text": f"{HOSTILE} worst @northtel", "brand": HOSTILE, "created_at": ""}]
    seen.score(as_csv([*rows, {**rows[0], "created_at": HOSTILE}]))
    seen.open(0)
    assert HOSTILE in seen.page.locator("article h3").inner_text()
    assert HOSTILE in (seen.page.locator(".post-text").text_content() or "")
    assert HOSTILE in seen.page.locator("#unscored").inner_text()
    assert seen.page.locator("main img, main script").count() == 0
    assert seen.page.evaluate("window.harmed") is None


@needs_browser
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
@pytest.mark.parametrize("has_clipboard", [True, False])
def test_copied_command_runs_in_bash_and_answers_the_same(
    server: httpx.Client, visit: Open, has_clipboard: bool
) -> None:
    seen = visit(server, permissions=["clipboard-read", "clipboard-write"])
    if not has_clipboard:  # as where the page does not come by HTTPS
        seen.page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    text = "it's \"$HOME\" `id` $(id) !! \\ \\n 😀\nJSON\n%s\t'; exit 1 #"
    seen.score(as_csv([{"text": text, "brand": "o'neil|b"}, {"text": "JSON", "brand": ""}]))
    seen.page.click("#curl")
    if has_clipboard:
        expect(seen.page.locator("#status")).to_have_text("Copied.")
        command = seen.page.evaluate("navigator.clipboard.readText()")
    else:
        command = seen.page.input_value("#command-text")
        assert seen.page.evaluate("getSelection().toString()") == command
    answer, shown = ran(command), seen.answered[0]
    for one in (*answer["results"], *shown["results"]):
        del one["priority"]["respond_by"]  # the moment is another
    assert answer["results"] == shown["results"]

"""The playground in a real browser, against a real server: what it shows is what the endpoint and the policy say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from data.files import read_labelled, read_mentions
from data.schema import INTENTS, Mention, MentionError, mention_from_json
from model.policy import DEFAULT_POLICY, Policy, Priority
from model.policy_settings import LEVELS, Route
from model.triage import Ready, Triage
from serving.keys import Keys, new_key
from serving.limits import Limits
from tests.conftest import SAMPLE

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")
HOSTILE = """<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>"""
UTC_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


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


# What is served


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


# What it shows


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


# The order


def expected_order(triage: Triage, mentions: Sequence[dict[str, Any]], as_of: datetime) -> list[dict[str, Any]]:
    """What the policy of a triage makes of mentions, in the order to answer."""
    found = []
    for value in mentions:
        readings = triage.answer(mention_from_json(value, "-"), as_of=as_of)
        ranked = [(-one["priority"]["score"], one["priority"]["respond_by"] or "9", one) for one in readings]
        score, respond_by, best = min(ranked, key=lambda one: one[:2])
        row = {"score": -score, "level": best["priority"]["level"], "queue": f"to {best['queue']}"}
        found.append((score, respond_by, {"text": value["text"], **row}))
    return [row for _, _, row in sorted(found, key=lambda one: one[:2])]


@needs_browser
def test_sliders_put_the_list_in_the_order_of_a_policy_file_with_their_weights(
    server: httpx.Client, visit: Open, tiny_triage: Triage, tmp_path: Path
) -> None:
    seen = visit(server)
    seen.score(as_csv(held_out(60)))
    (sent,), (answer,) = seen.asked, seen.answered
    as_of = datetime.fromisoformat(answer["as_of"])
    assert seen.rows() == expected_order(tiny_triage, sent["mentions"], as_of)
    before = seen.rows()
    assert not seen.page.locator("#changed").is_visible()
    for intent, weight in {"purchase": "3", "churn_risk": "0", "praise": "97", "complaint": "41"}.items():
        seen.page.locator(f"#weight-{intent}").fill(weight)
    expect(seen.page.locator("#weights output").nth(2)).to_have_text("41")
    toml = seen.page.input_value("#toml")
    policy = tmp_path / "policy.toml"
    policy.write_text(re.sub(r"\[weights\]\n(\w+ = .*\n)+", lambda _: toml, DEFAULT_POLICY.read_text("utf-8")), "utf-8")
    assert Policy.load(policy).settings.weights == (3, 0, 41, 97, 10)
    other = Triage(tiny_triage.scorer, Policy.load(policy))
    assert seen.rows() == expected_order(other, sent["mentions"], as_of)
    assert seen.rows() != before
    assert len(seen.asked) == 1  # the server was not asked again
    assert seen.page.get_by_text(re.compile(r"^(up|down) \d+$")).count() > 0
    seen.page.click("#reset")
    assert seen.rows() == before
    assert not seen.page.locator("#changed").is_visible()


WEIGHTS = st.tuples(*[st.floats(0, 1000) | st.sampled_from([0.0, 7.25, 60.0, 1000.0])] * len(INTENTS))
POINTS = st.floats(0, 30) | st.just(0.0)
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 3), timezones=st.just(UTC))  # noqa: DTZ001
AS_OF = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """The default policy with other weights, levels, deadlines, points and routes."""
    base = Policy.load(None).settings
    lowest = sorted(draw(st.sets(st.integers(1, 1000), min_size=3, max_size=3)), reverse=True)
    minutes = sorted(draw(st.tuples(*[st.integers(1, 4_000)] * 3)))
    names = [rule.name for rule in base.keywords]
    conditions = {
        "intents": INTENTS, "levels": LEVELS, "keywords": names, "channels": ("x", "forum"), "brands": ("northtel",),
    }  # fmt: skip
    chosen = st.lists(st.sampled_from(list(conditions)), min_size=1, max_size=2, unique=True)
    routes = [
        Route(
            f"queue {number}",
            tuple((name, draw(st.frozensets(st.sampled_from(conditions[name]), min_size=1))) for name in draw(chosen)),
        )
        for number in range(draw(st.integers(0, 4)))
    ]
    return Policy(
        replace(
            base,
            weights=draw(WEIGHTS),
            keywords=tuple(replace(rule, points=draw(POINTS)) for rule in base.keywords),
            waiting_points=draw(POINTS),
            thresholds=(*(value / 10 for value in lowest), 0.0),
            deadlines=(*(timedelta(minutes=value) for value in minutes), None),
            routes=tuple(routes),
        )
    )


@needs_browser
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    policy=policies(),
    weights=WEIGHTS,
    probabilities=st.tuples(*[st.floats(0, 1).map(lambda value: round(value, 6))] * len(INTENTS)),
    labels=st.sets(st.sampled_from(INTENTS)),
    text=st.sampled_from(["ok", "cancel this scam", "my lawyer: it caught fire, help", "buying, furious"]),
    created_at=st.none() | MOMENTS.map(datetime.isoformat),
    channel=st.none() | st.sampled_from(["X", "forum", "mail"]),
    followers=st.integers(0, 3_000_000),
)
def test_page_and_policy_agree_whatever_the_policy_and_the_weights(
    server: httpx.Client, browser: Browser, tiny_triage: Triage, policy: Policy, weights: tuple[float, ...],
    probabilities: tuple[float, ...], labels: set[str], text: str, created_at: str | None, channel: str | None,
    followers: int,
) -> None:  # fmt: skip
    given = {"text": text, "channel": channel, "created_at": created_at, "author": {"followers": followers}}
    mention = mention_from_json(given, "1")
    chances = dict(zip(INTENTS, probabilities, strict=True))
    there = [intent for intent in INTENTS if intent in labels]

    def prioritised(policy: Policy) -> Priority:
        return policy.prioritise(mention, "northtel", chances, there, AS_OF)

    served, wanted = prioritised(policy), prioritised(Policy(replace(policy.settings, weights=weights)))
    respond_by = served.respond_by.strftime(UTC_SECONDS) if served.respond_by else None
    signals = [{"name": signal.name, "points": signal.points} for signal in served.signals]
    result = {
        "brand": "Northtel", "probabilities": chances, "labels": there, "queue": served.queue,
        "priority": {"score": served.score, "level": served.level, "respond_by": respond_by, "signals": signals},
    }  # fmt: skip
    page = page_of(browser, server)
    found = page.evaluate(
        """async ([result, entry, policy, weights, asOf]) => {
             const { moment, priorityOf } = await import("/playground/policy.js");
             return priorityOf(result, entry, policy, weights, moment(asOf));
           }""",
        [
            result,
            {"channel": channel, **({"createdAt": created_at} if created_at else {})},
            Triage(tiny_triage.scorer, policy).model_info()["policy"],
            dict(zip(INTENTS, weights, strict=True)),
            AS_OF.isoformat(),
        ],
    )
    due = int(wanted.respond_by.timestamp()) * 1000 if wanted.respond_by else None
    assert (found["score"], found["level"], found["respondBy"]) == (wanted.score, wanted.level, due)
    assert {one["name"]: one["points"] for one in found["signals"]} == {one.name: one.points for one in wanted.signals}
    if found["queue"] is None:
        silent = any(rule.points < 0.1 for rule in policy.settings.keywords)
        assert silent or any(name == "brands" for route in policy.settings.routes for name, _ in route.conditions)
    else:
        assert found["queue"] == wanted.queue


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


# What goes in


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


# What can go wrong


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


def ran(command: str) -> dict[str, Any]:
    """What a command prints when bash runs it."""
    run = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30, check=True)
    answer: dict[str, Any] = json.loads(run.stdout)
    return answer


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


# For everybody


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
    seen.page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))

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

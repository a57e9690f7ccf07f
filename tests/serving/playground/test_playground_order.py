"""The order of the playground is that of the policy, whatever its weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, expect

from data.schema import INTENTS, mention_from_json
from model.policy import DEFAULT_POLICY, Policy, Priority
from model.policy_settings import LEVELS, Route
from model.triage import Triage
from tests.browser import needs_browser
from tests.serving.playground.visits import Open, as_csv, held_out, page_of

UTC_SECONDS = "%Y-%m-%dT%H:%M:%SZ"


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

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"
NAME = re.compile(r"\bfirstreply_\w+")


def series() -> set[str]:
    """Names of everything that is counted, as Prometheus stores it."""
    metrics = Metrics()
    metrics.requests.labels("/v1/score", "POST", "200").inc()
    metrics.seconds.labels("/v1/score").observe(0.1)
    metrics.stages.labels("wait").observe(0.1)
    result: dict[str, Any] = {
        "probabilities": dict.fromkeys(("purchase", "churn_risk", "complaint", "praise", "support_question"), 0.5),
        "labels": ["praise"],
        "priority": {"level": "low"},
        "truncated": True,
        "uncertain": True,
        "tier": "fast",
    }
    metrics.answer(result)
    metrics.reloads.labels("done").inc()
    metrics.disagreements.labels("praise").inc()
    metrics.model.labels("a", "b").set(1)
    families = text_string_to_metric_families(metrics.text().decode())
    return {sample.name for family in families for sample in family.samples}


@pytest.mark.parametrize("name", ["grafana-dashboard.json", "alerts.yaml"])
def test_only_what_is_counted_is_shown_and_watched(name: str) -> None:
    text = (DEPLOY / name).read_text(encoding="utf-8")
    used = set(NAME.findall(text))
    assert used
    assert used <= series()


def test_dashboard_shows_everything_that_is_counted() -> None:
    used = set(NAME.findall((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8")))
    counted = {re.sub(r"_(total|bucket|sum|count|created)$", "", name) for name in series()}
    assert {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in used} == counted


def test_panels_have_places_of_their_own() -> None:
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text(encoding="utf-8"))["panels"]
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places) == 15
    assert len({panel["id"] for panel in panels}) == len(panels)

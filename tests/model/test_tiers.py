"""The bundles that come along: each tier loads, reads, and is what it says."""

from __future__ import annotations

from dataclasses import replace
from itertools import compress

import pytest

from data.schema import INTENTS
from model.bundle import DEFAULT_BUNDLE, TIER_BUNDLES
from model.cascade import Cascade, load_reader
from model.scorer import Scorer

_TEXT = "Third outage this week. I am leaving @northtel for @skyfone."


@pytest.mark.parametrize("tier", TIER_BUNDLES)
def test_every_tier_reads(tier: str) -> None:
    reader = load_reader(TIER_BUNDLES[tier])
    asserted = reader.read(_TEXT, "northtel").asserts("balanced")
    assert "churn_risk" in compress(INTENTS, asserted)
    size = sum(file.stat().st_size for file in TIER_BUNDLES[tier].iterdir())
    assert size <= {"full": 25e6, "fast": 8e6, "cascade": 1e5}[tier]


def test_the_cascade_is_of_the_other_two() -> None:
    cascade, full, fast = (load_reader(TIER_BUNDLES[tier]) for tier in ("cascade", "full", "fast"))
    assert isinstance(cascade, Cascade)
    assert isinstance(full, Scorer)
    assert isinstance(fast, Scorer)
    assert (cascade.fast.bundle.sha256, cascade.full.bundle.sha256) == (fast.bundle.sha256, full.bundle.sha256)
    assert cascade.full.bundle.folder.resolve() == DEFAULT_BUNDLE.resolve()
    tiers = {"fast": fast, "full": full}
    for text in (_TEXT, "ok", "@northtel why is my bill so high", "I love this", "Thinking of joining @northtel"):
        reading = cascade.read(text, "northtel")
        assert reading == replace(tiers[reading.tier or ""].read(text, "northtel"), tier=reading.tier)

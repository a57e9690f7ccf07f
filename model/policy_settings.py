"""What a policy says, as values: points, levels, deadlines, routes.

Leaves out the file that they are read from (``model.policy_file``) and the priority that they give a mention
(``model.policy``).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from model.policy_keywords import KeywordRule

LEVELS = ("urgent", "high", "normal", "low")
"""Levels of a priority, the first one answered first."""
CONDITIONS = ("intents", "levels", "brands", "channels", "keywords")
"""What a route can ask of a mention."""


@dataclass(frozen=True)
class Scale:
    """Points that grow with a quantity until it reaches ``full_at``."""

    points: float = 0.0
    full_at: float = 1.0

    def linear(self, value: float) -> float:
        """``points`` x value / full_at, at most ``points``; value ≥ 0."""
        return self.points * min(1.0, value / self.full_at)

    def logarithmic(self, value: float) -> float:
        """``points`` x log10(1 + value) / log10(1 + full_at), at most ``points``; value ≥ 0."""
        return self.points * min(1.0, math.log1p(value) / math.log1p(self.full_at))


@dataclass(frozen=True)
class Route:
    """A queue, and the conditions (name from ``CONDITIONS`` → any of these values) that a mention must all meet."""

    queue: str
    conditions: tuple[tuple[str, frozenset[str]], ...]

    def unmet(self, facts: Mapping[str, Collection[str]]) -> str | None:
        """The first condition that the mention's facts (condition → values) do not meet; None where all hold."""
        for condition, wanted in self.conditions:
            if wanted.isdisjoint(facts[condition]):
                return condition
        return None


@dataclass(frozen=True)
class PolicySettings:
    """All that a policy file says, checked."""

    name: str
    sha256: str
    weights: tuple[float, ...]
    """Points at probability 1, in the order of ``INTENTS``."""
    keywords: tuple[KeywordRule, ...]
    reach: Scale
    lifetime_value: Scale
    purchases: Scale
    low_satisfaction: Scale
    """``full_at`` is the satisfaction below which points begin; they are full at satisfaction 0."""
    waiting_points: float
    thresholds: tuple[float, ...]
    """Lowest score of each level, in the order of ``LEVELS``: strictly falling, 0 last."""
    deadlines: tuple[timedelta | None, ...]
    """Time to answer, in the order of ``LEVELS``: never falling, None (no deadline) longest of all."""
    routes: tuple[Route, ...]
    queues: tuple[str, ...]
    default_queue: str


def duration_text(duration: timedelta | None) -> str:
    """A duration as the policy file writes it: ``15m``, ``2h``, ``none``."""
    if duration is None:
        return "none"
    seconds = round(duration.total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0 and (unit != "d" or seconds > length):
            return f"{seconds // length}{unit}"
    return f"{seconds}s"

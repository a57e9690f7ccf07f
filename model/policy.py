"""The business's priority policy: intents, text, author and waiting time to a score, a level, a deadline and a queue.

Leaves out the policy file and its checks (``model.policy_file``) and the breakdown for people
(``model.policy_report``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from data.schema import INTENTS, Author, Mention, brand_key
from model.errors import MentionError
from model.policy_file import DEFAULT_POLICY, read_policy
from model.policy_keywords import Keywords
from model.policy_settings import LEVELS, PolicySettings, Scale

__all__ = ["DEFAULT_POLICY", "Policy", "Priority", "Signal", "route_facts"]

MAX_SCORE = 100.0


@dataclass(frozen=True)
class Signal:
    """One thing that raised a score, and its points: above 0, to one decimal.

    ``name`` is ``intent:<intent>``, ``keyword:<rule>``, ``reach``, ``customer_value``, ``low_satisfaction`` or
    ``waiting``.
    """

    name: str
    points: float


@dataclass(frozen=True)
class Priority:
    """How soon a mention is to be answered, and by whom.

    ``score`` (0 to 100, one decimal) is the sum of the signals' points, or 100 where that is more. ``level`` is that
    of the score before waiting points; ``respond_by`` is UTC, and None where the level has no deadline.
    """

    score: float
    level: str
    respond_by: datetime | None
    signals: tuple[Signal, ...]
    queue: str


@dataclass(frozen=True)
class Policy:
    """A checked policy, ready to use; safe to share between threads."""

    settings: PolicySettings
    keywords: Keywords = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "keywords", Keywords(self.settings.keywords))

    @classmethod
    def load(cls, path: Path | None) -> Policy:
        """The policy of a TOML file; None is the default policy.

        Raises:
            PolicyError: the message lists every problem of the file, with line, table and key.
        """
        return cls(read_policy(DEFAULT_POLICY if path is None else path))

    @property
    def name(self) -> str:
        """The name that the file gives itself."""
        return self.settings.name

    @property
    def sha256(self) -> str:
        """Hash of the file's bytes, in hex."""
        return self.settings.sha256

    def prioritise(
        self,
        mention: Mention,
        brand_key: str | None,
        probabilities: Mapping[str, float],
        labels: Sequence[str],
        as_of: datetime,
    ) -> Priority:
        """The priority of a mention for one target brand.

        Args:
            mention: the mention; what is not known of its author gives no points.
            brand_key: the target's key, for routes; None where there is no target.
            probabilities: intent → 0 to 1, all of ``INTENTS``. Only these move the score.
            labels: the intents that are asserted. Only routes look at them.
            as_of: the present, with a time zone. A mention written later than this has not waited.

        Raises:
            MentionError: ``created_at`` is so near the ends of the calendar that there is no deadline for it.
        """
        settings = self.settings
        fired = self.keywords.found(mention.text)
        # Points are rounded to tenths one signal at a time and summed as integers: the listed points then sum to the
        # score exactly, and as rounding keeps order, a signal that rises still never lowers the score.
        tenths = {
            f"intent:{intent}": _tenths(weight * probabilities[intent])
            for intent, weight in zip(INTENTS, settings.weights, strict=True)
        }
        tenths |= {f"keyword:{rule.name}": _tenths(rule.points) for rule in settings.keywords if rule.name in fired}
        tenths |= _author_tenths(settings, mention.author)
        before_waiting = sum(tenths.values()) / 10
        level = next(i for i, threshold in enumerate(settings.thresholds) if before_waiting >= threshold)
        deadline = settings.deadlines[level]
        start = mention.created_at or as_of
        if deadline is not None:
            waited = max(0.0, (as_of - start).total_seconds())
            scale = Scale(settings.waiting_points, deadline.total_seconds())
            tenths["waiting"] = _tenths(scale.linear(waited))
        return Priority(
            score=min(MAX_SCORE, sum(tenths.values()) / 10),
            level=LEVELS[level],
            respond_by=None if deadline is None else _respond_by(start, deadline),
            signals=tuple(Signal(name, points / 10) for name, points in tenths.items() if points),
            queue=self._queue(route_facts(mention, brand_key, labels, LEVELS[level], fired)),
        )

    def _queue(self, facts: Mapping[str, set[str]]) -> str:
        matching = (route.queue for route in self.settings.routes if route.unmet(facts) is None)
        return next(matching, self.settings.default_queue)


def route_facts(
    mention: Mention,
    key: str | None,
    labels: Sequence[str],
    level: str,
    fired: Mapping[str, Sequence[str]],
) -> dict[str, set[str]]:
    """What routes are held against: condition → the values that the mention has for it."""
    return {
        "intents": set(labels),
        "levels": {level},
        "brands": set() if key is None else {brand_key(key)},
        "channels": set() if mention.channel is None else {mention.channel.casefold()},
        "keywords": set(fired),
    }


def _tenths(points: float) -> int:
    return round(points * 10)


def _author_tenths(settings: PolicySettings, author: Author) -> dict[str, int]:
    satisfaction = settings.low_satisfaction
    value = settings.lifetime_value.linear(author.lifetime_value or 0.0)
    value += settings.purchases.linear(author.purchases or 0.0)
    unhappy = 0.0 if author.satisfaction is None else satisfaction.points - satisfaction.linear(author.satisfaction)
    return {
        "reach": _tenths(settings.reach.logarithmic(author.followers or 0.0)),
        "customer_value": _tenths(value),
        "low_satisfaction": _tenths(unhappy),
    }


def _respond_by(start: datetime, deadline: timedelta) -> datetime:
    try:
        return start.astimezone(UTC) + deadline
    except OverflowError:
        raise MentionError("Invalid mention", f"created_at {start.isoformat()} is out of range") from None

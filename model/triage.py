"""Mention → result objects of the HTTP contract: the scorer's reading, the labels of a cut, the policy's priority."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from pathlib import Path
from typing import Any, Self

from data.schema import INTENTS, Mention, MentionError
from model.bundle import NO_INTERVAL, Bundle
from model.cascade import Cascade, Reader, load_reader
from model.policy import Policy
from model.policy_settings import LEVELS
from model.scorer import Prepared, Reading


@dataclass(frozen=True)
class Ready:
    """A mention as the model will be given it, once for each target brand."""

    mention: Mention
    targets: tuple[Prepared, ...]

    @property
    def tokens(self) -> int:
        """What will be read, 1 or more."""
        return sum(len(target.ids) for target in self.targets)


class Triage:
    """A scorer or a cascade, a policy and a cut, put together. Thread-safe."""

    def __init__(self, scorer: Reader, policy: Policy, cut: str = "balanced") -> None:
        """Raises BundleError when the bundle has no such cut."""
        self.scorer = scorer.at(cut)
        self.policy = policy
        self.cut = cut
        self.name = scorer.name

    @classmethod
    def load(
        cls,
        bundle: Path,
        *,
        brands: Path | None = None,
        policy: Path | None = None,
        cut: str = "balanced",
        remember: int = 0,
    ) -> Self:
        """All of it from files, as they are now.

        Args:
            bundle: folder of a bundle or a cascade.
            brands: brands file; None is the bundle's own.
            policy: policy file; None is the default one.
            cut: which of the bundle's cuts makes labels of probabilities.
            remember: mentions whose reading is kept in memory.

        Raises:
            FirstreplyError: a file that cannot be used; the bundle has no such cut.
        """
        return cls(load_reader(bundle, brands=brands, remember=remember), Policy.load(policy), cut)

    @property
    def sha256(self) -> str:
        """The hash of the bundle that answers, or of the cascade."""
        scorer = self.scorer
        return scorer.cascade.sha256 if isinstance(scorer, Cascade) else scorer.bundle.sha256

    def answer(self, mention: Mention, *, as_of: datetime, explain: bool = False) -> list[dict[str, Any]]:
        """One JSON-ready result object for each target brand (one without a target where none is given or found).

        Raises:
            MentionError: the mention cannot be answered.
        """
        (answer,) = self.answer_ready([self.prepare(mention)], as_of=as_of, explain=explain)
        if isinstance(answer, MentionError):
            raise answer
        return answer

    def prepare(self, mention: Mention) -> Ready:
        """The first half of answering: text becomes tokens."""
        targets = tuple(self.scorer.prepare(mention.text, brand) for brand in mention.brand or (None,))
        return Ready(mention, targets)

    def answer_ready(
        self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False
    ) -> list[list[dict[str, Any]] | MentionError]:
        """The second half, of several: result objects, or why one cannot be answered.

        What is read in a mention does not depend on the others: the model runs once for each. But it does so for all of
        them first, which keeps the processor's caches warm.
        """
        readings = [[self.scorer.read_prepared(target) for target in ready.targets] for ready in turn]
        answers: list[list[dict[str, Any]] | MentionError] = []
        for ready, of_mention in zip(turn, readings, strict=True):
            try:
                answers.append(self.answer_read(ready.mention, of_mention, as_of=as_of, explain=explain))
            except MentionError as reason:
                answers.append(reason)
        return answers

    def answer_read(
        self, mention: Mention, readings: Sequence[Reading], *, as_of: datetime, explain: bool = False
    ) -> list[dict[str, Any]]:
        """The result objects of what was read for each target brand, in their order.

        Raises:
            MentionError: the mention cannot be answered.
        """
        targets = zip(mention.brand or (None,), readings, strict=True)
        return [self._answer(mention, brand, reading, as_of, explain) for brand, reading in targets]

    def model_info(self) -> dict[str, Any]:
        """What ``GET /v1/model`` tells of the model, the cut and the policy in use."""
        bundle = self.scorer.bundle
        cascade = self.scorer.cascade if isinstance(self.scorer, Cascade) else None
        return {
            "model": self.name,
            "sha256": self.sha256,
            **({"tiers": {"fast": cascade.fast.sha256, "full": cascade.full.sha256}} if cascade else {}),
            "base_model": bundle.base_model,
            "max_tokens": bundle.max_tokens,
            "normaliser": bundle.normaliser_version,
            "brands_sha256": self.scorer.brands.sha256,
            "policy": _policy_info(self.policy),
            "intents": list(INTENTS),
            "cut": self.cut,
            "thresholds": _thresholds(bundle),
            **({"fast_thresholds": _thresholds(cascade.fast)} if cascade else {}),
            "threshold_intervals": {
                name: {
                    i: list(ends) if ends != NO_INTERVAL else None for i, ends in zip(INTENTS, all_ends, strict=True)
                }
                for name, all_ends in bundle.intervals.items()
            },
            "data": list(bundle.data),
            "figures": {**bundle.figures, **({"cascade": cascade.figures} if cascade else {})},
        }

    def _answer(
        self, mention: Mention, brand: str | None, reading: Reading, as_of: datetime, explain: bool
    ) -> dict[str, Any]:
        # Points come from the probabilities as they are told, so that whoever has the result can work them out again.
        told = (round(probability, 6) for probability in reading.probabilities)
        probabilities = dict(zip(INTENTS, told, strict=True))
        labels = list(compress(INTENTS, reading.asserts(self.cut)))
        priority = self.policy.prioritise(mention, reading.brand_key, probabilities, labels, as_of)
        result: dict[str, Any] = {
            "id": mention.id,
            "brand": reading.target,
            "probabilities": probabilities,
            "labels": labels,
            "priority": {
                "score": priority.score,
                "level": priority.level,
                "respond_by": _utc(priority.respond_by),
                "signals": [{"name": signal.name, "points": signal.points} for signal in priority.signals],
            },
            "queue": priority.queue,
        }
        if reading.truncated:
            result["truncated"] = True
        if reading.tier:
            result["tier"] = reading.tier
        if reading.any_within(reading.bundle.intervals[self.cut]):
            result["uncertain"] = True
        if explain:
            result["why"] = self.scorer.explain(mention.text, brand, labels)
        return result


def _policy_info(policy: Policy) -> dict[str, Any]:
    """What moves scores, levels, deadlines and queues: enough to work a priority out elsewhere."""
    settings = policy.settings
    seconds = [None if deadline is None else deadline.total_seconds() for deadline in settings.deadlines]
    return {
        "name": policy.name,
        "sha256": policy.sha256,
        "weights": dict(zip(INTENTS, settings.weights, strict=True)),
        "keywords": {rule.name: rule.points for rule in settings.keywords},
        "waiting": settings.waiting_points,
        "levels": dict(zip(LEVELS, settings.thresholds, strict=True)),
        "deadlines": dict(zip(LEVELS, seconds, strict=True)),
        "routes": [
            {"queue": route.queue, **{name: sorted(values) for name, values in route.conditions}}
            for route in settings.routes
        ],
        "default_queue": settings.default_queue,
    }


def _thresholds(bundle: Bundle) -> dict[str, dict[str, float | None]]:
    """Of each cut, the probability from which each intent is a label; None where the cut never asserts it."""
    return {
        name: {i: t if t <= 1 else None for i, t in zip(INTENTS, thresholds, strict=True)}
        for name, thresholds in bundle.cuts.items()
    }


def _utc(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with a "Z", to the second."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z" if moment else None

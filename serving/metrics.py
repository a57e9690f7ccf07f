"""What the endpoint counts, as Prometheus reads it at ``/metrics``. Leaves out where it is counted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from data.schema import INTENTS
from serving.settings import SHARED

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_MENTIONS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)
_TENTHS = tuple(tenth / 10 for tenth in range(1, 11))
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of one server; of several workers, each counts and any can tell the sum.

    Workers share a folder of files, which ``serving.settings.SHARED`` names before the first of these is made.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own: dict[str, Any] = {"registry": self._registry}
        self.requests = Counter(
            "firstreply_requests", "Requests, by address, method and status.", ("path", "method", "status"), **own
        )
        self.seconds = Histogram(
            "firstreply_request_seconds", "From a request's headers to its answer.", ("path",), buckets=_SECONDS, **own
        )
        self.stages = Histogram(
            "firstreply_stage_seconds",
            "Of a request: body (arrives), prepare (text to tokens), wait (in the queue), work (read and judged).",
            ("stage",),
            buckets=_SECONDS,
            **own,
        )
        self.batch = Histogram(
            "firstreply_request_mentions", "Mentions of a request, one for each target.", buckets=_MENTIONS, **own
        )
        self.in_flight = Gauge(
            "firstreply_requests_in_flight", "Scoring requests in flight.", multiprocess_mode="livesum", **own
        )
        self.queue = Gauge("firstreply_queue_tokens", "Tokens that wait.", multiprocess_mode="livesum", **own)
        self.mentions = Counter(
            "firstreply_mentions", "Mentions answered, scored or with an error.", ("outcome",), **own
        )
        self.labels = Counter("firstreply_labels", "Results that assert an intent.", ("intent",), **own)
        self.levels = Counter("firstreply_levels", "Results by the level of their priority.", ("level",), **own)
        self.tiers = Counter("firstreply_tiers", "Results by the bundle of a cascade that answered.", ("tier",), **own)
        self.probabilities = Histogram(
            "firstreply_probability", "Probabilities given, by intent.", ("intent",), buckets=_TENTHS, **own
        )
        self.truncated = Counter("firstreply_truncated", "Texts read at their head and tail alone.", **own)
        self.uncertain = Counter("firstreply_uncertain", "Results too near a threshold to be sure.", **own)
        self.cache_hits = Counter("firstreply_cache_hits", "Readings that were remembered.", **own)
        self.cache_misses = Counter("firstreply_cache_misses", "Readings that were not, and were computed.", **own)
        self.reloads = Counter("firstreply_reloads", "Bundles and policies swapped, or not.", ("outcome",), **own)
        self.shadowed = Counter("firstreply_shadow_mentions", "Mentions that a second bundle read too.", **own)
        self.disagreements = Counter(
            "firstreply_shadow_disagreements",
            "Of these, mentions where it said otherwise, by intent.",
            ("intent",),
            **own,
        )
        self.model = Gauge(
            "firstreply_model", "1 for the model that answers.", ("model", "sha256"), multiprocess_mode="livemax", **own
        )
        for outcome in ("done", "refused", "rolled back"):
            self.reloads.labels(outcome)  # there from the start: Prometheus sees no increase in what is new
        self._probabilities = [self.probabilities.labels(intent) for intent in INTENTS]

    def answer(self, result: Mapping[str, Any]) -> None:
        """Count one result or error object."""
        if "error" in result:
            self.mentions.labels("error").inc()
            return
        self.mentions.labels("scored").inc()
        for bucket, value in zip(self._probabilities, result["probabilities"].values(), strict=True):
            bucket.observe(value)
        for intent in result["labels"]:
            self.labels.labels(intent).inc()
        self.levels.labels(result["priority"]["level"]).inc()
        if "truncated" in result:
            self.truncated.inc()
        if "uncertain" in result:
            self.uncertain.inc()
        if "tier" in result:
            self.tiers.labels(result["tier"]).inc()

    def text(self) -> bytes:
        """Everything counted, in Prometheus' text format."""
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return generate_latest(registry)
        return generate_latest(self._registry)

"""What answers at the moment, and how another bundle or policy takes its place without a stop.

A new one is loaded with its hashes checked, warmed, and held against the old one on the last mentions; only then it
takes over. When it fails soon after, the old one comes back. Leaves out who may ask for that (``serving.app``).
"""

from __future__ import annotations

import json
import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.schema import INTENTS, FirstreplyError, Mention, MentionError, mention_from_json
from model.triage import Triage
from serving.contract import EXAMPLE_REQUEST
from serving.logs import fields, text_hash
from serving.metrics import Metrics

logger = logging.getLogger("firstreply")

KEPT = 200
"""Last mentions that a new bundle is held against."""
_LONGEST_KEPT = 2_000
"""Characters of a text that is kept for that: 200 of any length would be 80 MB."""
_MOST_DIFFERENT = 0.5
"""Share of them on which it may say otherwise: more is a bundle of another kind, or a broken one."""
_PROBATION = 1_000
"""Mentions within which an unforeseen failure brings the old bundle back."""


class ReloadError(FirstreplyError):
    """What was to take over is not fit to; the old one goes on."""


@dataclass(frozen=True)
class Takeover:
    """How a new bundle compared with the one that it replaced."""

    model: str
    sha256: str
    before: str
    """Name of the model that it replaced."""
    compared: int
    """Mentions that both read."""
    different: int
    """Of these, those with other labels."""


class Live:
    """What answers. Thread-safe.

    Args:
        load: makes what answers of a bundle folder, with the policy and the brands file as they are at that moment.
        bundle: the folder to begin with.
        bundles: folder of those that ``reload`` may name; None lets it name none.
        metrics: where takeovers are counted.
        first: what answers at first, where it is loaded already.

    Raises:
        FirstreplyError: the first one cannot be loaded.
    """

    def __init__(
        self,
        load: Callable[[Path], Triage],
        bundle: Path,
        bundles: Path | None = None,
        metrics: Metrics | None = None,
        first: Triage | None = None,
    ) -> None:
        self._load, self._bundles = load, bundles
        self.bundle = bundle
        """Folder of what answers."""
        self.triage = first or load(bundle)
        """What answers: take it once for each request, so that all of it is answered by one."""
        self._before: tuple[Path, Triage] | None = None
        self._on_probation = 0
        self._seen: deque[tuple[str, tuple[str, ...]]] = deque(maxlen=KEPT)
        self._metrics = metrics
        self._one_at_a_time = threading.Lock()
        self._tell_model()

    def answered(self, triage: Triage, mentions: Sequence[Mention]) -> None:
        """Note what was answered, to hold the next bundle against it."""
        for mention in mentions:
            if len(mention.text) <= _LONGEST_KEPT:
                self._seen.append((mention.text, mention.brand[:1]))
        if triage is self.triage and self._before is not None:
            self._on_probation -= len(mentions)
            if self._on_probation <= 0:
                self._before = None

    def failed(self, triage: Triage) -> None:
        """Go back to what answered before, if this one took its place a moment ago."""
        if not self._one_at_a_time.acquire(blocking=False):
            return  # another one is about to take its place anyway
        try:
            before = self._before
            if before is None or triage is not self.triage:
                return
            self.bundle, self.triage = before
            self._before = None
        finally:
            self._one_at_a_time.release()
        self._count("rolled back")
        self._tell_model(triage)
        logger.error("rolled back to the model before", extra=fields(model=self.triage.name, failed=triage.name))

    def folder(self, name: str) -> Path:
        """The folder of a bundle that was asked for by name.

        Raises:
            ReloadError: there is none of that name, or none may be named.
        """
        if self._bundles is None:
            raise ReloadError("no bundle can be named: the server was started without --bundles DIR")
        try:
            known = sorted(entry.name for entry in self._bundles.iterdir() if (entry / "bundle.json").is_file())
        except OSError as error:
            raise ReloadError(f"{self._bundles}: {(error.strerror or str(error)).lower()}") from None
        if name not in known:  # compared, never joined: nothing outside of the folder can be meant
            raise ReloadError(f"no bundle {name!r:.80} in {self._bundles.name}; there are {', '.join(known) or 'none'}")
        return self._bundles / name

    def reload(self, folder: Path | None = None) -> Takeover:
        """Read the bundle, the brands file and the policy anew, or another bundle, and let it take over.

        Raises:
            FirstreplyError: it is not fit to; what answered goes on.
        """
        with self._one_at_a_time:
            folder = folder or self.bundle
            try:
                candidate = self._load(folder)
                takeover = self._compared(candidate)
            except FirstreplyError as error:
                self._count("refused")
                logger.error("reload refused: %s", error, extra=fields(model=self.triage.name))
                raise
            except Exception as error:  # a bundle can be wrong in more ways than anybody foresees
                self._count("refused")
                logger.error("reload refused: %s", type(error).__name__, extra=fields(model=self.triage.name))
                raise ReloadError(f"{folder.name} fails on mentions: {type(error).__name__}") from None
            if self._before is None or candidate.sha256 != self.triage.sha256:
                # The same once more, as when a policy or a key has changed, is no proof that it is sound.
                self._before, self._on_probation = (self.bundle, self.triage), _PROBATION
            before = self.triage
            self.bundle, self.triage = folder, candidate
        self._count("done")
        self._tell_model(before)
        logger.info("reloaded", extra=fields(**vars(takeover)))
        return takeover

    def _compared(self, candidate: Triage) -> Takeover:
        """Warm it with mentions that were answered, and see that it says much the same."""
        now, current = datetime.now(UTC), self.triage
        examples = [mention_from_json(value, "1") for value in EXAMPLE_REQUEST["mentions"]]
        for mention in examples:
            json.dumps(candidate.answer(mention, as_of=now), allow_nan=False)
        seen = [Mention(text=text, brand=brand) for text, brand in list(self._seen)]
        different = sum(_labels(current, mention, now) != _labels(candidate, mention, now) for mention in seen)
        if seen and different > _MOST_DIFFERENT * len(seen):
            raise ReloadError(
                f"{candidate.name} says otherwise than {current.name} on {different} of the last {len(seen)} mentions"
            )
        return Takeover(candidate.name, candidate.sha256, current.name, len(seen), different)

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.reloads.labels(outcome).inc()

    def _tell_model(self, before: Triage | None = None) -> None:
        if self._metrics is not None:
            for triage, value in ((before, 0), (self.triage, 1)):
                if triage is not None:
                    self._metrics.model.labels(triage.name, triage.sha256).set(value)


class Shadow:
    """A second bundle that reads a share of the mentions after they were answered; where it differs is recorded.

    Args:
        triage: the second one.
        share: of the requests, 0 to 1.
        metrics: where it is counted.
    """

    def __init__(self, triage: Triage, share: float, metrics: Metrics) -> None:
        self.triage = triage
        self._share, self._metrics = share, metrics

    def chosen(self) -> bool:
        """Whether a request is one of the share."""
        return random.random() < self._share  # nothing is to be kept from guessing this

    def compare(self, current: Triage, mentions: Sequence[Mention]) -> None:
        """Read mentions with both."""
        now = datetime.now(UTC)
        for mention in mentions:
            ours, theirs = _labels(current, mention, now), _labels(self.triage, mention, now)
            self._metrics.shadowed.inc()
            if ours == theirs:
                continue
            for intent in INTENTS:
                if any((intent in one) != (intent in other) for one, other in zip(ours, theirs, strict=True)):
                    self._metrics.disagreements.labels(intent).inc()
            logger.info(
                "shadow disagrees",
                extra=fields(
                    id=mention.id,
                    text=text_hash(mention.text),
                    model=current.name,
                    labels=ours,
                    shadow=self.triage.name,
                    shadow_labels=theirs,
                ),
            )


def _labels(triage: Triage, mention: Mention, now: datetime) -> list[list[str]]:
    """The labels for each target; none where the mention cannot be answered."""
    try:
        answer: list[dict[str, Any]] = triage.answer(mention, as_of=now)
    except MentionError:
        return [[] for _ in mention.brand or (None,)]
    return [result["labels"] for result in answer]

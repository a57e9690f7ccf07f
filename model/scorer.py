"""Runs a bundle's ONNX model: text and target brand → calibrated probabilities, each mention by itself.

The int8 model takes its activation scales from what is in the call, so a mention is always a call of its own: its score
does not depend on its neighbours. Sessions are single-threaded; many mentions run side by side on as many threads.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from data.schema import INTENTS
from model.brands import Brands
from model.bundle import MODEL, Bundle, Interval, probability
from model.errors import BundleError
from model.normalise import MASKS, NormalisedText, Word, normalise
from model.pipeline import Pipeline

_SLOWER = ["SkipLayerNormFusion", "EmbedLayerNormFusion"]
"""Fusions that onnxruntime makes by itself and whose operators take longer than what they stand for."""
_TOP_WORDS = 5
"""Words that ``explain`` names for an intent."""


@dataclass(frozen=True)
class Reading:
    """What the model reads in one mention for one target brand; tuples are in the order of ``INTENTS``."""

    probabilities: tuple[float, ...]
    logits: tuple[float, ...]
    """Calibrated log-odds."""
    truncated: bool
    """The text was longer than the model reads: its head and tail were read."""
    target: str | None
    brand_key: str | None
    bundle: Bundle = field(compare=False, repr=False)
    """The bundle that read it, whose thresholds count."""
    tier: str | None = None
    """Which bundle of a cascade that is, ``fast`` or ``full``."""

    def asserts(self, cut: str) -> tuple[bool, ...]:
        """Whether each intent is asserted at a cut of the bundle."""
        return tuple(p >= t for p, t in zip(self.probabilities, self.bundle.cuts[cut], strict=True))

    def any_within(self, intervals: Sequence[Interval]) -> bool:
        """Whether the probability of any intent lies in its interval, ends included."""
        return any(low <= p <= high for p, (low, high) in zip(self.probabilities, intervals, strict=True))


@dataclass(frozen=True)
class Prepared:
    """A mention for one target brand as a bundle's model is given it."""

    normalised: NormalisedText
    ids: tuple[int, ...]
    """Tokens, special ones included; at most as many as the bundle reads."""
    truncated: bool


class MentionReader(ABC):
    """What reads mentions, in two halves."""

    @abstractmethod
    def prepare(self, text: str, brand: str | None) -> Prepared:
        """What the model will be given; the arguments are those of ``read``."""

    @abstractmethod
    def read_prepared(self, prepared: Prepared) -> Reading:
        """The reading of what ``prepare`` made."""

    @abstractmethod
    def remembered(self) -> tuple[int, int]:
        """How many readings were remembered so far, and how many were not; 0 and 0 where nothing is kept."""

    def read(self, text: str, brand: str | None) -> Reading:
        """Read ``text`` as a mention of ``brand`` (None: of the brand whose handle it names, if any)."""
        return self.read_prepared(self.prepare(text, brand))

    def read_all(self, pairs: Iterable[tuple[str, str | None]]) -> Iterator[Reading]:
        """Readings of (text, brand) pairs in their order, computed side by side on all cores."""
        with Pipeline() as pipeline:
            yield from pipeline.in_order(lambda turn: [self.read(*pair) for pair in turn], pairs)


class Scorer(MentionReader):
    """A loaded bundle. Thread-safe.

    Args:
        bundle: its files.
        brands: the brands file in use.
        name: what results call the model: NAME@VERSION, with the brands file's hash where another one is in use.
        remember: of how many mentions the reading is kept, the last ones asked for; 0 keeps none. What the normaliser
            makes the same, such as a retweet by somebody else, is the same mention.
    """

    def __init__(self, bundle: Bundle, brands: Brands, name: str, remember: int = 0) -> None:
        self.bundle = bundle
        self.brands = brands
        self.name = name
        self.encoder = bundle.encoder()
        self.session = _session(bundle)
        self._kept = lru_cache(remember)(self._run) if remember else None
        self._logits: Callable[[tuple[int, ...]], tuple[float, ...]] = self._kept or self._run

    @classmethod
    def load(cls, folder: Path, *, brands: Path | None = None, remember: int = 0) -> Scorer:
        """Load a bundle, with its own brands file or another.

        Raises:
            BundleError: the bundle is missing, damaged or of another version.
            BrandsError: the brands file cannot be used.
        """
        return cls.of(Bundle.load(folder), brands=brands, remember=remember)

    @classmethod
    def of(cls, bundle: Bundle, *, brands: Path | None = None, remember: int = 0) -> Scorer:
        """The same of a bundle whose files have been checked."""
        name = f"{bundle.name}@{bundle.version}"
        own = bundle.brands()
        if brands is None:
            return cls(bundle, own, name, remember)
        other = Brands.load(brands)
        name = name if other.sha256 == own.sha256 else f"{name}+brands.{other.sha256[:8]}"
        return cls(bundle, other, name, remember)

    def at(self, cut: str) -> Scorer:
        """Itself: a bundle reads the same at every cut.

        Raises:
            BundleError: there is no such cut.
        """
        self.bundle.thresholds(cut)
        return self

    def prepare(self, text: str, brand: str | None) -> Prepared:
        """What the model will be given; the arguments are those of ``read``."""
        return self.prepare_words(normalise(text, brand, self.brands))

    def prepare_words(self, normalised: NormalisedText) -> Prepared:
        """The same of a text that has been normalised with the same brands file."""
        ids, truncated = self.encoder.encode(normalised.words)
        return Prepared(normalised, tuple(ids), truncated)

    def read_prepared(self, prepared: Prepared) -> Reading:
        """Run the model; most of this is done outside the interpreter's lock."""
        log_odds = self.bundle.calibration.log_odds(self._logits(prepared.ids))
        target = prepared.normalised.target
        return Reading(
            probabilities=tuple(probability(value) for value in log_odds),
            logits=log_odds,
            truncated=prepared.truncated,
            target=target,
            brand_key=self.brands.target(target).key if target else None,
            bundle=self.bundle,
        )

    def remembered(self) -> tuple[int, int]:
        """How many readings were remembered so far, and how many were not; 0 and 0 where nothing is kept."""
        return self._kept.cache_info()[:2] if self._kept is not None else (0, 0)

    def explain(
        self, text: str, brand: str | None, intents: Sequence[str], *, against: bool = False
    ) -> dict[str, list[dict[str, Any]]]:
        """The words that an intent rests on: how much its logit drops when the word is deleted, measured.

        For each intent the words with the largest drops, at most five and only real drops, as
        ``{"word", "start", "end", "drop"}`` with offsets into ``text``. With ``against`` the words that hold the intent
        down instead: those whose deletion raises its logit most, with a drop below 0.
        """
        words: Sequence[Word] = normalise(text, brand, self.brands).words
        words = self.encoder.outermost(words, spare=max(map(len, _parts(words)), default=0))
        whole = self._run(self.encoder.encode(words)[0])
        limit = self.encoder.max_tokens
        parts = _parts(words)
        if len(parts) > 2 * limit:
            # Each is at least one token, so none beyond these can be in what the model reads.
            parts = [*parts[:limit], *parts[-limit:]]
        drops = {words[part.start][1:3]: self._drops(whole, words, part) for part in parts}
        sign = -1 if against else 1
        return {intent: _top_words(text, drops, INTENTS.index(intent), sign) for intent in intents}

    def session_inputs(self, text: str, brand: str | None) -> dict[str, NDArray[np.int64]]:
        """What ``read`` gives the session for a mention; shapes are (1, tokens)."""
        return session_inputs(self.session, [self.prepare(text, brand).ids])

    def _run(self, ids: Sequence[int]) -> tuple[float, ...]:
        (logits,) = self.session.run(None, session_inputs(self.session, [ids]))
        return tuple(float(value) for value in logits[0])

    def _drops(self, whole: tuple[float, ...], words: Sequence[Word], part: range) -> tuple[float, ...]:
        rest = self._run(self.encoder.encode([*words[: part.start], *words[part.stop :]])[0])
        return tuple(before - after for before, after in zip(whole, rest, strict=True))


def _session(bundle: Bundle) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(bundle.folder / MODEL),
            sess_options=options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=_SLOWER,
        )
    except Exception as error:  # onnxruntime's errors have no common base
        raise BundleError(f"bundle {bundle.folder}: onnxruntime cannot load {MODEL}: {error}") from None


def session_inputs(
    session: onnxruntime.InferenceSession, mentions: Sequence[Sequence[int]]
) -> dict[str, NDArray[np.int64]]:
    """What a model is given for the token ids of mentions that are equally long; shapes are (mentions, tokens)."""
    ids = np.array(mentions, dtype=np.int64)
    if len(session.get_inputs()) == 1:
        return {"input_ids": ids}
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


def _parts(words: Sequence[Word]) -> list[range]:
    """Positions of what can be a reason: words with a letter or digit; those of one span (an emoji's) go together."""
    together = (list(group) for _, group in groupby(range(len(words)), key=lambda position: words[position][1:3]))
    return [
        range(positions[0], positions[-1] + 1)
        for positions in together
        if words[positions[0]].end > words[positions[0]].start
        if any(words[position].text in MASKS or any(map(str.isalnum, words[position].text)) for position in positions)
    ]


def _top_words(
    text: str, drops: Mapping[tuple[int, int], tuple[float, ...]], column: int, sign: int
) -> list[dict[str, Any]]:
    ranked = sorted(drops, key=lambda span: -sign * drops[span][column])[:_TOP_WORDS]
    return [
        {"word": text[start:end], "start": start, "end": end, "drop": round(drops[start, end][column], 3)}
        for start, end in ranked
        if sign * round(drops[start, end][column], 3) > 0
    ]

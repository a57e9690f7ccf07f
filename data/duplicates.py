"""Near-duplicates: retweets, copies and templates that would count one post many times, or leak it between parts.

Leaves out which copy has the better labels: the first one stays, so callers put the best first.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from data.schema import FirstreplyError, LabelledMention
from data.text import clean_text

NEAR = 0.7
"""Texts are near-duplicates when their word shingles have at least this Jaccard similarity: one word changed at the
end of a tweet of a dozen words, but not in its middle."""
SHINGLE_WORDS = 3
"""Words in a shingle."""
_PERMUTATIONS = 128
_SEED = 1

_IGNORED = re.compile(r"^(?:rt\s+@\w+:?\s*)+|\bvia\s+@\w+|https?://\S+|www\.\S+|@\w+|\d+", re.IGNORECASE)
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Duplicate:
    """A mention that was dropped, and why."""

    mention: LabelledMention
    kept: LabelledMention
    """The mention that it repeats."""
    similarity: float
    """Jaccard similarity of their word shingles, ``NEAR`` to 1."""


def comparable_text(text: str) -> str:
    """What is compared: lower-case words without retweet prefixes, links, handles and digits.

    A text of nothing else stands for itself, cleaned.
    """
    clean = clean_text(text).casefold()
    return " ".join(_WORD.findall(_IGNORED.sub(" ", clean))) or clean


def drop_near_duplicates(
    mentions: Sequence[LabelledMention],
) -> tuple[list[LabelledMention], list[Duplicate]]:
    """The mentions without those that nearly repeat an earlier one about the same brand, and those.

    The same text for another target brand asks something else and stays.

    Raises:
        FirstreplyError: datasketch is not installed.
    """
    seen = _Seen()
    kept: list[LabelledMention] = []
    dropped: list[Duplicate] = []
    for mention in mentions:
        fingerprint = seen.fingerprint(mention, mention.brand_key)
        if (found := seen.nearest(fingerprint)) is not None:
            dropped.append(Duplicate(mention, *found))
        else:
            seen.add(fingerprint)
            kept.append(mention)
    return kept, dropped


def drop_occurring(
    mentions: Sequence[LabelledMention], others: Sequence[LabelledMention]
) -> tuple[list[LabelledMention], list[Duplicate]]:
    """The mentions without those whose text nearly occurs in ``others``, whatever the brand, and those.

    Raises:
        FirstreplyError: datasketch is not installed.
    """
    found = list(occurring(mentions, others))
    return [mention for mention, duplicate in found if duplicate is None], [one for _, one in found if one is not None]


def occurring(
    mentions: Iterable[LabelledMention], others: Iterable[LabelledMention]
) -> Iterator[tuple[LabelledMention, Duplicate | None]]:
    """Each mention and, where its text nearly occurs in ``others``, whatever the brand, what it repeats.

    Raises:
        FirstreplyError: datasketch is not installed.
    """
    seen = _Seen()
    for other in others:
        seen.add(seen.fingerprint(other, None))
    for mention in mentions:
        found = seen.nearest(seen.fingerprint(mention, None))
        yield mention, None if found is None else Duplicate(mention, *found)


@dataclass(frozen=True)
class _Fingerprint:
    mention: LabelledMention
    group: str | None
    """Only fingerprints of one group are compared."""
    text: str
    shingles: frozenset[str]
    sketch: Any


class _Seen:
    """Mentions seen so far: MinHash LSH (datasketch) proposes, exact Jaccard similarity decides."""

    def __init__(self) -> None:
        try:
            self._datasketch = importlib.import_module("datasketch")
        except ImportError:
            raise FirstreplyError("finding duplicates needs datasketch; install firstreply[report]") from None
        self._empty = self._datasketch.MinHash(num_perm=_PERMUTATIONS, seed=_SEED)
        self._near = self._datasketch.MinHashLSH(threshold=NEAR, num_perm=_PERMUTATIONS)
        self._same: dict[tuple[str | None, str], LabelledMention] = {}
        self._held: list[_Fingerprint] = []

    def fingerprint(self, mention: LabelledMention, group: str | None) -> _Fingerprint:
        text = comparable_text(mention.text)
        shingles = _shingles(text)
        sketch = self._empty.copy()  # a new one would draw its permutations again
        sketch.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in shingles])
        return _Fingerprint(mention, group, text, shingles, sketch)

    def add(self, seen: _Fingerprint) -> None:
        self._same.setdefault((seen.group, seen.text), seen.mention)
        self._near.insert(len(self._held), seen.sketch)
        self._held.append(seen)

    def nearest(self, new: _Fingerprint) -> tuple[LabelledMention, float] | None:
        """The seen mention that is most like the new one, the earliest of equals, and their similarity."""
        if (same := self._same.get((new.group, new.text))) is not None:
            return same, 1.0
        near: list[tuple[float, int]] = []
        for index in self._near.query(new.sketch):
            seen = self._held[index]
            similarity = len(new.shingles & seen.shingles) / len(new.shingles | seen.shingles)
            if seen.group == new.group and similarity >= NEAR:
                near.append((similarity, -index))
        if not near:
            return None
        similarity, index = max(near)
        return self._held[-index].mention, similarity


def _shingles(text: str) -> frozenset[str]:
    words = text.split()
    last = max(len(words) - SHINGLE_WORDS, 0)
    return frozenset(" ".join(words[start : start + SHINGLE_WORDS]) for start in range(last + 1))

"""Mentions to measure speed on: as long as real ones, and the same in every run.

Leaves out the measuring (``eval.bench``). Their labels are of no interest, only that they take as long to read as
mentions do.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

import data
from data.files import read_mentions
from data.schema import FileError, Mention, MentionError

SAMPLE = Path(data.__file__).parent / "sample"

WORD_QUANTILES = {
    0.0: 3,
    0.1: 10,
    0.2: 13,
    0.3: 16,
    0.4: 18,
    0.5: 20,
    0.6: 22,
    0.7: 24,
    0.8: 26,
    0.9: 34,
    0.95: 44,
    0.99: 53,
    1.0: 65,
}
"""Words (between white space) of a mention at each quantile: of the project's 14,513 labelled training mentions, real
public posts, most of them tweets; mean 21.2."""

_SEED = 0


def sample_mentions(folder: Path = SAMPLE) -> list[Mention]:
    """The mentions of every CSV file of the bundled sample.

    Raises:
        FileError: there are none.
    """
    mentions = [mention for path in sorted(folder.glob("*.csv")) for mention in _readable(path)]
    if not mentions:
        raise FileError(f"{folder}: no CSV file of mentions; give a file with --data")
    return mentions


def real_length(mentions: Sequence[Mention], count: int) -> list[Mention]:
    """``count`` mentions made of ``mentions``, their word counts spread as ``WORD_QUANTILES``.

    Each begins with a mention, keeps its brand, is cut to its length, and where it is too short is continued with the
    words of others. Ids are "1" to ``count``.
    """
    random = np.random.default_rng(_SEED)
    levels = (np.arange(count) + 0.5) / count
    lengths = np.rint(np.interp(levels, list(WORD_QUANTILES), list(WORD_QUANTILES.values()))).astype(int)
    made = []
    for number, length in enumerate(random.permutation(lengths), start=1):
        first = mentions[int(random.integers(len(mentions)))]
        words = first.text.split()
        while len(words) < length:
            words += mentions[int(random.integers(len(mentions)))].text.split()
        made.append(_numbered(first, number, " ".join(words[:length])))
    return made


def resampled(path: Path, count: int) -> list[Mention]:
    """``count`` mentions of a file in random order, each as often as any other give or take one; ids "1" to ``count``.

    Raises:
        FileError: the file cannot be read, or holds no mention.
    """
    mentions = _readable(path)
    if not mentions:
        raise FileError(f"{path}: no mention can be read")
    random = np.random.default_rng(_SEED)
    rounds = [random.permutation(len(mentions)) for _ in range(-(-count // len(mentions)))]
    order = np.concatenate(rounds)[:count]
    return [_numbered(mentions[row], number, mentions[row].text) for number, row in enumerate(order, start=1)]


def _numbered(mention: Mention, number: int, text: str) -> Mention:
    """With one target brand at most, so that a mention is one reading."""
    return mention.model_copy(update={"id": str(number), "text": text, "brand": mention.brand[:1]})


def _readable(path: Path) -> list[Mention]:
    return [mention for _, mention in read_mentions(path) if not isinstance(mention, MentionError)]

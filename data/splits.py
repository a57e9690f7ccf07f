"""Splits by brand: no brand key stands in two parts, so that what is measured is brands never seen."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from data.schema import OTHER_TARGET, LabelledMention

_FEWEST_BRANDS = 4
"""Below this many brands, groups are posts: two or three brands tell nothing of how brands differ."""


def split_by_brand(keys: Sequence[str], fractions: Sequence[float], seed: int) -> list[int]:
    """The part of each mention, so that parts hold about these fractions of the mentions and share no brand key.

    Mentions without a brand (key ``""``) stay together like those of one brand.

    Args:
        keys: the brand key of each mention.
        fractions: the share of each part, above 0; they need not sum to 1.
        seed: the same seed gives the same parts, whatever the order of the mentions.

    Returns:
        For each mention the index of its part, 0 to ``len(fractions) - 1``.

    Raises:
        ValueError: no fraction is given, or one is not above 0.
    """
    if not fractions or min(fractions) <= 0:
        raise ValueError(f"every fraction of a split must be above 0, not {list(fractions)}")
    counts = Counter(keys)
    brands = sorted(counts)
    random.Random(seed).shuffle(brands)
    # Large brands first, or the last one would unbalance the parts; by powers of two, so that the seed has a say.
    brands.sort(key=lambda key: counts[key].bit_length(), reverse=True)
    filled = [0.0] * len(fractions)
    part_of: dict[str, int] = {}
    for key in brands:
        fullness = [(count + counts[key]) / share for count, share in zip(filled, fractions, strict=True)]
        part = fullness.index(min(fullness))
        part_of[key] = part
        filled[part] += counts[key]
    return [part_of[key] for key in keys]


def brand_folds(keys: Sequence[str], k: int, seed: int) -> list[int]:
    """The fold of each mention, 0 to ``k - 1``: folds of about equal size that share no brand key.

    Raises:
        ValueError: there are fewer brand keys than folds, or fewer than two folds.
    """
    if not 2 <= k <= len(set(keys)):
        raise ValueError(f"{k} folds by brand need at least 2 folds and {k} brands; there are {len(set(keys))} brands")
    return split_by_brand(keys, [1.0] * k, seed)


def independent_groups(mentions: Sequence[LabelledMention], keys: Sequence[str]) -> tuple[list[str], str]:
    """The group of each mention that folds and resamples keep whole, and what groups are: ``brand`` or ``mention``.

    A post that is labelled for another brand too stays with the brand that it was first labelled for.

    Args:
        mentions: labelled mentions.
        keys: the brand key of each.
    """
    again = {place: mention.post for place, mention in enumerate(mentions) if mention.stratum == OTHER_TARGET}
    posts = set(again.values())
    first = {
        mention.id: key
        for place, (mention, key) in enumerate(zip(mentions, keys, strict=True))
        if place not in again and mention.id in posts
    }
    brands = [first.get(again[place], key) if place in again else key for place, key in enumerate(keys)]
    if len(set(brands)) >= _FEWEST_BRANDS:
        return brands, "brand"
    return [mention.post for mention in mentions], "mention"

"""Splits by brand: no brand in two parts, about the sizes asked for, the same for the same seed."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.splits import brand_folds, split_by_brand

brands = st.lists(st.sampled_from([f"brand{n}" for n in range(30)]), min_size=1, max_size=200)


@settings(deadline=None, max_examples=50)
@given(keys=brands, fractions=st.lists(st.floats(0.05, 1), min_size=1, max_size=4), seed=st.integers(0, 2**32))
def test_a_brand_is_never_in_two_parts(keys: list[str], fractions: list[float], seed: int) -> None:
    parts = split_by_brand(keys, fractions, seed)
    of_brand = defaultdict(set)
    for key, part in zip(keys, parts, strict=True):
        of_brand[key].add(part)
    assert all(len(found) == 1 for found in of_brand.values())
    assert set(parts) <= set(range(len(fractions)))


@settings(deadline=None, max_examples=50)
@given(keys=brands, seed=st.integers(0, 100))
def test_the_parts_do_not_depend_on_the_order_of_mentions(keys: list[str], seed: int) -> None:
    forward = dict(zip(keys, split_by_brand(keys, [0.8, 0.2], seed), strict=True))
    backward = dict(zip(keys[::-1], split_by_brand(keys[::-1], [0.8, 0.2], seed), strict=True))
    assert forward == backward


def test_parts_hold_about_their_fractions() -> None:
    keys = [f"brand{n}" for n in range(100) for _ in range(1 + n % 17)]
    for seed in range(5):
        counts = Counter(split_by_brand(keys, [0.7, 0.2, 0.1], seed))
        assert [counts[part] / len(keys) for part in range(3)] == pytest.approx([0.7, 0.2, 0.1], abs=0.02)
        folds = Counter(brand_folds(keys, 5, seed))
        assert max(folds.values()) - min(folds.values()) <= 17


def test_seeds_give_different_folds() -> None:
    keys = [f"brand{n}" for n in range(50)]
    assert len({tuple(brand_folds(keys, 5, seed)) for seed in range(5)}) > 1


def test_folds_need_as_many_brands() -> None:
    with pytest.raises(ValueError, match="there are 2 brands"):
        brand_folds(["a", "b", "a"], 3, 1)
    with pytest.raises(ValueError, match="above 0"):
        split_by_brand(["a"], [1, 0], 1)

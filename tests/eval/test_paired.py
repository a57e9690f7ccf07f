"""The interval of the difference between two readers of the same mentions."""

from __future__ import annotations

import numpy as np
import pytest

from data.schema import INTENTS
from eval.metrics import figures
from eval.paired import paired_difference

_RANDOM = np.random.default_rng(5)
_TRUTH = _RANDOM.integers(0, 2, (240, len(INTENTS))).astype(np.float64)
_GROUPS = [f"brand{index % 12}" for index in range(240)]


def _wrong(share: float, rows: slice = slice(None)) -> np.ndarray:
    """The labels, with a share of the cells of some rows turned over."""
    labels = _TRUTH == 1
    turned = np.random.default_rng(7).random(labels.shape) < share
    labels[rows] ^= turned[rows]
    return labels


def test_the_difference_is_that_of_the_figures_and_lies_in_its_interval() -> None:
    ours, theirs = _wrong(0.1), _wrong(0.3)
    found = paired_difference(_TRUTH, ours, theirs, _GROUPS)
    assert found is not None
    one, other = (figures(_TRUTH, labels * 1.0, labels).macro_f1 for labels in (ours, theirs))
    assert one is not None
    assert other is not None
    assert found["macro_f1"] == pytest.approx(one - other)
    assert 0 < found["low"] < found["macro_f1"] < found["high"]
    assert found["groups"] == 12


def test_a_lead_in_one_brand_alone_is_no_evidence() -> None:
    ours, theirs = _wrong(0.3), _wrong(0.3)
    only = np.array([group == "brand3" for group in _GROUPS])
    ours[only] = _TRUTH[only] == 1
    found = paired_difference(_TRUTH, ours, theirs, _GROUPS)
    assert found is not None
    assert found["macro_f1"] > 0
    assert found["low"] == 0
    by_mention = paired_difference(_TRUTH, ours, theirs, [str(index) for index in range(240)])
    assert by_mention is not None
    assert by_mention["low"] > 0


def test_cells_that_are_not_known_count_nowhere() -> None:
    ours, theirs = _wrong(0.0), _wrong(0.5)
    truth = _TRUTH.copy()
    truth[ours != theirs] = np.nan
    found = paired_difference(truth, ours, theirs, _GROUPS)
    assert found is not None
    assert (found["macro_f1"], found["low"], found["high"]) == (0, 0, 0)


def test_nothing_to_compare() -> None:
    none = np.zeros(_TRUTH.shape, dtype=np.bool_)
    assert paired_difference(np.zeros(_TRUTH.shape), none, none, _GROUPS) is None

"""Two readers of the same mentions: the difference, how sure it is, and where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from data.schema import INTENTS, LabelledMention
from eval.baselines import Predictions
from eval.compare import BETTER, NO_EVIDENCE, WORSE, compare, mcnemar, paired_difference, verdict
from eval.metrics import figures
from eval.resampling import Resamples

_RANDOM = np.random.default_rng(5)
_TRUTH = _RANDOM.integers(0, 2, (240, len(INTENTS))).astype(np.float64)
_GROUPS = [f"brand{index % 12}" for index in range(240)]
_BY_BRAND = Resamples.of(_GROUPS)


def _wrong(share: float, seed: int = 7) -> np.ndarray:
    """The labels, with a share of the cells turned over."""
    turned: np.ndarray = np.random.default_rng(seed).random(_TRUTH.shape) < share
    labels: np.ndarray = np.logical_xor(_TRUTH == 1, turned)
    return labels


def _reader(name: str, labels: np.ndarray) -> Predictions:
    return Predictions(name, labels * 1.0, labels, True, (0.5,) * len(INTENTS))


def test_the_difference_is_that_of_the_figures_and_lies_in_its_interval() -> None:
    ours, theirs = _wrong(0.1), _wrong(0.3)
    found = paired_difference(_TRUTH, ours, theirs, _BY_BRAND)
    assert found is not None
    one, other = (figures(_TRUTH, labels * 1.0, labels).macro_f1 for labels in (ours, theirs))
    assert one is not None
    assert other is not None
    assert found["value"] == pytest.approx(one - other)
    assert 0 < found["low"] < found["value"] < found["high"]
    assert verdict(found) == BETTER
    assert verdict(paired_difference(_TRUTH, theirs, ours, _BY_BRAND)) == WORSE


def test_a_lead_in_one_brand_alone_is_no_evidence() -> None:
    ours, theirs = _wrong(0.3), _wrong(0.3)
    only = np.array([group == "brand3" for group in _GROUPS])
    ours[only] = _TRUTH[only] == 1
    found = paired_difference(_TRUTH, ours, theirs, _BY_BRAND)
    assert found is not None
    assert found["value"] > 0
    assert found["low"] == 0
    assert verdict(found) == NO_EVIDENCE
    by_mention = paired_difference(_TRUTH, ours, theirs, Resamples.of([str(index) for index in range(240)]))
    assert verdict(by_mention) == BETTER


def test_cells_that_are_not_known_count_nowhere() -> None:
    ours, theirs = _wrong(0.0), _wrong(0.5)
    truth = _TRUTH.copy()
    truth[ours != theirs] = np.nan
    found = paired_difference(truth, ours, theirs, _BY_BRAND)
    assert found == {"value": 0, "low": 0, "high": 0}


def test_nothing_to_compare() -> None:
    none = np.zeros(_TRUTH.shape, dtype=np.bool_)
    assert paired_difference(np.zeros(_TRUTH.shape), none, none, _BY_BRAND) is None
    assert verdict(None) == NO_EVIDENCE


@pytest.mark.parametrize(("one", "other"), [(0, 0), (1, 0), (3, 9), (40, 40), (2, 30)])
def test_mcnemar_is_that_of_statsmodels(one: int, other: int) -> None:
    expected = statsmodels_mcnemar([[10, one], [other, 7]], exact=True).pvalue if one + other else 1.0
    assert mcnemar(one, other) == pytest.approx(expected, abs=1e-9)


def test_a_planted_worse_model_is_found_with_the_mentions_that_tell() -> None:
    mentions = [LabelledMention(id=str(row), text=f"post {row}", brand=("Acme",)) for row in range(240)]
    worse = _wrong(0.05)
    worse[:30, 1] = _TRUTH[:30, 1] == 0  # and churn risk turned round in thirty
    before = _wrong(0.05)
    found = compare(mentions, _TRUTH, _reader("worse", worse), _reader("before", before), _BY_BRAND)
    assert found["verdict"] == WORSE
    churn = found["intents"]["churn_risk"]
    assert churn["theirs_alone"] > 20
    assert churn["ours_alone"] < 5
    assert churn["p_value"] < 0.001
    assert found["intents"]["praise"]["p_value"] == 1
    flips = found["flips"]
    assert found["flipped"] == len(flips)
    assert sorted(int(flip["id"]) for flip in flips) == np.flatnonzero((worse != before).any(axis=1)).tolist()
    gained = [abs(flip["gained"]) for flip in flips]
    assert gained == sorted(gained, reverse=True)
    lost = next(flip for flip in flips if flip["gained"] == -1)
    assert ("churn_risk" in lost["truth"]) != ("churn_risk" in lost["ours"])

"""Cross-fitting: what is stated was measured on groups that the fit did not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from data.schema import INTENTS
from model.reliability import wilson_interval
from training.calibrate import Fitted, fit
from training.crossfit import CrossFit, calibration_entries, cross_fit
from training.sample import Sample

Draw = Callable[..., Sample]


def test_no_group_is_measured_by_a_fit_that_saw_it(drawn: Draw) -> None:
    sample, seen = drawn(0, 700), []

    def watched(part: Sample) -> Fitted:
        seen.append(set(part.groups))
        return fit(part)

    measured = cross_fit(sample, watched)
    assert measured.folds == len(seen) == 7
    left_out = [set(sample.groups) - groups for groups in seen]
    assert sorted(name for groups in left_out for name in groups) == sorted(set(sample.groups))


def test_calibration_error_of_brands_unlike_each_other_shows_only_when_they_are_left_out(drawn: Draw) -> None:
    """Half of the brands say of high logits what the others say of low ones; folds of brands must not hide it."""
    sample = drawn(1, 2000, brands=4)
    odd = np.array([name == "brand3" for name in sample.groups])
    biased = replace(sample, labels=np.where((sample.labels >= 0) & odd[:, None], 1.0, sample.labels))
    error, plain = cross_fit(biased, fit).error(), cross_fit(sample, fit).error()
    assert error is not None
    assert plain is not None
    assert error > 3 * plain
    assert plain < 0.05


def test_entries_hold_counts_that_can_be_checked(drawn: Draw) -> None:
    sample = drawn(2, 700)
    measured = cross_fit(sample, fit)
    entries = calibration_entries(fit(sample), measured)
    cut = entries["cuts"]["p70"]
    said, true = measured.asserted["p70"] & (sample.labels >= 0), sample.labels == 1
    for column, intent in enumerate(INTENTS):
        hits, asserted = int((said & true)[:, column].sum()), int(said[:, column].sum())
        assert cut["precision"][intent] == pytest.approx(hits / asserted, abs=1e-4)
        assert cut["interval"][intent] == pytest.approx(wilson_interval(hits, asserted), abs=1e-4)
        assert cut["recall"][intent] == pytest.approx(hits / true[:, column].sum(), abs=1e-4)
    assert cut["pooled"]["precision"] == pytest.approx((said & true).sum() / said.sum(), abs=1e-4)
    natural = said[sample.natural]
    assert cut["natural"]["pooled"]["precision"] == pytest.approx(
        (natural & true[sample.natural]).sum() / natural.sum(), abs=1e-4
    )


def test_what_lies_near_a_threshold_is_oftener_wrong(drawn: Draw) -> None:
    doubt = cross_fit(drawn(3, 1000), fit).doubt("balanced")
    assert doubt["share"] is not None
    assert 0 < doubt["share"] < 1
    assert doubt["wrong"] is not None
    assert doubt["others_wrong"] is not None
    assert doubt["wrong"] > doubt["others_wrong"]


def test_only_known_labels_say_how_often_doubt_is_right() -> None:
    """Of four mentions the first intent alone is known, of a fifth nothing: what is unknown is neither side's."""
    labels = np.full((5, len(INTENTS)), -1.0)
    labels[:4, 0] = 1, 1, 0, 0
    first = np.zeros((5, len(INTENTS)), dtype=bool)
    first[:2, 0] = True
    doubted = np.ones_like(first)
    doubted[1:4, 0] = False
    doubted[3] = False
    sample = Sample(np.zeros(labels.shape), labels, tuple("abcde"), "brand", np.zeros(5, dtype=bool))
    asserted = first.copy()
    asserted[0, 0] = False  # wrong, and doubted
    measured = CrossFit(sample, 5, np.zeros(labels.shape), {"p70": asserted}, {"p70": doubted})
    assert measured.doubt("p70") == {"share": 0.8, "wrong": 1.0, "others_wrong": 0.0}
    without = CrossFit(replace(sample, labels=np.full_like(labels, -1)), 5, measured.values, *[{"p70": asserted}] * 2)
    assert without.doubt("p70") == {"share": 0.2, "wrong": None, "others_wrong": None}

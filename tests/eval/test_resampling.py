"""Intervals cover what they claim to, in simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import precision_recall_fscore_support
from statsmodels.stats.proportion import proportion_confint

from data.schema import INTENTS
from eval.metrics import f1_interval, figures
from eval.resampling import Resamples, interval, macro, mean_interval, shares
from model.reliability import wilson_interval

ONE = len(INTENTS)


def test_wilson_is_that_of_statsmodels() -> None:
    for trials in (1, 7, 40, 1000):
        for successes in {0, 1, trials // 3, trials}:
            ours = wilson_interval(successes, trials)
            assert ours == pytest.approx(proportion_confint(successes, trials, method="wilson"), abs=1e-9)


def test_wilson_covers_95_percent_on_average() -> None:
    """Exactly, by summing the binomial: n of 10 to 500, p of 0.02 to 0.98."""
    coverage = []
    for trials in (10, 20, 50, 100, 200, 500):
        ends = np.array([wilson_interval(successes, trials) for successes in range(trials + 1)])
        for share in np.linspace(0.02, 0.98, 97):
            covered = (ends[:, 0] <= share) & (share <= ends[:, 1])
            coverage.append(binom.pmf(np.arange(trials + 1), trials, share)[covered].sum())
    assert abs(np.mean(coverage) - 0.95) < 0.01


def test_the_interval_of_f1_covers() -> None:
    random = np.random.default_rng(1)
    covered = []
    for n, prevalence, recall, false_alarm in ((60, 0.3, 0.8, 0.05), (400, 0.1, 0.6, 0.03), (1000, 0.5, 0.9, 0.1)):
        true_f1 = 2 * prevalence * recall / (prevalence * recall + (1 - prevalence) * false_alarm + prevalence)
        for _ in range(400):
            truth = random.random(n) < prevalence
            read = np.where(truth, random.random(n) < recall, random.random(n) < false_alarm)
            found = f1_interval(int((truth & read).sum()), int(read.sum()), int(truth.sum()))
            covered.append(found is not None and found[0] <= true_f1 <= found[1])
    assert 0.93 < np.mean(covered) < 0.98


def test_the_cluster_bootstrap_covers_where_mentions_of_a_brand_resemble_each_other() -> None:
    """30 brands with precisions that differ; an interval that took mentions as independent would cover far less."""
    random = np.random.default_rng(2)
    brands, rounds = 30, 150
    sizes = np.exp(random.normal(3, 0.7, brands)).astype(int) + 1
    groups = [str(brand) for brand, size in enumerate(sizes) for _ in range(size)]
    each = np.array(groups, dtype=int)
    true_share = 0.7
    covered, naive = [], []
    for _ in range(rounds):
        share = random.beta(0.7 * 6, 0.3 * 6, size=brands)  # its mean is the true share
        truth = np.zeros((len(groups), ONE))
        truth[:, 0] = random.random(len(groups)) < share[each]
        labels = np.zeros(truth.shape, dtype=np.bool_)
        labels[:, 0] = True
        found = interval(Resamples.of(groups, draws=1000).count(truth, labels).precision[:, 0])
        alone = wilson_interval(int(truth[:, 0].sum()), len(groups))
        assert found is not None
        assert alone is not None
        covered.append(found["low"] <= true_share <= found["high"])
        naive.append(alone[0] <= true_share <= alone[1])
    assert np.mean(covered) >= 0.9
    assert np.mean(naive) < 0.8


def test_the_interval_of_macro_f1_covers_with_30_brands() -> None:
    """Brands differ in prevalence and in how well they are read; the truth is the macro-F1 over very many brands."""
    random = np.random.default_rng(5)

    def drawn(brands: int) -> tuple[list[str], np.ndarray, np.ndarray]:
        sizes = np.exp(random.normal(3.5, 0.7, brands)).astype(int) + 1
        each = np.repeat(np.arange(brands), sizes)
        prevalence = random.beta(2, 6, (brands, ONE))[each]
        recall, false_alarm = random.beta(8, 2, (brands, ONE))[each], random.beta(1, 12, (brands, ONE))[each]
        truth = random.random(prevalence.shape) < prevalence
        labels = random.random(truth.shape) < np.where(truth, recall, false_alarm)
        return [str(brand) for brand in each], truth.astype(np.float64), labels

    _, truth, labels = drawn(20_000)
    expected = figures(truth, labels.astype(np.float64), labels).macro_f1
    assert expected is not None
    covered = []
    for _ in range(150):
        groups, truth, labels = drawn(30)
        found = interval(macro(Resamples.of(groups, draws=1000).count(truth, labels).f1))
        assert found is not None
        covered.append(found["low"] <= expected <= found["high"])
    assert np.mean(covered) >= 0.9


def test_the_first_row_is_the_figure_itself_and_resamples_are_those_of_repeated_mentions() -> None:
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, (90, ONE)).astype(np.float64)
    truth[random.random(truth.shape) < 0.1] = np.nan
    labels = random.random(truth.shape) < 0.5
    groups = [f"b{row % 6}" for row in range(90)]
    resamples = Resamples.of(groups, draws=5)
    counted = resamples.count(truth, labels)
    whole = figures(truth, labels.astype(np.float64), labels)
    assert macro(counted.f1)[0] == pytest.approx(whole.macro_f1, abs=1e-12)
    names = sorted(set(groups))
    for draw in range(1, 6):
        rows = [
            row for row, group in enumerate(groups) for _ in range(int(resamples.weights[draw, names.index(group)]))
        ]
        for column in range(ONE):
            known = [row for row in rows if not np.isnan(truth[row, column])]
            precision, recall, f1, _ = precision_recall_fscore_support(
                truth[known, column], labels[known, column], average="binary", zero_division=np.nan
            )
            ours = [part[draw, column] for part in (counted.precision, counted.recall, counted.f1)]
            assert ours == pytest.approx([precision, recall, f1], abs=1e-9, nan_ok=True)


def test_a_perfect_share_of_few_cells_is_not_certain() -> None:
    """Every resample of 3 right ones of 3 is right; Wilson's interval knows better."""
    truth, labels = np.zeros((50, ONE)), np.zeros((50, ONE), dtype=np.bool_)
    truth[:3, 0], labels[:3, 0] = 1, True
    counted = Resamples.of([f"b{row % 25}" for row in range(50)]).count(truth, labels)
    spread = shares(counted, 0)
    assert spread["precision"] == {"value": 1.0, "low": wilson_interval(3, 3)[0], "high": 1.0}  # type: ignore[index]
    whole = mean_interval(counted.precision, [shares(counted, column)["precision"] for column in range(ONE)])
    assert whole is not None
    assert whole["low"] == pytest.approx(0.4385, abs=1e-3)
    assert shares(counted, 1)["precision"] is None
    assert shares(counted.pooled, 0)["recall"] == spread["recall"]


def test_what_is_not_defined_has_no_interval() -> None:
    empty = np.zeros((4, ONE))
    counted = Resamples.of(["a", "b", "c", "d"], draws=50).count(empty, empty == 1)
    assert interval(counted.precision[:, 0]) is None
    assert interval(macro(counted.f1)) is None

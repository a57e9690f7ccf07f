"""Baselines learn what can be learnt, skip what is not known, and choose their thresholds on the training mentions."""

from __future__ import annotations

import numpy as np
import pytest

from data.schema import INTENTS, FirstreplyError
from eval.baselines import TrainingSet, keyword_rules, majority, tfidf_regression

_WORDS = dict(zip(INTENTS, ("lorem", "ipsum", "dolor", "amet", "elit"), strict=True))


def _toy(count: int = 60) -> TrainingSet:
    """One made-up word decides each intent; half of the complaint labels and all of the praise labels are not known."""
    random = np.random.default_rng(3)
    truth = (random.random((count, len(INTENTS))) < 0.5).astype(np.float64)
    texts = [
        " ".join(["[TARGET]", *(word for word, one in zip(_WORDS.values(), row, strict=True) if one), "and so on"])
        for row in truth
    ]
    truth[::2, INTENTS.index("complaint")] = np.nan
    truth[:, INTENTS.index("praise")] = np.nan
    return TrainingSet(texts, truth, [f"brand{number % 7}" for number in range(count)])


def test_tfidf_learns_a_separable_set_and_leaves_out_what_is_not_known() -> None:
    read = tfidf_regression(_toy(), [f"[TARGET] {word} and so on" for word in _WORDS.values()])
    expected = np.eye(len(INTENTS), dtype=np.bool_)
    praise = INTENTS.index("praise")
    expected[praise, praise] = False  # nothing was known of it
    assert (read.labels == expected).all()
    assert read.thresholds[praise] is None
    assert read.scores.min() >= 0
    assert read.scores.max() <= 1


def test_labels_that_are_not_known_are_no_negatives() -> None:
    toy = _toy()
    complaint = INTENTS.index("complaint")
    as_negatives = np.where(np.isnan(toy.truth), 0.0, toy.truth)
    texts = ["[TARGET] dolor and so on"]
    skipped = tfidf_regression(toy, texts).scores[0, complaint]
    denied = tfidf_regression(TrainingSet(toy.texts, as_negatives, toy.brand_keys), texts).scores[0, complaint]
    assert skipped > denied + 0.1


def test_tfidf_needs_two_brands_for_its_folds() -> None:
    toy = _toy(10)
    with pytest.raises(FirstreplyError, match="two brand keys"):
        tfidf_regression(TrainingSet(toy.texts, toy.truth, ["one"] * 10), toy.texts)


def test_keyword_rules_match_whole_words_in_any_case() -> None:
    train = TrainingSet(
        ["help", "thanks", "nothing"], np.array([[0, 0, 0, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]), ["a"] * 3
    )
    texts = [
        "Want to BUY this",
        "switching to [OTHER] tomorrow",
        "so mad at [TARGET]",
        "it doesn't work",
        "unhelpful nomad buyer",
    ]
    read = keyword_rules(train, texts)
    assert not read.probabilities
    assert [set(np.flatnonzero(row)) for row in read.scores] == [{0}, {1}, {2}, {2, 4}, set()]
    # purchase, churn risk and complaint have no positives to choose a threshold on
    assert read.thresholds == (None, None, None, 1.0, 1.0)
    assert read.labels.sum(axis=0).tolist() == [0, 0, 0, 0, 1]


def test_majority_is_the_commoner_of_the_known_labels() -> None:
    truth = np.array([[1, 0, np.nan, 1, np.nan], [1, 0, np.nan, 0, 1], [np.nan, 1, np.nan, 0, 1]])
    read = majority(TrainingSet(["a", "b", "c"], truth, ["x", "y", "z"]), ["d", "e"])
    assert read.labels.tolist() == [[True, False, False, False, True]] * 2
    assert read.scores[0] == pytest.approx([1, 1 / 3, 0, 1 / 3, 1])

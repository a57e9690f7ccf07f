"""What the model is measured against: keyword rules, TF-IDF with logistic regression, and the commoner label.

Leaves out the figures (``eval.metrics``). Every baseline is fitted on the labelled mentions given, in the run that
measures it, and reads the text that the model reads: normalised, with the target masked. Thresholds are chosen by F1 on
the training mentions alone, out of fold by brand where something was fitted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any, Protocol

import numpy as np

from data.schema import INTENTS, FirstreplyError
from eval.metrics import Flags, Floats, balanced_threshold
from eval.progress import counted

FOLDS = 5
_SEED = 0

LEXICON = {
    "purchase": (
        "buy, buying, purchase, purchasing, order, pre-?order, book, booking, subscribe, sign up, upgrade, i want, "
        "i need, getting, how much, price, in stock, available, deals?"
    ),
    "churn_risk": (
        "switch, switching, switched, cancel, cancell?ing, cancell?ed, leave, leaving, unsubscribe, boycott, "
        r"never again, never (?:\w+ )?(?:fly|flying|buy|buying|use|using|shop|shopping), last time, done with, "
        "moving to, close my account, lost a customer"
    ),
    "complaint": (
        "mad, angry, furious, hate, worst, terrible, awful, horrible, sucks?, ridiculous, unacceptable, "
        "disappoint(?:ed|ing|ment), frustrat(?:ed|ing), useless, broken, rude, poor, bad, delayed, still waiting, "
        r"no response, not working, \w+n['’]?t work, fail(?:ed|s|ure)?, wtf, joke"
    ),
    "praise": (
        "love, loving, thanks?, thank you, thx, great, awesome, amazing, excellent, fantastic, best, perfect, kudos, "
        "well done, good job, appreciate, happy, impressed"
    ),
    "support_question": (
        "help, how (?:do|can|to), can you, could you, can i, please, pls, why (?:is|are|does|do|can), when will, "
        r"what(?:'s| is) (?:the|going), any update, issues?, problem, error, fix, dm, account, not working, "
        r"\w+n['’]?t work"
    ),
}
"""What a social care team without a model searches for: buying, switching, mad, love, help and their neighbours.

Regular expressions between commas, matched as whole words in any case.
"""


@dataclass(frozen=True)
class Predictions:
    """What one reader (a baseline or a bundle) says of the mentions; arrays have the shape (mentions, intents)."""

    name: str
    scores: Floats
    labels: Flags
    probabilities: bool
    """Whether the scores are probabilities."""
    thresholds: tuple[float | None, ...]
    """Per intent, on the scale of the scores; None where the intent is never asserted."""


@dataclass(frozen=True)
class TrainingSet:
    """What baselines are fitted on."""

    texts: Sequence[str]
    """Normalised, the target masked."""
    truth: Floats
    brand_keys: Sequence[str]
    """Brands are kept whole when thresholds are chosen out of fold."""


class Baseline(Protocol):
    """Fits on a training set and reads other texts."""

    def __call__(self, train: TrainingSet, texts: Sequence[str]) -> Predictions:
        """Scores and thresholds for the texts."""


def majority(train: TrainingSet, texts: Sequence[str]) -> Predictions:
    """Every mention gets the share of training mentions that have the intent, and the intent where that is over 1/2."""
    rates = np.array([_rate(train.truth[:, column]) for column in range(len(INTENTS))])
    scores = np.tile(rates, (len(texts), 1))
    thresholds = tuple(0.5 if rate > 0.5 else None for rate in rates)
    return Predictions("majority", scores, scores > 0.5, True, thresholds)


def keyword_rules(train: TrainingSet, texts: Sequence[str]) -> Predictions:
    """An intent's score is how many of its lexicon entries the text matches; at least one is needed to assert it."""
    patterns = [
        [re.compile(rf"(?<!\w)(?:{entry})(?!\w)", re.IGNORECASE) for entry in LEXICON[intent].split(", ")]
        for intent in INTENTS
    ]

    def hits(lines: Sequence[str]) -> Floats:
        counts = [[sum(p.search(line) is not None for p in entries) for entries in patterns] for line in lines]
        return np.array(counts, dtype=np.float64).reshape(len(lines), len(INTENTS))

    thresholds = [max(1.0, one) for one in _thresholds(train.truth, hits(train.texts))]
    return cut_at("keyword rules", hits(texts), np.array(thresholds), probabilities=False)


def tfidf_regression(train: TrainingSet, texts: Sequence[str]) -> Predictions:
    """TF-IDF of word 1–2-grams and character 3–5-grams within words, and one logistic regression per intent.

    An intent is learnt from the mentions whose label is known; one that has a single label in ``train`` is that label's
    share for every mention and is never asserted. The thresholds are the best of out-of-fold predictions, ``FOLDS``
    folds of whole brands (fewer where there are fewer brands).
    """
    folds = _brand_folds(train.brand_keys)
    out_of_fold = np.full(train.truth.shape, np.nan)
    for fold in counted(range(folds.max() + 1), "baseline TF-IDF, folds", int(folds.max()) + 1):
        held = folds == fold
        read = _fit_tfidf(list(compress(train.texts, ~held)), train.truth[~held])
        out_of_fold[held] = read(list(compress(train.texts, held)))
    thresholds = _thresholds(train.truth, out_of_fold)
    return cut_at(
        "TF-IDF + logistic regression", _fit_tfidf(train.texts, train.truth)(texts), thresholds, probabilities=True
    )


BASELINES: tuple[Baseline, ...] = (majority, keyword_rules, tfidf_regression)


def _fit_tfidf(texts: Sequence[str], truth: Floats) -> Callable[[Sequence[str]], Floats]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import FeatureUnion

    rare = 2 if len(texts) >= 1000 else 1
    features = FeatureUnion(
        [
            ("words", TfidfVectorizer(ngram_range=(1, 2), min_df=rare, sublinear_tf=True)),
            ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), min_df=rare, sublinear_tf=True)),
        ]
    )
    matrix = features.fit_transform(texts)
    classifiers: list[Any] = []
    for column in range(len(INTENTS)):
        known = np.flatnonzero(~np.isnan(truth[:, column]))
        if len(np.unique(truth[known, column])) < 2:
            classifiers.append(_rate(truth[:, column]))
        else:
            # C: the best of 1, 4 and 16 out of fold on the project's labelled mentions; class weights did not help.
            # liblinear is the fastest exact solver for one binary problem on wide sparse rows
            regression = LogisticRegression(C=4.0, solver="liblinear", random_state=_SEED)
            classifiers.append(regression.fit(matrix[known], truth[known, column]))

    def read(lines: Sequence[str]) -> Floats:
        rows = features.transform(lines)
        columns = [
            np.full(len(lines), one) if isinstance(one, float) else one.predict_proba(rows)[:, 1] for one in classifiers
        ]
        return np.stack(columns, axis=1).astype(np.float64)

    return read


def _brand_folds(brand_keys: Sequence[str]) -> np.ndarray[Any, np.dtype[np.intp]]:
    """A fold for every mention, brands kept whole and the folds about equal: the largest brand to the emptiest fold."""
    keys, brand, counts = np.unique(
        np.asarray(brand_keys, dtype=object).astype(str), return_inverse=True, return_counts=True
    )
    if len(keys) < 2:
        raise FirstreplyError("the baselines need train files with at least two brand keys to choose their thresholds")
    filled = np.zeros(min(FOLDS, len(keys)), dtype=np.intp)
    fold_of = np.zeros(len(keys), dtype=np.intp)
    for index in np.argsort(-counts, kind="stable"):
        fold_of[index] = np.argmin(filled)
        filled[fold_of[index]] += counts[index]
    return fold_of[brand]


def _thresholds(truth: Floats, scores: Floats) -> Floats:
    """Per intent the threshold with the best F1 on the known labels, infinity where the intent has no positives."""
    chosen = []
    for column in range(len(INTENTS)):
        known = ~np.isnan(truth[:, column])
        chosen.append(balanced_threshold(truth[known, column] == 1, scores[known, column]))
    return np.array(chosen)


def cut_at(name: str, scores: Floats, thresholds: Floats, *, probabilities: bool) -> Predictions:
    """Predictions of ``name``: labels where a score is at or above its intent's threshold (infinity: nowhere)."""
    shown = tuple(float(one) if np.isfinite(one) else None for one in thresholds)
    return Predictions(name, scores, scores >= thresholds, probabilities, shown)


def _rate(column: Floats) -> float:
    """Share of 1s among the known labels; 0 where none is known."""
    known = column[~np.isnan(column)]
    return float(known.mean()) if len(known) else 0.0

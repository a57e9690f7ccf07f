"""Cohen's kappa of a corpus's labels and ours, against scikit-learn's."""

from __future__ import annotations

from random import Random

import pytest
from sklearn.metrics import cohen_kappa_score

from data.agreement import agreements


def test_kappa_is_that_of_scikit_learn() -> None:
    random = Random(1)
    pairs = [("praise", int(random.random() < 0.3), int(random.random() < 0.4)) for _ in range(200)]
    pairs += [("praise", 1, 1)] * 40
    found = agreements(pairs)["praise"]
    assert found.mentions == 240
    assert found.kappa == pytest.approx(cohen_kappa_score(*zip(*[pair[1:] for pair in pairs], strict=True)))


def test_intents_without_a_common_mention_are_left_out() -> None:
    assert list(agreements([("churn_risk", 1, 1)])) == ["churn_risk"]


@pytest.mark.parametrize("pairs", [[("complaint", 0, 0)] * 9, [("complaint", 0, 1), ("complaint", 0, 0)]])
def test_one_side_that_never_varies_says_nothing(pairs: list[tuple[str, int, int]]) -> None:
    assert agreements(pairs)["complaint"].kappa is None

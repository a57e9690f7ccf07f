"""Parts of the mentions: derived columns, which stand apart, and which are worse together than alone."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from data.schema import INTENTS, Author, LabelledMention
from eval.baselines import Predictions
from eval.slices import derived_values, overlaps, slice_columns
from model.brands import Brands
from model.normalise import normalise

ROWS = 400
RANDOM = np.random.default_rng(8)
TRUTH = RANDOM.integers(0, 2, (ROWS, len(INTENTS))).astype(np.float64)


def _reader(wrong: np.ndarray) -> Predictions:
    """Reads every mention right but those of these rows, whose cells are each wrong half of the time."""
    labels = TRUTH == 1
    labels ^= wrong[:, None] & (np.random.default_rng(9).random(TRUTH.shape) < 0.5)
    return Predictions("reader", labels * 1.0, labels, True, (0.5,) * len(INTENTS))


def test_a_part_that_is_read_worse_comes_first_and_small_ones_last() -> None:
    colour = np.array(["red", "green", "blue", "rare"], dtype=object)[RANDOM.choice(4, ROWS, p=[0.3, 0.3, 0.37, 0.03])]
    columns = {"colour": colour.tolist(), "empty": [""] * ROWS}
    slices = slice_columns(columns, _reader((colour == "green") | (colour == "rare")), TRUTH)
    assert list(slices) == ["colour"]
    assert next(iter(slices["colour"])) == "green"
    assert list(slices["colour"])[-1] == "rare"
    assert {value: one["apart"] for value, one in slices["colour"].items()} == {
        "green": "worse", "red": "better", "blue": "better", "rare": None
    }  # fmt: skip
    assert slices["colour"]["rare"]["small"]


def test_two_parts_that_are_worse_together_are_found() -> None:
    colour, size = (
        np.array(names, dtype=object)[RANDOM.integers(2, size=ROWS)] for names in (("red", "blue"), ("S", "L"))
    )
    columns = {"colour": colour.tolist(), "size": size.tolist(), "brand": [f"b{row % 2}" for row in range(ROWS)]}
    model = _reader((colour == "red") & (size == "L"))
    found = overlaps(columns, slice_columns(columns, model, TRUTH), model, TRUTH)
    assert found[0]["columns"] == [["colour", "red"], ["size", "L"]]
    assert found[0]["micro_f1_high"] < 0.7
    nothing = _reader(np.zeros(ROWS, dtype=np.bool_))
    assert overlaps(columns, slice_columns(columns, nothing, TRUTH), nothing, TRUTH) == []


def test_columns_that_are_worked_out() -> None:
    mentions = [
        LabelledMention(text="@Brellow thanks", brand=("Brellow",), author=Author(followers=99)),
        LabelledMention(
            text=" ".join(["the parcel is late again and nobody answers the phone"] * 4),
            brand=("Brellow",), created_at=datetime(2026, 3, 9, tzinfo=UTC), author=Author(followers=250_000),
        ),
        LabelledMention(text="meine Bestellung ist nicht angekommen, wo bleibt sie denn"),
    ]  # fmt: skip
    brands = Brands.load()
    rows = [derived_values(one, normalise(one.text, one.target, brands)) for one in mentions]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert columns["length"] == ["1–5 words", "31 words or more", "6–15 words"]
    assert columns["brand named"] == ["by its handle", "not in the text", "no brand"]
    assert columns["language (guessed)"][1:] == ["en", "de"]
    assert columns["followers"] == ["under 100", "100,000 or more", ""]
    assert columns["month"] == ["", "2026-03", ""]

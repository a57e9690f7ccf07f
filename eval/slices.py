"""Figures of parts of the mentions: which column values are read worse than the rest, alone and two at a time.

Leaves out the figures themselves (``eval.metrics``). Within a slice mentions count one by one: its intervals say how
much so few mentions can tell, and not how brands differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data.schema import LabelledMention
from eval.baselines import Predictions
from eval.metrics import Floats, figures
from model.normalise import TARGET, NormalisedText

SMALL = 20
"""Slices with fewer mentions are shown but not ranked: one mention moves them by 5 points or more."""
MOST_OVERLAPS = 12
MOST_VALUES = 1_000
"""Values of a column that are measured, those with the most mentions."""

_LENGTHS = ((6, "1–5 words"), (16, "6–15 words"), (31, "16–30 words"))
_FOLLOWERS = ((100, "under 100"), (1_000, "100–999"), (10_000, "1,000–9,999"), (100_000, "10,000–99,999"))

DERIVED = ("length", "brand named", "language (guessed)", "followers", "month")
"""Columns that are worked out from a mention."""

Columns = Mapping[str, Sequence[str]]
Rows = NDArray[np.intp]


def derived_values(mention: LabelledMention, normalised: NormalisedText) -> dict[str, str]:
    """Column → value of those that are worked out from a mention, ``""`` where it is not known."""
    import py3langid

    followers = mention.author.followers
    values = (
        _band(len(mention.text.split()), _LENGTHS, "31 words or more"),
        _how_named(mention.text, normalised),
        py3langid.classify(mention.text)[0],  # ISO 639-1; of short posts often wrong
        "" if followers is None else _band(followers, _FOLLOWERS, "100,000 or more"),
        mention.created_at.strftime("%Y-%m") if mention.created_at else "",
    )
    return dict(zip(DERIVED, values, strict=True))


def slice_columns(columns: Columns, model: Predictions, truth: Floats) -> dict[str, dict[str, Any]]:
    """Column → value → figures, ``small`` and ``apart``; the worst first, then the small ones, the largest first.

    ``apart`` is ``"worse"`` or ``"better"`` where the interval of the micro-F1 lies below or above the micro-F1 of all,
    else None. Columns that are empty throughout are left out.
    """
    whole = _figures(model, truth, np.arange(len(truth)))
    return {
        name: _ranked({value: _apart(_figures(model, truth, rows), whole) for value, rows in _values(column)})
        for name, column in columns.items()
        if any(column)
    }


def overlaps(columns: Columns, slices: Mapping[str, Any], model: Predictions, truth: Floats) -> list[dict[str, Any]]:
    """Two values of different columns that are worse together than either alone, the worst first.

    Only values that stand apart as worse in one of the columns, and pairs of ``SMALL`` mentions or more whose interval
    lies below both micro-F1s.
    """
    found = []
    rows = {
        (name, value): members
        for name, parts in slices.items()
        for value, members in _values(columns[name])
        if not parts[value]["small"]
    }
    worse = [part for part in rows if slices[part[0]][part[1]]["apart"] == "worse"]
    for one in worse:
        for other, members in rows.items():
            if one[0] == other[0] or (other in worse and other < one):
                continue
            both = np.intersect1d(rows[one], members, assume_unique=True)
            if len(both) < SMALL or len(both) in (len(rows[one]), len(members)):
                continue
            measured = _figures(model, truth, both)
            alone = [slices[name][value]["micro_f1"] for name, value in (one, other)]
            if measured["micro_f1"] is not None and None not in alone and measured["micro_f1_high"] < min(alone):
                found.append({"columns": [list(one), list(other)], **measured})
    return sorted(found, key=lambda part: part["micro_f1"])[:MOST_OVERLAPS]


def _figures(model: Predictions, truth: Floats, rows: Rows) -> dict[str, Any]:
    return asdict(figures(truth[rows], model.scores[rows], model.labels[rows], probabilities=model.probabilities))


def _apart(measured: dict[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    small = measured["mentions"] < SMALL
    apart = None
    if not small and measured["micro_f1"] is not None:
        if measured["micro_f1_high"] < whole["micro_f1"]:
            apart = "worse"
        elif measured["micro_f1_low"] > whole["micro_f1"]:
            apart = "better"
    return {**measured, "small": small, "apart": apart}


def _ranked(parts: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    def place(value: str) -> tuple[bool, float, int]:
        part = parts[value]
        ranked = not part["small"] and part["micro_f1"] is not None
        return not ranked, part["micro_f1"] if ranked else 0.0, -part["mentions"]

    return {value: parts[value] for value in sorted(parts, key=place)}


def _values(column: Sequence[str]) -> list[tuple[str, Rows]]:
    """The commonest values and the mentions that have them."""
    words = np.array(column, dtype=object).astype(str)
    values, inverse, counts = np.unique(words, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(inverse, kind="stable"), np.cumsum(counts)[:-1])
    kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_VALUES])
    return [(str(values[index]), members[index]) for index in kept.tolist()]


def _band(number: float, bands: Sequence[tuple[float, str]], above: str) -> str:
    return next((name for upper, name in bands if number < upper), above)


def _how_named(text: str, normalised: NormalisedText) -> str:
    """Whether a text names its target: by its handle, by name, or not."""
    if normalised.target is None:
        return "no brand"
    found = [text[start:end] for word, start, end, *_ in normalised.words if word == TARGET and end > start]
    if any(name.startswith("@") for name in found):
        return "by its handle"
    return "by name" if found else "not in the text"

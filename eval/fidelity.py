"""How far two bundles of one model differ on the same mentions, as int8 from the floats it was quantised from.

Leaves out whether either is any good (``eval.evaluate``); macro-F1 is here only to say what the difference costs. It
also checks that a mention's score depends on that mention alone, whatever is scored beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.schema import INTENTS, LabelledMention
from eval.labelled import read_by_model, read_labelled_files
from eval.metrics import figures, truth_of
from model.errors import BundleError
from model.scorer import Scorer

_ALONE = 200
"""Mentions that are scored once more, one call each and in another order."""


@dataclass(frozen=True)
class FidelityJob:
    """What ``firstreply evaluate --fidelity`` was asked to do."""

    bundle: Path
    reference: Path
    """The other bundle, as ``train --keep-fp32`` writes it."""
    data: Sequence[Path]
    """Labelled files."""


@dataclass(frozen=True)
class Fidelity:
    """How two bundles differ on the same mentions, each at its own balanced thresholds."""

    mentions: int
    cells: int
    """Mentions times intents."""
    labels_differ: int
    """Cells that one bundle asserts and the other does not."""
    share_differ: float
    differ_by_intent: dict[str, int]
    macro_f1: float | None
    reference_macro_f1: float | None
    macro_f1_difference: float | None
    """The bundle's less the reference's."""
    max_probability_difference: float
    mean_probability_difference: float
    """Of the absolute differences."""
    neighbour_difference: float
    """Largest change of a probability when the same mention is scored alone and among others; 0 is required."""


def fidelity(job: FidelityJob) -> int:
    """Compare, print the figures, and end with one JSON object on the last line.

    Returns:
        0, 1 where a score of the bundle depends on the mentions beside it, or 3 where rows were refused.

    Raises:
        FirstreplyError: a bundle or a file cannot be read, or the bundles do not read the same text.
    """
    ours, theirs = Scorer.load(job.bundle), Scorer.load(job.reference)
    _require_same_reading(ours, theirs)
    data = read_labelled_files(job.data)
    measured = compare(ours, theirs, data.mentions)
    per_intent = ", ".join(f"{intent} {count:,}" for intent, count in measured.differ_by_intent.items())
    print(
        f"{ours.name} against {theirs.name} on {measured.mentions:,} mentions, each at its own balanced thresholds\n"
        f"  labels that differ    {measured.labels_differ:,} of {measured.cells:,} cells ({measured.share_differ:.2%}):"
        f" {per_intent}"
        f"\n  macro-F1              {_show(measured.macro_f1)} against {_show(measured.reference_macro_f1)}"
        f"\n  probabilities         at most {measured.max_probability_difference:.4f} apart, "
        f"{measured.mean_probability_difference:.4f} on average"
        f"\n  alone and among others, the same mention is {measured.neighbour_difference:g} apart at most"
    )
    print(json.dumps({"model": ours.name, "reference": theirs.name, **vars(measured)}))
    if measured.neighbour_difference:
        return 1
    return 3 if data.any_refused else 0


def compare(ours: Scorer, theirs: Scorer, mentions: Sequence[LabelledMention]) -> Fidelity:
    """Read every mention with both."""
    (p, labels), (q, reference_labels) = (_read(scorer, mentions) for scorer in (ours, theirs))
    truth = truth_of(mentions)
    differ = labels != reference_labels
    f1, reference_f1 = figures(truth, p, labels).macro_f1, figures(truth, q, reference_labels).macro_f1
    return Fidelity(
        mentions=len(mentions),
        cells=int(differ.size),
        labels_differ=int(differ.sum()),
        share_differ=float(differ.mean()),
        differ_by_intent=dict(zip(INTENTS, differ.sum(axis=0).tolist(), strict=True)),
        macro_f1=f1,
        reference_macro_f1=reference_f1,
        macro_f1_difference=None if f1 is None or reference_f1 is None else f1 - reference_f1,
        max_probability_difference=float(np.abs(p - q).max()),
        mean_probability_difference=float(np.abs(p - q).mean()),
        neighbour_difference=_neighbour_difference(ours, mentions, p),
    )


def _read(scorer: Scorer, mentions: Sequence[LabelledMention]) -> tuple[np.ndarray, np.ndarray]:
    readings = read_by_model(scorer, mentions, f"scored by {scorer.name}")
    scores = np.array([reading.probabilities for reading in readings], dtype=np.float64)
    return scores, scores >= np.array(scorer.bundle.thresholds("balanced"))


def _neighbour_difference(scorer: Scorer, mentions: Sequence[LabelledMention], among_others: np.ndarray) -> float:
    """Score some mentions alone, and again among each other in another order; compare both with the first scores."""
    chosen = np.random.default_rng(0).permutation(len(mentions))[:_ALONE]
    alone = [scorer.read(mentions[row].text, mentions[row].target).probabilities for row in chosen]
    shuffled = scorer.read_all((mentions[row].text, mentions[row].target) for row in chosen)
    again = [reading.probabilities for reading in shuffled]
    expected = among_others[chosen]
    return float(max(np.abs(np.array(alone) - expected).max(), np.abs(np.array(again) - expected).max()))


def _require_same_reading(ours: Scorer, theirs: Scorer) -> None:
    """What differs must be the model alone, not the text that it is given."""
    if (ours.bundle.max_tokens, ours.brands.sha256) != (theirs.bundle.max_tokens, theirs.brands.sha256):
        raise BundleError(
            f"{theirs.bundle.folder} does not read text as {ours.bundle.folder} does (max tokens or brands file); "
            "give the bundle that was exported in the same run"
        )


def _show(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.4f}"

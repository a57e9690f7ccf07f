"""ONNX model, tokenizer and brands file → a whole bundle: calibrated, cut, measured on dev, with its card.

Everything is fitted and measured through the scorer that serves, on the model that is served.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, f1_score, precision_recall_fscore_support

from data.schema import INTENTS, LabelledMention
from model.bundle import BRANDS, CARD, CUTS, MODEL, TOKENIZER, Calibration, write_manifest
from model.scorer import Reading, Scorer
from training.calibrate import fit, probabilities
from training.card import Check, describe
from training.crossfit import calibration_entries, cross_fit
from training.sample import Flags, Floats, Sample, labels_of

IDENTITY = Calibration((1.0,) * len(INTENTS), (0.0,) * len(INTENTS))


@dataclass(frozen=True)
class Parts:
    """What a bundle is made of."""

    model: Path
    tokenizer: Path
    brands: Path
    manifest: dict[str, Any]
    """Name, version, max_tokens, base_model, recipe, quantisation, data, as they go into ``bundle.json``."""


def assemble(
    folder: Path,
    parts: Parts,
    dev: Sequence[LabelledMention],
    progress: Callable[[str], None],
    check: Check | None = None,
) -> dict[str, Any]:
    """Make the bundle in ``folder`` (new or empty), record what ``check`` says of it, and return its dev figures."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, name in ((parts.model, MODEL), (parts.tokenizer, TOKENIZER), (parts.brands, BRANDS)):
        shutil.copyfile(source, folder / name)
    progress(f"calibrating on {len(dev):,} dev mentions")
    sample = Sample.of(dev, _raw_logits(folder, parts, dev))
    fitted = fit(sample)
    measured = cross_fit(sample, fit)
    values = probabilities(fitted.calibration, sample.logits)
    thresholds = np.array([fitted.cuts["balanced"].thresholds[intent] for intent in INTENTS], dtype=np.float64)
    figures = figures_by_part(values, sample.labels, thresholds, sample.natural)
    manifest = {
        **parts.manifest,
        **calibration_entries(fitted, measured),
        "figures": {"dev": figures},
    }
    describe(folder, manifest, check, progress)
    return figures


def figures_by_part(values: Floats, truth: Floats, thresholds: Floats, natural: Flags) -> dict[str, Any]:
    """``figures_of`` all mentions, and of the ``natural`` ones (mentions) where these are some but not all."""
    figures = {"all": figures_of(values, truth, thresholds)}
    if 0 < natural.sum() < len(natural):
        figures["natural"] = figures_of(values[natural], truth[natural], thresholds)
    return figures


def figures_read(
    mentions: Sequence[LabelledMention], readings: Sequence[Reading], thresholds: Sequence[float]
) -> dict[str, Any]:
    """``figures_by_part`` of what a bundle read in labelled mentions, at its thresholds."""
    values = np.array([reading.probabilities for reading in readings], dtype=np.float64)
    natural = np.array([mention.is_natural for mention in mentions])
    return figures_by_part(values, labels_of(mentions), np.array(thresholds, dtype=np.float64), natural)


def figures_of(values: Floats, truth: Floats, thresholds: Floats) -> dict[str, Any]:
    """Precision, recall, F1, average precision and support per intent at the thresholds, and macro F1 and AP.

    ``both_classes_f1`` is the mean of the F1 of the asserted and of the denied, which papers on one intent call macro.
    An intent without a known positive has no figures and does not enter the macro averages.
    """
    intents: dict[str, Any] = {}
    for column, intent in enumerate(INTENTS):
        known = truth[:, column] >= 0
        actual, scores = truth[known, column], values[known, column]
        if not actual.sum():
            continue
        precision, recall, f1, _ = precision_recall_fscore_support(
            actual, scores >= thresholds[column], average="binary", zero_division=0.0
        )
        intents[intent] = {
            "precision": round(float(precision), 4),
            "recall": round(float(recall), 4),
            "f1": round(float(f1), 4),
            "both_classes_f1": round(float(f1_score(actual, scores >= thresholds[column], average="macro")), 4),
            "average_precision": round(float(average_precision_score(actual, scores)), 4),
            "support": int(actual.sum()),
        }
    macro = {
        f"macro_{name}": round(float(np.mean([row[name] for row in intents.values()])), 4) if intents else None
        for name in ("f1", "average_precision")
    }
    return {"mentions": len(truth), **macro, "intents": intents}


def _raw_logits(folder: Path, parts: Parts, dev: Sequence[LabelledMention]) -> Floats:
    """Logits as the scorer reads them, from a bundle whose calibration changes nothing yet."""
    plain = dict.fromkeys(INTENTS, 0.5)
    (folder / CARD).touch()
    write_manifest(
        folder,
        {
            **parts.manifest,
            "calibration": {name: dict(zip(INTENTS, values, strict=True)) for name, values in asdict(IDENTITY).items()},
            "cuts": {name: {"thresholds": plain} for name in CUTS},
            "figures": {},
        },
    )
    readings = Scorer.load(folder).read_all((mention.text, mention.target) for mention in dev)
    return np.array([reading.logits for reading in readings], dtype=np.float64).reshape(-1, len(INTENTS))

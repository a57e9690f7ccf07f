"""A bundle's figures on labelled mentions: overall, per slice, at every cut, and beside baselines fitted in the run.

Leaves out the formulas (``eval.metrics``), the baselines (``eval.baselines``), the behavioural tests
(``eval.behaviour``) and how it all looks (``eval.report``). The bundle is read through ``Scorer.read_all``, the code
that the endpoint and the bulk scorer run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.files import file_errors
from data.schema import INTENTS, FirstreplyError, LabelledMention
from data.splits import independent_groups
from eval.baselines import BASELINES, Predictions, TrainingSet, cut_at
from eval.behaviour import behaviour_report
from eval.labelled import LabelledFile, read_by_model, read_labelled_files
from eval.metrics import Figures, Flags, Floats, figures, truth_of
from eval.paired import paired_difference
from eval.report import markdown_report, text_report
from model.bundle import Bundle
from model.normalise import normalise
from model.scorer import Reading, Scorer

NATURAL = "natural"
"""The stratum that is a random draw: its figures are those to expect of a brand's own stream."""
SMALL_SLICE = 20
"""Slices with fewer mentions are marked: one mention moves them by 5 points or more."""
SLICED_BY = ("stratum", "source", "brand_key")
BY_COLUMNS = (*SLICED_BY, "channel", "brand")
"""Columns that ``by`` can name."""

_REJECTED = 3
_NAMED_IN_WARNING = 8


@dataclass(frozen=True)
class EvaluateJob:
    """What ``firstreply evaluate`` was asked to do."""

    bundle: Path
    data: Sequence[Path]
    """Labelled files to measure on."""
    out: Path
    """Folder for ``report.json`` and ``report.md``; made where it does not exist."""
    train: Sequence[Path] = ()
    """Labelled files to fit the baselines on, and to check that nothing of ``data`` is in them."""
    by: Sequence[str] = ()
    """More columns to slice by, of ``BY_COLUMNS``."""
    cut: str = "balanced"
    brands: Path | None = None
    """Brands file in place of the bundle's own."""
    compare: Path | None = None
    """Another bundle to show beside this one, at its own thresholds of the same cut."""


@dataclass(frozen=True)
class _Overlap:
    """What of the data also occurs in the train files, one flag per mention of the data."""

    brand: Sequence[bool]
    text: Sequence[bool]


def evaluate(job: EvaluateJob) -> int:
    """Measure, print the tables on stdout, and write ``report.json`` and ``report.md``.

    Returns:
        0, or 3 where rows of the data were refused (they are named on stderr and in the report).

    Raises:
        FirstreplyError: a bundle or a file cannot be read, no such cut or column, scikit-learn missing with ``train``.
    """
    unknown = next((column for column in job.by if column not in BY_COLUMNS), None)
    if unknown is not None:
        raise FirstreplyError(f"--by {unknown}: no such column; use {', '.join(BY_COLUMNS)}")
    scorer = Scorer.load(job.bundle, brands=job.brands)
    other = Scorer.load(job.compare, brands=job.brands) if job.compare else None
    scorer.bundle.thresholds(job.cut)  # refuses a cut that does not exist before anything is scored
    files = read_labelled_files(job.data)
    train_files = read_labelled_files(job.train)

    mentions = [mention for file in files for mention in file.mentions]
    readings = list(read_by_model(scorer, mentions, "scored"))
    truth = truth_of(mentions)
    keys = [_brand_key(mention, reading.target, scorer) for mention, reading in zip(mentions, readings, strict=True)]
    model = _predictions(scorer, readings, job.cut)

    others: list[Predictions] = []
    if other is not None:
        theirs = _predictions(other, list(read_by_model(other, mentions, "scored by the other bundle")), job.cut)
        same_name = f"{other.name} ({job.compare})"
        others.append(replace(theirs, name=same_name) if other.name == scorer.name else theirs)
    overlap = None
    if train_files:
        train, texts = _training_set(train_files, scorer), _texts(mentions, scorer)
        others.extend(baseline(train, texts) for baseline in BASELINES)
        overlap = _find_overlap(keys, texts, train)

    natural = np.array([mention.stratum == NATURAL for mention in mentions])
    groups, by = independent_groups(mentions, keys)
    columns = _columns(mentions, keys, [*SLICED_BY, *job.by], overlap)
    report: dict[str, Any] = {
        "format": 1,
        "model": scorer.name,
        "cut": job.cut,
        "data": [_file_summary(file) for file in files],
        "train": [_file_summary(file) for file in train_files],
        "warnings": [*_empty_columns(job.by, columns), *_warnings(keys, overlap)],
        **_measure(model, truth, natural),
        "cuts": _every_cut(scorer.bundle, model.scores, truth),
        "slices": {name: _slices(values, model, truth) for name, values in columns.items()},
        "behaviour": behaviour_report(scorer),
        "others": {
            one.name: {
                **_measure(one, truth, natural),
                "difference": paired_difference(truth, model.labels, one.labels, groups),
            }
            for one in others
        },
        "resampled_by": by,
    }
    print(text_report(report))
    _write(job.out, report)
    for warning in report["warnings"]:
        print(f"warning: {warning}", file=sys.stderr)
    return _REJECTED if any(file.refused for file in files) else 0


def _predictions(scorer: Scorer, readings: Sequence[Reading], cut: str) -> Predictions:
    scores = np.array([reading.probabilities for reading in readings], dtype=np.float64).reshape(-1, len(INTENTS))
    return cut_at(scorer.name, scores, np.array(scorer.bundle.thresholds(cut)), probabilities=True)


def _measure(reader: Predictions, truth: Floats, natural: Flags) -> dict[str, Any]:
    """``overall`` and ``natural`` figures (None without natural mentions) and the thresholds they were measured at."""
    return {
        "thresholds": dict(zip(INTENTS, reader.thresholds, strict=True)),
        "overall": asdict(_figures(reader, truth, np.ones(len(truth), dtype=np.bool_))),
        "natural": asdict(_figures(reader, truth, natural)) if natural.any() else None,
    }


def _figures(reader: Predictions, truth: Floats, rows: Flags) -> Figures:
    return figures(truth[rows], reader.scores[rows], reader.labels[rows], probabilities=reader.probabilities)


def _every_cut(bundle: Bundle, scores: Floats, truth: Floats) -> dict[str, Any]:
    cuts = {}
    for name, thresholds in bundle.cuts.items():
        measured = figures(truth, scores, scores >= np.array(thresholds))
        cuts[name] = {
            "macro_f1": measured.macro_f1,
            "intents": {
                intent: {
                    "threshold": threshold if np.isfinite(threshold) else None,
                    "stated_interval": bundle.stated[name].get(intent),
                    "precision": one.precision,
                    "precision_low": one.precision_low,
                    "precision_high": one.precision_high,
                    "recall": one.recall,
                    "f1": one.f1,
                    "predicted": one.predicted,
                    "support": one.support,
                }
                for (intent, one), threshold in zip(measured.intents.items(), thresholds, strict=True)
            },
        }
    return cuts


def _columns(
    mentions: Sequence[LabelledMention], keys: Sequence[str], names: Sequence[str], overlap: _Overlap | None
) -> dict[str, list[str]]:
    """The value of every mention per column that is sliced by; a column that is empty throughout is left out."""
    columns: dict[str, list[str]] = {}
    for name in names:
        if name == "brand_key":
            values = list(keys)
        elif name == "brand":
            values = [mention.target or "" for mention in mentions]
        else:
            values = [getattr(mention, name) or "" for mention in mentions]
        if any(values):
            columns[name] = values
    if overlap is not None and any((*overlap.brand, *overlap.text)):
        columns["overlap"] = [
            "text in train" if text else "brand in train" if brand else "new"
            for brand, text in zip(overlap.brand, overlap.text, strict=True)
        ]
    return columns


def _empty_columns(asked: Sequence[str], columns: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"--by {name}: the column is empty throughout" for name in asked if name not in columns]


def _slices(values: Sequence[str], model: Predictions, truth: Floats) -> dict[str, Any]:
    """Figures per value, the most mentions first; those of fewer than ``SMALL_SLICE`` are marked ``small``."""
    column = np.array(values, dtype=object)
    names, counts = np.unique(column.astype(str), return_counts=True)
    sliced = {}
    for index in np.argsort(-counts, kind="stable"):
        measured = asdict(_figures(model, truth, column == names[index]))
        sliced[str(names[index])] = {**measured, "small": bool(counts[index] < SMALL_SLICE)}
    return sliced


def _training_set(files: Sequence[LabelledFile], scorer: Scorer) -> TrainingSet:
    mentions = [mention for file in files for mention in file.mentions]
    read = [normalise(mention.text, mention.target, scorer.brands) for mention in mentions]
    keys = [_brand_key(mention, one.target, scorer) for mention, one in zip(mentions, read, strict=True)]
    return TrainingSet([one.text for one in read], truth_of(mentions), keys)


def _texts(mentions: Sequence[LabelledMention], scorer: Scorer) -> list[str]:
    return [normalise(mention.text, mention.target, scorer.brands).text for mention in mentions]


def _brand_key(mention: LabelledMention, target: str | None, scorer: Scorer) -> str:
    """The key that the file gives, else that of the target that was read from the text, in the brands file's terms."""
    return scorer.brands.key(mention.brand_key or target or "")


def _find_overlap(keys: Sequence[str], texts: Sequence[str], train: TrainingSet) -> _Overlap:
    train_keys, train_texts = set(train.brand_keys), set(train.texts)
    return _Overlap([key != "" and key in train_keys for key in keys], [text in train_texts for text in texts])


def _warnings(keys: Sequence[str], overlap: _Overlap | None) -> list[str]:
    if overlap is None:
        return []
    warnings = []
    shared = sorted({key for key, seen in zip(keys, overlap.brand, strict=True) if seen})
    if shared:
        named = ", ".join(shared[:_NAMED_IN_WARNING]) + (" …" if len(shared) > _NAMED_IN_WARNING else "")
        warnings.append(
            f"{len(shared)} of {len(set(keys))} brand keys ({sum(overlap.brand):,} of {len(keys):,} mentions) also "
            f"occur in the train files: {named}; figures without them are in the slice overlap: new"
        )
    if any(overlap.text):
        warnings.append(
            f"{sum(overlap.text):,} of {len(keys):,} mentions read the same as one in the train files once normalised; "
            "figures without them are in the slice overlap: new"
        )
    return warnings


def _file_summary(file: LabelledFile) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "mentions": len(file.mentions),
        "refused": [{"row": number, "title": reason.title, "detail": reason.detail} for number, reason in file.refused],
    }


def _write(out: Path, report: Mapping[str, Any]) -> None:
    with file_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        (out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (out / "report.md").write_text(markdown_report(report), encoding="utf-8")
    print(f"wrote {out / 'report.json'} and report.md", file=sys.stderr)

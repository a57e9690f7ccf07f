"""A bundle on labelled mentions: how often it is right, how sure that is, what it misses, and what its order is worth.

Leaves out the formulas (``eval.metrics``, ``eval.resampling``, ``eval.curves``), the baselines, slices, mistakes and
comparisons (modules of their names), and how it all looks (``eval.report``, ``eval.page``). The bundle is read through
``Scorer.read_all``, the code that the endpoint and the bulk scorer run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import compress
from pathlib import Path
from sys import intern
from typing import Any

import numpy as np

from data.files import file_errors
from data.schema import INTENTS, NATURAL, LabelledMention
from data.splits import independent_groups
from eval.baselines import BASELINES, Predictions, TrainingSet, cut_at
from eval.behaviour import behaviour_report
from eval.compare import WORSE, compare, paired_difference
from eval.curves import confusion
from eval.held_out import held_out
from eval.labelled import LabelledData, LabelledFile, read_by_model, read_labelled_files
from eval.leaks import find_leaks
from eval.measure import curves_of, every_cut, with_intervals
from eval.metrics import Flags, Floats, truth_of
from eval.mistakes import explained, find_mistakes, write_mistakes
from eval.page import write_page
from eval.progress import counted
from eval.race import Stream, race
from eval.report import markdown_report, text_report
from eval.resampling import FEW_GROUPS, Resamples
from eval.slices import DERIVED, derived_values, overlaps, slice_columns
from model.cascade import Cascade, Reader, load_reader
from model.normalise import NormalisedText, normalise
from model.policy import Policy

SLICED_BY = ("stratum", "source", "brand_key", "channel", "sector")
"""Columns that are sliced by wherever they are given, besides those worked out from the mentions."""
_OWN = ("stratum", "source", "brand_key", "channel", "brand")
"""Columns that a mention has by itself."""
STOP = 4
"""Exit status where a release should stop: a worse bundle than the one compared with, or data from the train files."""

_REJECTED = 3
_NEEDED = ("cleanlab", "datasketch", "jinja2", "matplotlib", "py3langid", "sklearn")
_NAMED_IN_WARNING = 8
_RACE_DAYS, _RACE_PER_DAY = 40, 500
_FEWEST_RACED, _MOST_RACED = 50, 10_000
MOST_LISTED = 1_000
"""Mistakes that ``report.json`` lists."""


@dataclass(frozen=True)
class EvaluateJob:
    """What ``firstreply evaluate`` was asked to do."""

    bundle: Path
    data: Sequence[Path]
    """Labelled files to measure on."""
    out: Path
    """Folder for the report; made where it does not exist."""
    train: Sequence[Path] = ()
    """Labelled files to fit the baselines on, and to check that nothing of ``data`` is in them."""
    by: Sequence[str] = ()
    """More columns of the data to slice by."""
    cut: str = "balanced"
    brands: Path | None = None
    """Brands file in place of the bundle's own."""
    compare: Path | None = None
    """Another bundle to compare with, at its own thresholds of the same cut."""
    held_out: Path | None = None
    """Out-of-fold predictions on brands left out."""
    seen: Path | None = None
    """Out-of-fold predictions on mentions left out, their brands not; only with ``held_out``."""


@dataclass(frozen=True)
class _Data:
    """The mentions and what is known of each, in the same order; what is large is not kept."""

    mentions: Sequence[LabelledMention]
    truth: Floats
    model: Predictions
    """What the bundle says."""
    keys: Sequence[str]
    """Brand keys, in the brands file's terms."""
    natural: Flags
    columns: Mapping[str, Sequence[str]]
    """What is sliced by."""
    texts: Sequence[str]
    """Normalised; empty without train files, which alone need them."""
    repeated: int
    """Mentions with the text and the brand key of an earlier one."""
    guessed: int
    """Mentions without a brand."""


def evaluate(job: EvaluateJob) -> int:
    """Measure, print the tables on stdout, and write the report's files into ``job.out``.

    Returns:
        0; 4 (``STOP``) where the bundle is worse than the one compared with, or mentions nearly stand in the train
        files; else 3 where rows of the data were refused. All of this is in the report and on stderr.

    Raises:
        FirstreplyError: a bundle or a file cannot be read, or there is no such cut.
        ModuleNotFoundError: a package of the extra ``report`` is missing.
    """
    for name in _NEEDED:
        if find_spec(name) is None:  # said before anything is read
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    scorer = load_reader(job.bundle, brands=job.brands, cut=job.cut)
    other = load_reader(job.compare, brands=job.brands, cut=job.cut) if job.compare else None
    asked = [name for name in dict.fromkeys((*SLICED_BY, *job.by)) if name not in _OWN]
    labelled = read_labelled_files(job.data, asked)
    for name in asked:
        if name in job.by and name not in DERIVED and not any(labelled.extra[name]):
            print(f"{name}: empty throughout, or no column of the data", file=sys.stderr)
    train_data = read_labelled_files(job.train)
    apart = None
    if job.held_out is not None:
        apart = held_out(job.held_out, job.seen, dict(zip(INTENTS, scorer.bundle.thresholds(job.cut), strict=True)))

    data = _read(job, labelled, scorer)
    model = data.model
    groups, by = independent_groups(data.mentions, data.keys)
    resamples = Resamples.of(groups)
    kept = list(compress(groups, data.natural))
    of_natural = Resamples.of(kept) if kept else None

    def measured(reader: Predictions) -> dict[str, Any]:
        part = replace(reader, scores=reader.scores[data.natural], labels=reader.labels[data.natural])
        return {
            "thresholds": dict(zip(INTENTS, reader.thresholds, strict=True)),
            "overall": with_intervals(reader, data.truth, resamples),
            "natural": with_intervals(part, data.truth[data.natural], of_natural) if of_natural else None,
        }

    slices = slice_columns(data.columns, model, data.truth)
    others, compared, leaks, trained = [], None, None, None
    if other is not None:
        theirs = _predictions(other, data.mentions, "read by the other bundle", job.cut)
        if other.name == scorer.name:
            theirs = replace(theirs, name=f"{other.name} ({job.compare})")
        compared = compare(data.mentions, data.truth, model, theirs, resamples)
        others.append(theirs)
    if job.train:
        trained = _training_set(train_data.mentions, scorer)
        others += [baseline(trained, data.texts) for baseline in BASELINES]
        leaks = find_leaks(data.mentions, train_data.mentions)
    mistakes = explained(find_mistakes(data.mentions, data.truth, model, _suspects(data)), scorer)
    report: dict[str, Any] = {
        "format": 2,
        "model": scorer.name,
        "cut": job.cut,
        "data": [_file_summary(file) for file in labelled.files],
        "train": [_file_summary(file) for file in train_data.files],
        "groups": {"count": len(set(groups)), "name": {"brand": "brands", "mention": "posts"}[by]},
        "warnings": _warnings(job, data, trained, len(set(groups)) if by == "brand" else None),
        **measured(model),
        "cuts": every_cut(scorer.bundle, _labels(scorer, model, job.cut), model.scores, data.truth),
        "curves": curves_of(data.truth, model.scores),
        "confusion": confusion(data.truth, model.labels),
        "held_out": apart,
        "slices": slices,
        "overlaps": overlaps(data.columns, slices, model, data.truth),
        "mistakes": [one.row() for one in mistakes[:MOST_LISTED]],
        "mistakes_in_all": len(mistakes),
        "leaks": leaks,
        "race": _race(data),
        "behaviour": behaviour_report(scorer),
        "compare": compared,
        "others": {
            one.name: {
                **measured(one),
                "difference": paired_difference(data.truth, model.labels, one.labels, resamples),
            }
            for one in others
        },
    }
    report["warnings"] += _floors_missed(report["behaviour"])
    report["stop"] = _stop(report)
    print(text_report(report), flush=True)
    with file_errors(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
        (job.out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (job.out / "report.md").write_text(markdown_report(report), encoding="utf-8")
        write_mistakes(job.out, mistakes, model)
        write_page(job.out, report, mistakes)
    print(f"wrote {job.out / 'report.html'}, report.md, report.json, mistakes.csv and more", file=sys.stderr)
    for warning in (*report["warnings"], *report["stop"]):
        print(f"warning: {warning}", file=sys.stderr)
    if report["stop"]:
        return STOP
    return _REJECTED if labelled.any_refused else 0


def _read(job: EvaluateJob, labelled: LabelledData, scorer: Reader) -> _Data:
    mentions = labelled.mentions
    model = _predictions(scorer, mentions, "read", job.cut)
    columns: dict[str, list[str]] = {}
    keys, natural, texts = [], [], []
    seen, guessed = set(), 0
    for mention, one, key in counted(_normalised(mentions, scorer), "described", len(mentions)):
        keys.append(intern(key))
        natural.append(mention.is_natural)
        seen.add(hash((mention.text, key)))
        guessed += not (mention.brand or mention.brand_key)
        if job.train:
            texts.append(one.text)
        own = (mention.stratum, mention.source, key, mention.channel or "", mention.target or "")
        for name, value in {**derived_values(mention, one), **dict(zip(_OWN, own, strict=True))}.items():
            columns.setdefault(name, []).append(intern(value))
    asked = {name: values for name, values in labelled.extra.items() if any(values) or name not in columns}
    if "brand" not in job.by:
        del columns["brand"]
    return _Data(
        mentions,
        truth_of(mentions),
        model,
        keys,
        np.array(natural),
        {**columns, **asked},
        texts,
        repeated=len(keys) - len(seen),
        guessed=guessed,
    )


def _predictions(scorer: Reader, mentions: Sequence[LabelledMention], what: str, cut: str) -> Predictions:
    scores = np.empty((len(mentions), len(INTENTS)))
    labels = np.empty(scores.shape, dtype=np.bool_)
    for row, reading in enumerate(read_by_model(scorer, mentions, what)):
        scores[row], labels[row] = reading.probabilities, reading.asserts(cut)
    thresholds = np.array(scorer.bundle.thresholds(cut))
    return replace(cut_at(scorer.name, scores, thresholds, probabilities=True), labels=labels)


def _labels(scorer: Reader, model: Predictions, cut: str) -> dict[str, Flags]:
    """What is asserted at every cut; of a cascade, which reads anew at each, at the one in use alone."""
    if isinstance(scorer, Cascade):
        return {cut: model.labels}
    return {name: model.scores >= np.array(thresholds) for name, thresholds in scorer.bundle.cuts.items()}


def _suspects(data: _Data) -> set[tuple[int, int]]:
    """Rows and columns of labels that are likely wrong, if the bundle has not been trained on these mentions."""
    from data.suspects import find_suspects

    return {(suspect.row, suspect.column) for suspect in find_suspects(data.truth, data.model.scores)}


def _race(data: _Data) -> dict[str, Any] | None:
    """The race on the natural mentions, or on all where there is none; None where these are few."""
    stratum = NATURAL if data.natural.any() else None
    rows = np.flatnonzero(data.natural) if stratum else np.arange(len(data.natural))
    if len(rows) < _FEWEST_RACED:
        return None
    if len(rows) > _MOST_RACED:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_RACED, replace=False))
    mentions = [data.mentions[row] for row in rows.tolist()]
    policy = Policy.load(None)
    stream = Stream.draw(mentions, _RACE_DAYS, _RACE_PER_DAY, seed=0)
    return {"stratum": stratum, "policy": policy.name, **race(mentions, data.model.scores[rows], policy, stream)}


def _training_set(mentions: Sequence[LabelledMention], scorer: Reader) -> TrainingSet:
    texts, keys = [], []
    for _, one, key in counted(_normalised(mentions, scorer), "train files read", len(mentions)):
        texts.append(one.text)
        keys.append(key)
    return TrainingSet(texts, truth_of(mentions), keys)


def _normalised(
    mentions: Sequence[LabelledMention], scorer: Reader
) -> Iterator[tuple[LabelledMention, NormalisedText, str]]:
    """Each mention with what the model reads and its brand key.

    The key is the one that the file gives, else that of the target that was read from the text, in the brands file's
    terms.
    """
    for mention in mentions:
        one = normalise(mention.text, mention.target, scorer.brands)
        yield mention, one, scorer.brands.key(mention.brand_key or one.target or "")


def _warnings(job: EvaluateJob, data: _Data, train: TrainingSet | None, brands: int | None) -> list[str]:
    warnings = [
        f"--by {name}: the column is empty throughout, or not there" for name in job.by if not any(data.columns[name])
    ]
    if data.repeated:
        warnings.append(
            f"{data.repeated:,} mentions repeat the text and the brand of an earlier one: they count again, and"
            " intervals are narrower than they should be"
        )
    if data.guessed:
        warnings.append(
            f"{data.guessed:,} of {len(data.keys):,} mentions have neither brand nor brand_key: their brand is a"
            " handle in the text, which may be anybody's, and those without a handle count as one brand"
        )
    if brands is None:
        warnings.append("fewer than four brands: intervals take mentions as independent, other brands may differ more")
    elif brands < FEW_GROUPS:
        warnings.append(f"only {brands} brands: intervals that resample brands are rough, and rather too narrow")
    trained = set(train.brand_keys) - {""} if train else set()
    seen = [key in trained for key in data.keys]
    if any(seen):
        shared = sorted({key for key, one in zip(data.keys, seen, strict=True) if one})
        named = ", ".join(shared[:_NAMED_IN_WARNING]) + (" …" if len(shared) > _NAMED_IN_WARNING else "")
        warnings.append(
            f"{len(shared)} of {len(set(data.keys))} brand keys ({sum(seen):,} of {len(seen):,} mentions) also occur in"
            f" the train files: {named}"
        )
    return warnings


def _floors_missed(behaviour: Mapping[str, Any]) -> list[str]:
    tests = behaviour["tests"]
    missed = [f"{name} ({one['rate']:.0%})" for name, one in tests.items() if not one["reached"]]
    return [f"{len(missed)} of {len(tests)} behavioural tests miss their floor: {', '.join(missed)}"] if missed else []


def _stop(report: Mapping[str, Any]) -> list[str]:
    reasons = []
    leaks, compared = report["leaks"], report["compare"]
    if leaks and leaks["mentions"]:
        reasons.append(
            f"{leaks['mentions']:,} of {report['overall']['mentions']:,} mentions stand in the train files too, word"
            " for word or nearly: the figures are partly of memory; leave them out (data build does)"
        )
    if compared and compared["verdict"] == WORSE:
        gap = compared["difference"]
        reasons.append(
            f"worse than {compared['name']}: macro-F1 {gap['value']:+.3f}, 95% interval {gap['low']:+.3f} to"
            f" {gap['high']:+.3f}"
        )
    return reasons


def _file_summary(file: LabelledFile) -> dict[str, Any]:
    return {
        "file": str(file.path),
        "mentions": file.mentions,
        "refused": [{"row": number, "title": reason.title, "detail": reason.detail} for number, reason in file.refused],
    }

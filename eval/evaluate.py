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
from eval.labelled import LabelledFile, read_by_model, read_labelled_files
from eval.leaks import find_leaks
from eval.measure import curves_of, every_cut, with_intervals
from eval.metrics import Flags, Floats, truth_of
from eval.mistakes import explained, find_mistakes, write_mistakes
from eval.page import write_page
from eval.race import Stream, race
from eval.report import markdown_report, text_report
from eval.resampling import FEW_GROUPS, Resamples
from eval.slices import derived_columns, how_named, overlaps, slice_columns
from model.normalise import NormalisedText, normalise
from model.policy import Policy
from model.scorer import Scorer

SLICED_BY = ("stratum", "source", "brand_key", "channel", "sector")
"""Columns that are sliced by wherever they are given, besides those worked out from the mentions."""
STOP = 4
"""Exit status where a release should stop: a worse bundle than the one compared with, or data from the train files."""

_REJECTED = 3
_NEEDED = ("cleanlab", "datasketch", "jinja2", "matplotlib", "py3langid", "sklearn")
_NAMED_IN_WARNING = 8
_RACE_DAYS, _RACE_PER_DAY = 40, 500
_FEWEST_RACED = 100
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
    scores: Floats
    """Probabilities, shape (mentions, intents)."""
    keys: Sequence[str]
    named: Sequence[str]
    """How the text names the target (``eval.slices.how_named``)."""
    texts: Sequence[str]
    """Normalised; empty without train files, which alone need them."""
    extra: Mapping[str, Sequence[str]]


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
    scorer = Scorer.load(job.bundle, brands=job.brands)
    other = Scorer.load(job.compare, brands=job.brands) if job.compare else None
    for one in (scorer, other):
        if one is not None:
            one.bundle.thresholds(job.cut)  # refuses a cut that does not exist before anything is read
    files = read_labelled_files(job.data, [*SLICED_BY, *job.by])
    train_files = read_labelled_files(job.train)
    apart = None
    if job.held_out is not None:
        apart = held_out(job.held_out, job.seen, dict(zip(INTENTS, scorer.bundle.thresholds(job.cut), strict=True)))

    data = _read(files, scorer, with_texts=bool(train_files))
    model = _predictions(scorer, data.scores, job.cut)
    natural = np.array([mention.is_natural for mention in data.mentions])
    groups, by = independent_groups(data.mentions, data.keys)
    resamples = Resamples.of(groups)
    kept = list(compress(groups, natural))
    of_natural = Resamples.of(kept) if kept else None

    def measured(reader: Predictions) -> dict[str, Any]:
        part = replace(reader, scores=reader.scores[natural], labels=reader.labels[natural])
        return {
            "thresholds": dict(zip(INTENTS, reader.thresholds, strict=True)),
            "overall": with_intervals(reader, data.truth, resamples),
            "natural": with_intervals(part, data.truth[natural], of_natural) if of_natural else None,
        }

    columns = _columns(job, data)
    slices = slice_columns(columns, model, data.truth)
    others, compared, leaks = [], None, None
    if other is not None:
        theirs = _predictions(other, _scores(other, data.mentions, "read by the other bundle"), job.cut)
        if other.name == scorer.name:
            theirs = replace(theirs, name=f"{other.name} ({job.compare})")
        compared = compare(data.mentions, data.truth, model, theirs, resamples)
        others.append(theirs)
    if train_files:
        train = _training_set(train_files, scorer)
        others += [baseline(train, data.texts) for baseline in BASELINES]
        leaks = find_leaks(data.mentions, [mention for file in train_files for mention in file.mentions])
    mistakes = explained(find_mistakes(data.mentions, data.truth, model, _suspects(data, model)), scorer)
    report: dict[str, Any] = {
        "format": 2,
        "model": scorer.name,
        "cut": job.cut,
        "data": [_file_summary(file) for file in files],
        "train": [_file_summary(file) for file in train_files],
        "groups": {"count": len(set(groups)), "name": {"brand": "brands", "mention": "posts"}[by]},
        "warnings": _warnings(job, data, columns, train_files, len(set(groups)) if by == "brand" else None, scorer),
        **measured(model),
        "cuts": every_cut(scorer.bundle, model.scores, data.truth),
        "curves": curves_of(data.truth, model.scores),
        "confusion": confusion(data.truth, model.labels),
        "held_out": apart,
        "slices": slices,
        "overlaps": overlaps(columns, slices, model, data.truth),
        "mistakes": [one.row() for one in mistakes[:MOST_LISTED]],
        "mistakes_in_all": len(mistakes),
        "leaks": leaks,
        "race": _race(data, model, natural),
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
    report["stop"] = _stop(report)
    print(text_report(report))
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
    return _REJECTED if any(file.refused for file in files) else 0


def _read(files: Sequence[LabelledFile], scorer: Scorer, *, with_texts: bool) -> _Data:
    mentions = [mention for file in files for mention in file.mentions]
    keys, named, texts = [], [], []
    for mention, one, key in _normalised(mentions, scorer):
        keys.append(key)
        named.append(how_named(mention.text, one))
        if with_texts:
            texts.append(one.text)
    extra = {name: [value for file in files for value in file.extra[name]] for name in files[0].extra}
    return _Data(mentions, truth_of(mentions), _scores(scorer, mentions, "read"), keys, named, texts, extra)


def _scores(scorer: Scorer, mentions: Sequence[LabelledMention], what: str) -> Floats:
    scores = np.empty((len(mentions), len(INTENTS)))
    for row, reading in enumerate(read_by_model(scorer, mentions, what)):
        scores[row] = reading.probabilities
    return scores


def _predictions(scorer: Scorer, scores: Floats, cut: str) -> Predictions:
    return cut_at(scorer.name, scores, np.array(scorer.bundle.thresholds(cut)), probabilities=True)


def _columns(job: EvaluateJob, data: _Data) -> dict[str, Sequence[str]]:
    """The value of every mention per column that is sliced by."""
    own = {
        "stratum": [mention.stratum for mention in data.mentions],
        "source": [mention.source for mention in data.mentions],
        "brand_key": data.keys,
        "channel": [mention.channel or "" for mention in data.mentions],
        "brand": [mention.target or "" for mention in data.mentions],
    }
    named = {name: own[name] if name in own else data.extra[name] for name in dict.fromkeys((*SLICED_BY, *job.by))}
    return {**derived_columns(data.mentions, data.named), **named}


def _suspects(data: _Data, model: Predictions) -> set[tuple[int, int]]:
    """Rows and columns of labels that are likely wrong, if the bundle has not been trained on these mentions."""
    from data.suspects import find_suspects

    return {(suspect.row, suspect.column) for suspect in find_suspects(data.mentions, model.scores.tolist())}


def _race(data: _Data, model: Predictions, natural: Flags) -> dict[str, Any] | None:
    """The race on the natural mentions, or on all where there are few of them; None where there are few at all."""
    stratum = NATURAL if natural.sum() >= _FEWEST_RACED else None
    rows = np.flatnonzero(natural) if stratum else np.arange(len(natural))
    if len(rows) < _FEWEST_RACED:
        return None
    mentions = [data.mentions[row] for row in rows.tolist()]
    policy = Policy.load(None)
    stream = Stream.draw(mentions, _RACE_DAYS, _RACE_PER_DAY, seed=0)
    return {"stratum": stratum, "policy": policy.name, **race(mentions, model.scores[rows], policy, stream)}


def _training_set(files: Sequence[LabelledFile], scorer: Scorer) -> TrainingSet:
    mentions = [mention for file in files for mention in file.mentions]
    texts, keys = [], []
    for _, one, key in _normalised(mentions, scorer):
        texts.append(one.text)
        keys.append(key)
    return TrainingSet(texts, truth_of(mentions), keys)


def _normalised(
    mentions: Sequence[LabelledMention], scorer: Scorer
) -> Iterator[tuple[LabelledMention, NormalisedText, str]]:
    """Each mention with what the model reads and its brand key.

    The key is the one that the file gives, else that of the target that was read from the text, in the brands file's
    terms.
    """
    for mention in mentions:
        one = normalise(mention.text, mention.target, scorer.brands)
        yield mention, one, scorer.brands.key(mention.brand_key or one.target or "")


def _warnings(
    job: EvaluateJob,
    data: _Data,
    columns: Mapping[str, Sequence[str]],
    train_files: Sequence[LabelledFile],
    brands: int | None,
    scorer: Scorer,
) -> list[str]:
    warnings = [
        f"--by {name}: the column is empty throughout, or not there" for name in job.by if not any(columns[name])
    ]
    if brands is None:
        warnings.append("fewer than four brands: intervals take mentions as independent, other brands may differ more")
    elif brands < FEW_GROUPS:
        warnings.append(f"only {brands} brands: intervals that resample brands are rough, and rather too narrow")
    trained = {
        scorer.brands.key(mention.brand_key) for file in train_files for mention in file.mentions if mention.brand_key
    }
    seen = [key in trained for key in data.keys]
    if any(seen):
        shared = sorted({key for key, one in zip(data.keys, seen, strict=True) if one})
        named = ", ".join(shared[:_NAMED_IN_WARNING]) + (" …" if len(shared) > _NAMED_IN_WARNING else "")
        warnings.append(
            f"{len(shared)} of {len(set(data.keys))} brand keys ({sum(seen):,} of {len(seen):,} mentions) also occur in"
            f" the train files: {named}"
        )
    return warnings


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
        "mentions": len(file.mentions),
        "refused": [{"row": number, "title": reason.title, "detail": reason.detail} for number, reason in file.refused],
    }

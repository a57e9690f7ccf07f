"""``firstreply calibrate``: a bundle and a brand's own labelled mentions → the same model, calibrated to that brand.

Leaves fitting to ``training.calibrate`` and measuring to ``training.crossfit``; the network is not trained.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.files import file_errors, read_labelled
from data.schema import INTENTS
from model.bundle import (
    BRANDS,
    CUTS,
    MANIFEST,
    MODEL,
    NO_INTERVAL,
    TOKENIZER,
    Bundle,
    Calibration,
    file_hash,
)
from model.errors import FirstreplyError
from model.scorer import Scorer
from training.calibrate import CALIBRATED, Cut, Fitted, fit
from training.card import Check, describe
from training.crossfit import calibration_entries, cross_fit
from training.sample import Sample

_FEWEST_MENTIONS = 50


class CalibrationError(FirstreplyError):
    """A bundle cannot be calibrated on the labelled mentions given."""


@dataclass(frozen=True)
class CalibrateJob:
    """What to calibrate, on what, and where the new bundle goes."""

    bundle: Path
    data: tuple[Path, ...]
    """Labelled mentions, a few hundred of the stream that the bundle will read."""
    out: Path


def calibrate(job: CalibrateJob, check: Check | None = None) -> int:
    """Write the new bundle; prints how sure its cuts are on stdout, progress on stderr. Returns the exit status.

    Platt scaling of the bundle's own log-odds, with a prior that they are right (``training.calibrate.CALIBRATED``).
    An intent of fewer than 10 positives or negatives keeps its calibration and thresholds.
    ``check`` is tried on the finished bundle; without it, the bundle records no behaviour, for the old one's is that
    of the old thresholds.

    Raises:
        CalibrationError: OUT is there, or there are fewer than 50 labelled mentions, or too few of every intent.
        FirstreplyError: the bundle or a file cannot be used.
    """
    if job.out.exists():
        raise CalibrationError(f"--out {job.out} is there; give another folder")
    scorer = Scorer.load(job.bundle)
    mentions = [mention for path in job.data for mention in read_labelled(path) if mention.is_labelled]
    if len(mentions) < _FEWEST_MENTIONS:
        given = ", ".join(map(str, job.data))
        raise CalibrationError(f"{given}: {len(mentions)} labelled mentions are too few (at least {_FEWEST_MENTIONS})")
    _say(f"reading {len(mentions):,} labelled mentions with {scorer.name}")
    readings = scorer.read_all((mention.text, mention.target) for mention in mentions)
    log_odds = np.array([reading.logits for reading in readings], dtype=np.float64).reshape(-1, len(INTENTS))
    sample = Sample.of(mentions, log_odds)
    kept = _kept(sample)
    if len(kept) == len(INTENTS):
        raise CalibrationError(
            f"no intent has {CALIBRATED.fewest} positives and as many negatives; label more mentions"
        )

    def refit(part: Sample) -> Fitted:
        return _keep(fit(part, CALIBRATED), kept, scorer.bundle)

    fitted, measured = refit(sample), cross_fit(sample, refit)
    manifest = _manifest(job, scorer.bundle, sample, kept)
    manifest |= calibration_entries(_composed(fitted, scorer.bundle.calibration), measured)
    with file_errors(job.out):
        _write(job, manifest, check)
    _say(f"bundle written to {job.out}")
    print(_table(manifest, sample, kept))
    return 0


def _kept(sample: Sample) -> tuple[str, ...]:
    """Intents with too few positives or negatives."""
    fewest = [min((column == 1).sum(), (column == 0).sum()) for column in sample.labels.T]
    return tuple(intent for intent, count in zip(INTENTS, fewest, strict=True) if count < CALIBRATED.fewest)


def _keep(fitted: Fitted, kept: Sequence[str], old: Bundle) -> Fitted:
    """``fitted``, with what the bundle has for the intents that are kept."""
    own = fitted.calibration
    scale = tuple(1.0 if i in kept else value for i, value in zip(INTENTS, own.scale, strict=True))
    offset = tuple(0.0 if i in kept else value for i, value in zip(INTENTS, own.offset, strict=True))
    cuts = {}
    for name, cut in fitted.cuts.items():
        thresholds, intervals = dict(cut.thresholds), dict(cut.threshold_interval)
        for intent in kept:
            column = INTENTS.index(intent)
            threshold, ends = old.thresholds(name)[column], old.intervals[name][column]
            thresholds[intent] = threshold if threshold <= 1 else None
            intervals[intent] = None if ends == NO_INTERVAL else ends
        cuts[name] = Cut(thresholds, intervals)
    return Fitted(Calibration(scale, offset), cuts)


def _composed(fitted: Fitted, old: Calibration) -> Fitted:
    """The calibration of the network's logits: the old one, then the new one."""
    own = fitted.calibration
    scale = tuple(a * b for a, b in zip(own.scale, old.scale, strict=True))
    return Fitted(Calibration(scale, own.log_odds(old.offset)), fitted.cuts)


def _manifest(job: CalibrateJob, old: Bundle, sample: Sample, kept: Sequence[str]) -> dict[str, Any]:
    """The old manifest, of another version, with what it was calibrated on and without its behaviour."""
    manifest: dict[str, Any] = json.loads((job.bundle / MANIFEST).read_text(encoding="utf-8"))
    manifest.pop("behaviour", None)
    files = [{"name": path.name, "sha256": file_hash(path)} for path in job.data]
    together = hashlib.sha256("".join(file["sha256"] for file in files).encode()).hexdigest()
    return manifest | {
        "version": f"{old.version.partition('+')[0]}+calibrated.{together[:8]}",
        "calibrated_on": {
            "mentions": len(sample.labels),
            "positives": dict(zip(INTENTS, (sample.labels == 1).sum(axis=0).tolist(), strict=True)),
            "kept": list(kept),
            "files": files,
            "bundle": {"version": old.version, "sha256": old.sha256},
        },
    }


def _write(job: CalibrateJob, manifest: dict[str, Any], check: Check | None) -> None:
    """Complete the folder beside OUT and move it there whole."""
    building = job.out.with_name(job.out.name + ".part")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for name in (MODEL, TOKENIZER, BRANDS):
        shutil.copyfile(job.bundle / name, building / name)
    describe(building, manifest, check, _say)
    building.rename(job.out)


def _table(manifest: dict[str, Any], sample: Sample, kept: Sequence[str]) -> str:
    by, error = sample.by, manifest["calibration"]["measured"]["error"]
    lines = [
        f"{manifest['name']}@{manifest['version']}: expected calibration error {error:.3f} (left-out {by}s)",
        f"threshold, its 95% interval from resampled {by}s; precision and recall on left-out {by}s",
        f"{'intent':<18}{'cut':<10}{'threshold':>10}{'95%':>15}{'precision':>11}{'95%':>15}{'recall':>8}",
    ]
    positives = manifest["calibrated_on"]["positives"]
    for intent in INTENTS:
        for cut in CUTS:
            row = {part: values[intent] for part, values in manifest["cuts"][cut].items() if intent in values}
            cells = f"{_shown(row['thresholds']):>10}{_range(row['threshold_interval']):>15}"
            cells += f"{_shown(row['precision']):>11}{_range(row['interval']):>15}{_shown(row['recall']):>8}"
            lines.append(f"{intent if cut == CUTS[0] else '':<18}{cut:<10}{cells}")
        lines.append(f"  {positives[intent]} positives" + ("; too few: keeps what it had" if intent in kept else ""))
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _range(ends: Sequence[float] | None) -> str:
    return "–" if ends is None else f"{ends[0]:.3f}–{ends[1]:.3f}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)

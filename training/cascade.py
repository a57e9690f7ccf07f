"""``firstreply cascade``: how unsure a fast bundle may be before a full one is asked, for a loss that one states.

A mention escalates where one of its probabilities is less than a margin from that intent's threshold, in log-odds. The
wider the margin, the more escalates and the nearer the labels come to the full bundle's. Leaves running a cascade to
``model.cascade``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data.files import file_errors, read_labelled
from data.schema import INTENTS, LabelledMention
from model.bundle import BRANDS, CUTS, Bundle, probability
from model.cascade import is_cascade, write_cascade
from model.errors import BundleError
from model.scorer import Scorer
from training.job import TrainingError
from training.sample import Flags, Floats, labels_of

_MARGINS = tuple(round(0.05 * step, 2) for step in range(161))
"""Log-odds; 8 is as sure as 0.9997."""
_SHOWN = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
"""Margins of the curve in ``bundle.json``."""
_OUT_OF_REACH = 0.95


@dataclass(frozen=True)
class CascadeJob:
    """What ``firstreply cascade`` was asked to do."""

    fast: Path
    full: Path
    """Two bundles, neither of them a cascade."""
    data: tuple[Path, ...]
    """Labelled mentions that neither bundle was trained on."""
    out: Path
    loss: float = 0.01
    """How much macro-F1 may be lost against the full bundle, at each cut."""
    name: str = "firstreply-cascade"
    version: str = "0.1.0"


class Step(NamedTuple):
    """What a margin costs and buys on the mentions."""

    margin: float
    escalated: float
    """Share of the mentions."""
    macro_f1: float


@dataclass(frozen=True)
class _Read:
    """What a bundle reads in the mentions: probabilities of shape (mentions, intents)."""

    bundle: Bundle
    probabilities: Floats

    def labels(self, cut: str) -> Flags:
        flags: Flags = self.probabilities >= np.array(self.bundle.thresholds(cut))
        return flags


def make_cascade(job: CascadeJob) -> int:
    """Fit the bands, write the cascade, and print at each cut what escalates and what is lost. Exit status 0.

    Raises:
        FirstreplyError: a bundle or a file cannot be used, or there is something else where the cascade would go.
    """
    if not 0 <= job.loss < 1:
        raise TrainingError(f"--loss {job.loss:g}: a share of macro-F1, from 0 to under 1")
    if job.out.exists() and not is_cascade(job.out) and not (job.out.is_dir() and not any(job.out.iterdir())):
        raise TrainingError(f"--out {job.out}: something else than a cascade is there; give another folder")
    mentions = [mention for path in job.data for mention in read_labelled(path) if mention.is_labelled]
    truth = labels_of(mentions)
    if not (truth == 1).any():
        raise TrainingError("--data: no mention is labelled with an intent, so there is nothing to lose")
    with file_errors(job.out):
        job.out.mkdir(parents=True, exist_ok=True)
    fast, full = (_read(folder, job.full, mentions) for folder in (job.fast, job.full))
    bands, figures = {}, {}
    for cut in CUTS:
        steps = [step(fast, full, truth, cut, margin) for margin in (*_MARGINS, math.inf)]
        best = macro_f1(truth, full.labels(cut))
        chosen = narrowest(steps, best - job.loss)
        bands[cut] = band(fast.bundle, cut, chosen.margin)
        figures[cut] = {
            "margin": chosen.margin if math.isfinite(chosen.margin) else None,
            "escalated": round(chosen.escalated, 4),
            "macro_f1": round(chosen.macro_f1, 4),
            "full_macro_f1": round(best, 4),
            "curve": [
                {"margin": one.margin, "escalated": round(one.escalated, 4), "macro_f1": round(one.macro_f1, 4)}
                for one in steps
                if one.margin in _SHOWN
            ],
        }
        print(
            f"{cut:<10}{chosen.escalated:>7.1%} escalate (less than {chosen.margin:g} from a threshold): macro-F1"
            f" {chosen.macro_f1:.3f}, the full bundle alone {best:.3f}, the fast one {steps[0].macro_f1:.3f}"
        )
    described = {
        "name": job.name,
        "version": job.version,
        "figures": {"mentions": len(mentions), "loss": job.loss, "cuts": figures},
    }
    write_cascade(job.out, {"fast": job.fast, "full": job.full}, bands, described)
    print(f"cascade written to {job.out}", file=sys.stderr)
    return 0


def step(fast: _Read, full: _Read, truth: Floats, cut: str, margin: float) -> Step:
    """What escalates at a margin, and the macro-F1 that results."""
    low, high = np.array([_ends(threshold, margin) for threshold in fast.bundle.thresholds(cut)]).T
    escalates = ((fast.probabilities >= low) & (fast.probabilities <= high)).any(axis=1) & (margin > 0)
    labels = np.where(escalates[:, None], full.labels(cut), fast.labels(cut))
    return Step(margin, float(escalates.mean()), macro_f1(truth, labels))


def narrowest(steps: Sequence[Step], wanted: float) -> Step:
    """The narrowest margin from which on every wider one reaches the wanted macro-F1; at the widest all escalate."""
    chosen = steps[-1]
    for one in reversed(steps):
        if one.macro_f1 < wanted:
            break
        chosen = one
    return chosen


def band(bundle: Bundle, cut: str, margin: float) -> dict[str, list[float] | None]:
    """Intent → the lowest and the highest probability that escalate; None where there is no margin.

    An intent that the fast bundle is never sure enough of to assert escalates as if its threshold were
    ``_OUT_OF_REACH``, and above that.
    """
    return {
        intent: list(_ends(threshold, margin)) if margin else None
        for intent, threshold in zip(INTENTS, bundle.thresholds(cut), strict=True)
    }


def macro_f1(truth: Floats, labels: Flags) -> float:
    """Mean F1 of the intents with a known positive; ``truth`` is ``training.sample.UNKNOWN`` where not known."""
    each = []
    for column in range(len(INTENTS)):
        known = truth[:, column] >= 0
        actual, asserted = truth[known, column] == 1, labels[known, column]
        if actual.any():
            each.append(2 * float((actual & asserted).sum()) / float(actual.sum() + asserted.sum()))
    return float(np.mean(each)) if each else 0.0


def _ends(threshold: float, margin: float) -> tuple[float, float]:
    """The probabilities that are ``margin`` log-odds below and above a threshold."""
    at = threshold if math.isfinite(threshold) else _OUT_OF_REACH
    if math.isinf(margin):
        return 0.0, 1.0
    if not 0 < at < 1:
        return at, at
    log_odds = math.log(at / (1 - at))
    return probability(log_odds - margin), probability(log_odds + margin) if math.isfinite(threshold) else 1.0


def _read(folder: Path, full: Path, mentions: Sequence[LabelledMention]) -> _Read:
    """What a bundle reads, with the brands file of the full one, as a cascade does."""
    if is_cascade(folder):
        raise BundleError(f"bundle {folder} is itself a cascade; give one of its two bundles")
    scorer = Scorer.load(folder, brands=full / BRANDS)
    readings = list(scorer.read_all((mention.text, mention.target) for mention in mentions))
    return _Read(scorer.bundle, np.array([reading.probabilities for reading in readings]))

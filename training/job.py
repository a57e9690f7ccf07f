"""What a training command was asked to do. Leaves doing it to ``training.train`` and the commands around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model.bundle import MANIFEST
from model.errors import FirstreplyError
from training.recipe import Recipe


class TrainingError(FirstreplyError):
    """What was asked for cannot be trained: of these mentions, to that place, or in this way."""


@dataclass(frozen=True)
class TrainJob:
    """What to train on, how, and where the bundle goes."""

    train: tuple[Path, ...]
    out: Path
    recipe: Recipe
    dev: Path | None = None
    """Labelled mentions of other brands; without it, some brands of ``train`` are set aside."""
    brands: Path | None = None
    teachers: tuple[Path, ...] = ()
    """Bundles or kept encoders to learn from as well: from the mean of their probabilities. They teach mentions without
    labels too."""
    averaged: tuple[Path, ...] = ()
    """Kept encoders of the same base; in the end all weights are averaged (``training.kept.average``)."""
    compared: tuple[Path, ...] = ()
    """Bundles whose figures on the same dev mentions stand in the card beside this one's."""
    exclude_sources: tuple[str, ...] = ()
    """Mentions whose ``source`` is one of these are left out."""
    permissive: bool = False
    """Mentions of corpora whose licence does not allow commercial use are left out."""
    name: str = "firstreply"
    version: str = "0.1.0"
    keep_fp32: bool = False
    """Also write the bundle before quantisation, as OUT-fp32."""
    keep_encoder: bool = False
    """Also write the fine-tuned encoder and its head, as OUT-encoder: a base to train on from, and a teacher."""
    report_to: str | None = None
    """Experiment tracker that gets the loss and the dev figures, one of ``training.tracking.TRACKERS``."""

    def beside(self, suffix: str) -> Path:
        """What lies beside the bundle: OUT-suffix."""
        return self.out.with_name(f"{self.out.name}-{suffix}")


def check_out(job: TrainJob) -> None:
    """Refuse, before any work, places where something else than a bundle or a kept encoder would be overwritten.

    Raises:
        TrainingError: ``out`` names no folder, or something else is there.
    """
    if not job.out.name or job.out.name == "..":
        raise TrainingError(f"--out {job.out}: name the folder of the new bundle")
    places = [(job.out, MANIFEST, "bundle")]
    places += [(job.beside("fp32"), MANIFEST, "bundle")] if job.keep_fp32 else []
    places += [(job.beside("encoder"), "config.json", "encoder")] if job.keep_encoder else []
    for place, sign, kind in places:
        if place.exists() and not (place / sign).is_file() and not (place.is_dir() and not any(place.iterdir())):
            raise TrainingError(f"--out {job.out}: {place} is there and is no {kind}; give another folder")

"""Experiment trackers that a training run can report to, through transformers' own callbacks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

from model.errors import FirstreplyError

TRACKERS = {
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Tracker → packages of which one must be installed, the one to recommend first."""


class TrackerError(FirstreplyError):
    """The tracker asked for is not installed."""


def prepare_tracker(tracker: str | None, logs: Path) -> None:
    """Check, before any work, that a tracker can be used; TensorBoard writes to ``logs``, the others where they do.

    Raises:
        TrackerError: its package is not installed.
    """
    if tracker is None:
        return
    packages = TRACKERS[tracker]
    if not any(find_spec(package) for package in packages):
        raise TrackerError(f"--report-to {tracker} needs the package {packages[0]}: pip install {packages[0]}")
    if tracker == "tensorboard":
        os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(logs))

"""Experiment trackers that a training run can report to, through transformers' own callbacks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
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
_LOGS = "TENSORBOARD_LOGGING_DIR"


class TrackerError(FirstreplyError):
    """The tracker asked for is not installed."""


def check_tracker(tracker: str | None) -> None:
    """Check, before any work, that a tracker can be used.

    Raises:
        TrackerError: its package is not installed.
    """
    if tracker is None:
        return
    packages = TRACKERS[tracker]
    if not any(find_spec(package) for package in packages):
        raise TrackerError(f"--report-to {tracker} needs the package {packages[0]}: pip install {packages[0]}")


@contextmanager
def tensorboard_logs(folder: Path | None) -> Iterator[None]:
    """A ``Trainer`` that is made inside has TensorBoard write to ``folder``, unless the environment says where."""
    if folder is None or _LOGS in os.environ:
        yield
        return
    os.environ[_LOGS] = str(folder)
    try:
        yield
    finally:
        del os.environ[_LOGS]

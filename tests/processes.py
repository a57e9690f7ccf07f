"""What tests of other processes share: waiting for what must come true, and finding who is still at work."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def until(true: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether something comes true in so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def working_on(output: Path) -> list[psutil.Process]:
    """Processes that were begun to write an output."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(output) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def scoring_actors() -> list[psutil.Process]:
    """Processes of Ray actors that score, on clusters that this process has begun."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "ScoreChunks" in " ".join(process.cmdline()):
                found.append(process)
    return found

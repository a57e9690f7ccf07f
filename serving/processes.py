"""Processes that help the one that started them: how they begin, and that they do not outlive it.

Leaves out what they do (``serving.workers``, ``serving.worker``).
"""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Callable
from typing import Any


def process_context() -> Any:
    """How processes are started: forked they share the model's memory; elsewhere fork is not safe, or not there."""
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def with_parent(end: Callable[[], object]) -> None:
    """Have ``end`` called, on a thread, once this process's parent has ended: one that is killed can stop nobody."""

    def wait() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        end()

    threading.Thread(target=wait, daemon=True).start()

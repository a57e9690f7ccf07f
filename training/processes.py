"""One training job in several processes (``accelerate launch``, ``torchrun``): who writes and speaks, and who waits.

Leaves out the fitting itself, which transformers' ``Trainer`` spreads over the processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from accelerate import PartialState

LONGEST_WAIT = timedelta(days=1)
"""How long the others wait for the first process, which may be asking a large teacher."""


def _state() -> PartialState:
    return PartialState(cpu=not torch.cuda.is_available(), timeout=LONGEST_WAIT)


def process_count() -> int:
    """Processes of this job; 1 where it was not started by a launcher."""
    return int(_state().num_processes)


def is_main() -> bool:
    """Whether this process is the one that writes files and prints."""
    return bool(_state().is_main_process)


@contextmanager
def main_first() -> Iterator[None]:
    """What is inside, the main process does before the others begin it, so that they find what it wrote."""
    with _state().main_process_first():
        yield


def say(line: str) -> None:
    """A line of progress on stderr, once for all processes."""
    if is_main():
        print(line, file=sys.stderr, flush=True)

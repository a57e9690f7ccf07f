"""What a bulk job says on stderr: how far it is, and at the end what it found.

Leaves out the job (``serving.bulk``).
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from data.schema import INTENTS
from serving.unfinished import Tally

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 15.0


class Progress:
    """Says how far a job is: one line that renews itself on a terminal, a line now and then elsewhere.

    Args:
        tally: what has been done; whoever does more counts it there.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally, self._before = tally, tally.rows
        self._terminal = sys.stderr.isatty()
        self._started = self._said = time.monotonic()

    def said(self) -> None:
        """Say how far it is, if it is time to."""
        now = time.monotonic()
        if now - self._said >= (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            self._said = now
            line = f"{self._tally.rows:,} rows, {self._speed()}"
            print(
                f"\r\x1b[K{line}" if self._terminal else line,
                end="" if self._terminal else "\n",
                file=sys.stderr,
                flush=True,
            )

    def summary(self, output: str, rejects: str) -> None:
        """Say what was done: rows, speed, results and the share of each label, and where they are."""
        tally = self._tally
        shares = ", ".join(f"{intent} {tally.labels.get(intent, 0) / max(1, tally.results):.1%}" for intent in INTENTS)
        rejected = f", {tally.rejected:,} rejected (see {rejects})" if tally.rejected else ""
        before = f", {self._before:,} of them before" if self._before else ""
        print(
            f"firstreply: {tally.rows:,} rows{before}{rejected} in {self._seconds():.1f} s ({self._speed()}) "
            f"→ {tally.results:,} results in {output}: {shares}",
            file=sys.stderr,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _speed(self) -> str:
        return f"{(self._tally.rows - self._before) / max(self._seconds(), 1e-9):,.0f} rows/s"

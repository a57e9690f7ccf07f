"""What a bulk job says on stderr: how far it is, and at the end what it found.

Leaves out the job (``serving.bulk``).
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from data.schema import INTENTS

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 15.0


class Progress:
    """Counts rows and says so: one line that renews itself on a terminal, a line now and then elsewhere.

    Args:
        output: where the results go, for the last line.
    """

    def __init__(self, output: str) -> None:
        self._output = "stdout" if output == "-" else output
        self._rows = self._rejected = self._results = 0
        self._labels: Counter[str] = Counter()
        self._terminal = sys.stderr.isatty()
        self._started = self._said = time.monotonic()

    def scored(self, results: Sequence[Mapping[str, Any]]) -> None:
        """One more row, and its results."""
        self._results += len(results)
        for result in results:
            self._labels.update(result["labels"])
        self._row()

    def rejected(self) -> None:
        """One more row, which could not be scored."""
        self._rejected += 1
        self._row()

    def summary(self) -> None:
        """Say what was done: rows, speed, results and the share of each label among them."""
        shares = ", ".join(f"{intent} {self._labels[intent] / max(1, self._results):.1%}" for intent in INTENTS)
        rejected = f", {self._rejected:,} rejected" if self._rejected else ""
        print(
            f"firstreply: {self._rows:,} rows{rejected} in {self._seconds():.1f} s ({self._speed()}) "
            f"→ {self._results:,} results in {self._output}: {shares}",
            file=sys.stderr,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _row(self) -> None:
        self._rows += 1
        now = time.monotonic()
        if now - self._said >= (_TERMINAL_SECONDS if self._terminal else _LOG_SECONDS):
            self._said = now
            line = f"{self._rows:,} rows, {self._speed()}"
            print(
                f"\r\x1b[K{line}" if self._terminal else line,
                end="" if self._terminal else "\n",
                file=sys.stderr,
                flush=True,
            )

    def _seconds(self) -> float:
        return time.monotonic() - self._started

    def _speed(self) -> str:
        return f"{self._rows / max(self._seconds(), 1e-9):,.0f} rows/s"

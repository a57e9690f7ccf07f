"""A count on stderr while something long runs: one line renewed on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_TERMINAL_SECONDS, _LOG_SECONDS = 0.2, 15.0


def counted(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Pass ``items`` on and say on stderr how many have come by, of how many if known: "what: 1,200 of 10,000"."""
    whole = "" if total is None else f" of {total:,}"
    terminal = sys.stderr.isatty()
    interval = _TERMINAL_SECONDS if terminal else _LOG_SECONDS
    said = time.monotonic()
    for number, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - said >= interval:
            said = now
            _say(f"{what}: {number:,}{whole}", terminal)
    if terminal:
        _say("", terminal)


def _say(line: str, terminal: bool) -> None:
    print(f"\r\x1b[K{line}" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)

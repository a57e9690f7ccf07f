"""Processes that do the same work on one chunk after another: an interpreter's lock each, answers in order.

Leaves out the work and what becomes of the answers (``serving.bulk``).
"""

from __future__ import annotations

import functools
import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import Any, TypeVar

from data.schema import FirstreplyError
from serving.processes import process_context, with_parent

_UNDER_WAY = 4
"""Chunks a process that wait, are worked on or wait for those before them, at most."""

_Chunk = TypeVar("_Chunk")
_Answer = TypeVar("_Answer")
_work: Callable[[Any], Any]
"""What this process was started to do."""


class WorkerError(FirstreplyError):
    """A process ended before its chunk was done."""


def in_order(
    work: Callable[[_Chunk], _Answer], chunks: Iterable[_Chunk], processes: int
) -> Generator[_Answer, None, None]:
    """What the work answers to each chunk, in their order, a bounded number of them under way.

    One chunk, or one process, is worked on here.

    Args:
        work: can be pickled, where a process cannot inherit it; chunks and answers can be in any case.
        chunks: any number of them.
        processes: that work side by side, 1 or more.

    Raises:
        WorkerError: a process has ended, killed by whoever or for want of memory.
    """
    iterator = iter(chunks)
    first = list(islice(iterator, 2))
    if processes == 1 or len(first) < 2:
        yield from map(work, chain(first, iterator))
        return
    pool = ProcessPoolExecutor(processes, process_context(), _begin, (work,))
    under_way: deque[Future[_Answer]] = deque()
    try:
        for chunk in chain(first, iterator):
            under_way.append(pool.submit(_do, chunk))
            if len(under_way) == _UNDER_WAY * processes:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
    except BrokenProcessPool:
        raise WorkerError("a scoring process has ended, killed or out of memory") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(work: Callable[[Any], Any]) -> None:
    global _work  # noqa: PLW0603  # an executor's initializer can leave what it made nowhere else
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the process that began the work
    with_parent(functools.partial(os._exit, 1))
    _work = work


def _do(chunk: Any) -> Any:
    return _work(chunk)

"""A Ray cluster to work on: joined, or begun on this machine for as long as it is needed. Ray keeps quiet meanwhile.

Leaves out the work (``serving.on_ray.job``).
"""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from data.schema import FirstreplyError
from model.pipeline import usable_cores

_OBJECTS = 2**29
"""Bytes of shared memory for what goes between the processes of this machine: some hundred chunks."""

_ANSWER_SECONDS = 10.0
_RAISED = re.compile(r"^(?:\w+\.)*(\w+(?:Error|Exception)): (.+)$", re.MULTILINE)
"""The last line of a traceback."""


class ClusterError(FirstreplyError):
    """There is no such Ray cluster, or it did not do the work."""


@contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Be part of a cluster until the end of the block; one that this process is part of already is used as it is.

    What Ray raises meanwhile becomes a ``ClusterError``.

    Args:
        address: HOST:PORT of the cluster, or ``auto`` for the one of this machine; None goes by RAY_ADDRESS, else
            begins one on this machine, with a CPU for each usable core.

    Raises:
        ClusterError: it cannot be joined, or something was raised on it.
    """
    # Ray reads both when it begins: no usage reports leave the machine, and C++ says nothing that is not fatal.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray
    import ray.data
    from ray.data.exceptions import ExecutionTimeoutError, SystemException
    from ray.exceptions import RayError

    # The import has set it lower. What goes wrong is raised; it is not to be told twice.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    mine = not ray.is_initialized()
    if mine:
        _begin(address or os.environ.get("RAY_ADDRESS") or "local")
    try:
        with redirect_stdout(sys.stderr):  # where Ray tells of machines that are lost
            yield
    except (RayError, SystemException, ExecutionTimeoutError) as error:
        raise _cause(error) from None
    finally:
        if mine:
            ray.shutdown()


def _begin(address: str) -> None:
    import ray

    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.CRITICAL}
    if address == "local":
        os.environ.setdefault("RAY_worker_niceness", "0")  # as the local engine; Ray's own 15 gives way to everything
        options |= {"num_cpus": usable_cores(), "object_store_memory": _OBJECTS, "include_dashboard": False}
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    try:
        if colon:  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), _ANSWER_SECONDS).close()
        with _unheard():
            ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise ClusterError(f"Ray cluster {address}: {reason}; is it running, and reachable from here?") from None


@contextmanager
def _unheard() -> Iterator[None]:
    """Nothing goes to stderr, not even from C++, which there says what it was told about its log."""
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def _cause(error: Exception) -> ClusterError:
    """What was raised on another machine: Ray brings the traceback, in which the first cause stands first."""
    found = _RAISED.search(str(error))
    kind, said = found.groups() if found else (type(error).__name__, str(error).strip().partition("\n")[0])
    if kind in {ours.__name__ for ours in FirstreplyError.__subclasses__()}:
        return ClusterError(said)
    hint = "; install firstreply[ray] on all machines of the cluster" if kind == "ModuleNotFoundError" else ""
    return ClusterError(f"Ray: {kind}: {said}{hint}")

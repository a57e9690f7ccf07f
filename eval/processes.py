"""The real commands in processes of their own: started, waited for, and weighed.

Leaves out what they are asked (``eval.load``) and what comes of it (``eval.bench``).
"""

from __future__ import annotations

import http.client
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

from data.schema import FirstreplyError

_START_SECONDS = 180.0
_MIB = 2**20


@dataclass(frozen=True)
class Server:
    """A server that is ready to answer."""

    port: int
    process: psutil.Process

    def memory(self) -> float:
        """Memory that it and the processes it began hold, in MiB."""
        return _memory(self.process) / _MIB

    def cpu_seconds(self) -> float:
        """CPU time that it and the processes it began have used so far, in user and system mode."""
        used = 0.0
        for one in (self.process, *self.process.children(recursive=True)):
            with suppress(psutil.Error):
                times = one.cpu_times()
                used += times.user + times.system
        return used


@dataclass(frozen=True)
class Ended:
    """What a command took from start to exit."""

    seconds: float
    cpu_seconds: float
    peak_memory: float
    """The most memory that it and the processes it began held at once, in MiB."""


def firstreply(*arguments: object) -> list[str]:
    """The command line of a firstreply command."""
    return [sys.executable, "-m", "firstreply", *map(str, arguments)]


@contextmanager
def served(command: Sequence[str], port: int, ready: str, **environment: str) -> Iterator[Server]:
    """A server until the end of the block.

    Args:
        command: what starts it.
        port: where it will listen.
        ready: the path that answers with status 200 once it is ready.
        **environment: variables that it is to have beside ours.

    Raises:
        FirstreplyError: it ends, or is not ready in three minutes.
    """
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(list(command), stdout=said, stderr=said, env={**os.environ, **environment})
        try:
            _wait_until_ready(port, ready, process, said)
            yield Server(port, psutil.Process(process.pid))
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def run(command: Sequence[str], given: str = "") -> Ended:
    """Run a command to its end.

    Args:
        command: program and arguments.
        given: what it reads on stdin.

    Raises:
        FirstreplyError: its exit status is not 0.
    """
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as stdin:
        stdin.write(given)
        stdin.seek(0)
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        process = psutil.Popen(list(command), stdin=stdin, stdout=said, stderr=said)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, _memory(process))
            with suppress(psutil.TimeoutExpired):
                process.wait(timeout=0.05)
        status = process.wait()
        took, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        if status != 0:
            raise FirstreplyError(f"{' '.join(command[1:4])} ended with status {status}: {last_line(said)}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Ended(took, cpu, peak / _MIB)


def _memory(process: psutil.Process) -> float:
    """Bytes that it and the processes it began hold; what they share counts once, where the system can tell."""
    held = 0.0
    with suppress(psutil.Error):
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                held += memory_of_one(one)
    return held


def memory_of_one(process: psutil.Process) -> float:
    """Bytes that a process holds; of what it shares with others its share, where the system can tell.

    Raises:
        psutil.Error: it has ended.
    """
    memory = process.memory_full_info()
    return float(getattr(memory, "pss", memory.rss))


def last_line(said: IO[str]) -> str:
    """The last line that a process has said."""
    said.seek(0)
    lines = said.read().strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until_ready(port: int, path: str, process: subprocess.Popen[bytes], said: IO[str]) -> None:
    until = time.monotonic() + _START_SECONDS
    name = Path(process.args[0]).name if isinstance(process.args, list) else "the server"
    while time.monotonic() < until:
        if process.poll() is not None:
            raise FirstreplyError(f"{name} ended with status {process.returncode}: {last_line(said)}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path)
            if connection.getresponse().status == http.client.OK:
                return
        except OSError:
            pass  # it does not listen yet
        finally:
            connection.close()
        time.sleep(0.1)
    raise FirstreplyError(f"{name} was not ready after {_START_SECONDS:.0f} s: {last_line(said)}")

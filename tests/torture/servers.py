"""The real ``firstreply serve`` in a process of its own, with what it says kept to be looked at.

``eval.processes.served`` is for measuring and throws away what a server says; here it is part of what is proved.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from eval.processes import Server, firstreply, free_port

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 45.0
"""More than a server gives the requests in flight when it is told to stop."""


@dataclass(frozen=True)
class Started:
    """A server that was started, and where its stderr goes."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def server(self) -> Server:
        """It as something to weigh."""
        return Server(self.port, psutil.Process(self.process.pid))

    def said(self) -> str:
        """What it has said on stderr."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET on a connection of its own; OSError when there is no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise OSError(str(error)) from error
        finally:
            connection.close()

    def score(self, mentions: list[dict[str, Any]]) -> dict[str, Any]:
        """The answer to some mentions, on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            body = json.dumps({"mentions": mentions})
            connection.request("POST", "/v1/score", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            given = response.read()
            assert response.status == http.client.OK, given
            answer: dict[str, Any] = json.loads(given)
            return answer
        finally:
            connection.close()

    def workers(self) -> list[psutil.Process]:
        """The processes that it has begun and that answer requests."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with suppress(psutil.Error):
                helper = any("resource_tracker" in part or "forkserver" in part for part in child.cmdline())
                if not helper and child.status() != psutil.STATUS_ZOMBIE:
                    found.append(child)
        return found


@contextmanager
def started(folder: Path, *options: object) -> Iterator[Started]:
    """A server that is ready, until the end of the block.

    Args:
        folder: where its log is kept.
        *options: of ``firstreply serve``, without the port.
    """
    port = free_port()
    log = folder / f"server-{port}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            firstreply("serve", "--port", port, *options), cwd=ROOT, stdout=stream, stderr=stream
        )
    server = Started(port, process, log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        stop(server)


def wait_until_ready(server: Started) -> None:
    """Return once ``/readyz`` says so; AssertionError when it does not."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert server.process.poll() is None, f"it ended with {server.process.returncode}: {server.said()}"
        with suppress(OSError):
            if server.get("/readyz")[0] == http.client.OK:
                return
        time.sleep(0.05)
    raise AssertionError(f"not ready after {START_SECONDS:.0f} s: {server.said()}")


def stop(server: Started) -> int:
    """Its exit status once it is told to stop (SIGTERM), if it has not ended before."""
    if server.process.poll() is None:
        server.process.terminate()
    return exit_status(server)


def exit_status(server: Started) -> int:
    """Its exit status once it has ended; killed, with what it began, when that takes too long."""
    try:
        return server.process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for child in psutil.Process(server.process.pid).children(recursive=True):
            child.kill()
        server.process.kill()
        return server.process.wait()

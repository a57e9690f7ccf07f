"""nginx with the project's own configuration before two replicas, and clients that account for every request.

Leaves out what is done to the replicas meanwhile (``test_balancer``, and ``tests.torture.test_balancer`` at length).
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from eval.load import request
from eval.processes import firstreply
from eval.workload import real_length, sample_mentions
from tests.processes import until
from tests.torture.clients import Account, keep_asking
from tests.torture.servers import ROOT, START_SECONDS, Started, exit_status, stop, wait_until_ready

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
CLIENTS = 8
MENTIONS = 4
"""Of every other request; the others have one."""
PATIENCE = 300.0
"""Seconds in which answers must come."""
_SCORED = re.compile(r'^firstreply_requests_total{method="POST",path="/v1/score",status="200"} (\S+)$', re.MULTILINE)

_MAIN = """\
{user}
worker_processes 2;
pid nginx.pid;
daemon off;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include site.conf;
}}
"""
"""What a package or an image has around a site: here it keeps to one folder, and to whoever runs the test."""


@dataclass
class Balanced:
    """nginx, and the replicas behind it."""

    port: int
    """nginx's."""
    folder: Path
    ports: tuple[int, int]
    """The replicas'."""
    replicas: dict[int, Started] = field(default_factory=dict)
    """By port."""

    @property
    def log(self) -> Path:
        """What nginx has to say of replicas that fail."""
        return self.folder / "nginx.log"

    def start(self, port: int) -> None:
        """Start a replica where nginx expects one, and return once it is ready."""
        log = self.folder / f"replica-{port}.log"
        with log.open("ab") as stream:
            command = firstreply("serve", "--port", port, "--tier", "fast", "--remember", 0)
            process = subprocess.Popen(command, cwd=ROOT, stdout=stream, stderr=stream)
        self.replicas[port] = Started(port, process, log)
        wait_until_ready(self.replicas[port])

    def drain(self, port: int) -> None:
        """Stop a replica as an orchestrator does, and wait for its end."""
        assert stop(self.replicas[port]) == 0, self.replicas[port].said()

    def kill(self, port: int) -> None:
        """End a replica with all that it has in hand."""
        self.replicas[port].process.kill()
        exit_status(self.replicas[port])

    def scored(self, port: int) -> int:
        """Requests that the replica of a port has scored since it was started."""
        _, body = self.replicas[port].get("/metrics")
        found = _SCORED.search(body.decode())
        return int(float(found.group(1))) if found else 0

    def sent_on(self) -> int:
        """How often nginx had no answer from a replica, and asked the other."""
        said = self.log.read_text(encoding="utf-8")
        return sum(said.count(f"while {doing} upstream") for doing in ("connecting to", "reading response header from"))

    def cut_off(self) -> int:
        """How often a replica was gone in the middle of an answer, of which the caller had some already."""
        return self.log.read_text(encoding="utf-8").count("while reading upstream")

    def end(self) -> None:
        """Stop all replicas."""
        for replica in self.replicas.values():
            replica.process.terminate()
        for replica in self.replicas.values():
            exit_status(replica)


@contextmanager
def balanced(folder: Path) -> Iterator[Balanced]:
    """Two replicas behind nginx, all ready, until the end of the block.

    Args:
        folder: where nginx and the replicas keep their files.
    """
    with ExitStack() as stack:
        port, first, second = (stack.enter_context(_kept_port()) for _ in range(3))
        behind = Balanced(port, folder, (first, second))
        stack.callback(behind.end)
        for replica in behind.ports:
            behind.start(replica)
        stack.enter_context(_nginx(behind))
        yield behind


@asynccontextmanager
async def asking(port: int) -> AsyncIterator[Account]:
    """Clients at work until the end of the block, on connections that they keep; their account."""
    account, ended = Account(), asyncio.Event()
    mentions = real_length(sample_mentions(), MENTIONS * 50)
    values = [{"id": mention.id, "text": mention.text, "brand": list(mention.brand)} for mention in mentions]
    asked = [
        request("/v1/score", json.dumps({"mentions": values[start : start + size]}).encode())
        for start in range(0, len(values), MENTIONS)
        for size in (1, MENTIONS)
    ]
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(keep_asking(number, port, asked, account, ended, asyncio.Event()))
        try:
            yield account
        finally:
            ended.set()


async def answers(account: Account, more: int) -> None:
    """Return once there are so many more; TimeoutError when that takes much too long."""
    enough = account.answered.total() + more
    async with asyncio.timeout(PATIENCE):
        while account.answered.total() < enough:
            await asyncio.sleep(0.02)


async def refill(behind: Balanced, port: int, account: Account) -> None:
    """Start a replica again, and return once nginx sends it requests."""
    await asyncio.to_thread(behind.start, port)
    while not await asyncio.to_thread(behind.scored, port):
        await answers(account, 10)


def failed(account: Account) -> int:
    """Requests that were not scored, and connections that nginx did not take."""
    return account.answered.total() - account.answered[200] + len(account.lost) + account.refused


def site(behind: Balanced) -> str:
    """The project's configuration with other addresses, and nothing else changed."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    addresses = {"server 10.0.0.11:8080 ": behind.ports[0], "server 10.0.0.12:8080 ": behind.ports[1]}
    for address, port in addresses.items():
        assert text.count(address) == 1
        text = text.replace(address, f"server 127.0.0.1:{port} ")
    assert text.count("listen 80;") == 1
    return text.replace("listen 80;", f"listen 127.0.0.1:{behind.port};")


@contextmanager
def _nginx(behind: Balanced) -> Iterator[None]:
    assert NGINX is not None
    user = f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""  # else root's workers are somebody else
    (behind.folder / "nginx.conf").write_text(_MAIN.format(user=user), encoding="utf-8")
    (behind.folder / "site.conf").write_text(site(behind), encoding="utf-8")
    with subprocess.Popen([NGINX, "-p", behind.folder, "-c", "nginx.conf", "-e", behind.log]) as process:
        try:
            assert until(lambda: process.poll() is not None or _listens(behind.port), START_SECONDS)
            assert process.poll() is None, behind.log.read_text(encoding="utf-8")
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def _kept_port() -> Iterator[int]:
    """A port that stays free for whoever listens on it, also between one replica and the next.

    A socket that is bound and does not listen keeps the system from giving the port to a connection.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield kept.getsockname()[1]

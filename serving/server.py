"""``firstreply serve``: load, listen, say so, run until told to stop.

Leaves out what is answered (``serving.app``), one process that answers (``serving.worker``) and several of them
(``serving.supervisor``).
"""

from __future__ import annotations

import functools
import ipaddress
import json
import os
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.schema import FirstreplyError
from serving.contract import EXAMPLE_REQUEST
from serving.keys import Keys, KeysError
from serving.logs import configure
from serving.settings import SHARED, ServeSettings
from serving.supervisor import Beat, Supervisor
from serving.traces import check_installed

if TYPE_CHECKING:  # what counts reads its environment when it is imported
    from serving.worker import Models

__all__ = ["AddressError", "ServeSettings", "ready_lines", "serve"]


class AddressError(FirstreplyError):
    """The server cannot listen where it was told to."""


def serve(settings: ServeSettings) -> int:
    """Serve until SIGTERM or SIGINT; requests in flight are finished first.

    SIGHUP reads the bundle, the policy, the brands file and the keys anew. Everything that can be wrong with the
    settings is found before the server listens. Must run on the main thread.

    Returns:
        Exit status 0.

    Raises:
        FirstreplyError: a file that cannot be used, no keys where they must be, or an ``AddressError``.
    """
    configure(settings.log_json, settings.log_requests)
    if settings.keys is not None:
        Keys.load(settings.keys)
    with tempfile.TemporaryDirectory(prefix="firstreply-") as folder:
        if settings.workers > 1:
            os.environ[SHARED] = folder
        try:
            _serve(settings, Path(folder))
        finally:
            os.environ.pop(SHARED, None)
    print("firstreply: stopped", file=sys.stderr, flush=True)
    return 0


def _serve(settings: ServeSettings, folder: Path) -> None:
    from prometheus_client.multiprocess import mark_process_dead

    from serving.worker import Models, run_worker

    models = Models.load(settings)
    if settings.traces is not None:
        check_installed()
    if settings.bundles is not None and not settings.bundles.is_dir():
        raise AddressError(f"--bundles {settings.bundles}: no such folder")
    listener = _listener(settings.host, settings.port)
    try:
        _check_open(settings, listener)
        lines = ready_lines(models.triage.name, listener, settings.keys is not None)

        def say_ready() -> None:
            print(lines, file=sys.stderr, flush=True)

        if settings.workers == 1:
            run_worker(settings, listener, models, say_ready)
            return
        stop_seconds = settings.drain_seconds + settings.stop_seconds + 5
        listener.listen()
        start = _Start(settings, listener, folder, os.getpid(), models)
        # Open here, it would take connections that no worker answers any more.
        Supervisor(start, settings.workers, stop_seconds, say_ready, mark_process_dead, listener.close).run()
    finally:
        listener.close()


@dataclass(frozen=True)
class _Start:
    """What each worker begins with; where it cannot inherit the models, it loads them."""

    settings: ServeSettings
    listener: socket.socket
    folder: Path
    parent: int
    models: Models | None

    def __call__(self, beat: Beat, reloads: int) -> None:
        """Be a worker."""
        from serving.worker import Models, Place, Shared, run_worker

        configure(self.settings.log_json, self.settings.log_requests)
        shared = Shared(self.folder, functools.partial(os.kill, self.parent, signal.SIGHUP))
        models = self.models or Models.load(self.settings)
        run_worker(self.settings, self.listener, models, lambda: None, Place(shared, beat, reloads))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.settings, self.listener, self.folder, self.parent, None)


def _check_open(settings: ServeSettings, listener: socket.socket) -> None:
    """Whoever can reach the server from elsewhere must have a key, or it must have been said that nobody needs one."""
    address = listener.getsockname()[0].partition("%")[0]
    if settings.keys is None and not settings.no_keys and not ipaddress.ip_address(address).is_loopback:
        raise KeysError(
            f"{settings.host} can be reached from other machines: ask for a key with --keys FILE (made by: firstreply"
            " keys new FILE NAME), or say with --no-keys that everybody may call"
        )


def ready_lines(name: str, listener: socket.socket, keys: bool = False) -> str:
    """Where the server answers, and a command that asks it something."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # nosec B104  # what is told, not listened on
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    key = " -H 'Authorization: Bearer KEY'" if keys else ""
    return (
        f"firstreply: {name} ready on {url} (documentation: {url}/docs); try\n"
        f"curl {url}/v1/score -H 'Content-Type: application/json'{key} -d '{json.dumps(EXAMPLE_REQUEST)}'"
    )


def _listener(host: str, port: int) -> socket.socket:
    """A socket bound to the address; it listens only when the server runs."""
    if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
        raise AddressError(f"{host}:{port}: ports end at 65535; give another --port")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        # A name with both kinds of address, such as localhost, is served on the one that everybody tries.
        family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AddressError(f"{host}:{port}: {reason}; give another --host or --port") from None
    return listener

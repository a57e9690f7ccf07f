"""What a server is started with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from serving.limits import Limits

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of the environment that tells ``prometheus_client``, when it is imported, in which folder several processes
share what they count."""


@dataclass(frozen=True)
class ServeSettings:
    """What a server is started with."""

    bundle: Path
    """Bundle folder."""
    host: str = "127.0.0.1"
    """Name or address to listen on; ``0.0.0.0`` is every IPv4 address of the machine."""
    port: int = 8000
    """Port to listen on; 0 lets the system choose a free one."""
    brands: Path | None = None
    """Brands file; the bundle's own by default."""
    policy: Path | None = None
    """Policy file; the default one by default."""
    cut: str = "balanced"
    """Which of the bundle's cuts makes labels of probabilities."""
    remember: int = 0
    """Mentions whose reading is kept in memory, so that a repeat costs nothing (``model.scorer.Scorer``)."""
    workers: int = 1
    """Processes that answer; more than one have a parent that replaces those that die."""
    keys: Path | None = None
    """Keys file; without one everybody may call, which has to be said (``no_keys``) off the loopback addresses."""
    no_keys: bool = False
    """Let everybody call who can reach the server."""
    bundles: Path | None = None
    """Folder of bundles that an admin may put in place by name."""
    shadow: Path | None = None
    """Bundle that reads a share of the mentions besides; where it differs is counted and logged."""
    shadow_share: float = 0.05
    """Of the requests, 0 to 1."""
    closed: Collection[str] = ()
    """``metrics``, ``docs`` or ``playground``: addresses that there are not."""
    origins: Collection[str] = ()
    """Origins whose pages may call from a browser."""
    traces: str | None = None
    """Where OpenTelemetry spans go, by OTLP over HTTP."""
    log_requests: bool = False
    """Log a line for each request (address, path and status; never what was posted)."""
    log_json: bool = False
    """Log JSON lines instead of text."""
    drain_seconds: float = 2.0
    """How long a server that is told to stop goes on taking connections, at most, so that nobody is cut off."""
    stop_seconds: int = 30
    """How long requests in flight have to finish after that."""
    limits: Limits = field(default_factory=Limits)
    """What requests may ask for."""

"""What can go wrong with a whole call: one small tree under ``FirstreplyError``.

Leaves out mentions that cannot be scored, which are results (``results.Unscored``), and arguments of the wrong kind,
which are Python's own ``TypeError`` and ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Sequence

from firstreply_client.results import Result, Unscored


class FirstreplyError(Exception):
    """Root of them all; the message says what happened and what to do.

    ``status`` is that of the last answer, None where there was none. ``title`` and ``detail`` are those of the server's
    problem document (RFC 9457), empty where there was none.
    """

    scored: Sequence[Result | Unscored] = ()
    """Of a large list, the results of the parts that were answered before, in the list's order."""

    def __init__(self, message: str, *, status: int | None = None, title: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.status, self.title, self.detail = status, title, detail


class NotAuthenticatedError(FirstreplyError):
    """The server asks for another key (401), or the key is not enough (403)."""


class RefusedError(FirstreplyError):
    """The server does not take the request as it is (3xx and most of 4xx); the same again would be refused again."""


class OverloadedError(FirstreplyError):
    """The server had too much to do or was not ready (429, 503), each time that it was asked."""

    retry_after: float | None = None
    """Seconds after which the server wants to be asked again, where it said so."""


class TimedOutError(FirstreplyError):
    """There was no answer within the time of the call, or within the server's whenever it was asked (408, 504)."""


class ServerError(FirstreplyError):
    """The server failed (other 5xx), or what answers there is no firstreply server."""


class UnreachableError(FirstreplyError):
    """There was no connection, or it broke, each time that it was tried."""

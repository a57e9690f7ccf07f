"""What every answer has in common: a request id, headers that keep browsers from harm, a count, a line in the log.

Leaves out what is counted of mentions (``serving.scoring``).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logs import fields, request_id
from serving.metrics import Metrics
from serving.traces import Traces

logger = logging.getLogger("firstreply.requests")

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_LONGEST_PATH = 200


class Observed:
    """Middleware around everything else.

    Args:
        app: what answers.
        metrics: where requests are counted.
        traces: where they are told, besides the log.
        draining: whether the server is about to stop: then connections are not kept.
        policies: content-security policies of addresses that show something in a browser.
    """

    def __init__(
        self, app: ASGIApp, metrics: Metrics, traces: Traces, draining: Callable[[], bool], policies: Mapping[str, str]
    ) -> None:
        self.app = app
        self._metrics, self._traces, self._draining, self._policies = metrics, traces, draining, policies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0
        traceparent = Headers(scope=scope).get("traceparent", "")
        scope["request_id"] = identity = request_id(traceparent)

        async def observed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"] in self._policies:
                    headers["Content-Security-Policy"] = self._policies[scope["path"]]
                headers["X-Request-Id"] = identity
                if self._draining():
                    headers["Connection"] = "close"
            await send(message)

        with self._traces.request(scope, traceparent) as span:
            try:
                await self.app(scope, receive, observed)
            finally:
                took = time.perf_counter() - began
                path = getattr(scope.get("route"), "path", "other")
                told = scope["method"] if path != "other" else "other"  # a client can invent methods without end
                self._metrics.requests.labels(path, told, str(status or "gone")).inc()
                self._metrics.seconds.labels(path).observe(took)
                span(status)
                logger.info(
                    "request",
                    extra=fields(
                        request_id=identity,
                        method=scope["method"],
                        path=quote(scope["path"])[:_LONGEST_PATH],
                        status=status or None,
                        seconds=round(took, 4),
                        caller=scope.get("caller"),
                        mentions=scope.get("mentions"),
                    ),
                )

"""Errors of a whole request as RFC 9457 problem documents: every error that leaves the app is one.

Leaves out the errors of single mentions, which have their place among the results (``serving.scoring``).
"""

from __future__ import annotations

import json
import logging
import traceback
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.contract import PROBLEMS
from serving.logs import fields

logger = logging.getLogger("firstreply")


class Problem(HTTPException):
    """A request that cannot be answered: a status of ``PROBLEMS``, and in ``detail`` what is wrong and what to do."""


async def problem_response(request: Request, error: Exception) -> Response:
    """The problem document of an error with a status: one of ours, or the router's 404 and 405."""
    assert isinstance(error, HTTPException)
    title, meaning = PROBLEMS.get(error.status_code, (error.detail, error.detail))
    document = {
        "type": "about:blank",
        "title": title,
        "status": error.status_code,
        "detail": error.detail if isinstance(error, Problem) else meaning,
        "instance": quote(request.scope["path"]),
    }
    return Response(json.dumps(document), error.status_code, error.headers, "application/problem+json")


class UnexpectedErrors:
    """Middleware that answers an error nobody foresaw with a 500 that tells the client nothing of the inside.

    Only the error's type and place are logged: its message may hold the text of a post.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection (ASGI)."""
        try:
            await self.app(scope, receive, send)
        except ClientDisconnect:
            return  # nobody is left to answer
        except Exception as error:
            if scope["type"] != "http":
                raise
            place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            told = fields(request_id=scope.get("request_id"))
            logger.error("%s %s: %s\n%s", scope["method"], scope["path"], type(error).__name__, place, extra=told)
            problem = Problem(500, "The server failed to answer; what happened is in its log.")
            response = await problem_response(Request(scope), problem)
            await response(scope, receive, send)

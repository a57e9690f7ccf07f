"""The playground: a page at ``/`` that shows what the service makes of mentions that are pasted into it.

Leaves out what the page does, which is in the files of ``playground/``: they are served as they are, hold nothing to
keep from anybody, and ask the endpoint as any other client does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

_FOLDER = Path(__file__).with_name("playground")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
"""The page's content-security policy: its own files and nothing inline; text never becomes markup."""


class Files(StaticFiles):
    """The page's files. A browser keeps them, and asks each time whether they have changed (``ETag``)."""

    def __init__(self) -> None:
        super().__init__(directory=_FOLDER)

    async def page(self, request: Request) -> Response:
        """The page itself."""
        return await self.get_response("index.html", request.scope)

    def file_response(self, *arguments: Any, **more: Any) -> Response:
        """A file, or that it has not changed."""
        response = super().file_response(*arguments, **more)
        response.headers["Cache-Control"] = "no-cache"
        return response

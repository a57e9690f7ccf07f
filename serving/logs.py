"""What a server says on stderr, as text or as JSON lines. Never the text of a post: a salted hash stands for it."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import re
import secrets
import sys
from datetime import UTC, datetime
from typing import Any

_SALT = secrets.token_bytes(16)
"""Of this process: who reads a log cannot try out which text a hash is of."""
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
"""W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header."""


def configure(as_json: bool, requests: bool) -> None:
    """Send what is logged to stderr; where ``requests``, a line for each of them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("firstreply").setLevel(logging.INFO)
    logging.getLogger("firstreply.requests").setLevel(logging.INFO if requests else logging.WARNING)


def fields(**values: Any) -> dict[str, Any]:
    """What goes with a message, for ``extra`` of a logging call; None is left out."""
    return {"fields": {name: value for name, value in values.items() if value is not None}}


def request_id(traceparent: str) -> str:
    """The trace id of a ``traceparent`` header, or a new one, both 32 hexadecimal digits."""
    given = _TRACEPARENT.fullmatch(traceparent)
    return given[1] if given else secrets.token_hex(16)


def text_hash(text: str) -> str:
    """What stands for a text in this process' log; the same text has the same."""
    return hmac.digest(_SALT, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hex()[:16]


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {"time": moment, "level": record.levelname.lower(), "message": record.getMessage()}
        return json.dumps(line | getattr(record, "fields", {}))


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        more = "".join(f" {name}={json.dumps(value)}" for name, value in getattr(record, "fields", {}).items())
        return super().format(record) + more

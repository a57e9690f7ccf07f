"""What one server takes at most, and how long it waits. Leaves out where that is seen to."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from data.schema import FirstreplyError


class LimitError(FirstreplyError):
    """A limit that there is not, or a value that it cannot have."""


@dataclass(frozen=True)
class Limits:
    """What one server (one of its workers) takes at most; beyond it a request is refused with the status named."""

    body_bytes: int = 8_000_000
    """Size of a request's body; 413."""
    header_bytes: int = 32_768
    """Size of a request's line and headers; 431."""
    mentions: int = 1_000
    """Mentions of a request, one with several target brands counted once for each; 422."""
    requests: int = 128
    """Scoring requests in flight at once; 429."""
    tokens: int = 200_000
    """Tokens that wait to be read, of all requests (at least those of the largest request); 429."""
    connections: int = 1_000
    """Open connections; 503."""
    seconds: int = 30
    """From a request's headers to its answer, or fewer by ``X-Request-Timeout``; then its work is dropped; 504."""
    header_seconds: int = 10
    """For a request's headers to arrive; then the connection is closed."""
    body_seconds: int = 20
    """For a request's body to arrive; 408."""

    def changed(self, settings: list[str]) -> Limits:
        """These limits with some of them set, each as ``NAME=VALUE``.

        Raises:
            LimitError: there is no such limit, or the value is no whole number of at least 1.
        """
        values: dict[str, int] = {}
        for setting in settings:
            name, _, value = setting.partition("=")
            if name not in NAMES:
                raise LimitError(f"--limit {setting}: there is no limit {name!r}; there are {', '.join(NAMES)}")
            digits = value.replace("_", "")
            if not (digits.isascii() and digits.isdecimal() and int(digits)):
                raise LimitError(f"--limit {setting}: {value!r} is no whole number of at least 1")
            values[name] = int(digits)
        return replace(self, **values)


NAMES = tuple(field.name for field in fields(Limits))

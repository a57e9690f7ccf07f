"""How a list of mentions is split over requests that the server takes. Leaves out sending them (``exchange``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

from firstreply_client.mentions import Encoded

_EXPLAINED = 10
"""Mentions that an explained one counts as: it is read once more without each of its words."""


@dataclass(frozen=True)
class Limits:
    """How much goes into one request, and how many requests go out at once.

    The defaults fit every server that keeps its own (1,000 mentions, 8,000,000 bytes). Requests are smaller than that,
    because one that must be tried again is tried again as a whole.
    """

    mentions: int = 250
    """Mentions of a request, one with several brands counted once for each, an explained one as ten."""
    body_bytes: int = 8_000_000
    """Size of a request's body."""
    at_once: int = 4
    """Requests of one ``score`` that an ``AsyncClient`` has in flight; a ``Client`` sends one after the other."""

    def __post_init__(self) -> None:
        """Raises ValueError for a limit below 1."""
        for field in fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"{field.name} is {getattr(self, field.name)}; it must be 1 or more")


@dataclass(frozen=True)
class Part:
    """Mentions that go into one request."""

    mentions: Sequence[Encoded]
    explain: bool
    limits: Limits

    @property
    def body(self) -> bytes:
        """The request's JSON text."""
        return (_envelope(self.explain) % ",".join(mention.text for mention in self.mentions)).encode("ascii")

    @property
    def is_oversized(self) -> bool:
        """Whether it is more than the limits: then it is one mention, which is so by itself."""
        counted = sum(_counted(mention, self.explain) for mention in self.mentions)
        return counted > self.limits.mentions or len(self.body) > self.limits.body_bytes


def split(mentions: Iterable[Encoded], explain: bool, limits: Limits) -> Iterator[Part]:
    """Parts of at least one mention each, which together are the list, in its order.

    No part is more than the limits allow, but for a mention that is so alone: it has a part of its own.
    """
    taken: list[Encoded] = []
    counted = size = 0
    for mention in mentions:
        counted += _counted(mention, explain)
        size += len(",") + len(mention.text)
        if taken and (counted > limits.mentions or size > limits.body_bytes):
            yield Part(taken, explain, limits)
            taken = []
        if not taken:
            counted, size = _counted(mention, explain), len(_envelope(explain) % mention.text)
        taken.append(mention)
    if taken:
        yield Part(taken, explain, limits)


def _counted(mention: Encoded, explain: bool) -> int:
    return mention.targets * (_EXPLAINED if explain else 1)


def _envelope(explain: bool) -> str:
    return f'{{"explain":{"true" if explain else "false"},"mentions":[%s]}}'

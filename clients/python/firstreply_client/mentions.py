"""What is sent: mentions, and their JSON text. Leaves out whether a mention can be scored: the server says so."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, SupportsFloat


@dataclass(frozen=True)
class Author:
    """What is known of who wrote a mention; None is not known."""

    followers: float | None = None
    """Accounts that follow the author, 0 or more."""
    lifetime_value: float | None = None
    """What the author has been worth to the brand, in the business's currency, 0 or more."""
    purchases: float | None = None
    """Purchases the author has made, 0 or more."""
    satisfaction: float | None = None
    """Last known satisfaction, 0 (worst) to 1 (best)."""


@dataclass(frozen=True)
class Mention:
    """One public post, with its target brands and what is known of its author."""

    text: str
    """What was posted, as it was posted: 1 to 100,000 bytes of UTF-8."""
    brand: str | Sequence[str] | None = None
    """Target brand, or several: each has its own result. By default the first brand whose handle the text names."""
    id: str | int | None = None
    """Comes back with the result, as a string; by default the mention's position in the list, from 1."""
    channel: str | None = None
    """Where it was posted, as the policy's rules name it."""
    created_at: datetime | None = None
    """When it was posted; without a time zone it is UTC."""
    author: Author | None = None


class Encoded(NamedTuple):
    """A mention as it is sent."""

    id: str
    text: str
    """Its JSON object, in ASCII: as many bytes as characters."""
    targets: int
    """What it counts against the server's limit: 1, or the number of its brands."""


def encode(mentions: Iterable[Mention | str | Mapping[str, Any]]) -> list[Encoded]:
    """The mentions as they are sent.

    Args:
        mentions: each a ``Mention``, the text of one, or a mapping with the fields of the HTTP contract.

    Raises:
        TypeError: something is neither, or has a value that JSON cannot hold; it says where.
    """
    if isinstance(mentions, str | Mapping | Mention):
        raise TypeError("mentions is one mention; put it in a list")
    return [_encoded(mention, position) for position, mention in enumerate(mentions, start=1)]


def _encoded(mention: Mention | str | Mapping[str, Any], position: int) -> Encoded:
    fields: Mapping[str, Any]
    match mention:
        case Mention():
            fields = vars(mention)
        case str():
            fields = {"text": mention}
        case Mapping():
            fields = mention
        case _:
            raise TypeError(f"mention {position} is a {type(mention).__name__}; give a Mention, a text or a mapping")
    sent = {name: value for name, value in fields.items() if not _is_missing(value)}
    identifier, brand = sent.get("id", position), sent.get("brand")
    # As text, as it comes back: data frames make 7 into 7.0, and databases have ids that JSON has not, such as UUIDs.
    whole = isinstance(identifier, float) and identifier.is_integer()
    sent["id"] = str(int(identifier) if whole else identifier)
    if isinstance(brand, Sequence) and not isinstance(brand, str):
        sent["brand"] = brand = list(brand)
    try:
        text = json.dumps(sent, default=_plain, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"mention {position} cannot be sent as JSON: {error}") from None
    return Encoded(sent["id"], text, max(1, len(brand)) if isinstance(brand, list) else 1)


def _is_missing(value: Any) -> bool:
    """Data frames have NaN for what is not there."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """What JSON has for a value that comes out of databases and data frames."""
    match value:
        case Author():
            return vars(value)
        case datetime():
            return value.isoformat()
        case SupportsFloat():
            return float(value)
    raise TypeError(f"a {type(value).__name__} has no place in a mention")

"""The time formats of public corpora."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TWITTER_LAYOUTS = ("%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Z %Y")
_SPACED_OFFSET = re.compile(r" (?=[+-]\d{4}$)")
_TWITTER_EPOCH_MS = 1_288_834_974_657
"""Milliseconds since 1970 at which the ids of posts on Twitter begin to hold their time."""


def as_iso(time: str | None) -> str | None:
    """The time in ISO 8601, None where there is none or its format is not one of theirs."""
    if not time:
        return None
    layouts = () if time[0].isdecimal() else _TWITTER_LAYOUTS
    for layout in layouts:
        try:
            return datetime.strptime(time, layout).isoformat()
        except ValueError:
            continue
    try:
        return datetime.fromisoformat(_SPACED_OFFSET.sub("", time)).isoformat()
    except ValueError:
        return None


def time_of_post(post: int) -> str:
    """The time, in ISO 8601, that the id of a post on Twitter holds (ids since November 2010, "snowflakes")."""
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=(post >> 22) + _TWITTER_EPOCH_MS)).isoformat()

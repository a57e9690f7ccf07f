"""Public corpora of brand mentions: where they come from, and how their files become labelled mentions."""

from __future__ import annotations

from data.sources.corpora import read_corpora
from data.sources.published import READERS, read_published
from data.sources.registry import SOURCES, Source, allows_commercial_use

__all__ = ["READERS", "SOURCES", "Source", "allows_commercial_use", "read_corpora", "read_published"]

"""``firstreply data describe``: what is in files of labelled mentions, and what two of them share.

Leaves out near-duplicates in the sense of ``data.duplicates``: only texts with the same words are counted here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from data.duplicates import comparable_text
from data.files import read_labelled
from data.schema import INTENTS, LabelledMention

_QUANTILES = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
_SHOWN = 12
"""Values that the readable form lists before it says how many more there are; the JSON form has all."""


@dataclass(frozen=True)
class DescribeJob:
    """Which files to describe, and in which form."""

    files: tuple[Path, ...]
    json: bool = False
    """One JSON object on stdout in place of readable text."""


def describe(job: DescribeJob) -> int:
    """Print what the files hold; exit status 0.

    Raises:
        FileError: a file cannot be read as labelled mentions.
    """
    read = {str(path): read_labelled(path) for path in job.files}
    report = {
        "files": {path: describe_mentions(mentions) for path, mentions in read.items()},
        "shared": [{"files": list(pair), **shared(read[pair[0]], read[pair[1]])} for pair in combinations(read, 2)],
    }
    print(json.dumps(report, ensure_ascii=False) if job.json else _readable(report))
    return 0


def describe_mentions(mentions: Sequence[LabelledMention]) -> dict[str, Any]:
    """Counts over labelled mentions, ready for JSON.

    ``labels`` has for each intent the number of mentions with 1, 0 and unknown; ``characters`` the quantiles of the
    length of the text (nearest rank); ``repeated_texts`` the mentions whose words and brand key stood before.
    """
    lengths = sorted(len(mention.text) for mention in mentions)
    texts = Counter((comparable_text(mention.text), mention.brand_key) for mention in mentions)
    columns = zip(*(mention.labels for mention in mentions), strict=True) if mentions else [()] * len(INTENTS)
    return {
        "rows": len(mentions),
        "brands": len({mention.brand_key for mention in mentions} - {""}),
        "without_brand": sum(not mention.brand_key for mention in mentions),
        "repeated_ids": len(mentions) - len({mention.id for mention in mentions}),
        "repeated_texts": len(mentions) - len(texts),
        "labels": {
            intent: {"1": labels.count(1), "0": labels.count(0), "unknown": labels.count(None)}
            for intent, labels in zip(INTENTS, map(list, columns), strict=True)
        },
        "characters": {
            name: lengths[min(int(share * len(lengths)), len(lengths) - 1)] if lengths else 0
            for name, share in _QUANTILES.items()
        },
        "source": _counts(mention.source for mention in mentions),
        "stratum": _counts(mention.stratum for mention in mentions),
        "channel": _counts(mention.channel or "" for mention in mentions),
        "brand_key": _counts(mention.brand_key for mention in mentions),
    }


def shared(first: Sequence[LabelledMention], second: Sequence[LabelledMention]) -> dict[str, Any]:
    """What two files share: brand keys, and the mentions of the first whose words stand in the second too."""
    brands = {mention.brand_key for mention in first} & {mention.brand_key for mention in second} - {""}
    texts = {comparable_text(mention.text) for mention in second}
    return {
        "brands": sorted(brands),
        "rows_of_these_brands": [sum(mention.brand_key in brands for mention in part) for part in (first, second)],
        "texts": sum(comparable_text(mention.text) in texts for mention in first),
    }


def _counts(values: Iterable[str]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(sorted(Counter(values).items(), key=lambda item: (-item[1], item[0])))


def _readable(report: dict[str, Any]) -> str:
    lines: list[str] = []
    for path, found in report["files"].items():
        lines += [
            path,
            f"  {found['rows']:,} mentions of {found['brands']:,} brands, {found['without_brand']:,} without one",
            f"  repeated: {found['repeated_ids']:,} ids, {found['repeated_texts']:,} texts about the same brand",
            f"  {'label':18}{'1':>9}{'0':>9}{'unknown':>9}",
        ]
        for intent, count in found["labels"].items():
            lines.append(f"  {intent:18}{count['1']:9,}{count['0']:9,}{count['unknown']:9,}")
        lines.append("  characters: " + ", ".join(f"{name} {value:,}" for name, value in found["characters"].items()))
        lines += [f"  {name}: {_listed(found[name])}" for name in ("source", "stratum", "channel", "brand_key")]
        lines.append("")
    for pair in report["shared"]:
        rows = " and ".join(f"{count:,}" for count in pair["rows_of_these_brands"])
        named = ", ".join(pair["brands"][:_SHOWN]) or "none"
        lines.append(f"{' and '.join(pair['files'])} share {len(pair['brands'])} brands ({named}), {rows} mentions;")
        lines.append(f"  {pair['texts']:,} texts of the first stand in the second")
    return "\n".join(lines).rstrip()


def _listed(counts: dict[str, int]) -> str:
    shown = [f"{name or '(none)'} {count:,}" for name, count in list(counts.items())[:_SHOWN]]
    more = [f"and {len(counts) - _SHOWN:,} more"] if len(counts) > _SHOWN else []
    return ", ".join(shown + more)

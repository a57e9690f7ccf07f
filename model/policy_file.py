"""The reading of a policy file, which finds every problem of the file at once.

Leaves out the settings themselves (``model.policy_settings``) and what they do to a mention (``model.policy``).
"""

from __future__ import annotations

import difflib
import hashlib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from data.schema import INTENTS, brand_key
from model.errors import PolicyError
from model.policy_keywords import KeywordRule, tokens
from model.policy_settings import CONDITIONS, LEVELS, PolicySettings, Route, Scale

DEFAULT_POLICY = Path(__file__).with_name("policy.toml")
MAX_POINTS = 1000.0

_SIGNALS = ("weights", "keyword", "reach", "lifetime_value", "purchases", "low_satisfaction", "waiting")
_TOP_LEVEL = ("name", *_SIGNALS, "levels", "deadlines", "queues", "route")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_WRITTEN = 'numbers are written 1.5, texts "so", lists ["a", "b"]'
_LONGEST_DEADLINE = 366 * _SECONDS["d"]


def read_policy(path: Path) -> PolicySettings:
    """The settings of a policy file.

    Raises:
        PolicyError: the file cannot be read, or asks for what does not exist; the message lists every problem with
            its line, table and key.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: cannot read the policy file: {error.strerror}") from None
    try:
        source = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PolicyError(f"{path}: line {line}: not UTF-8; save the policy file as UTF-8") from None
    try:
        values = tomllib.loads(source)
    except (ValueError, RecursionError) as error:
        raise PolicyError(f"{path}: not valid TOML: {error}; {_WRITTEN}") from None
    problems = _Problems(source)
    settings = _settings(_Table(values, "", problems), hashlib.sha256(content).hexdigest())
    problems.raise_if_any(path)
    return settings


def _settings(top: _Table, sha256: str) -> PolicySettings:
    # What a problem leaves unknown is NaN, "" or empty here: no comparison with it is a second problem.
    top.only(_TOP_LEVEL)
    weights = top.table("weights", INTENTS)
    rules: list[KeywordRule] = []
    for table in top.tables("keyword", ("name", "words", "points")):
        rules.append(_keyword(table, rules))
    queues = top.table("queues", ("names", "default"))
    names = queues.strings("names")
    queues.unique("names", names)
    routes = top.tables("route", ("queue", *CONDITIONS))
    known = {"intents": INTENTS, "levels": LEVELS, "keywords": tuple(rule.name for rule in rules)}
    return PolicySettings(
        name=top.string("name"),
        sha256=sha256,
        weights=tuple(weights.number(intent) for intent in INTENTS),
        keywords=tuple(rules),
        reach=_scale(top, "reach"),
        lifetime_value=_scale(top, "lifetime_value"),
        purchases=_scale(top, "purchases"),
        low_satisfaction=_scale(top, "low_satisfaction", "below", highest=1.0),
        waiting_points=top.table("waiting", ("points",)).number("points") if "waiting" in top.values else 0.0,
        thresholds=_thresholds(top.table("levels", LEVELS)),
        deadlines=_deadlines(top.table("deadlines", LEVELS)),
        routes=tuple(_route(table, names, known) for table in routes),
        queues=tuple(names),
        default_queue=queues.one_of("default", names),
    )


def _keyword(table: _Table, earlier: Sequence[KeywordRule]) -> KeywordRule:
    name = table.string("name")
    if name and name in [rule.name for rule in earlier]:
        table.problem("name", f"{name!r} is the name of an earlier rule")
    if name and not re.fullmatch(r"[\w-]+", name):
        table.problem("name", f"{name!r} may hold letters, digits, _ and - only")
    words = table.strings("words")
    table.unique("words", [" ".join(tokens(word)) for word in words])
    for word in words:
        if not all(tokens(word)) or not tokens(word):
            table.problem("words", f"{word!r} can never be found: links, handles, - and ' are not looked at")
    return KeywordRule(name, tuple(words), table.number("points"))


def _scale(top: _Table, name: str, full_at: str = "full_at", highest: float = 1e15) -> Scale:
    if name not in top.values:
        return Scale()
    table = top.table(name, ("points", full_at))
    return Scale(table.number("points"), table.number(full_at, highest=highest, above_zero=True))


def _thresholds(table: _Table) -> tuple[float, ...]:
    thresholds = [table.number(level, highest=100.0, above_zero=True) for level in LEVELS[:-1]]
    for i in range(1, len(thresholds)):
        if thresholds[i] >= thresholds[i - 1]:
            above = f"{LEVELS[i - 1]} = {thresholds[i - 1]:g}"
            table.problem(LEVELS[i], f"{thresholds[i]:g} must be below {above}: thresholds fall from level to level")
    if table.values.get("low", 0) != 0:
        table.problem("low", "must be 0: low is every score below normal")
    return (*thresholds, 0.0)


def _deadlines(table: _Table) -> tuple[timedelta | None, ...]:
    seconds = [table.duration(level) for level in LEVELS[:-1]]
    for i in range(1, len(seconds)):
        # Else a rise to a higher level would make waiting points grow more slowly, and could lower a score.
        if seconds[i] < seconds[i - 1]:
            table.problem(LEVELS[i], f"must not be shorter than {LEVELS[i - 1]}: a higher level is answered first")
    if table.values.get("low", "none") != "none":
        table.problem("low", 'must be "none": low has no deadline')
    return (*(timedelta(seconds=value) if math.isfinite(value) else None for value in seconds), None)


def _route(table: _Table, queues: Sequence[str], known: Mapping[str, Sequence[str]]) -> Route:
    conditions = []
    for condition in CONDITIONS:
        if condition not in table.values:
            continue
        wanted = table.strings(condition)
        table.unique(condition, wanted)
        if condition in known:
            table.known(condition, wanted, known[condition])
        normal = {"brands": brand_key, "channels": str.casefold}.get(condition, str)
        conditions.append((condition, frozenset(normal(value) for value in wanted)))
    if not conditions:
        table.problem("", f"has no condition, so no later route is reached; give one of {', '.join(CONDITIONS)}")
    return Route(table.one_of("queue", queues), tuple(conditions))


class _Problems:
    """What is wrong with a file so far, each with the line it stands in where that can be told."""

    def __init__(self, source: str) -> None:
        self._lines = _line_numbers(source)
        self._found: list[tuple[int, str]] = []

    def add(self, table: str, key: str, message: str) -> None:
        line = self._lines.get(f"{table}.{key}" if table else key) or self._lines.get(table, 0)
        place = " ".join(part for part in (_shown(table), key) if part)
        self._found.append((line, (f"line {line}: " if line else "") + f"{place}: {message}"))

    def raise_if_any(self, path: Path) -> None:
        found = [message for _, message in sorted(self._found, key=lambda problem: problem[0])]
        if len(found) == 1:
            raise PolicyError(f"{path}: {found[0]}")
        if found:
            raise PolicyError("\n  ".join([f"{path}: {len(found)} problems in the policy file", *found]))


def _shown(table: str) -> str:
    """``weights`` → ``[weights]``, ``route[2]`` → ``[[route]] 2``."""
    name, _, number = table.removesuffix("]").partition("[")
    return f"[[{name}]] {number}" if number else f"[{name}]" if name else ""


def _line_numbers(source: str) -> dict[str, int]:
    """Dotted place (``weights.praise``, ``route[2].queue``, ``route[2]``) → its first line, for plain TOML."""
    lines: dict[str, int] = {}
    counts: dict[str, int] = {}
    table = ""
    for number, line in enumerate(source.split("\n"), start=1):
        if header := re.match(r"\s*(\[\[?)\s*([\w.-]+)\s*\]", line):
            table = header[2]
            if header[1] == "[[":
                counts[table] = counts.get(table, 0) + 1
                table = f"{table}[{counts[table]}]"
            lines.setdefault(table, number)
        elif key := re.match(r"\s*[\"']?([\w.-]+)[\"']?\s*=", line):
            lines.setdefault(f"{table}.{key[1]}" if table else key[1], number)
    return lines


@dataclass(frozen=True)
class _Table:
    """One table of the file. Each reader adds the problems it finds and returns a stand-in in place of a bad value."""

    values: Mapping[str, Any]
    place: str
    problems: _Problems

    def problem(self, key: str, message: str) -> None:
        self.problems.add(self.place, key, message)

    def only(self, allowed: Sequence[str]) -> None:
        for key in self.values:
            if key not in allowed:
                kind = "key" if self.place else "table or key"
                self.problem(key, f"unknown {kind}{_nearest(key, allowed)}")

    def table(self, key: str, allowed: Sequence[str]) -> _Table:
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            self.problem(key, _missing(f"write it as a table: [{key}]", key in self.values))
            return _Table({}, key, _Problems(""))  # what would be missing in it is not said once more
        table = _Table(value, key, self.problems)
        table.only(allowed)
        return table

    def tables(self, key: str, allowed: Sequence[str]) -> list[_Table]:
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, Mapping) for item in value):
            self.problem(key, f"write each one under a [[{key}]] of its own")
            return []
        tables = [_Table(item, f"{key}[{i}]", self.problems) for i, item in enumerate(value, start=1)]
        for table in tables:
            table.only(allowed)
        return tables

    def number(self, key: str, highest: float = MAX_POINTS, above_zero: bool = False) -> float:
        value: Any = self.values.get(key)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 <= value <= highest and not (above_zero and value == 0):
            return float(value)
        wanted = (
            f"must be a number above 0, at most {highest:g}"
            if above_zero
            else f"must be a number from 0 to {highest:g}"
        )
        self.problem(key, _missing(wanted, key in self.values, value))
        return math.nan

    def string(self, key: str) -> str:
        value = self.values.get(key)
        if isinstance(value, str) and value.strip():
            return value
        self.problem(key, _missing("must be a text that is not empty", key in self.values, value))
        return ""

    def strings(self, key: str) -> list[str]:
        value = self.values.get(key)
        if isinstance(value, list) and value and all(isinstance(item, str) and item.strip() for item in value):
            return value
        wanted = f'must be a list with at least one text, none of them empty: {key} = ["…"]'
        self.problem(key, _missing(wanted, key in self.values, value))
        return []

    def duration(self, key: str) -> float:
        """Seconds; infinity for ``none``."""
        value = self.values.get(key)
        if value == "none":
            return math.inf
        match = re.fullmatch(r"([0-9]{1,9})([smhd])", value) if isinstance(value, str) else None
        seconds = int(match[1]) * _SECONDS[match[2]] if match else 0
        if 0 < seconds <= _LONGEST_DEADLINE:
            return seconds
        wanted = 'must be a number and s, m, h or d ("15m", "2h"), above 0 and at most 366d, or "none"'
        self.problem(key, _missing(wanted, key in self.values, value))
        return math.nan

    def one_of(self, key: str, allowed: Sequence[str]) -> str:
        value = self.string(key)
        if value and allowed:
            self.known(key, [value], allowed)
        return value

    def known(self, key: str, values: Iterable[str], allowed: Sequence[str]) -> None:
        for value in values:
            if value not in allowed:
                self.problem(key, f"{value!r} does not exist{_nearest(value, allowed)}")

    def unique(self, key: str, values: Sequence[str]) -> None:
        for value in sorted({value for value in values if value and values.count(value) > 1}):
            self.problem(key, f"{value!r} is there more than once")


def _nearest(name: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(name.lower(), allowed, n=1)
    meant = f"; did you mean {close[0]}?" if close else ";"
    return f"{meant} allowed: {', '.join(dict.fromkeys(allowed)) or 'none, as the file defines none'}"


def _missing(wanted: str, is_there: bool, value: Any = None) -> str:
    if not is_there:
        return f"missing; {wanted}"
    shown = repr(value)
    return wanted if value is None else f"{wanted}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"

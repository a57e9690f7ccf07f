"""The fenced blocks of the documentation, and whether what a command printed is what a page says that it prints.

Leaves out running them (``tests.docs.terminal``).
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE)
_NOTE = re.compile(r"<!-- *(.+?) *-->\s*\Z")
_NUMBER = r"(?<![\w@.-])[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?"
_TIME = r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[-+]\d\d:\d\d)"
_VARIES = re.compile(rf"(?P<time>{_TIME})|(?P<any>\"…\"|…)|(?P<number>{_NUMBER})")
_PATTERNS = {"time": _TIME, "any": ".*?", "number": f"({_NUMBER})"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    """Of its opening fence, from 1."""
    language: str
    text: str
    note: str
    """The HTML comment right before it, if any: ``output``, ``not run: REASON`` or ``run instead: COMMAND``."""

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def pages() -> list[Path]:
    """Every page that states commands: the tutorials' own first, then those that may share what these trained."""
    return [*sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("clients/*/README.md")), ROOT / "README.md"]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page, in order."""
    source = page.read_text(encoding="utf-8")
    for fence in _FENCE.finditer(source):
        before = source[: fence.start()]
        note = _NOTE.search(before)
        text = textwrap.dedent(fence["text"])
        yield Block(page, before.count("\n") + 1, fence["language"].strip(), text, note[1] if note else "")


def difference(stated: str, printed: str) -> str:
    """Why what was printed is not what a page states; nothing where it is.

    A page may have more space. ``…`` stands for anything, a time for any time, and a number for those within a
    twentieth of it (or 0.05, where that is more): one processor rounds otherwise than another.
    """
    stated, pattern, numbers, end = stated.strip(), "", [], 0
    for part in _VARIES.finditer(stated):
        pattern += _literally(stated[end : part.start()]) + _PATTERNS[part.lastgroup or ""]
        numbers += [part[0]] if part.lastgroup == "number" else []
        end = part.end()
    match = re.fullmatch(pattern + _literally(stated[end:]), printed.strip(), re.DOTALL)
    if match is None:
        return "another text"
    off = [
        f"{found}, not {wanted}"
        for wanted, found in zip(numbers, match.groups(), strict=True)
        if abs(_value(found) - _value(wanted)) > max(0.05, 0.05 * abs(_value(wanted)))
    ]
    return ", ".join(off)


def _literally(text: str) -> str:
    return r"\s*".join(re.escape(word) for word in re.split(r"\s+", text))


def _value(number: str) -> float:
    return float(number.replace(",", "").replace("−", "-"))

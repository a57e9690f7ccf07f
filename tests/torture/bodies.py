"""Request bodies that a server should not fall over: well-formed, odd, broken, and everything between.

Most are small, so that very many can be sent; a few of each kind are as large as a server takes, or larger.
Leaves out what should come of them (``test_fuzz``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from data.schema import MAX_TEXT_BYTES

_TEXTS = (
    "Third outage this week. I am leaving @northtel for @skyfone.",
    "@northtel does the family plan include roaming?",
    "Thank you @northtel, the technician was great 😀",
    "ok",
    "Where is my order #4711? https://example.com/t/4711?x=1&y=2 @skyfone @northtel",
    "Où est ma commande ? toujours rien.",
    "注文した商品がまだ届きません @northtel",
    "",
    "   ",
)
_PIECES = (
    "مرحبا بالعالم",
    "שלום עולם",
    "\u202eolleh\u202c",
    "\u2066x\u2069\u200f\u200e",
    "\u200b\u200c\u200d\u2060\ufeff",
    "@nor\u200bthtel",
    "a" + "\u0301" * 40,
    "👩‍👩‍👧‍👦🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "\x00",
    "\x01\x02\x1b[31m\x7f",
    "\x85\u2028\u2029\r\n\t",
    "İıŉßﬃﷺ",
    "𝓗𝓮𝓵𝓵𝓸 ＮＯＲＴＨＴＥＬ",
    "\ufffe\uffff\U0010ffff",
    "\ue000\U000e0041",
    "\u1100\u1161\u11a8 각",
    "\ud800",
    "\udfff\ud800",
    "<|endoftext|>[CLS][SEP][MASK]<s></s>",
    "@" * 30,
    "@northtel" * 10,
    "#" * 30,
    "https://",
    "\\\"'`{}[]",
    "%s%n{0}${jndi:ldap://x}",
    "'; DROP TABLE mentions; --",
)
_NUMBERS = (
    "0",
    "-0",
    "-0.0",
    "-1",
    "1",
    "1.5",
    "1e-400",
    "5e-324",
    "1e308",
    "1.7976931348623157e308",
    "1e999",
    "-1e999",
    "NaN",
    "Infinity",
    "-Infinity",
    "9007199254740993",
    "18446744073709551616",
    "1" + "0" * 308,
    "1" + "0" * 400,
    "9" * 4299,
    "9" * 4301,
    "01",
    "+1",
    "1.",
    ".5",
    "0x10",
)
_TIMES = (
    "2026-11-21T10:00:00Z",
    "2026-11-21",
    "2026-W47-6",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+23:59",
    "9999-12-31T23:59:59.999999Z",
    "9999-12-31T23:59:59-23:59",
    "1969-12-31T23:59:59+00:00:01.5",
    "2026-02-30T00:00:00Z",
    "2026-11-21T24:00:00Z",
    "2026-11-21T10:00:60Z",
    "２０２６-11-21",
    "now",
    "",
    "\x00",
)
_FIELDS = ("id", "text", "brand", "channel", "created_at", "author")
_AUTHOR = ("followers", "lifetime_value", "purchases", "satisfaction")


class _Raw(str):
    """JSON text that goes out as it stands."""

    __slots__ = ()


class _Pairs(list[tuple[str, Any]]):
    """A JSON object, in which a name may come twice."""


def bodies(seed: int) -> Iterator[bytes]:
    """Bodies without end; the same seed gives the same ones."""
    random = Random(seed)
    kinds = tuple(_KINDS)
    weights = tuple(_KINDS.values())
    while True:
        (kind,) = random.choices(kinds, weights)
        body = kind(random)
        yield _damaged(random, body) if random.random() < 0.2 else body


def _encoded(random: Random, value: Any) -> bytes:
    """JSON in bytes; half a surrogate pair goes out as an escape or as three bytes that are no UTF-8."""
    return _json(value, random.random() < 0.5).encode("utf-8", "surrogatepass")


def _json(value: Any, ascii_only: bool) -> str:
    if isinstance(value, _Raw):
        return str(value)
    if isinstance(value, _Pairs):
        return "{" + ",".join(f"{_json(name, ascii_only)}:{_json(item, ascii_only)}" for name, item in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(_json(item, ascii_only) for item in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def _text(random: Random) -> Any:
    pieces = [
        random.choice(_TEXTS) if random.random() < 0.6 else _odd_text(random) for _ in range(random.randint(1, 3))
    ]
    text = random.choice(("", " ")).join(pieces)
    if random.random() < 0.03:  # control characters as JSON forbids them
        return _Raw(f'"{text.replace(chr(92), "").replace(chr(34), "")}"')
    return text


def _odd_text(random: Random) -> str:
    if random.random() < 0.8:
        return random.choice(_PIECES)
    return "".join(
        chr(random.choice((0x20, 0x300, 0x590, 0x2000, 0xD7F0, 0x1F600)) + random.randrange(32)) for _ in "x" * 12
    )


def _any_value(random: Random, depth: int = 0) -> Any:
    """Any JSON value, of whatever type."""
    kinds: list[Callable[[], Any]] = [
        lambda: _Raw(random.choice(_NUMBERS)),
        lambda: _text(random),
        lambda: random.choice((True, False, None, *_TIMES)),
    ]
    if depth < 4:
        some = range(random.choice((0, 1, 1, 2, 5)))
        kinds.append(lambda: [_any_value(random, depth + 1) for _ in some])
        kinds.append(lambda: _Pairs((_name(random), _any_value(random, depth + 1)) for _ in some))
    return random.choice(kinds)()


def _name(random: Random) -> str:
    names = (*_FIELDS, *_AUTHOR, "mentions", "explain", "__class__", "", "Text")
    return random.choice(names) if random.random() < 0.8 else _odd_text(random)


def _mention(random: Random) -> _Pairs:
    """A mention as it should be, but for a field here and there."""
    author = _Pairs((name, _Raw(random.choice(_NUMBERS))) for name in _AUTHOR if random.random() < 0.4)
    given: dict[str, Callable[[], Any]] = {
        "id": lambda: random.choice(("m1", str(random.random()), 7, _text(random), _Raw(random.choice(_NUMBERS)))),
        "brand": lambda: random.choice(("northtel", ["northtel", "skyfone"], [], _text(random), [_text(random)])),
        "channel": lambda: random.choice(("twitter", "email", _text(random))),
        "created_at": lambda: random.choice(_TIMES),
        "author": lambda: author,
    }
    pairs = _Pairs([("text", _text(random))])
    pairs += [(name, make()) for name, make in given.items() if random.random() < 0.4]
    if random.random() < 0.25:  # the wrong type, in a field that is there or not
        name = random.choice(_FIELDS)
        pairs = _Pairs([pair for pair in pairs if pair[0] != name] + [(name, _any_value(random))])
    if random.random() < 0.05:
        pairs.append((_name(random), _any_value(random)))
    if random.random() < 0.05:
        pairs.append((random.choice(pairs)[0], _any_value(random)))
    random.shuffle(pairs)
    return pairs


def _envelope(random: Random, mentions: Any, explain: float = 0.03) -> bytes:
    pairs = _Pairs([("mentions", mentions)])
    if random.random() < explain:
        pairs.append(("explain", True))
    return _encoded(random, pairs)


def _mentions(random: Random) -> bytes:
    return _envelope(random, [_mention(random) for _ in range(random.choice((1, 1, 1, 1, 2, 3)))])


def _other_envelope(random: Random) -> bytes:
    """What is no envelope, or one with other things in it."""
    draw = random.random()
    if draw < 0.3:
        return _encoded(random, _any_value(random))
    if draw < 0.6:
        return _encoded(random, _Pairs([("mentions", _any_value(random)), (_name(random), _any_value(random))]))
    if draw < 0.8:
        return _encoded(random, _Pairs([("mentions", [_mention(random)]), ("explain", _any_value(random))]))
    return _envelope(random, [_any_value(random) for _ in range(random.randint(0, 4))])


def _no_json(random: Random) -> bytes:
    draw = random.random()
    if draw < 0.2:
        return b""
    if draw < 0.4:
        return random.choice((b" ", b"\n\n", b"\x00", b"null", b"{", b"}", b"{}", b"[]", b'"', b"\xef\xbb\xbf", b"-"))
    if draw < 0.7:
        return random.randbytes(random.randint(1, 200))
    return (
        _mentions(random)
        .decode("utf-8", "replace")
        .encode(random.choice(("utf-16", "utf-32", "utf-16-be", "cp037")), "replace")
    )


def _nested(random: Random) -> bytes:
    """Nested deeply; the depths about 1,000 are where interpreters stop."""
    depth = random.choice((10, 100, 1_000, 10_000, 100_000)) if random.random() < 0.3 else random.randint(880, 1_000)
    opened, closed = random.choice((("[", "]"), ('{"a":', "}"), ('{"text":[', "]}")))
    core = opened * depth + random.choice(("1", '"x"', "")) + closed * depth
    name = random.choice(_FIELDS)
    return random.choice(
        (
            core,
            f'{{"mentions":{core}}}',
            f'{{"mentions":[{core}]}}',
            f'{{"mentions":[{{"text":"hello","{name}":{core}}}]}}',
            f'{{"mentions":[{{"text":"hello","author":{{"followers":{core}}}}}]}}',
            f'{{"explain":{core},"mentions":[{{"text":"hello"}}]}}',
            opened * depth,
        )
    ).encode()


def _long_text(random: Random) -> bytes:
    """Texts about as long as is read, of one word or of thousands."""
    unit = random.choice(
        ("a", "é", "😀", "a ", "@a ", "@northtel ", ". ", "İ", "ﷺ", "\u0301", "\u200b", "x@", "http://a.b ")
    )
    size = len(unit.encode())
    text = unit * random.choice((MAX_TEXT_BYTES // size, MAX_TEXT_BYTES // size + 1, 20_000 // size, 5_000 // size))
    return _envelope(random, [_Pairs([("text", text), ("brand", random.choice(("northtel", "", "a")))])], explain=0.1)


def _long_other(random: Random) -> bytes:
    """A huge value where a short one is meant."""
    long = random.choice(("x", "é", "\ud800", "\x00", "|")) * random.choice((1_000, 30_000, 100_000, 1_000_000))
    name = random.choice(("id", "brand", "channel", "created_at", "author", long[:100_000]))
    return _envelope(random, [_Pairs([("text", "hello"), (name, long)])])


def _many_brands(random: Random) -> bytes:
    brands = [f"brand {number}" for number in range(random.choice((100, 300, 999, 1_001)))]
    return _envelope(random, [_Pairs([("text", "leaving @northtel"), ("brand", brands)])], explain=0.0)


def _many_mentions(random: Random) -> bytes:
    good = random.randint(0, 100)
    odd: list[Any] = [_Raw(random.choice(("1", "{}", '""', "[]", '{"text":""}'))) for _ in range(1_000 - good)]
    return _envelope(random, [*odd, *(_mention(random) for _ in range(good))], explain=0.0)


def _too_large(random: Random) -> bytes:
    return b'{"mentions":[{"text":"' + b"x" * random.choice((8_000_000, 8_500_000)) + b'"}]}'


_KINDS: dict[Callable[[Random], bytes], float] = {
    _mentions: 75,
    _other_envelope: 10,
    _no_json: 8,
    _nested: 5,
    _long_text: 0.4,
    _long_other: 0.4,
    _many_brands: 0.1,
    _many_mentions: 0.1,
    _too_large: 0.02,
}
"""Kind of body → how often it comes, in percent or so."""


def _damaged(random: Random, body: bytes) -> bytes:
    """Cut off, or with some bytes changed, put in, taken out or repeated."""
    where, other = sorted(random.randrange(len(body) + 1) for _ in "ab")
    draw = random.random()
    if draw < 0.3:
        return body[:where]
    if draw < 0.45:
        return body[:where] + random.randbytes(random.randint(1, 4)) + body[where:]
    if draw < 0.6:
        return body[:where] + random.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5", b"\x80")) + body[where:]
    if draw < 0.75:
        return body[:where] + body[other:]
    if draw < 0.85:
        return body[:other] + body[where:]
    changed = bytearray(body)
    for _ in range(random.randint(1, 8)):
        if changed:
            changed[random.randrange(len(changed))] = random.randrange(256)
    return bytes(changed)

from __future__ import annotations

import json
import uuid
from collections import deque
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from firstreply_client import Author, Limits, Mention
from firstreply_client.mentions import encode
from firstreply_client.parts import split
from hypothesis import given
from hypothesis import strategies as st

from data.schema import Mention as ServersMention
from data.schema import mention_from_json

names = st.text(max_size=20)
brands = st.none() | names | st.lists(names, max_size=6)
authors = st.none() | st.builds(Author, st.none() | st.floats(0, 1e9), st.none() | st.integers(0, 10**6).map(float))
mentions = st.lists(
    st.text(max_size=80)
    | st.builds(Mention, st.text(max_size=80), brands, st.none() | st.text(max_size=5), author=authors)
    | st.fixed_dictionaries({"text": st.text(max_size=80), "brand": brands})
)


@given(mentions, st.booleans(), st.builds(Limits, st.integers(1, 40), st.integers(1, 2_000)))
def test_parts_are_the_list_and_within_the_limits(given_mentions: list[Any], explain: bool, limits: Limits) -> None:
    parts = list(split(encode(given_mentions), explain, limits))
    bodies = [json.loads(part.body) for part in parts]
    (whole,) = split(encode(given_mentions), explain, Limits(10**9, 10**9)) if given_mentions else (None,)
    sent = [mention for body in bodies for mention in body["mentions"]]
    assert sent == (json.loads(whole.body)["mentions"] if whole else [])
    assert [mention["text"] for mention in sent] == [
        one if isinstance(one, str) else one.text if isinstance(one, Mention) else one["text"] for one in given_mentions
    ]
    for part, body in zip(parts, bodies, strict=True):
        assert body["explain"] is explain
        targets = sum(len(one["brand"]) or 1 if isinstance(one.get("brand"), list) else 1 for one in body["mentions"])
        too_much = targets * (10 if explain else 1) > limits.mentions or len(part.body) > limits.body_bytes
        assert too_much == part.is_oversized
        assert not too_much or len(part.mentions) == 1


def test_requests_are_filled_to_the_limits_and_no_further() -> None:
    encoded = encode(["ok"] * 5)
    (two,) = split(encoded[:2], False, Limits())

    def sizes(explain: bool = False, **limits: int) -> list[int]:
        return [len(part.mentions) for part in split(encoded, explain, Limits(**limits))]

    assert sizes(mentions=2) == [2, 2, 1]
    assert sizes(mentions=20, explain=True) == [2, 2, 1]
    assert sizes(mentions=19, explain=True) == [1, 1, 1, 1, 1]
    assert sizes(body_bytes=len(two.body)) == [2, 2, 1]
    assert sizes(body_bytes=len(two.body) - 1) == [1, 1, 1, 1, 1]


@given(mentions)
def test_server_reads_what_was_given(given_mentions: list[Any]) -> None:
    for position, (one, sent) in enumerate(zip(given_mentions, encode(given_mentions), strict=True), start=1):
        fields = {"text": one} if isinstance(one, str) else dict(vars(one) if isinstance(one, Mention) else one)
        if not fields["text"].strip():
            continue
        read = mention_from_json(json.loads(sent.text), "none was sent")
        assert read.text == fields["text"]
        assert read.id == sent.id == (str(position) if fields.get("id") is None else fields["id"])
        named = fields.get("brand") or []
        assert set(read.brand) == {name.strip() for name in ([named] if isinstance(named, str) else named)} - {""}
        assert max(1, len(read.brand)) <= sent.targets
        assert read.author.model_dump() == vars(fields.get("author") or Author())


def _read(mention: Any) -> ServersMention:
    (sent,) = encode([mention])
    read = mention_from_json(json.loads(sent.text), "none was sent")
    assert read.id == sent.id
    return read


def test_values_of_databases_and_data_frames_are_taken() -> None:
    import numpy

    moment, identity = datetime(2026, 11, 21, 10, 15), uuid.uuid4()  # noqa: DTZ001  # naive is UTC
    read = _read({"text": "ok", "created_at": moment, "id": identity, "author": {"lifetime_value": Decimal("12.50")}})
    assert (read.created_at, read.id) == (moment.replace(tzinfo=UTC), str(identity))
    assert read.author.lifetime_value == 12.5
    assert _read({"text": "ok", "id": numpy.int64(7), "author": {"followers": numpy.float32(3)}}).id == "7"
    assert _read(Mention("ok", brand=deque(["a", "b"]), author=Author(purchases=float(3)))).brand == ("a", "b")
    assert _read({"text": "half \ud83d a pair", "brand": ("a", "b")}).text == "half \ud83d a pair"
    assert _read({"text": "ok", "id": float("nan"), "brand": float("nan")}) == _read({"text": "ok"})
    assert [_read({"text": "ok", "id": given}).id for given in (7, 7.0, "", True, [1])] == ["7", "7", "", "True", "[1]"]


_round: list[Any] = []
_round.append(_round)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["ok", None], "mention 2 is a NoneType"),
        (["ok", b"ok"], "mention 2 is a bytes"),
        ([{"text": "ok", "brand": {"a", "b"}}], "mention 1 cannot be sent as JSON: a set has no place in a mention"),
        (["ok", {"text": _round}], "mention 2 cannot be sent as JSON"),
        ([{"text": 10**5_000}], "mention 1 cannot be sent as JSON"),
        ([{("text",): "ok"}], "mention 1 cannot be sent as JSON"),
        ("ok", "put it in a list"),
        ({"text": "ok"}, "put it in a list"),
        (Mention("ok"), "put it in a list"),
    ],
)
def test_what_is_no_list_of_mentions_is_told(wrong: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        encode(wrong)


@pytest.mark.parametrize("limit", ["mentions", "body_bytes", "at_once"])
def test_limits_are_one_or_more(limit: str) -> None:
    with pytest.raises(ValueError, match=f"{limit} is 0; it must be 1 or more"):
        Limits(**{limit: 0})

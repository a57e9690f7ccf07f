"""Labels without texts: nothing of the text is written, and a label joins only the text that it was given for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.files import write_labelled
from data.labels import LABELS, export_labels, join_labels, read_labels
from data.schema import FileError, LabelledMention
from data.text import clean_text, text_hash


def mention(id: str, text: str, **fields: object) -> LabelledMention:
    source = id.partition(":")[0]
    return LabelledMention.model_validate(
        {"id": id, "text": text, "source": source, "brand": "Shop", "brand_key": "shop", **fields}
    )


def exported(tmp_path: Path, mentions: list[LabelledMention]) -> Path:
    write_labelled(tmp_path / "ours.parquet", mentions)
    (tmp_path / "labels").mkdir()
    assert export_labels([tmp_path / "ours.parquet"], tmp_path / "labels") == len(mentions)
    return tmp_path / "labels" / "ours.csv"


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_cleaning_twice_changes_nothing(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


def test_copies_of_a_post_have_one_hash() -> None:
    assert text_hash("Cafe\u0301 &amp;amp; bar\n\n now ") == text_hash("Café & bar now")
    assert text_hash("abc") == "ba7816bf8f01cfea"  # FIPS 180-2, appendix B.1


def test_labels_are_written_without_text_and_join_again(tmp_path: Path) -> None:
    ours = [
        mention("airline:7", "secret words &amp; more", labels=(0, 1, None, 0, 0), stratum="natural"),
        mention(
            "airline:7@rival",
            "secret words &amp; more",
            brand="Rival",
            brand_key="rival",
            labels=(1, 0, 0, 0, 0),
            stratum="other_target",
        ),
    ]
    path = exported(tmp_path, ours)
    assert "secret" not in path.read_text()
    download = [mention("airline:7", "secret   words & more", channel="twitter", labels=(1, 0, 1, None, None))]
    join = join_labels(list(read_labels(path)), download)
    first, second = join.mentions.values()
    assert first.labels == (0, 1, 1, 0, 0)  # ours win; complaint, which we did not say, is the corpus's
    assert (second.id, second.brand, second.labels) == ("airline:7@rival", ("Rival",), (1, 0, 0, 0, 0))
    assert (first.text, first.channel, first.stratum) == ("secret   words & more", "twitter", "natural")
    assert (join.by_id, join.by_hash, join.mismatched, join.missing) == (2, 0, (), ())
    assert join.posts == {"airline:7"}


def test_another_text_under_a_native_id_is_reported_and_not_joined(tmp_path: Path) -> None:
    labels = list(read_labels(exported(tmp_path, [mention("airline:7", "ours"), mention("airline:8", "gone")])))
    join = join_labels(labels, [mention("airline:7", "theirs"), mention("airline:9", "ours")])
    assert join.mentions == {}
    assert join.mismatched == ("airline:7",)
    assert join.missing == ("airline:8",)


def test_row_numbers_that_shifted_join_by_hash(tmp_path: Path) -> None:
    labels = list(read_labels(exported(tmp_path, [mention("sxsw:sxsw-2", "ours")])))
    join = join_labels(labels, [mention("sxsw:sxsw-1", "ours"), mention("sxsw:sxsw-2", "the next row")])
    assert [found.id for found in join.mentions.values()] == ["sxsw:sxsw-1"]
    assert (join.by_hash, join.mismatched) == (1, ())
    assert join_labels(labels, [mention("airline:1", "ours")]).missing == ("sxsw:sxsw-2",)  # another source


def test_the_published_labels_hold_no_text_and_share_no_brand() -> None:
    keys = []
    for name in ("train", "dev"):
        labels = list(read_labels(LABELS / f"{name}.csv"))
        assert all(len(label.text_sha256) == 16 and int(label.text_sha256, 16) >= 0 for label in labels)
        assert all(None not in label.mention.labels for label in labels)
        keys.append({label.mention.brand_key for label in labels if label.mention.stratum != "other_target"} - {""})
    assert not keys[0] & keys[1]


def test_a_broken_label_names_its_row(tmp_path: Path) -> None:
    path = exported(tmp_path, [mention("airline:7", "ours")])
    path.write_text(path.read_text().replace(",,,,,,", ",,3,,,,"))
    with pytest.raises(FileError, match="row 1: Invalid label: purchase is '3'"):
        list(read_labels(path))

"""Adapters of public corpora, each on a small invented file laid out as the published one."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.schema import INTENTS, FileError, LabelledMention
from data.sources import READERS, SOURCES, read_corpora, read_published


def read(name: str, path: Path, *, unlabelled: bool = True) -> list[LabelledMention]:
    return list(read_published(path, SOURCES[name], unlabelled=unlabelled))


def labels(mention: LabelledMention) -> dict[str, int]:
    return {intent: label for intent, label in zip(INTENTS, mention.labels, strict=True) if label is not None}


def test_every_published_source_has_a_reader() -> None:
    assert set(READERS) == {name for name, source in SOURCES.items() if source.published}


def test_only_clear_licences_allow_commercial_use() -> None:
    assert {name for name, source in SOURCES.items() if source.commercial_use} == {
        "xfin",
        "iphonex",
        "banking77",
        "ibm",
    }
    assert not any(
        source.commercial_use for source in SOURCES.values() if "NC" in source.licence or "none" in source.licence
    )


def test_airline(tmp_path: Path) -> None:
    path = tmp_path / "Tweets.csv"
    path.write_text(
        "tweet_id,airline_sentiment,airline_sentiment_confidence,negativereason,negativereason_confidence,airline,"
        "airline_sentiment_gold,name,negativereason_gold,retweet_count,text,tweet_coord,tweet_created,tweet_location,"
        "user_timezone\n"
        '7,negative,1.0,Late Flight,1,United,,a,,0,"@united two hours Late Flightr, still here",,'
        "2015-02-24 11:35:52 -0800,,\n"
        "7,negative,1.0,Can't Tell,1,United,,a,,0,@united hm,,2015-02-24 11:35:52 -0800,,\n"
        "8,positive,1.0,,,Delta,,b,,0,@delta lovely,,2015-02-24 11:35:52 -0800,,\n"
        "9,neutral,1.0,,,Delta,,b,,0,@delta hello,,2015-02-24 11:35:52 -0800,,\n"
    )
    first, repeated, third, fourth = read("airline", path)
    assert (first.id, first.brand, first.brand_key) == ("airline:7", ("United",), "united")
    assert first.text == "@united two hours later, still here"
    assert first.created_at == datetime(2015, 2, 24, 19, 35, 52, tzinfo=UTC)
    assert labels(first) == {"complaint": 1, "praise": 0}
    assert repeated.id == "airline:7-1"
    assert labels(repeated) == {"praise": 0}
    assert labels(third) == {"complaint": 0, "praise": 1}
    assert labels(fourth) == {}
    assert len(read("airline", path, unlabelled=False)) == 3


def test_preotiuc_takes_the_handle_that_posts_share(tmp_path: Path) -> None:
    path = tmp_path / "complaints-data.csv"
    path.write_text(
        '22631081115127808,"@Friend the box from @ShopHelp, broken",1,retail\n'
        "22631081115127809,thanks @shophelp,0,retail\n"
        "22631081115127810,@nobody hi,0,retail\n"
        "22631081115127811,@shophelp hi,0,random_tweet\n"
    )
    first, second, third, fourth = read("preotiuc", path)
    assert [mention.brand for mention in (first, second, third, fourth)] == [("shophelp",), ("shophelp",), (), ()]
    assert labels(first) == {"complaint": 1}
    assert labels(fourth) == {"complaint": 0}
    assert first.created_at is not None
    assert first.created_at.date().isoformat() == "2011-01-05"  # the day that the id of that time holds


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_sxsw_in_either_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "judge.csv"
    header = "tweet_text,emotion_in_tweet_is_directed_at,is_there_an_emotion_directed_at_a_brand_or_product\n"
    rows = [
        "A café with iPads!,iPad,Positive emotion",
        ",,No emotion toward brand or product",
        "dead again,iPhone,Negative emotion",
        "hm,,I can't tell",
    ]
    path.write_bytes((header + "\n".join(rows)).encode(encoding))
    first, third, fourth = read("sxsw", path)
    assert first.text == "A café with iPads!"
    assert [mention.id for mention in (first, third, fourth)] == ["sxsw:sxsw-0", "sxsw:sxsw-2", "sxsw:sxsw-3"]
    assert labels(first) == {"complaint": 0, "praise": 1}
    assert labels(third) == {"praise": 0}
    assert (labels(fourth), fourth.brand) == ({}, ())


def test_xfin(tmp_path: Path) -> None:
    path = tmp_path / "X-FINCORP.xlsx"
    workbook = openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    sheet.append(["Domain", "Complaint/ Opinion", "Complaint Label", "Complaint_Cause"])
    sheet.append(["Debit card", "@Someone my card, @HDFC_Bank @Paytm", 1, "card"])
    sheet.append(["Economy", "rates go up", 0, None])
    workbook.save(path)
    first, second = read("xfin", path)
    assert (first.id, first.brand, labels(first)) == ("xfin:fincorp-0", ("hdfc_bank",), {"complaint": 1})
    assert (second.brand, labels(second)) == ((), {"complaint": 0})
    path.write_bytes(b"not a workbook")
    with pytest.raises(FileError, match="not an Excel workbook"):
        read("xfin", path)


def test_swisscom_keeps_two_targets_of_one_text(tmp_path: Path) -> None:
    path = tmp_path / "EN_chatbot.csv"
    path.write_text('from Foo to Bar "soon\tEN\tBar\t0\nfrom Foo to Bar "soon\tEN\tfoo\t1\nbye\tEN\tno_brand\t1\n')
    found = [(mention.id, mention.brand, labels(mention)) for mention in read("swisscom", path)]
    assert found == [
        ("swisscom:EN_chatbot-0", ("bar",), {"churn_risk": 0}),
        ("swisscom:EN_chatbot-1", ("foo",), {"churn_risk": 1}),
        ("swisscom:EN_chatbot-2", (), {"churn_risk": 1}),
    ]


def test_twcs_brand_is_the_company_addressed(tmp_path: Path) -> None:
    path = tmp_path / "twcs.csv"
    when = "Tue Oct 31 22:10:47 +0000 2017"
    path.write_text(
        "tweet_id,author_id,inbound,created_at,text,response_tweet_id,in_response_to_tweet_id\n"
        f"1,ShopHelp,False,{when},@115 hello,2,3.0\n"
        f"2,115,True,{when},no it is not,,1\n"
        f"3,115,True,{when},@999 @other it broke,1,\n"
        f"4,116,True,{when},hey @shophelp,,\n"
        f"5,117,True,{when},to nobody,,\n"
    )
    found = {mention.id: mention.brand for mention in read("twcs", path)}
    assert found == {
        "twcs:twcs-2": ("ShopHelp",),
        "twcs:twcs-3": ("ShopHelp",),
        "twcs:twcs-4": ("ShopHelp",),
        "twcs:twcs-5": (),
    }


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "Tweets.csv"
    path.write_text("id,text\n1,x\n")
    with pytest.raises(FileError, match=r"Tweets\.csv: no column 'tweet_id' among 'id', 'text'"):
        read("airline", path)
    path.write_text("1,x,not a label,retail\n")
    with pytest.raises(FileError, match="complaint is 'not a label'"):
        read("preotiuc", path)
    with pytest.raises(FileError, match="no such file"):
        read("twcs", tmp_path / "twcs.csv")


def test_normalised_corpora(tmp_path: Path) -> None:
    table = {
        "id": ["1", "2"],
        "text": ["Late Flightr", "hello"],
        "text_fixed": ["later", "hello"],
        "brand": ["United", None],
        "channel": ["twitter", "twitter"],
        "created_at": ["Tue Oct 31 22:10:47 +0000 2017", None],
        **{intent: pa.array([None, None], pa.int8()) for intent in INTENTS},
        "complaint": pa.array([1, None], pa.int8()),
    }
    pq.write_table(pa.table(table), tmp_path / "airline_us.parquet")
    (mention,) = read_corpora(tmp_path, SOURCES["airline"])
    assert (mention.id, mention.text, mention.source, labels(mention)) == (
        "airline:1",
        "later",
        "airline",
        {"complaint": 1},
    )
    assert mention.created_at == datetime(2017, 10, 31, 22, 10, 47, tzinfo=UTC)
    assert len(list(read_corpora(tmp_path, SOURCES["airline"], unlabelled=True))) == 2

"""Mistakes: which, in which order, why, and as files for elsewhere."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from data.schema import INTENTS, LabelledMention
from eval.baselines import cut_at
from eval.mistakes import MISSED, WRONG, explained, find_mistakes, write_mistakes
from model.scorer import Scorer

MENTIONS = [
    LabelledMention(id="a", text="I will never buy from you again", brand=("Acme",), labels=(0, 1, 1, 0, 0)),
    LabelledMention(id="b", text="love it", labels=(None, 0, 0, 1, 0)),
    LabelledMention(id="c", text="where is my order", labels=(0, 0, 0, 0, 1)),
]
TRUTH = np.array([[np.nan if label is None else label for label in mention.labels] for mention in MENTIONS])
SCORES = np.array([[0.9, 0.2, 0.8, 0, 0], [0.99, 0, 0, 0.6, 0], [0, 0, 0.55, 0, 0.9]], dtype=np.float64)
MODEL = cut_at("model@1", SCORES, np.full(5, 0.5), probabilities=True)


def test_mistakes_are_the_known_cells_read_wrongly_the_most_surprising_first() -> None:
    found = find_mistakes(MENTIONS, TRUTH, MODEL, {(0, 1)})
    assert [(one.mention.id, one.intent, one.kind, one.suspect) for one in found] == [
        ("a", "purchase", WRONG, False),
        ("a", "churn_risk", MISSED, True),
        ("c", "complaint", WRONG, False),
    ]
    assert np.allclose([one.surprise for one in found], -np.log2([0.1, 0.2, 0.45]))


def test_the_words_are_measured_by_leaving_them_out(tiny_bundle: Path) -> None:
    scorer = Scorer.load(tiny_bundle)
    found = find_mistakes(MENTIONS, TRUTH, MODEL, set())
    whole = explained(found, scorer)
    assert [replace(one, words=()) for one in whole] == found
    wrong, missed, _ = whole
    assert wrong.words == tuple(scorer.explain(wrong.mention.text, "Acme", ["purchase"])["purchase"])
    assert all(word["drop"] > 0 for word in wrong.words)
    held_down = scorer.explain(missed.mention.text, "Acme", ["churn_risk"], against=True)["churn_risk"]
    assert missed.words == tuple(held_down)
    assert all(word["drop"] < 0 for word in missed.words)
    assert {word["word"] for word in held_down}.isdisjoint(
        word["word"] for word in scorer.explain(missed.mention.text, "Acme", ["churn_risk"])["churn_risk"]
    )


def test_files_for_a_table_and_for_label_studio(tmp_path: Path) -> None:
    formula = MENTIONS[0].model_copy(update={"text": "=1+1 " + MENTIONS[0].text})
    mentions = [formula, MENTIONS[1].model_copy(update={"labels": (None, 0, 0, 0, 0)}), MENTIONS[2]]
    truth = np.array([[np.nan if label is None else label for label in mention.labels] for mention in mentions])
    write_mistakes(tmp_path, find_mistakes(mentions, truth, MODEL, set()), MODEL)
    with (tmp_path / "mistakes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["id"], rows[0]["intent"], rows[0]["probability"]) == ("a", "purchase", "0.9")
    assert rows[0]["text"].startswith("'=1+1")  # not a formula
    first, partly, second = json.loads((tmp_path / "label-studio.json").read_text(encoding="utf-8"))
    assert first["data"]["text"] == formula.text
    assert (partly["annotations"], partly["data"]["not_known"]) == ([], "purchase")
    assert first["annotations"][0]["result"][0]["value"]["choices"] == ["churn_risk", "complaint"]
    assert first["predictions"][0]["result"][0]["value"]["choices"] == ["purchase", "complaint"]
    assert second["data"]["id"] == "c"
    # the names that the results go by are those of the labelling interface
    view = ElementTree.parse(tmp_path / "label-studio.xml").getroot()
    (choices,) = view.iter("Choices")
    (text,) = view.iter("Text")
    result = first["annotations"][0]["result"][0]
    assert (choices.get("name"), choices.get("toName"), text.get("name")) == (
        result["from_name"], result["to_name"], result["to_name"]
    )  # fmt: skip
    assert [choice.get("value") for choice in choices] == list(INTENTS)


def test_no_mistakes_no_rows(tmp_path: Path) -> None:
    write_mistakes(tmp_path, [], MODEL)
    assert (tmp_path / "mistakes.csv").read_text(encoding="utf-8").startswith("id,brand,text,intent")
    assert json.loads((tmp_path / "label-studio.json").read_text(encoding="utf-8")) == []

"""The scorer: a mention's score is its own, and the reasons it gives are what moves it."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from data.files import read_labelled
from data.schema import INTENTS
from model.bundle import DEFAULT_BUNDLE, MODEL, TOKENIZER, probability, write_manifest
from model.errors import BrandsError, BundleError
from model.normalise import NORMALISER_VERSION, Word, normalise
from model.scorer import Reading, Scorer, session_inputs

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
LONG = "I have been waiting for my parcel and nobody answers, " * 60


@pytest.fixture(scope="module")
def scorer(tiny_bundle: Path) -> Scorer:
    return Scorer.load(tiny_bundle)


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str | None]]:
    pairs: list[tuple[str, str | None]] = [
        (mention.text, mention.target) for mention in read_labelled(SAMPLE / "heldout.csv")
    ]
    return [*pairs[:60], (LONG, "Norvane"), ("😡", None), ("hey @someone", None), ("\u200b", None)]


def test_a_mention_is_read_the_same_alone_among_others_and_in_any_order(
    scorer: Scorer, pairs: list[tuple[str, str | None]]
) -> None:
    alone = [scorer.read(*pair) for pair in pairs]
    assert list(scorer.read_all(pairs)) == alone
    assert list(scorer.read_all(reversed(pairs))) == alone[::-1]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda pair: scorer.read(*pair), pairs)) == alone


def test_repeats_are_read_once_and_alike(scorer: Scorer, tiny_bundle: Path) -> None:
    remembering, runs = Scorer.load(tiny_bundle, remember=2), 0
    session = remembering.session

    class Counting:
        def __getattr__(self, name: str) -> object:
            return getattr(session, name)

        def run(self, *arguments: object) -> object:
            nonlocal runs
            runs += 1
            return session.run(*arguments)

    remembering.session = Counting()
    assert Scorer.load(tiny_bundle, remember=0).read("a", None) == remembering.read("a", None)
    # Somebody else's handle and address: the same words once they are masked.
    texts = ["RT @ann @northtel is down https://a.example/1", "RT @bob @northtel is down https://b.example/2"]
    first, again = (remembering.read(text, "northtel") for text in texts)
    assert first == again == scorer.read(texts[0], "northtel")
    assert runs == 2
    for text in ("b", "c", "a"):  # only the last two are kept
        assert remembering.read(text, None) == scorer.read(text, None)
    assert runs == 5


def test_a_bundle_loaded_again_reads_the_same(
    scorer: Scorer, tiny_bundle: Path, pairs: list[tuple[str, str | None]]
) -> None:
    again = Scorer.load(tiny_bundle)
    assert [again.read(*pair) for pair in pairs[:5]] == [scorer.read(*pair) for pair in pairs[:5]]


def test_a_reading_is_the_calibrated_output_of_the_session(scorer: Scorer) -> None:
    inputs = scorer.session_inputs("my order never came @Bramblemart", "Bramblemart")
    assert all(array.shape == (1, inputs["input_ids"].shape[1]) for array in inputs.values())
    (logits,) = scorer.session.run(None, inputs)
    calibration = scorer.bundle.calibration
    log_odds = np.array(calibration.scale) * logits[0].astype(float) + np.array(calibration.offset)
    reading = scorer.read("my order never came @Bramblemart", "Bramblemart")
    assert reading.logits == pytest.approx(tuple(log_odds), abs=1e-9)
    assert reading.probabilities == tuple(map(probability, reading.logits))
    assert len(reading.probabilities) == len(INTENTS)


def test_what_is_read_for_whom(scorer: Scorer) -> None:
    def target(text: str, brand: str | None) -> tuple[str | None, str | None]:
        reading = scorer.read(text, brand)
        return reading.target, reading.brand_key

    assert target("thanks", None) == (None, None)
    assert target("thanks @Some_One", None) == ("Some_One", "someone")
    assert target("thanks @Some_One and @BrambleHelp", None) == ("BrambleHelp", "bramblemart")
    assert target("thanks", " Bramble Mart ") == ("Bramble Mart", "bramblemart")
    assert target("thanks", "!!!") == ("!!!", "!!!")


def test_who_the_target_is_matters_and_what_it_is_called_does_not(scorer: Scorer) -> None:
    text = "leaving @{} for @Cinevale tomorrow, worst service ever"
    assert scorer.read(text.format("Norvane"), "Norvane").logits == scorer.read(text.format("Abcd"), "Abcd").logits
    assert (
        scorer.read(text.format("Norvane"), "Norvane").logits != scorer.read(text.format("Norvane"), "Cinevale").logits
    )


def test_a_long_text_is_read_at_its_head_and_tail(scorer: Scorer) -> None:
    assert not scorer.read("where is my parcel?", None).truncated
    assert scorer.read(LONG, None).truncated
    assert scorer.session_inputs(LONG, None)["input_ids"].shape == (1, scorer.bundle.max_tokens)
    assert scorer.read(LONG + "x " * 500 + LONG, None).logits == scorer.read(LONG + "y " * 900 + LONG, None).logits


def test_another_brands_file_shows_in_the_models_name(scorer: Scorer, tiny_bundle: Path, tmp_path: Path) -> None:
    own = f"{scorer.bundle.name}@{scorer.bundle.version}"
    assert scorer.name == own
    assert Scorer.load(tiny_bundle, brands=tiny_bundle / "brands.toml").name == own
    (tmp_path / "other.toml").write_text("[norvane]\naliases = ['the big N']\n", encoding="utf-8")
    other = Scorer.load(tiny_bundle, brands=tmp_path / "other.toml")
    assert other.name == f"{own}+brands.{other.brands.sha256[:8]}"
    assert other.read("the big N is down", "Norvane").logits == scorer.read("Norvane is down", "Norvane").logits
    with pytest.raises(BrandsError):
        Scorer.load(tiny_bundle, brands=tmp_path / "nowhere.toml")


@pytest.mark.parametrize(("name", "problem"), [(MODEL, "onnxruntime cannot load"), (TOKENIZER, "is not a tokenizer")])
def test_a_file_that_is_whole_but_not_what_it_should_be_is_refused(
    tiny_bundle: Path, tmp_path: Path, name: str, problem: str
) -> None:
    for file in ("model.onnx", "tokenizer.json", "brands.toml", "MODEL_CARD.md"):
        (tmp_path / file).write_bytes((tiny_bundle / file).read_bytes() if file != name else b"nonsense")
    zero = dict.fromkeys(INTENTS, 0.0)
    cuts = {cut: {"thresholds": zero} for cut in ("balanced", "p70", "p80", "p90", "p95")}
    write_manifest(
        tmp_path,
        {
            "name": "x",
            "version": "1",
            "max_tokens": 32,
            "base_model": "x",
            "calibration": {"scale": zero, "offset": zero},
            "cuts": cuts,
            "data": [],
            "figures": {},
        },
    )
    with pytest.raises(BundleError, match=problem) as caught:
        Scorer.load(tmp_path)
    assert "\n" not in str(caught.value)


# Reasons


def test_reasons_name_words_where_they_stand_with_the_drop_that_they_make(scorer: Scorer) -> None:
    text = "@Norvane I&#39;m leaving!! Worst   service ever 😡😡 #NorvaneFail"
    why = scorer.explain(text, "Norvane", INTENTS)
    assert list(why) == list(INTENTS)
    found = [reason for reasons in why.values() for reason in reasons]
    assert found
    assert {reason["word"] for reason in found} <= {
        *("@Norvane", "I&#39;m", "leaving", "Worst", "service", "ever", "😡😡", "Norvane", "Fail")
    }
    words = normalise(text, "Norvane", scorer.brands).words
    whole = _logits(scorer, words)
    for intent, reasons in why.items():
        assert len(reasons) <= 5
        assert [reason["drop"] for reason in reasons] == sorted((reason["drop"] for reason in reasons), reverse=True)
        for reason in reasons:
            assert text[reason["start"] : reason["end"]] == reason["word"]
            rest = [word for word in words if (word.start, word.end) != (reason["start"], reason["end"])]
            drop = whole[INTENTS.index(intent)] - _logits(scorer, rest)[INTENTS.index(intent)]
            assert reason["drop"] == pytest.approx(drop, abs=6e-4)
            assert reason["drop"] > 0


def test_a_word_that_came_of_several_passes_is_one_reason(scorer: Scorer) -> None:
    # The name is one only once it is cut short; the pass that finds it takes the emoji's name for several words.
    text = "Cinevaaaale is down 😡 again"
    assert len([word for word in normalise(text, "Cinevaale", scorer.brands).words if word.end == 21]) == 2
    for reasons in scorer.explain(text, "Cinevaale", INTENTS).values():
        assert len({(reason["start"], reason["end"]) for reason in reasons}) == len(reasons)


def test_reasons_are_asked_for_by_intent_and_there_may_be_none(scorer: Scorer) -> None:
    assert scorer.explain("worst service ever", None, []) == {}
    assert list(scorer.explain("worst service ever", None, ["praise"])) == ["praise"]
    assert scorer.explain("!!!", "Norvane", ["praise"]) == {"praise": []}
    assert scorer.explain("\u200b", None, ["praise"]) == {"praise": []}


def test_reasons_of_a_long_text_are_in_what_was_read(scorer: Scorer) -> None:
    text = LONG + "middle " * 2_000 + LONG
    reasons = scorer.explain(text, None, ["support_question"])["support_question"]
    assert all(reason["word"] != "middle" for reason in reasons)


def _logits(scorer: Scorer, words: list[Word] | tuple[Word, ...]) -> list[float]:
    (logits,) = scorer.session.run(None, session_inputs(scorer.session, [scorer.encoder.encode(words)[0]]))
    return [float(value) for value in logits[0]]


def test_deleting_the_three_top_words_lowers_the_logit_more_than_three_random_ones() -> None:
    scorer = Scorer.load(DEFAULT_BUNDLE, brands=SAMPLE / "brands.toml")
    assert scorer.bundle.normaliser_version == NORMALISER_VERSION
    thresholds = scorer.bundle.thresholds("balanced")
    draw = random.Random(0)
    wins: list[bool] = []
    for mention in read_labelled(SAMPLE / "heldout.csv")[::3]:
        reading = scorer.read(mention.text, mention.target)
        labels = [intent for intent, p, t in zip(INTENTS, reading.probabilities, thresholds, strict=True) if p >= t]
        words = normalise(mention.text, mention.target, scorer.brands).words
        spans = sorted({(word.start, word.end) for word in words if any(map(str.isalnum, word.text)) and word.end})
        for intent, reasons in scorer.explain(mention.text, mention.target, labels).items():
            top = [(reason["start"], reason["end"]) for reason in reasons[:3]]
            if len(top) < 3 or len(spans) < 6:
                continue

            def without(gone: list[tuple[int, int]], words: tuple[Word, ...] = words, intent: str = intent) -> float:
                rest = [word for word in words if (word.start, word.end) not in gone]
                return _logits(scorer, rest)[INTENTS.index(intent)]

            lowered = without(top)
            wins.extend(lowered < without(draw.sample(spans, 3)) for _ in range(4))
    assert len(wins) >= 100
    assert sum(wins) / len(wins) >= 0.9


# Side by side


def test_nothing_to_read_gives_nothing(scorer: Scorer) -> None:
    readings: list[Reading] = list(scorer.read_all([]))
    assert readings == []

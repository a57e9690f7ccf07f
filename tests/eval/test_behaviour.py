"""Behavioural tests: the table, how a case is judged, and what of it reaches the report and the bundle."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from data.schema import INTENTS
from eval.behaviour import (
    CASES,
    BehaviourTest,
    Reads,
    Rises,
    Seen,
    Stays,
    behaviour_report,
    check_bundle,
    load_tests,
    measure_behaviour,
)
from eval.evaluate import EvaluateJob, evaluate
from eval.perturbations import PERTURBATIONS, perturbed
from model.brands import Brands
from model.bundle import Bundle
from model.normalise import normalise
from model.scorer import Scorer
from training.job import TrainJob
from training.recipe import load_recipe
from training.train import train

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
POST = ("a post", "Brellow")
TESTS = {test.name: test for test in load_tests()}
SEEDS = [case.posts[0] for case in TESTS["typo"].cases]


def _seen(**probabilities: float) -> Seen:
    known = dict.fromkeys(INTENTS, 0.1) | probabilities
    return Seen(known, frozenset(intent for intent, p in known.items() if p >= 0.5))


def test_the_table_holds_what_it_is_said_to_hold() -> None:
    table = tomllib.loads(CASES.read_text(encoding="utf-8"))
    assert len(TESTS) == len(table["functionality"]) + len(table["invariance"]) + len(table["direction"])
    for intent in INTENTS:
        cases = TESTS[intent].cases
        assert sum(isinstance(case, Reads) and intent in case.asserted for case in cases) == len(cases) >= 12
    both_ways = Counter(case.posts[0][0] for case in TESTS["two brands"].cases)
    assert len(both_ways) >= 40
    assert set(both_ways.values()) == {2}
    floors = {kind: [t.floor for t in TESTS.values() if t.kind == kind] for kind in ("invariance", "direction")}
    assert min(floors["invariance"] + floors["direction"]) >= 0.85
    assert all(
        test.floor == (0.80 if test.name == "two brands" else 0.90)
        for test in TESTS.values()
        if test.kind == "minimum functionality"
    )


@pytest.mark.parametrize("file", [None, SAMPLE / "brands.toml"])
def test_every_brand_is_named_in_its_post_and_new_to_the_brands_files(file: Path | None) -> None:
    brands = Brands.load(file)
    for test in TESTS.values():
        for case in test.cases:
            for text, brand in case.posts:
                assert brand.casefold() in text.casefold()
                assert brands.key(brand) not in brands.entries


@pytest.mark.parametrize(
    ("notation", "asserted", "open_"),
    [
        ("churn_risk complaint?", {"churn_risk"}, {"complaint"}),
        ("none praise? purchase?", set(), {"praise", "purchase"}),
        ("none", set(), set()),
    ],
)
def test_notation(notation: str, asserted: set[str], open_: set[str]) -> None:
    case = Reads.parse(POST, notation)
    assert case.asserted == asserted
    assert case.open == open_


@pytest.mark.parametrize("notation", ["", "churn", "praise?", "none praise", "prase?", "none prase?"])
def test_notation_that_says_nothing_clear(notation: str) -> None:
    with pytest.raises(ValueError, match="must be read in 'a post'"):
        Reads.parse(POST, notation)


def test_a_reading_passes_with_every_asserted_intent_and_no_other_that_is_not_open() -> None:
    case = Reads.parse(POST, "churn_risk complaint?")
    assert case.judge(_seen(churn_risk=0.9)) is None
    assert case.judge(_seen(churn_risk=0.9, complaint=0.8)) is None
    assert case.judge(_seen(complaint=0.8)) == ("churn_risk complaint?", "complaint 0.80; not churn_risk 0.10")
    assert case.judge(_seen(churn_risk=0.9, praise=0.6)) == (
        "churn_risk complaint?",
        "churn_risk 0.90, praise 0.60",
    )
    assert Reads.parse(POST, "none").judge(_seen()) is None


def test_a_changed_post_must_have_the_same_labels() -> None:
    case = Stays(POST, ("A POST", "Brellow"))
    assert case.judge(_seen(praise=0.9), _seen(praise=0.6)) is None
    assert case.judge(_seen(praise=0.6), _seen(praise=0.4)) == ("praise 0.60, as of 'a post'", "none")


@pytest.mark.parametrize(
    ("before", "after", "slack", "passes"),
    [
        (0.30, 0.31, 0.0, True),
        (0.30, 0.30, 0.05, False),
        (0.89, 0.88, 0.05, False),
        (0.96, 0.93, 0.05, True),
        (0.96, 0.90, 0.05, False),
        (0.96, 0.95, 0.0, False),
    ],
)
def test_a_direction_allows_slack_only_near_the_top(before: float, after: float, slack: float, passes: bool) -> None:
    case = Rises("purchase", POST, ("a post. How much?", "Brellow"), slack)
    assert (case.judge(_seen(purchase=before), _seen(purchase=after)) is None) == passes


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_a_perturbation_changes_the_post_always_the_same_way_and_leaves_the_brand_readable(name: str) -> None:
    brands = Brands.load()
    for text, brand in SEEDS:
        changed, target = perturbed(name, text, brand)
        assert (changed, target) == perturbed(name, text, brand)
        assert changed != text
        plain, read = (normalise(*post, brands).text for post in ((text, brand), (changed, target)))
        assert read.count("[TARGET]") == plain.count("[TARGET]") == 1
        if name == "brand swapped":
            assert read == plain
        if name == "typo":
            pairs = list(zip(text.split(), changed.split(), strict=True))
            assert sum(one != other for one, other in pairs) == 1


def test_each_case_is_judged_by_what_the_bundle_reads_at_the_balanced_cut(tiny_bundle: Path) -> None:
    scorer = Scorer.load(tiny_bundle)
    reading = scorer.read(*POST)
    thresholds = scorer.bundle.thresholds("balanced")
    labels = {i for i, p, cut in zip(INTENTS, reading.probabilities, thresholds, strict=True) if p >= cut}
    right = Reads(POST, "right", frozenset(labels), frozenset())
    wrong = Reads(POST, "wrong", frozenset(INTENTS) - labels, frozenset())
    half, most = (BehaviourTest(str(floor), "minimum functionality", floor, (right, wrong)) for floor in (0.5, 0.6))
    first, second = measure_behaviour(scorer, [half, most])
    assert [(failure.target, failure.expected) for failure in first.failures] == [("Brellow", "wrong")]
    assert first.record() == {
        "kind": "minimum functionality",
        "floor": 0.5,
        "cases": 2,
        "passed": 1,
        "rate": 0.5,
        "reached": True,
    }
    assert not second.record()["reached"]


def test_the_report_lists_every_test_and_the_cases_that_fail(tiny_bundle: Path, tmp_path: Path) -> None:
    assert evaluate(EvaluateJob(tiny_bundle, [SAMPLE / "heldout.csv"], tmp_path)) == 0
    behaviour = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["behaviour"]
    assert behaviour == behaviour_report(Scorer.load(tiny_bundle))
    assert list(behaviour["tests"]) == list(TESTS)
    assert behaviour["releasable"] is False  # a tiny random encoder understands next to nothing
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"| minimum functionality: sarcasm | {len(TESTS['sarcasm'].cases)} |" in page
    assert "Not every floor is reached." in page
    for test in behaviour["tests"].values():
        assert len(test["failures"]) == test["cases"] - test["passed"]
        assert all(f"`{failure['text']}`, target {failure['target']}: " in page for failure in test["failures"])


def test_training_records_what_a_check_says_of_the_bundle(
    tiny_base: Path, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Bundle.load(tiny_bundle).behaviour is None
    recipe = load_recipe(None, base=str(tiny_base), epochs=1, precision="float32")
    job = TrainJob(train=(SAMPLE / "train.csv",), out=tmp_path / "bundle", recipe=recipe)
    assert train(job, check_bundle) == 0
    bundle = Bundle.load(job.out)
    said = capsys.readouterr().err
    assert bundle.behaviour == check_bundle(job.out)
    assert list(bundle.behaviour["tests"]) == list(TESTS)
    missed = [name for name, test in bundle.behaviour["tests"].items() if not test["reached"]]
    assert missed
    assert bundle.behaviour["releasable"] is False
    assert f"{len(TESTS) - len(missed)} of {len(TESTS)} floors reached; not releasable" in said
    assert all(f"  {name}: " in said for name in missed)
    card = (job.out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "**Not every floor is reached.**" in card
    assert all(f": {name} | " in card for name in TESTS)

    released = {
        "releasable": True,
        "tests": {"one": {"kind": "invariance", "floor": 0.5, "cases": 2, "passed": 1, "rate": 0.5, "reached": True}},
    }
    train(job, lambda _: released)
    assert Bundle.load(job.out).behaviour == released
    card = (job.out / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Every floor is reached." in card
    assert "| invariance: one | 2 | 0.50 | 0.50 |" in card

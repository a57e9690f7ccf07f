"""Behavioural tests of a bundle: what it must read, what must not change a reading, and what must move it.

After Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with CheckList" (ACL 2020): minimum
functionality, invariance and direction tests. Labels are those of the cut ``balanced``. The cases and the floors are in
``behaviour.toml``; leaves the changes that invariance is tested with to ``eval.perturbations``.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import Any, Protocol

from data.schema import INTENTS
from eval.perturbations import Post, perturbed
from eval.progress import counted
from model.cascade import Reader, load_reader

CASES = Path(__file__).with_name("behaviour.toml")
CUT = "balanced"

_SATURATED = 0.9
_SLACK = 0.05
"""How far a phrase may lower an intent that was already above ``_SATURATED``."""


@dataclass(frozen=True)
class Seen:
    """What a bundle reads in a post for its target."""

    probabilities: Mapping[str, float]
    """Per intent, 0 to 1."""
    labels: frozenset[str]

    def __str__(self) -> str:
        return ", ".join(f"{i} {self.probabilities[i]:.2f}" for i in INTENTS if i in self.labels) or "none"


@dataclass(frozen=True)
class Failure:
    """A case that did not pass; of two posts, the one that was read otherwise than expected."""

    text: str
    target: str
    expected: str
    read: str


class Case(Protocol):
    """One thing to check of one post, or of two; the last is the one that a failure names."""

    @property
    def posts(self) -> tuple[Post, ...]:
        """What must be read to judge it."""

    def judge(self, *seen: Seen) -> tuple[str, str] | None:
        """What was expected and what was read instead, or None where the case passes; ``seen`` is of ``posts``."""


@dataclass(frozen=True)
class Reads:
    """Minimum functionality: these intents are asserted, the open ones may be, and no others are."""

    post: Post
    notation: str
    asserted: frozenset[str]
    open: frozenset[str]

    @classmethod
    def parse(cls, post: Post, notation: str) -> Reads:
        """A case in the table's notation: "churn_risk complaint?", "none", "none praise?".

        Raises:
            ValueError: a word is no intent, or nothing is named where "none" should stand.
        """
        words = notation.split()
        named = {word for word in words if not word.endswith("?")}
        open_ = {word.removesuffix("?") for word in words} - named
        asserted = named - {"none"}
        if not named or not asserted | open_ <= set(INTENTS) or (asserted and "none" in named):
            raise ValueError(f"{notation!r} does not say what must be read in {post[0]!r}")
        return cls(post, notation, frozenset(asserted), frozenset(open_))

    @property
    def posts(self) -> tuple[Post, ...]:
        """The post alone."""
        return (self.post,)

    def judge(self, *seen: Seen) -> tuple[str, str] | None:
        """Passes where every intent that is not open is as it must be."""
        (found,) = seen
        if found.labels - self.open == self.asserted:
            return None
        missed = ", ".join(f"{i} {found.probabilities[i]:.2f}" for i in INTENTS if i in self.asserted - found.labels)
        return self.notation, f"{found}; not {missed}" if missed else str(found)


@dataclass(frozen=True)
class Stays:
    """Invariance: a changed post has the labels of the plain one."""

    plain: Post
    changed: Post

    @property
    def posts(self) -> tuple[Post, ...]:
        """The plain post and the changed one."""
        return self.plain, self.changed

    def judge(self, *seen: Seen) -> tuple[str, str] | None:
        """Passes where the labels are the same."""
        plain, changed = seen
        return None if plain.labels == changed.labels else (f"{plain}, as of {self.plain[0]!r}", str(changed))


@dataclass(frozen=True)
class Rises:
    """Direction: an intent is likelier in the second post than in the first."""

    intent: str
    lower: Post
    higher: Post
    slack: float = 0.0
    """How far it may fall where it was already saturated."""

    @property
    def posts(self) -> tuple[Post, ...]:
        """The post of the lower reading and that of the higher one."""
        return self.lower, self.higher

    def judge(self, *seen: Seen) -> tuple[str, str] | None:
        """Passes where the probability is higher, or was saturated and stays within the slack."""
        before, after = (one.probabilities[self.intent] for one in seen)
        if after > before or (before > _SATURATED and after > before - self.slack):
            return None
        return f"{self.intent} above {before:.3f}, that of {self.lower[0]!r}", f"{self.intent} {after:.3f}"


@dataclass(frozen=True)
class BehaviourTest:
    """Cases of one kind, and the share of them that must pass, 0 to 1."""

    name: str
    kind: str
    floor: float
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Outcome:
    """How a bundle did in one test."""

    test: BehaviourTest
    failures: tuple[Failure, ...]

    def record(self) -> dict[str, Any]:
        """Kind, floor, cases, passed, rate (0 to 1), and whether the floor is reached."""
        cases = len(self.test.cases)
        passed = cases - len(self.failures)
        return {
            "kind": self.test.kind,
            "floor": self.test.floor,
            "cases": cases,
            "passed": passed,
            "rate": round(passed / cases, 4),
            "reached": passed / cases >= self.test.floor,
        }


def load_tests(path: Path = CASES) -> tuple[BehaviourTest, ...]:
    """Every test of the table, in its order.

    Raises:
        KeyError, ValueError: the table is not in the form that its comments describe.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    seeds = {kind: [(text, brand) for text, brand in posts] for kind, posts in table["seeds"].items()}
    functionality = [
        BehaviourTest(
            one["name"],
            "minimum functionality",
            one["floor"],
            tuple(Reads.parse((text, brand), must) for text, reads in one["cases"] for brand, must in reads.items()),
        )
        for one in table["functionality"]
    ]
    every_seed = [seed for posts in seeds.values() for seed in posts]
    invariance = [
        BehaviourTest(name, "invariance", floor, tuple(Stays(seed, perturbed(name, *seed)) for seed in every_seed))
        for name, floor in table["invariance"].items()
    ]
    direction = [
        BehaviourTest(one["name"], "direction", one["floor"], _rises(one, seeds)) for one in table["direction"]
    ]
    return (*functionality, *invariance, *direction)


def _rises(one: Mapping[str, Any], seeds: Mapping[str, Sequence[Post]]) -> tuple[Rises, ...]:
    pairs = [Rises(one["raises"], (low, brand), (high, brand)) for low, high, brand in one.get("pairs", ())]
    phrased = [
        Rises(one["raises"], (text, brand), (f"{text}{'' if text[-1] in '.!?' else '.'} {phrase}", brand), _SLACK)
        for kind in one.get("on", ())
        for text, brand in seeds[kind]
        for phrase in one["phrases"]
    ]
    return (*pairs, *phrased)


def measure_behaviour(scorer: Reader, tests: Sequence[BehaviourTest]) -> list[Outcome]:
    """Read every post once, with progress on stderr, and judge every case."""
    posts = list(dict.fromkeys(post for test in tests for case in test.cases for post in case.posts))
    seen = {}
    for post, reading in zip(posts, counted(scorer.at(CUT).read_all(posts), "behaviour", len(posts)), strict=True):
        labels = compress(INTENTS, reading.asserts(CUT))
        seen[post] = Seen(dict(zip(INTENTS, reading.probabilities, strict=True)), frozenset(labels))
    return [
        Outcome(
            test,
            tuple(
                Failure(*case.posts[-1], *verdict)
                for case in test.cases
                if (verdict := case.judge(*(seen[post] for post in case.posts))) is not None
            ),
        )
        for test in tests
    ]


def behaviour_report(scorer: Reader) -> dict[str, Any]:
    """``releasable`` (every floor is reached) and each test's record with its ``failures``, for ``report.json``."""
    tests = {
        one.test.name: {**one.record(), "failures": [asdict(failure) for failure in one.failures]}
        for one in measure_behaviour(scorer, load_tests())
    }
    return {"releasable": all(test["reached"] for test in tests.values()), "tests": tests}


def check_bundle(folder: Path) -> dict[str, Any]:
    """The same without the failures, for ``bundle.json``; floors that were missed are said on stderr.

    Raises:
        BundleError: the bundle cannot be loaded.
    """
    report = behaviour_report(load_reader(folder))
    tests = {
        name: {field: value for field, value in test.items() if field != "failures"}
        for name, test in report["tests"].items()
    }
    missed = {name: test for name, test in tests.items() if not test["reached"]}
    verdict = "not releasable, below its floor:" if missed else "releasable"
    print(f"behaviour: {len(tests) - len(missed)} of {len(tests)} floors reached; {verdict}", file=sys.stderr)
    for name, test in missed.items():
        print(f"  {name}: {test['rate']:.2f}, floor {test['floor']:.2f}", file=sys.stderr)
    return {"releasable": report["releasable"], "tests": tests}

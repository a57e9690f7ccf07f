"""The policy file: every problem is found, said at once, and says where it is and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from data.schema import INTENTS
from model.errors import PolicyError
from model.policy_file import DEFAULT_POLICY, read_policy
from model.policy_settings import Scale

SMALL = """\
name = "small"
[weights]
purchase = 1
churn_risk = 2
complaint = 3
praise = 4
support_question = 5.5

[levels]
urgent = 60
high = 40
normal = 10

[deadlines]
urgent = "90s"
high = "2h"
normal = "none"

[queues]
names = ["care", "sales"]
default = "care"

[[keyword]]
name = "mad"
points = 4
words = ["mad"]

[[route]]
queue = "sales"
intents = ["purchase"]
"""


Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_policy(content: str | bytes) -> Path:
        path = tmp_path / "policy.toml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_policy


def refusal(path: Path) -> str:
    with pytest.raises(PolicyError) as refused:
        read_policy(path)
    assert str(path) in str(refused.value)
    return str(refused.value).replace(str(path), "FILE")


def test_a_small_policy_means_what_it_says(write: Write) -> None:
    settings = read_policy(write(SMALL))
    assert settings.name == "small"
    assert settings.weights == (1, 2, 3, 4, 5.5)
    assert settings.thresholds == (60, 40, 10, 0)
    assert settings.deadlines == (timedelta(seconds=90), timedelta(hours=2), None, None)
    assert settings.reach == settings.lifetime_value == settings.purchases == settings.low_satisfaction == Scale()
    assert settings.waiting_points == 0
    assert [(route.queue, route.conditions) for route in settings.routes] == [
        ("sales", (("intents", frozenset({"purchase"})),))
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_read(write: Write) -> None:
    settings = read_policy(write(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode()))
    assert settings.weights == (1, 2, 3, 4, 5.5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', "name = 3", "line 1: name: must be a text that is not empty, not 3"),
        ("[weights]", "[wieghts]", "line 2: wieghts: unknown table or key; did you mean weights?"),
        ("[weights]", "[wieghts]", "weights: missing; write it as a table: [weights]"),
        (
            "churn_risk = 2",
            "churn = 2",
            "line 4: [weights] churn: unknown key; did you mean churn_risk? allowed: purch",
        ),
        ("churn_risk = 2", "churn = 2", "line 2: [weights] churn_risk: missing"),
        ("churn_risk = 2", "churn_risk = -1", "line 4: [weights] churn_risk: must be a number from 0 to 1000, not -1"),
        (
            "churn_risk = 2",
            "churn_risk = nan",
            "line 4: [weights] churn_risk: must be a number from 0 to 1000, not nan",
        ),
        ("churn_risk = 2", "churn_risk = inf", "from 0 to 1000, not inf"),
        ("churn_risk = 2", "churn_risk = true", "from 0 to 1000, not True"),
        ("churn_risk = 2", 'churn_risk = "2"', "from 0 to 1000, not '2'"),
        ("churn_risk = 2", "churn_risk = 1" + "0" * 400, "from 0 to 1000, not 1000"),
        ("urgent = 60", "urgent = 101", "line 10: [levels] urgent: must be a number above 0, at most 100"),
        ("high = 40", "high = 60", "line 11: [levels] high: 60 must be below urgent = 60"),
        ("normal = 10", "normal = 0", "line 12: [levels] normal: must be a number above 0"),
        ("normal = 10", "normal = 10\nlow = 5", "line 13: [levels] low: must be 0"),
        ("normal = 10", "normal = 10\nmedium = 5", "line 13: [levels] medium: unknown key"),
        ('urgent = "90s"', 'urgent = "15 min"', "line 15: [deadlines] urgent: must be a number and s, m, h or d"),
        ('urgent = "90s"', 'urgent = "0m"', "[deadlines] urgent: must be a number and s, m, h or d"),
        ('urgent = "90s"', 'urgent = "999999999d"', "[deadlines] urgent: must be a number and s, m, h or d"),
        ('urgent = "90s"', "urgent = 15", "[deadlines] urgent: must be a number and s, m, h or d"),
        ('urgent = "90s"', 'urgent = "3h"', "line 16: [deadlines] high: must not be shorter than urgent"),
        ('high = "2h"', 'high = "none"\nlow = "3d"', 'line 17: [deadlines] low: must be "none"'),
        ('high = "2h"\nnormal = "none"', 'high = "none"\nnormal = "2h"', "[deadlines] normal: must not be shorter"),
        ('"care", "sales"]', '"care", "sales", "care"]', "line 20: [queues] names: 'care' is there more than once"),
        (
            'default = "care"',
            'default = "cares"',
            "line 21: [queues] default: 'cares' does not exist; did you mean care?",
        ),
        ('name = "mad"', 'name = "so mad"', "line 24: [[keyword]] 1 name: 'so mad' may hold letters, digits, _ and -"),
        ("points = 4", "points = -4", "line 25: [[keyword]] 1 points: must be a number from 0 to 1000, not -4"),
        ('words = ["mad"]', "words = []", "line 26: [[keyword]] 1 words: must be a list with at least one text"),
        ('words = ["mad"]', 'words = ["mad", " "]', "[[keyword]] 1 words: must be a list with at least one text"),
        ('words = ["mad"]', 'words = "mad"', "[[keyword]] 1 words: must be a list with at least one text"),
        ('words = ["mad"]', 'words = ["mad", "Mad"]', "[[keyword]] 1 words: 'mad' is there more than once"),
        ('words = ["mad"]', 'words = ["@ofcom"]', "[[keyword]] 1 words: '@ofcom' can never be found"),
        ('words = ["mad"]', 'words = ["--"]', "[[keyword]] 1 words: '--' can never be found"),
        ('words = ["mad"]', 'wrods = ["mad"]', "line 26: [[keyword]] 1 wrods: unknown key; did you mean words?"),
        ("[[keyword]]", "[keyword]", "keyword: write each one under a [[keyword]] of its own"),
        (
            'queue = "sales"',
            'queue = "salse"',
            "line 29: [[route]] 1 queue: 'salse' does not exist; did you mean sales?",
        ),
        ('["purchase"]', '["churn"]', "line 30: [[route]] 1 intents: 'churn' does not exist; did you mean churn_risk?"),
        ('intents = ["purchase"]', 'levels = ["critical"]', "'critical' does not exist; allowed: urgent, high, normal"),
        ('intents = ["purchase"]', 'keywords = ["madd"]', "'madd' does not exist; did you mean mad? allowed: mad"),
        ('intents = ["purchase"]', "brands = []", "[[route]] 1 brands: must be a list with at least one text"),
        ('intents = ["purchase"]', "", "line 28: [[route]] 1: has no condition, so no later route is reached"),
        ('intents = ["purchase"]', 'intent = ["purchase"]', "[[route]] 1 intent: unknown key; did you mean intents?"),
        (
            "[levels]",
            "[reach]\npoints = 5\nfull_at = 0\n[levels]",
            "line 11: [reach] full_at: must be a number above 0",
        ),
        ("[levels]", "[reach]\npoints = 5\n[levels]", "line 9: [reach] full_at: missing"),
        (
            "[levels]",
            "[low_satisfaction]\npoints = 5\nbelow = 1.5\n[levels]",
            "[low_satisfaction] below: must be a number",
        ),
        ("[levels]", "[waiting]\npoint = 5\n[levels]", "line 10: [waiting] point: unknown key; did you mean points?"),
        ("[levels]", "[levels", "not valid TOML: "),
        ("praise = 4", "praise = 4\npraise = 5", "not valid TOML: Cannot overwrite a value (at line 7"),
    ],
)
def test_each_problem_is_named_with_its_place(write: Write, old: str, new: str, message: str) -> None:
    assert SMALL.count(old) == 1
    assert message in refusal(write(SMALL.replace(old, new)))


def test_one_problem_is_one_line(write: Write) -> None:
    message = refusal(write(SMALL.replace("churn_risk = 2", "churn_risk = -2")))
    assert message == "FILE: line 4: [weights] churn_risk: must be a number from 0 to 1000, not -2"


def test_every_problem_is_said_at_once_in_the_order_of_the_file(write: Write) -> None:
    source = SMALL.replace("praise = 4", "prais = 4").replace("high = 40", "high = 70").replace('["mad"]', "[]")
    source += '\n[[keyword]]\nname = "mad"\npoints = 1\nwords = ["angry"]\n[[route]]\nqueue = "legal"\nbrands = ["b"]\n'
    assert refusal(write(source)).splitlines() == [
        "FILE: 6 problems in the policy file",
        "  line 2: [weights] praise: missing; must be a number from 0 to 1000",
        "  line 6: [weights] prais: unknown key; did you mean praise? allowed: " + ", ".join(INTENTS),
        "  line 11: [levels] high: 70 must be below urgent = 60: thresholds fall from level to level",
        "  line 26: [[keyword]] 1 words: "
        'must be a list with at least one text, none of them empty: words = ["…"], not []',
        "  line 33: [[keyword]] 2 name: 'mad' is the name of an earlier rule",
        "  line 37: [[route]] 2 queue: 'legal' does not exist; allowed: care, sales",
    ]


def test_an_empty_file_lacks_every_section_that_must_be_there(write: Write) -> None:
    message = refusal(write(""))
    for section in ("name", "weights", "levels", "deadlines", "queues"):
        assert f"{section}: missing" in message
    assert len(message.splitlines()) == 6


def test_files_that_cannot_be_read(write: Write, tmp_path: Path) -> None:
    assert "cannot read the policy file: No such file" in refusal(tmp_path / "none.toml")
    assert "cannot read the policy file: Is a directory" in refusal(tmp_path)
    assert "line 2: not UTF-8" in refusal(write(b'name = "x"\n# caf\xe9\n'))
    assert "not valid TOML" in refusal(write("a = " + "[" * 100_000))


def test_the_default_policy_is_a_policy_with_every_section() -> None:
    settings = read_policy(DEFAULT_POLICY)
    rules = {rule.name for rule in settings.keywords}
    assert rules >= {"buying", "switching", "help", "mad", "legal", "safety"}
    assert [deadline and deadline.total_seconds() for deadline in settings.deadlines] == [900, 7200, 86400, None]
    assert {route.queue for route in settings.routes} | {settings.default_queue} == set(settings.queues)

"""The policy reference says what the reader of policy files takes: keys, values, defaults, and what must be there.

Leaves out what a policy does to a mention (``tests.model.test_policy``).
"""

from __future__ import annotations

import json
import re
import tomllib
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from model.errors import PolicyError
from model.policy import DEFAULT_POLICY
from model.policy_file import read_policy

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "policy.md"
DEFAULT: dict[str, Any] = tomllib.loads(DEFAULT_POLICY.read_text(encoding="utf-8"))
LISTS = ("keyword", "route")


def documented() -> dict[str, list[tuple[str, ...]]]:
    """Table ("" is the top of the file) → its rows on the page: key, value, default, whether it must be, effect."""
    tables: dict[str, list[tuple[str, ...]]] = {}
    table = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"## \[+(\w+)\]+$", line):
            table = heading[1]
        elif line.startswith("| `"):
            key, *cells = (cell.strip() for cell in line.strip("| ").split(" | "))
            tables.setdefault(table, []).append((key.strip("`"), *cells))
    return tables


KEYS = [(table, *row) for table, rows in documented().items() for row in rows]


def problems(policy: dict[str, Any], folder: Path) -> str:
    """What the reader of policy files says of a policy; nothing where it takes it."""
    lines: list[str] = []
    for name, value in policy.items():
        if not isinstance(value, dict | list):
            lines.append(f"{name} = {json.dumps(value)}")
    for name, value in policy.items():
        for table in value if isinstance(value, list) else [value]:
            if isinstance(table, dict):
                lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
                lines += [f"{key} = {json.dumps(one)}" for key, one in table.items()]
    path = folder / "policy.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        read_policy(path)
    except PolicyError as error:
        return str(error)
    return ""


def changed(table: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The default policy and a route of every condition; and the part of it that is the table, of several the last."""
    policy = deepcopy(DEFAULT)
    conditions = {"intents": ["praise"], "levels": ["low"], "brands": ["x"], "channels": ["x"], "keywords": ["mad"]}
    policy["route"].append({"queue": "care", **conditions})
    place = policy if not table else policy[table][-1] if table in LISTS else policy[table]
    return policy, place


def test_the_default_policy_written_anew_is_taken(tmp_path: Path) -> None:
    assert problems(DEFAULT, tmp_path) == ""


@pytest.mark.parametrize("table", documented())
def test_the_page_has_every_key_and_no_other(table: str, tmp_path: Path) -> None:
    policy, place = changed(table)
    place["no_such_key"] = 1
    allowed = re.search(r"allowed: (.+)", problems(policy, tmp_path))
    assert allowed is not None
    tables = set(documented()) - {""} if not table else set()
    assert {row[0] for row in documented()[table]} | tables == set(allowed[1].split(", "))


@pytest.mark.parametrize(("table", "key", "value", "default", "required", "effect"), KEYS)
def test_values_defaults_and_what_must_be(
    table: str, key: str, value: str, default: str, required: str, effect: str, tmp_path: Path
) -> None:
    policy, place = changed(table)
    assert default == ("–" if table in LISTS else f"`{json.dumps(place[key])}`")
    place[key] = "§" if key == "name" and table else -1
    assert value in problems(policy, tmp_path)
    del place[key]
    assert bool(problems(policy, tmp_path)) == (required == "yes")
    assert effect.endswith(".")

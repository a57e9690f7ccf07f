"""Who may import whom: the arrows between the packages, and none the other way."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "data": {"data"},
    "model": {"data", "model"},
    "training": {"data", "model", "training"},
    "eval": {"data", "model", "eval"},
    "serving": {"data", "model", "serving"},
}
TRAINING_ALONE = {"torch", "transformers", "datasets", "accelerate", "optuna"}


def imported(file: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_they_may(package: str) -> None:
    files = list((ROOT / package).rglob("*.py"))
    assert files
    for file in files:
        assert imported(file) & {*MAY_IMPORT, "firstreply", "tests"} <= MAY_IMPORT[package], file
        if package not in ("training", "eval"):
            assert not imported(file) & TRAINING_ALONE, file

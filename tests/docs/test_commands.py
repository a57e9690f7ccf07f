"""Every command that the documentation states is run, in order, from a scratch copy of what a reader has.

What a page says that a block's last command prints (the block after ``<!-- output -->``) is compared. Leaves out what
the commands do, which the other tests hold.
"""

from __future__ import annotations

import csv
import json
import shutil
from itertools import zip_longest
from pathlib import Path

import pytest

from model.policy import DEFAULT_POLICY
from tests.docs.blocks import ROOT, Block, blocks, difference, pages
from tests.docs.terminal import Terminal, commands

RUN = ("sh", "python")
SHOWN = ("csv", "html", "json", "nginx", "text", "toml", "yaml")
NOT_RUN = ("installs packages", "needs a cluster", "needs a container engine", "needs downloads", "takes long")
"""Why a block is not run: ``<!-- not run: REASON -->``. Keep them few."""
CHECKOUT = ("clients", "data/sample", "deploy", "model")
"""What the pages use of the source."""
PAGES = {str(page.relative_to(ROOT)): page for page in pages()}


def runnable(page: Path) -> list[Block]:
    """Blocks of a page that are commands, those that stay undone included."""
    return [block for block in blocks(page) if block.language in RUN]


@pytest.fixture(scope="session")
def trained() -> dict[str, Path]:
    """What pages trained, for those after them."""
    return {}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with what a reader has after the first step, and files named as pages name a reader's own."""
    for name in CHECKOUT:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    sample = tmp_path / "data/sample/heldout.csv"
    with sample.open(encoding="utf-8", newline="") as file:
        rows = [json.dumps(row) for row in csv.DictReader(file)]
    (tmp_path / "mentions.jsonl").write_text("\n".join(rows), encoding="utf-8")
    shutil.copy(sample, tmp_path / "mentions.csv")
    some = sample.read_text(encoding="utf-8").splitlines(keepends=True)[:81]
    (tmp_path / "labelled.csv").write_text("".join(some), encoding="utf-8")
    shutil.copy(DEFAULT_POLICY, tmp_path / "my-policy.toml")
    for name in ("june", "july"):
        shutil.copytree(tmp_path / "model/fast", tmp_path / "bundles" / name)
    return tmp_path


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_every_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        assert block.language in (*RUN, *SHOWN), f"{block.place}: say what it is: {', '.join((*RUN, *SHOWN))}"
        kind, _, reason = block.note.partition(": ")
        if kind == "not run":
            assert reason in NOT_RUN, block.place
            assert block.language == "sh", f"{block.place}: nobody would run it"
            assert list(commands(block.text)), block.place  # at least a shell would take it


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=name) for name, page in PAGES.items() if runnable(page)],
)
def test_every_command_does_what_the_page_says(page: Path, checkout: Path, trained: dict[str, Path]) -> None:
    printed = ""
    with Terminal(checkout, trained) as terminal:
        for block in blocks(page):
            kind, _, more = block.note.partition(": ")
            if kind == "output":
                off = difference(block.text, printed)
                assert not off, f"{block.place}: {off}; it printed:\n{printed}"
            elif kind == "run instead":
                printed = terminal.run(more)
            elif block.language == "python":
                printed = terminal.python(block.text)
            elif block.language in RUN and kind != "not run":
                printed = terminal.run(block.text)


def test_answers_of_the_endpoint_are_stated() -> None:
    """A request ends well whatever the answer: only what is printed says whether it was right."""
    for page in PAGES.values():
        found = list(blocks(page))
        for block, after in zip_longest(found, found[1:]):
            if block.language == "sh" and block.note == "" and "curl " in block.text:
                assert after and after.note == "output", block.place  # noqa: PT018 - the second asks of the first


@pytest.mark.parametrize(
    ("stated", "printed", "off"),
    [
        ('{"a": 0.52, "b": ["…"]}', '{"a":0.54,"b":[1,2]}', ""),
        ('{"a": 0.52}', '{"a":0.60}', "0.60, not 0.52"),
        ("1,296 mentions in … s", "1,290 mentions in 3.1 s", ""),
        ("1,296 mentions", "1,100 mentions", "1,100, not 1,296"),
        ("due 2026-11-22T08:36:39Z", "due 2031-01-02T00:00:00Z", ""),
        ("id sample-0412", "id sample-0413", "another text"),
        ("queue retention", "queue sales", "another text"),
        ("one two", "onetwo three", "another text"),
        ("0.2  60", "0.2 60", ""),
    ],
)
def test_what_is_printed_is_held_against_the_page(stated: str, printed: str, off: str) -> None:
    assert difference(stated, printed) == off


def test_a_command_keeps_its_lines_together() -> None:
    script = "a \\\n  b\necho 'one\ntwo'\ncat <<EOF\nthree\nEOF\n# four\n\nfive"
    assert list(commands(script)) == ["a \\\n  b", "echo 'one\ntwo'", "cat <<EOF\nthree\nEOF", "# four", "five"]

"""The report's page in a real browser: it renders, fits, sorts and filters, and asks nothing of the network."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from data.files import read_labelled, write_labelled
from data.schema import INTENTS, LABELLED_FIELDS, labelled_to_row
from eval.evaluate import EvaluateJob, evaluate
from eval.page import PRINTED
from model.scorer import Scorer
from tests.browser import CHROMIUM, needs_browser
from tests.conftest import SAMPLE

# What a reader would do and see, done in the page and written down where --dump-dom shows it.
_VISIT = """
<script>
addEventListener("error", event => window.failed = event.message);
addEventListener("load", () => {
  const root = document.documentElement;
  if (location.hash === "#print")
    for (const rule of document.styleSheets[0].cssRules)
      if (rule.media?.mediaText === "print") rule.media.mediaText = "all";
  const seen = { width: innerWidth, overflow: root.scrollWidth - root.clientWidth };
  const sortedBy = cell => cell.dataset.value ?? cell.textContent;
  const column = (table, index) => [...table.tBodies[0].rows].map(row => sortedBy(row.cells[index]));
  const table = document.querySelector("#intents table.sortable");
  const buttons = table.querySelectorAll("th button");
  buttons[5].click(); seen.rising = column(table, 5);
  buttons[5].click(); seen.falling = column(table, 5);
  seen.sorted = table.querySelectorAll("th")[5].getAttribute("aria-sort");
  const filter = document.querySelector("[data-filter=kind]");
  const rows = [...document.querySelectorAll("#mistakes tr[data-kind]")];
  const shown = () => rows.filter(row => !row.hidden).map(row => row.dataset.kind);
  seen.kinds = shown(); seen.wanted = seen.kinds[0];
  filter.value = seen.wanted; filter.dispatchEvent(new Event("input", { bubbles: true }));
  seen.shown = shown(); seen.said = document.querySelector(".filters output").textContent;
  const blocks = [...document.querySelectorAll("h1, h2, h3, p, .number, figure, nav")];
  seen.cut = blocks.filter(one => one.getBoundingClientRect().right > innerWidth + 1).length;
  const scrolled = [...document.querySelectorAll(".wide")].filter(one => one.scrollWidth > one.clientWidth + 1);
  seen.scrolled = scrolled.map(one => one.closest("section").id);
  seen.rows = rows.filter(row => row.getBoundingClientRect().height).length;
  seen.lost = scrolled.filter(one => getComputedStyle(one).overflowX !== "auto").length;
  seen.verdictBottom = document.querySelector(".verdict").getBoundingClientRect().bottom;
  seen.headlineBottom = document.querySelector(".numbers").getBoundingClientRect().bottom;
  seen.pictures = document.querySelectorAll("svg").length;
  seen.ink = getComputedStyle(document.body).color; seen.failed = window.failed ?? null;
  parent.document.body.dataset.seen = JSON.stringify(seen);
});
</script>
"""


@pytest.fixture(scope="module")
def report(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section that needs no training of its own."""
    folder = tmp_path_factory.mktemp("page")
    mentions = read_labelled(SAMPLE / "train.csv")
    again = [mention.model_copy(update={"id": f"{mention.id}x", "stratum": "natural"}) for mention in mentions[:120]]
    write_labelled(folder / "data.csv", [*mentions, *again])
    shutil.copytree(tiny_bundle, folder / "other")
    scorer = Scorer.load(tiny_bundle)
    with (folder / "out-of-fold.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*LABELLED_FIELDS, *(f"p_{intent}" for intent in INTENTS)])
        writer.writeheader()
        for mention in mentions[:200]:
            chances = scorer.read(mention.text, mention.target).probabilities
            read = zip((f"p_{intent}" for intent in INTENTS), chances, strict=True)
            writer.writerow({**labelled_to_row(mention), **dict(read)})
    job = EvaluateJob(
        tiny_bundle,
        [folder / "data.csv"],
        folder / "out",
        train=[SAMPLE / "train.csv"],
        compare=folder / "other",
        held_out=folder / "out-of-fold.csv",
        seen=folder / "out-of-fold.csv",
    )
    evaluate(job)
    return folder / "out"


def _visit(page: Path, width: int, *options: str, printed: bool = False) -> dict[str, Any]:
    """Open the page in a frame of this width, which can be narrower than a headless browser's window."""
    assert CHROMIUM is not None
    visited = page.with_name("visited.html")
    visited.write_text(page.read_text(encoding="utf-8").replace("<head>", "<head>" + _VISIT, 1), encoding="utf-8")
    frame = page.with_name("frame.html")
    frame.write_text(
        f'<body><iframe src="visited.html{"#print" if printed else ""}"'
        f' style="width:{width}px;height:900px;border:0"></iframe>',
        "utf-8",
    )
    found = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--log-level=0",
            "--allow-file-access-from-files", "--virtual-time-budget=5000", "--window-size=1400,1000", *options,
            "--dump-dom", str(frame),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in found.stderr, found.stderr
    seen = re.search(r'data-seen="([^"]+)"', found.stdout)
    assert seen is not None, found.stderr
    answer: dict[str, Any] = json.loads(unescape(seen[1]))
    return answer


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_renders_fits_sorts_and_filters(report: Path, width: int) -> None:
    seen = _visit(report / "report.html", width)
    assert seen["failed"] is None
    assert (seen["width"], seen["overflow"], seen["cut"]) == (width, 0, 0)
    assert seen["pictures"] == 17
    assert seen["lost"] == 0
    if width == 1280:
        assert seen["scrolled"] == []
        assert seen["headlineBottom"] < 800  # the first screen holds the verdict and the numbers
    else:
        assert seen["verdictBottom"] < 844  # the first screen of a telephone holds the verdict
    rising = [float(value) for value in seen["rising"] if value not in {"–", ""}]
    assert rising == sorted(rising)
    assert len(rising) > 2
    assert seen["falling"] != seen["rising"]
    assert seen["sorted"] == "descending"
    assert seen["shown"] == [kind for kind in seen["kinds"] if kind == seen["wanted"]] != []
    assert seen["said"] == f"{len(seen['shown'])} of {len(seen['kinds'])}"


@needs_browser
def test_on_paper_every_table_fits_and_the_mistakes_are_few(report: Path) -> None:
    seen = _visit(report / "report.html", 720, printed=True)
    assert (seen["overflow"], seen["cut"], seen["scrolled"]) == (0, 0, [])
    assert 0 < seen["rows"] <= PRINTED < len(seen["kinds"])


@needs_browser
def test_dark_and_light_differ(report: Path) -> None:
    light = _visit(report / "report.html", 1280)
    dark = _visit(report / "report.html", 1280, "--blink-settings=preferredColorScheme=0")
    assert light["ink"] != dark["ink"]


def test_the_page_stands_alone_and_holds_posts_as_text(report: Path) -> None:
    page = (report / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert "url(http" not in page
    assert "@import" not in page
    assert "Stop." in page  # the data repeats posts of the train files
    for name in ("precision-recall-praise", "reliability-purchase", "scores-complaint", "race", "held-out"):
        assert (report / "figures" / f"{name}.svg").read_text(encoding="utf-8").startswith("<svg")


def test_what_a_post_says_is_never_markup(tiny_bundle: Path, tmp_path: Path) -> None:
    mention = read_labelled(SAMPLE / "train.csv")[0]
    nasty = mention.model_copy(update={"text": "<script>alert(1)</script> & <img src=x>", "labels": (1, 1, 1, 1, 1)})
    write_labelled(tmp_path / "data.csv", [nasty])
    assert evaluate(EvaluateJob(tiny_bundle, [tmp_path / "data.csv"], tmp_path / "out")) == 0
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page

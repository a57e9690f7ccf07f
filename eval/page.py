"""The report as one HTML file that needs no network, and its pictures as SVG files beside it.

Leaves out the tables (``eval.tables``), the pictures (``eval.plots``) and what they show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.schema import INTENTS
from eval.mistakes import Mistake
from eval.race import CAPACITIES
from eval.report import HOW_TO_READ, expected, verdict
from eval.tables import Report, Table, all_tables, at_stake, percent, plain

_POSTS = ("post", "in the train files")
"""Columns of what people wrote, which may be long."""
MOST_MISTAKES, PRINTED = 2_000, 40
"""Mistakes that the page lists on a screen and on paper; ``mistakes.csv`` has all."""

_TITLES = {
    "intents": ("Precision and recall", "How often an assertion is right, and how much of what is there is found."),
    "targets": ("Thresholds", "What precision costs: a higher threshold is right more often and finds less."),
    "confusion": ("What is taken for what", "What missed intents are read as, and what is wrongly asserted truly is."),
    "held out": ("Brands never seen", "How the reading moves from brands seen in training to brands that were not."),
    "slices": ("Where it is worse", "The same figures for parts of the mentions, the worst first."),
    "mistakes": ("The mistakes", "The surest first; of the surest of each intent the words that drove them."),
    "leaks": ("Leaks", "Posts that stand in the train files as well."),
    "race": ("What its order is worth", "A day's mentions reach a team that can answer a share of them."),
    "behaviour": ("Behaviour", "Written cases that a release must read right."),
    "compare": ("Beside the other bundle", "The same mentions, read by both."),
    "others": ("Beside simpler readers", "What a team would have without this model."),
}  # fmt: skip
_INTERVAL = re.compile(r"(\([+-]?\d[^()]*(?:–| to )[^()]*\))")
_NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")


@dataclass(frozen=True)
class Cell:
    """One cell; ``value`` is what a table is sorted by, where it is not the text."""

    shown: str
    value: str | None = None
    style: str = ""

    @property
    def parts(self) -> list[str]:
        """The text, and at every odd place the interval of a figure, which stands in a line of its own."""
        return [self.shown] if self.style == "text" else _INTERVAL.split(self.shown)


@dataclass(frozen=True)
class Row:
    """A row, with a style and data attributes."""

    cells: Sequence[Cell]
    style: str = ""
    data: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A part of a section: ``kind`` is ``table``, ``pictures`` or ``mistakes``."""

    kind: str
    heading: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Row] = ()
    pictures: Sequence[Mapping[str, str]] = ()
    notes: Sequence[str] = ()
    words: bool = False


def write_page(folder: Path, report: Report, mistakes: Sequence[Mistake]) -> None:
    """Write ``report.html``, and every picture of it under ``figures/``."""
    from jinja2 import Environment, PackageLoader

    pictures = _pictures(report)
    (folder / "figures").mkdir(exist_ok=True)
    for section in pictures.values():
        for picture in section:
            (folder / "figures" / f"{picture['name']}.svg").write_text(picture["svg"] + "\n", encoding="utf-8")
    sections = [_section(name, tables, pictures, report, mistakes) for name, tables in all_tables(report).items()]
    template = Environment(
        loader=PackageLoader("eval"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("report.html.j2")
    page = template.render(
        r=report,
        verdict=verdict(report),
        stops=report["stop"],
        numbers=_numbers(report),
        sections=sections,
        contents=[(section["anchor"], section["title"]) for section in sections],
        intents=INTENTS,
        printed=PRINTED,
        how_to_read=HOW_TO_READ,
    )
    (folder / "report.html").write_text(page, encoding="utf-8")


def _numbers(report: Report) -> list[dict[str, str]]:
    """The five that matter, each with its interval or what it is to be held against."""
    part = expected(report)
    spread = part["intervals"]
    of = f"{part['mentions']:,} natural mentions" if part is report["natural"] else f"{part['mentions']:,} mentions"
    numbers = []
    for name, key, note in (
        ("macro-F1", "macro_f1", f"mean over the intents, of {of}"),
        ("right when it asserts", "micro_precision", f"precision, all intents, of {of}"),
        ("found of what is there", "micro_recall", f"recall, all intents, of {of}"),
    ):
        one = spread[key]
        value, ends = (f"{one['value']:.2f}", f"{one['low']:.2f} to {one['high']:.2f}; ") if one else ("–", "")
        numbers.append({"name": name, "value": value, "note": ends + note})
    error = part["macro_calibration_error"]
    off = "–" if error is None else f"{100 * error:.1f} points"
    numbers.append(
        {"name": "off in probability", "value": off, "note": f"calibration error, mean over the intents, of {of}"}
    )
    return [*numbers, _race_number(report["race"])]


def _race_number(race: Report | None) -> dict[str, str]:
    shares = at_stake(race) if race else None
    if race is None or shares is None:
        note = "too few mentions for a race" if race is None else "no purchase or churn risk among the mentions"
        return {"name": "purchase and churn risk answered in 2 h", "value": "–", "note": note}
    ours, first = shares["firstreply"], shares["first_come"]
    return {
        "name": "purchase and churn risk answered in 2 h",
        "value": f"{percent(ours['mean'])}",
        "note": f"{percent(ours['low'])} to {percent(ours['high'])} a day; {percent(first['mean'])} as they come,"
        f" by a team that can answer {percent(CAPACITIES[0])}, of {race['mentions']:,}"
        f" {race['stratum'] or 'labelled'} mentions",
    }


def _section(
    name: str,
    tables: Sequence[Table],
    pictures: Mapping[str, Sequence[Mapping[str, str]]],
    report: Report,
    mistakes: Sequence[Mistake],
) -> dict[str, Any]:
    title, lead = _TITLES[name]
    drawn = [Block("pictures", pictures=pictures[name])] if pictures.get(name) else []
    blocks = [_mistakes(mistakes)] if name == "mistakes" else [_block(table) for table in tables]
    blocks = [*blocks, *drawn] if name == "intents" else [*drawn, *blocks]
    if name == "behaviour":
        blocks += [_failing(test, one) for test, one in report["behaviour"]["tests"].items() if one["failures"]]
    return {"anchor": name.replace(" ", "-"), "title": title, "lead": lead, "blocks": blocks}


def _block(table: Table) -> Block:
    rows = [
        Row(
            [
                Cell(cell, _value(cell) if column else None, "text" if name in _POSTS or len(cell) > 60 else "")
                for column, (name, cell) in enumerate(zip(table.header, row, strict=True))
            ],
            "small" if number in table.faint else "",
        )
        for number, row in enumerate(table.rows)
    ]
    return Block("table", table.title, table.header, rows, notes=[table.note] if table.note else [])


def _mistakes(mistakes: Sequence[Mistake]) -> Block:
    rows = []
    for mistake in mistakes[:MOST_MISTAKES]:
        one = mistake.row()
        suspect = "to check" if one["label_suspect"] else ""
        cells = [
            Cell(one["text"], style="text"),
            Cell(one["brand"]),
            Cell(one["intent"]),
            Cell(one["kind"]),
            Cell(f"{one['probability']:.2f}", f"{one['probability']}"),
            Cell(f"{one['surprise']:.1f}", f"{one['surprise']}"),
            Cell(one["words"]),
            Cell(suspect),
        ]
        rows.append(Row(cells, data={"intent": one["intent"], "kind": one["kind"], "label": suspect}))
    header = ["post", "brand", "intent", "kind", "probability", "surprise (bits)", "because of", "label"]
    notes = [
        "Because of: for an intent wrongly asserted the words that it rests on, for one missed those that held it down,"
        " measured by leaving them out. To check: the model is so sure of the opposite that the label itself may be"
        " wrong (confident learning); of a model that reads badly, most of these are its own mistakes.",
        f"{min(len(mistakes), MOST_MISTAKES):,} of {len(mistakes):,} are here, mistakes.csv has all;"
        " label-studio.json is for Label Studio's import, label-studio.xml its labelling interface.",
    ]
    return Block("mistakes", header=header, rows=rows, notes=notes, words=True)


def _failing(name: str, test: Report) -> Block:
    rows = [
        Row([Cell(one["text"], style="text"), *(Cell(str(one[key])) for key in ("target", "expected", "read"))])
        for one in test["failures"]
    ]
    return Block("table", f"Failing: {name}", ["post", "target", "expected", "read"], rows, words=True)


def _value(cell: str) -> str | None:
    """The first number of a cell that begins with one, for sorting."""
    found = _NUMBER.match(cell)
    return found[0].replace(",", "").lstrip("+") if found else None


def _pictures(report: Report) -> dict[str, list[dict[str, str]]]:
    from eval import plots

    intents, thresholds, curves = report["overall"]["intents"], report["thresholds"], report["curves"]
    drawn: dict[str, list[dict[str, str]]] = {"targets": [], "intents": []}

    def add(section: str, name: str, caption: str, svg: str) -> None:
        drawn.setdefault(section, []).append({"name": name, "caption": caption, "svg": svg})

    for intent, curve in curves.items():
        name = plain(intent)
        chosen = (intents[intent]["recall"], intents[intent]["precision"])
        add(
            "targets",
            f"precision-recall-{intent}",
            f"{name}: precision and recall",
            plots.precision_recall(intent, curve["precision_recall"], chosen),
        )
        add(
            "intents",
            f"reliability-{intent}",
            f"{name}: how far a probability can be believed",
            plots.reliability(intent, curve["reliability"]),
        )
        add(
            "targets",
            f"scores-{intent}",
            f"{name}: how probabilities are spread",
            plots.scores(intent, curve["histogram"], thresholds[intent]),
        )
    if report["held_out"]:
        parts = [part for part in ("seen", "unseen") if report["held_out"][part]]
        groups = {
            f"brands {part}": [report["held_out"][part]["intents"][intent]["precision_interval"] for intent in INTENTS]
            for part in parts
        }
        add(
            "held out",
            "held-out",
            "Precision by intent",
            plots.bars("held-out", [intent.replace("_", "\n") for intent in INTENTS], groups, "precision"),
        )
    if report["race"]:
        capacities = report["race"]["capacities"]
        orders = {
            order.replace("_", " "): [_as_interval(one[order]["answered_within_2h"]) for one in capacities.values()]
            for order in next(iter(capacities.values()))
        }
        labels = [f"{float(capacity):.0%} can be answered" for capacity in capacities]
        add(
            "race",
            "race",
            "Purchase and churn-risk mentions answered within two hours",
            plots.bars("race", labels, orders, "share answered"),
        )
    return drawn


def _as_interval(share: Report | None) -> dict[str, float] | None:
    return {"value": share["mean"], "low": share["low"], "high": share["high"]} if share else None

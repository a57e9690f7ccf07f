"""How an evaluation looks: the same tables as aligned text for a terminal and as Markdown for ``report.md``.

Leaves out measuring (``eval.evaluate``, whose report it is given). A figure that is not defined is shown as "–".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.schema import INTENTS

SLICE_ROWS = 25
"""Values of a column that are shown; ``report.json`` has them all."""

Report = Mapping[str, Any]

_HOW_TO_READ = """## How to read it

Labels that are not known count nowhere. F1 is 2·TP / (2·TP + FP + FN); macro is the mean over the intents for which a
figure is defined, micro pools the cells of all intents; AP is average precision; ECE is the expected calibration error
over ten bins of equal width; the interval is Wilson's, 95%. *natural* is the stratum drawn at random, the one to expect
of a brand's own stream. "–" is not defined: no positives, or nothing predicted. Behaviour counts the cases of written
tests that pass (eval/behaviour.toml); an expected intent with "?" may be read or not."""


@dataclass(frozen=True)
class Table:
    """Cells are ready to show; the first column is words, the others are figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def text(self) -> str:
        """Columns aligned with spaces."""
        widths = [max(len(row[column]) for row in (self.header, *self.rows)) for column in range(len(self.header))]
        lines = [
            "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
            for cells in (list(zip(row, widths, strict=True)) for row in (self.header, *self.rows))
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *([self.note] if self.note else [])])

    def markdown(self) -> str:
        """A Markdown table under a heading."""
        rows = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([f"## {self.title}", "", *lines, *(["", self.note] if self.note else [])])


def text_report(report: Report) -> str:
    """The report for a terminal."""
    return "\n\n".join([_headline(report), *(table.text() for table in _tables(report))])


def markdown_report(report: Report) -> str:
    """The report as a Markdown page."""
    data = [_file_line(file) for file in (*report["data"], *report["train"])]
    warnings = [f"- **Warning:** {warning}" for warning in report["warnings"]]
    page = [
        f"# {_headline(report)}",
        "\n".join([*(f"- {line}" for line in data), *warnings]),
        *(table.markdown() for table in _tables(report)),
        *_failures(report["behaviour"]["tests"]),
        _HOW_TO_READ,
    ]
    return "\n\n".join(page) + "\n"


def _headline(report: Report) -> str:
    overall = report["overall"]
    return (
        f"{report['model']} at cut {report['cut']}: macro-F1 {_show(overall['macro_f1'])} "
        f"on {overall['mentions']:,} mentions"
    )


def _file_line(file: Mapping[str, Any]) -> str:
    refused = [f"row {one['row']} ({one['title']}: {one['detail']})" for one in file["refused"]]
    line = f"{file['file']}: {file['mentions']:,} mentions"
    if not refused:
        return line
    return f"{line}, {len(refused):,} rows refused: {'; '.join(refused[:10])}{' …' if len(refused) > 10 else ''}"


def _tables(report: Report) -> list[Table]:
    tables = [_intents("Overall", report["overall"], report["thresholds"])]
    natural = report["natural"]
    if natural and natural["mentions"] < report["overall"]["mentions"]:
        tables.append(_intents("Stratum natural", natural, report["thresholds"]))
    tables.append(_cuts(report["cuts"]))
    if any(one["stated_interval"] for cut in report["cuts"].values() for one in cut["intents"].values()):
        tables.append(_stated(report["cuts"]))
    if report["others"]:
        tables.append(_beside(report))
    tables.extend(_slices(name, sliced) for name, sliced in report["slices"].items())
    tables.append(_behaviour(report["behaviour"]))
    return tables


def _intents(title: str, measured: Report, thresholds: Report) -> Table:
    rows = []
    for intent, one in measured["intents"].items():
        interval = f"{_show(one['precision_low'])}–{_show(one['precision_high'])}" if one["predicted"] else "–"
        counts = [f"{one[name]:,}" for name in ("known", "support", "predicted")]
        shown = [_show(one[name]) for name in ("recall", "f1", "average_precision", "calibration_error")]
        rows.append([intent, _show(thresholds[intent]), *counts, _show(one["precision"]), interval, *shown])
    macro = [_show(measured[f"macro_{name}"]) for name in ("recall", "f1", "average_precision", "calibration_error")]
    micro = [_show(measured[f"micro_{name}"]) for name in ("recall", "f1")]
    rows.append(["macro", "", "", "", "", _show(measured["macro_precision"]), "", *macro])
    rows.append(["micro", "", "", "", "", _show(measured["micro_precision"]), "", *micro, "", ""])
    header = ["intent", "cut at", "known", "support", "predicted", "precision", "95%", "recall", "F1", "AP", "ECE"]
    return Table(f"{title} ({measured['mentions']:,} mentions)", header, rows)


def _cuts(cuts: Report) -> Table:
    rows = []
    for intent in INTENTS:
        cells = [cut["intents"][intent] for cut in cuts.values()]
        rows.append([intent, *(f"{_show(one['precision'])} / {_show(one['recall'])}" for one in cells)])
    return Table("Every cut: precision / recall", ["intent", *cuts], rows)


def _stated(cuts: Report) -> Table:
    def cell(one: Report) -> str:
        if not one["stated_interval"]:
            return f"{_show(one['precision'])}   (–)"
        low, high = one["stated_interval"]
        outside = one["precision"] is not None and not low <= one["precision"] <= high
        return f"{_show(one['precision'])}{' *' if outside else '  '} ({_show(low)}–{_show(high)})"

    rows = [[intent, *(cell(cut["intents"][intent]) for cut in cuts.values())] for intent in INTENTS]
    note = "In brackets the bundle's own 95% interval, of brands (or mentions) left out when it was made; * outside it."
    return Table("Every cut: precision reached (and stated)", ["intent", *cuts], rows, note)


def _beside(report: Report) -> Table:
    readers = {report["model"]: report, **report["others"]}
    rows = []
    for name, measured in readers.items():
        overall, natural = measured["overall"], measured["natural"]
        per_intent = [_show(overall["intents"][intent]["f1"]) for intent in INTENTS]
        apart = _show(natural["macro_f1"]) if natural else "–"
        macro = [_show(overall["macro_f1"]), _difference(measured.get("difference"))]
        rows.append([name, *macro, apart, _show(overall["macro_average_precision"]), *per_intent])
    header = ["F1 of", "macro", "the first is ahead by (95%)", "macro, natural", "macro AP", *INTENTS]
    groups = {"brand": "brands", "mention": "posts"}[report["resampled_by"]]
    notes = [f"Ahead by: paired bootstrap of whole {groups}; where the interval holds 0, either may be the better."]
    if report["train"]:
        notes.append(
            "Baselines are fitted on the train files, their thresholds chosen there by F1, out of fold by brand."
        )
    return Table("Beside others", header, rows, " ".join(notes))


def _difference(of: Report | None) -> str:
    return f"{of['macro_f1']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f})" if of else ""


def _slices(column: str, sliced: Report) -> Table:
    rows = []
    for value, one in list(sliced.items())[:SLICE_ROWS]:
        name = (value or "(none)") + (" *" if one["small"] else "")
        per_intent = [_show(one["intents"][intent]["f1"]) for intent in INTENTS]
        rows.append([name, f"{one['mentions']:,}", _show(one["macro_f1"]), _show(one["micro_f1"]), *per_intent])
    notes = []
    if any(one["small"] for one in sliced.values()):
        notes.append("* fewer than 20 mentions: too few to tell much.")
    if len(sliced) > SLICE_ROWS:
        notes.append(f"{len(sliced) - SLICE_ROWS:,} more in report.json.")
    return Table(f"F1 by {column}", [column, "mentions", "macro", "micro", *INTENTS], rows, " ".join(notes))


def _behaviour(behaviour: Report) -> Table:
    rows = [
        [
            f"{test['kind']}: {name}",
            *(f"{test[count]:,}" for count in ("cases", "passed")),
            *(_show(test[share]) for share in ("rate", "floor")),
            "reached" if test["reached"] else "missed",
        ]
        for name, test in behaviour["tests"].items()
    ]
    note = "Every floor is reached." if behaviour["releasable"] else "Not every floor is reached."
    return Table("Behaviour at the cut balanced", ["test", "cases", "passed", "rate", "floor", ""], rows, note)


def _failures(tests: Report) -> list[str]:
    """For each behavioural test with failing cases a Markdown list of them."""
    return [
        "\n".join(
            [
                f"### Failing: {name}",
                "",
                *(
                    f"- `{one['text']}`, target {one['target']}: expected {one['expected']}; read {one['read']}"
                    for one in test["failures"]
                ),
            ]
        )
        for name, test in tests.items()
        if test["failures"]
    ]


def _show(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.3f}"

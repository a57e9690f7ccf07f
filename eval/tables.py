"""The tables of an evaluation, as aligned text for a terminal, as Markdown and for the page.

Leaves out measuring (``eval.evaluate``, whose report they show) and the words around them (``eval.report``). A figure
that is not defined is shown as "–".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.schema import INTENTS
from eval.compare import NO_EVIDENCE
from eval.slices import SMALL

SLICE_ROWS = 25
"""Values of a column that are shown; ``report.json`` has them all."""

Report = Mapping[str, Any]

_LONGEST = 110
"""Letters of a cell in text and Markdown; the page has the whole."""
SURPRISES = 30
"""Mistakes and flips that tables list."""


@dataclass(frozen=True)
class Table:
    """Cells are ready to show; the first column is words, the others are figures."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    faint: frozenset[int] = frozenset()
    """Rows that are too small to tell much."""

    def text(self) -> str:
        """Columns aligned with spaces."""
        rows = [self.header, *self._plain_rows()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(self.header))]
        lines = [
            "  ".join(cell.rjust(width) if column else cell.ljust(width) for column, (cell, width) in enumerate(cells))
            for cells in (list(zip(row, widths, strict=True)) for row in rows)
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *([self.note] if self.note else [])])

    def markdown(self) -> str:
        """A Markdown table under a heading."""
        rows = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self._plain_rows()]
        lines = ["| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rows]
        return "\n".join([f"## {self.title}", "", *lines, *(["", self.note] if self.note else [])])

    def _plain_rows(self) -> list[list[str]]:
        rows = [[_short(cell) for cell in row] for row in self.rows]
        for number in self.faint:
            rows[number][0] += " *"
        return rows


def _short(cell: str) -> str:
    """One line without control characters: a post can hold anything."""
    clean = "".join(letter if letter.isprintable() else " " for letter in cell)
    clean = " ".join(clean.split())
    return clean if len(clean) <= _LONGEST else clean[: _LONGEST - 1] + "…"


def _escaped(cell: str) -> str:
    return re.sub(r"([|`<\[\]])", r"\\\1", cell)


def at_stake(race: Report) -> dict[str, Report] | None:
    """Order → share of purchase and churn-risk mentions answered in time at the first capacity; None without any."""
    orders = next(iter(race["capacities"].values()))
    shares = {order: one["answered_within_2h"] for order, one in orders.items()}
    return shares if all(shares.values()) else None


def all_tables(report: Report) -> dict[str, list[Table]]:
    """Every table, by section of the report."""
    overall = report["overall"]
    intents = [_intents("All mentions", overall, report["thresholds"])]
    natural = report["natural"]
    if natural and natural["mentions"] < overall["mentions"]:
        intents.append(_intents("Stratum natural: a random draw", natural, report["thresholds"]))
    cuts = [_cuts(report["cuts"])]
    if any(one["stated_interval"] for cut in report["cuts"].values() for one in cut["intents"].values()):
        cuts.append(_stated(report["cuts"]))
    sections = {
        "intents": intents,
        "targets": [_targets(report["curves"]), *cuts],
        "confusion": _confusion(report["confusion"]) if report["confusion"]["mentions"] else [],
        "held out": [_held_out(report["held_out"])] if report["held_out"] else [],
        "slices": [
            *(_slices(name, sliced) for name, sliced in report["slices"].items()),
            *([_overlaps(report["overlaps"])] if report["overlaps"] else []),
        ],
        "mistakes": [_mistakes(report)] if report["mistakes"] else [],
        "leaks": [_leaks(report["leaks"])] if report["leaks"] and report["leaks"]["mentions"] else [],
        "race": [race_table(report["race"])] if report["race"] else [],
        "behaviour": [_behaviour(report["behaviour"])],
        "compare": _compare(report["compare"]) if report["compare"] else [],
        "others": [_beside(report)] if report["others"] else [],
    }
    return {name: tables for name, tables in sections.items() if tables}


def _intents(title: str, measured: Report, thresholds: Report) -> Table:
    rows = []
    spread = measured["intervals"]
    for intent, one in measured["intents"].items():
        counts = [f"{one[name]:,}" for name in ("known", "support", "predicted")]
        shown = [spread_text(spread["intents"][intent][name]) for name in ("precision", "recall", "f1")]
        rows.append([intent, _show(thresholds[intent]), *counts, *shown, *_rest(one)])
    for name in ("macro", "micro"):
        shown = [spread_text(spread[f"{name}_{part}"]) for part in ("precision", "recall", "f1")]
        rest = [_show(measured[f"macro_{part}"]) for part in ("average_precision", "calibration_error")]
        rows.append([name, "", "", "", "", *shown, *(rest if name == "macro" else ["", ""])])
    header = ["intent", "cut at", "known", "support", "predicted", "precision", "recall", "F1", "AP", "ECE"]
    note = (
        "In brackets 95% intervals, of resampled brands (posts, where there are few brands), and never narrower than"
        " Wilson's of so few cells."
    )
    return Table(f"{title} ({measured['mentions']:,})", header, rows, note)


def _rest(one: Report) -> list[str]:
    return [_show(one[name]) for name in ("average_precision", "calibration_error")]


def _targets(curves: Report) -> Table:
    rows = []
    for intent, curve in curves.items():
        for row in curve["targets"]:
            cells = ["not reached", "–", "–"]
            if row["threshold"] is not None:
                reached = f"{_show(row['precision'])} ({_show(row['low'])}–{_show(row['high'])})"
                recall = f"{_show(row['recall'])} ({_show(row['recall_low'])}–{_show(row['recall_high'])})"
                cells = [reached, recall, f"{row['per_1000']:.0f}"]
            rows.append([intent, f"{row['target']:.0%}", _show(row["threshold"]), *cells])
    header = ["intent", "wanted precision", "threshold", "precision", "recall", "asserted of 1,000 mentions"]
    note = (
        "The lowest threshold that reaches it on these mentions, chosen on them: on others it will be somewhat lower."
        " Thresholds fitted on other brands are the bundle's cuts."
    )
    return Table("What a threshold buys", header, rows, note)


def _confusion(confusion: Report) -> list[Table]:
    others = [*INTENTS, "none"]
    tables = []
    for title, whole, parts, note in (
        (
            "Missed, and read as",
            "missed",
            "read_as",
            "Only intents that are not there count as read instead, so a row may sum to less than it missed, or to"
            " more. None: no intent at all was asserted.",
        ),
        ("Wrongly asserted, where it truly was", "wrongly", "truly", "None: the mention has no intent at all."),
    ):
        rows = [
            [intent, f"{one[whole]:,}", *(f"{one[parts][other]:,}" if other != intent else "" for other in others)]
            for intent, one in confusion["intents"].items()
        ]
        note += f" Of the {confusion['mentions']:,} mentions whose labels are all known."
        tables.append(Table(title, ["intent", whole, *others], rows, note))
    return tables


def _held_out(apart: Report) -> Table:
    rows = []
    for intent in INTENTS:
        cells = []
        for part in ("seen", "unseen"):
            if apart[part]:
                one = apart[part]["intents"][intent]
                cells += [spread_text(one["precision_interval"]), spread_text(one["recall_interval"])]
                cells.append(_show(one["average_precision"]))
        rows.append([intent, *cells])
    parts = [part for part in ("seen", "unseen") if apart[part]]
    header = ["intent", *(f"{part}: {name}" for part in parts for name in ("precision", "recall", "AP"))]
    note = (
        "Each mention read by a bundle that was trained without it (seen: but with its brand), at the same thresholds."
    )
    return Table("Brands seen in training and brands that were not", header, rows, note)


def _overlaps(found: Sequence[Report]) -> Table:
    rows = [
        [
            " and ".join(f"{name}: {value or '(none)'}" for name, value in one["columns"]),
            f"{one['mentions']:,}",
            _with_ends(one, "micro_f1"),
        ]
        for one in found
    ]
    return Table("Worse together than alone", ["slices", "mentions", "micro-F1"], rows)


def _mistakes(report: Report) -> Table:
    shown = report["mistakes"][:SURPRISES]
    rows = [
        [
            one["text"], one["brand"], f"{one['kind']}: {one['intent']}", _show(one["probability"]), one["words"],
            "to check" if one["label_suspect"] else "",
        ]
        for one in shown
    ]  # fmt: skip
    header = ["post", "brand", "mistake", "probability", "because of", "label"]
    note = f"The {len(shown)} that the model was surest of, of {report['mistakes_in_all']:,}; mistakes.csv has all."
    return Table("Mistakes", header, rows, note)


def _leaks(leaks: Report) -> Table:
    rows = [
        [one["text"], one["id"], one["train_text"], one["train_id"], _show(one["similarity"])]
        for one in leaks["examples"]
    ]
    header = ["post", "id", "in the train files", "id there", "alike"]
    return Table(f"In the train files too ({leaks['mentions']:,})", header, rows)


def race_table(race: Report) -> Table:
    """What each order gets answered, at each capacity."""
    rows = []
    for capacity, orders in race["capacities"].items():
        for order, one in orders.items():
            shares = [_range(one[name]) for name in ("answered_within_2h", "complaints_within_15m")]
            rows.append([f"{order.replace('_', ' ')}, {float(capacity):.0%}", *shares, *_waits(one["intents"])])
    prevalence = ", ".join(f"{plain(i)} {share:.1%}" for i, share in race["prevalence"].items() if share is not None)
    header = ["order, capacity", "purchase or churn risk in 2 h", "complaint in 15 min"]
    header += [f"{plain(intent)}: share, wait" for intent in INTENTS]
    drawn = f"{race['mentions']:,} {race['stratum'] or 'labelled'} mentions"
    note = (
        f"{race['days']} simulated days of {race['per_day']} mentions, each drawn from a resample of {drawn}"
        f" ({race['at_stake']} of them a purchase or churn risk; {prevalence}), at"
        f" {'their own times' if race['own_times'] else 'the usual times'} of day. In brackets the middle 95% of the"
        " days; waits are medians in minutes, of those answered."
    )
    if not race["with_keywords"]:
        note += " No mention has a word of the keyword list, whose order is then that in which they come."
    return Table("The race: what the order of answers is worth", header, rows, note)


def _waits(intents: Report) -> list[str]:
    cells = []
    for one in intents.values():
        wait = one["median_wait_minutes"]
        cells.append(
            f"{percent(one['answered']['mean'])}, {'–' if wait is None else round(wait)}" if one["answered"] else "–"
        )
    return cells


def _range(share: Report | None) -> str:
    return f"{percent(share['mean'])} ({percent(share['low'])}–{percent(share['high'])})" if share else "–"


def compared_words(compared: Report) -> str:
    """How it stands beside another bundle, in a few words."""
    if not compared["flipped"]:
        return f"It labels every mention as {compared['name']} does"
    if compared["verdict"] == NO_EVIDENCE:
        return f"There is no evidence that it is better or worse than {compared['name']}"
    return f"It is {compared['verdict']} than {compared['name']}"


def _compare(compared: Report) -> list[Table]:
    rows = [["macro-F1", _gap(compared["difference"]), "", "", ""]]
    for intent, one in compared["intents"].items():
        rows.append(
            [
                intent,
                _gap(one["difference"]),
                f"{one['ours_alone']:,}",
                f"{one['theirs_alone']:,}",
                f"{one['p_value']:.3f}",
            ]
        )
    header = ["F1", "ahead by (95%)", "right alone", "the other right alone", "McNemar p"]
    note = (
        "Ahead by: paired bootstrap of whole brands (posts, where there are few). McNemar: how often a split so"
        " uneven would come by chance if both erred equally often; it takes mentions as independent."
    )
    gained = [flip for flip in compared["flips"] if flip["gained"]]
    flips = [
        [
            flip["text"],
            flip["brand"],
            *(", ".join(flip[name]) or "none" for name in ("truth", "ours", "theirs")),
            f"{flip['gained']:+d}",
        ]
        for flip in gained[:SURPRISES]
    ]
    tables = [Table(compared_words(compared), header, rows, note)]
    if flips:
        title = f"Read differently ({compared['flipped']:,} mentions)"
        columns = ["post", "brand", "labels", "this one", "the other", "gained"]
        tables.append(Table(title, columns, flips, "Those that gain or lose most; report.json has more."))
    return tables


def _cuts(cuts: Report) -> Table:
    rows = []
    for intent in INTENTS:
        cells = [cut["intents"][intent] for cut in cuts.values()]
        rows.append([intent, *(f"{_with_ends(one, 'precision')} / {_with_ends(one, 'recall')}" for one in cells)])
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
        per_intent = [spread_text(overall["intervals"]["intents"][intent]["f1"]) for intent in INTENTS]
        apart = spread_text(natural["intervals"]["macro_f1"]) if natural else "–"
        macro = [spread_text(overall["intervals"]["macro_f1"]), _gap(measured.get("difference"))]
        rows.append([name, *macro, apart, _show(overall["macro_average_precision"]), *per_intent])
    header = ["F1 of", "macro", "the first is ahead by (95%)", "macro, natural", "macro AP", *INTENTS]
    notes = [f"Ahead by: paired bootstrap of whole {report['groups']['name']}; where it holds 0, either may be better."]
    if report["train"]:
        notes.append(
            "Baselines are fitted on the train files, their thresholds chosen there by F1, out of fold by brand."
        )
    return Table("Beside others", header, rows, " ".join(notes))


def _slices(column: str, sliced: Report) -> Table:
    shown = list(sliced.items())[:SLICE_ROWS]
    rows = []
    for value, one in shown:
        name = (value or "(none)") + {"worse": " ▼", "better": " ▲"}.get(one["apart"], "")
        per_intent = [_with_ends(one["intents"][intent], "f1") for intent in INTENTS]
        micro = [_with_ends(one, name) for name in ("micro_f1", "micro_precision", "micro_recall")]
        rows.append([name, f"{one['mentions']:,}", *micro, _show(one["macro_f1"]), *per_intent])
    notes = [
        "Worst first; ▼ ▲ where the interval lies below or above the micro-F1 of all: a place to look, no proof, as the"
        " intents of a mention go together and of many slices some stand apart by chance."
    ]
    small = frozenset(row for row, (_, one) in enumerate(shown) if one["small"])
    if small:
        notes.append(f"Grey or *: fewer than {SMALL} mentions, too few to rank.")
    if len(sliced) > SLICE_ROWS:
        notes.append(f"{len(sliced) - SLICE_ROWS:,} more in report.json.")
    header = [column, "mentions", "micro-F1", "precision", "recall", "macro-F1", *INTENTS]
    return Table(f"By {column}", header, rows, " ".join(notes), small)


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


def _show(figure: float | None) -> str:
    return "–" if figure is None else f"{figure:.3f}"


def spread_text(spread: Report | None) -> str:
    """A figure with the ends of its interval."""
    return f"{spread['value']:.3f} ({spread['low']:.3f}–{spread['high']:.3f})" if spread else "–"


def _with_ends(one: Report, name: str) -> str:
    return f"{one[name]:.3f} ({one[f'{name}_low']:.3f}–{one[f'{name}_high']:.3f})" if one[name] is not None else "–"


def _gap(of: Report | None) -> str:
    return f"{of['value']:+.3f} ({of['low']:+.3f} to {of['high']:+.3f})" if of else ""


def percent(share: float) -> str:
    """A share as whole percent."""
    return f"{100 * share:.0f}%"


def plain(intent: str) -> str:
    """An intent as a word of a sentence."""
    return intent.replace("_", " ")

"""Pictures of a report as SVG text: lines and words take the colour of the page's text, in light and dark alike.

Leaves out what is drawn (``eval.curves``, ``eval.race``) and where it stands (``eval.page``).
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK = "#010203"
"""Stands for the text's colour until the picture is SVG."""
MAIN, SECOND, FAINT = "#2f7fd1", "#d9730d", "#8a8f98"
_STYLE: Any = {
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "svg.fonttype": "path",
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_SMALL = (3.3, 2.5)


def precision_recall(
    name: str, points: Sequence[tuple[float, float, float]], chosen: tuple[float | None, float | None]
) -> str:
    """Precision against recall; ``chosen`` is the (recall, precision) at the cut in use."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("recall", "precision")
        _unit(axes)
        # the area under these steps is the average precision
        recalls, precisions = [one[2] for one in points], [one[1] for one in points]
        if points:
            axes.step([0, *recalls], [precisions[0], *precisions], color=MAIN, where="pre")
        recall, precision = chosen
        if recall is not None and precision is not None:
            axes.plot([recall], [precision], "o", color=SECOND, label="threshold in use")
            axes.legend(loc="lower left", frameon=False)
        return _svg(figure, f"precision-recall {name}")


def reliability(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Share that has the intent against the probability that was given, with intervals and the counts of each bin."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("probability", "share that has it")
        _unit(axes)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8, linestyle="--")
        there = [row for row in rows if row["mentions"]]
        x, y = [row["probability"] for row in there], [row["share"] for row in there]
        spread = [
            [max(row["share"] - row["low"], 0) for row in there],
            [max(row["high"] - row["share"], 0) for row in there],
        ]
        axes.errorbar(x, y, yerr=spread, fmt="o-", color=MAIN, markersize=3, linewidth=1, elinewidth=0.8)
        for row in there:
            axes.annotate(
                f"{row['mentions']:,}", (row["probability"], row["high"]), (0, 3), textcoords="offset points",
                ha="center", fontsize=6,
            )  # fmt: skip
        return _svg(figure, f"reliability {name}")


def scores(name: str, counts: Mapping[str, Sequence[int]], threshold: float | None) -> str:
    """How probabilities are spread, of mentions with the intent and of those without, on a logarithmic scale."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("probability", "mentions")
        for part, colour in (("without", FAINT), ("with", MAIN)):
            edges = [index / len(counts[part]) for index in range(len(counts[part]) + 1)]
            axes.stairs(counts[part], edges, color=colour, fill=True, alpha=0.55, label=f"{part} it")
        if threshold is not None:
            axes.axvline(threshold, color=SECOND, linewidth=1)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, 1)
        axes.legend(frameon=False)
        return _svg(figure, f"scores {name}")


def bars(
    name: str, labels: Sequence[str], groups: Mapping[str, Sequence[Mapping[str, float] | None]], what: str
) -> str:
    """Shares side by side: for each label one bar of each group (``value``, ``low``, ``high``, or None)."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("", what, (6.6, 2.8))
        width = 0.8 / len(groups)
        for place, ((group, values), colour) in enumerate(zip(groups.items(), _colours(len(groups)), strict=True)):
            x = [index + (place - (len(groups) - 1) / 2) * width for index in range(len(labels))]
            there = [(at, one) for at, one in zip(x, values, strict=True) if one is not None]
            heights = [one["value"] for _, one in there]
            spread = [
                [max(one["value"] - one["low"], 0) for _, one in there],
                [max(one["high"] - one["value"], 0) for _, one in there],
            ]
            axes.bar([at for at, _ in there], heights, width * 0.92, color=colour, label=group)
            axes.errorbar([at for at, _ in there], heights, yerr=spread, fmt="none", ecolor=_INK, elinewidth=0.8)
        axes.set_xticks(range(len(labels)), labels)
        axes.set_ylim(0, 1)
        figure.legend(loc="outside upper center", ncols=min(len(groups), 5), frameon=False)
        return _svg(figure, name)


def latencies(name: str, offered: Sequence[float], lines: Mapping[str, Sequence[float | None]]) -> str:
    """Milliseconds, on a logarithmic scale, against mentions offered a second; None where nothing was answered."""
    with mpl.rc_context(_STYLE):
        figure, axes = _axes("mentions offered a second", "latency in ms", (6.6, 2.8))
        axes.set_yscale("log")
        for (line, values), colour in zip(lines.items(), _colours(len(lines)), strict=True):
            there = [(x, y) for x, y in zip(offered, values, strict=True) if y is not None]
            axes.plot([x for x, _ in there], [y for _, y in there], "o-", color=colour, markersize=3, label=line)
        axes.legend(loc="upper left", frameon=False)
        return _svg(figure, name)


def _colours(count: int) -> Sequence[str]:
    """The last two stand out most."""
    return (FAINT, "#b79bd8", "#59a89c", MAIN, SECOND)[-count:]


def _axes(across: str, up: str, size: tuple[float, float] = _SMALL) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(color=FAINT, alpha=0.25, linewidth=0.5)
    axes.set_axisbelow(True)
    return figure, axes


def _unit(axes: Axes) -> None:
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.1)


def _svg(figure: Figure, name: str) -> str:
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):  # ids that differ between pictures and not between runs
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Title": name})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")

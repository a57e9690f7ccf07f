"""What an evaluation says: its verdict in words, and the report for a terminal and as Markdown.

Leaves out measuring (``eval.evaluate``), the tables (``eval.tables``) and the page (``eval.page``).
"""

from __future__ import annotations

from data.schema import INTENTS
from eval.race import CAPACITIES
from eval.slices import SMALL
from eval.tables import Report, all_tables, at_stake, compared_words, percent, plain, spread_text

HOW_TO_READ = (
    "Labels that are not known count nowhere. F1 is 2·TP / (2·TP + FP + FN); macro is the mean over the intents for"
    " which a figure is defined, micro pools the cells of all intents; AP is average precision; ECE is the expected"
    " calibration error over ten bins of equal width. “–” is not defined: no positives, or nothing predicted.",
    "Intervals are 95%: over all mentions they come from resamples of whole brands, since another brand is what one"
    " wants to know about (of posts, where there are fewer than four brands: then nothing is known of others); in"
    " slices they are Wilson's and only say how much so few mentions can tell. natural is the stratum drawn at random,"
    " the one to expect of a brand's own stream.",
    "Behaviour counts the cases of written tests that pass (eval/behaviour.toml); an expected intent with “?” may be"
    " read or not. The race is a simulation: it says what the order alone is worth, all else being equal.",
)


def text_report(report: Report) -> str:
    """The report for a terminal."""
    head = [headline(report), verdict(report)]
    return "\n\n".join([*head, *(table.text() for tables in all_tables(report).values() for table in tables)])


def markdown_report(report: Report) -> str:
    """The report as a Markdown page."""
    data = [_file_line(file) for file in (*report["data"], *report["train"])]
    warnings = [f"- **Stop:** {line}" for line in report["stop"]]
    warnings += [f"- **Warning:** {warning}" for warning in report["warnings"]]
    page = [
        f"# {headline(report)}",
        verdict(report),
        "\n".join([*(f"- {line}" for line in data), *warnings]),
        *(table.markdown() for tables in all_tables(report).values() for table in tables),
        *_failures(report["behaviour"]["tests"]),
        "\n\n".join(["## How to read it", *HOW_TO_READ]),
    ]
    return "\n\n".join(page) + "\n"


def headline(report: Report) -> str:
    """One line: what was measured and the figure that sums it up."""
    overall = report["overall"]
    return (
        f"{report['model']} at cut {report['cut']}: macro-F1 {spread_text(overall['intervals']['macro_f1'])} "
        f"on {overall['mentions']:,} mentions"
    )


def expected(report: Report) -> Report:
    """The figures to expect of a brand's own stream: of the natural mentions, or of all where there are none."""
    natural: Report | None = report["natural"]
    return natural or report["overall"]


def verdict(report: Report) -> str:
    """What the figures say, in words: those of the natural mentions, where there are some."""
    part = expected(report)
    spread, intents = part["intervals"], part["intents"]
    precision, recall = spread["micro_precision"], spread["micro_recall"]
    if precision is None or recall is None:
        said, there = (sum(one[name] for one in intents.values()) for name in ("predicted", "support"))
        return (
            f"Of {part['mentions']:,} mentions it asserts {said:,} intents where {there:,} are labelled: too little to"
            " say how good it is."
        )
    others = "other brands like these" if report["groups"]["name"] == "brands" else "other posts of these brands"
    whole = report["overall"]
    among = ""
    if part["mentions"] < whole["mentions"]:
        among = f"On the {part['mentions']:,} mentions drawn at random (natural, of {whole['mentions']:,}): when"
    words = [
        f"{among or 'When'} it asserts an intent it is right in {percent(precision['value'])} of the cases"
        f" ({percent(precision['low'])} to {percent(precision['high'])} on {others}), and it finds"
        f" {percent(recall['value'])} of what is there ({percent(recall['low'])} to {percent(recall['high'])})."
    ]
    ranked = sorted(
        (intent for intent in INTENTS if intents[intent]["support"] >= SMALL), key=lambda i: intents[i]["f1"]
    )
    if len(ranked) > 1:
        worst, best = ranked[0], ranked[-1]
        words.append(
            f"{f'Of the intents with {SMALL} mentions or more it' if len(ranked) < len(intents) else 'It'} reads"
            f" {plain(best)} best (F1 {intents[best]['f1']:.2f}) and {plain(worst)} worst ({intents[worst]['f1']:.2f})."
        )
    error = part["macro_calibration_error"]
    if error is not None:
        words.append(f"Its probabilities are off by {100 * error:.1f} points on average.")
    if report["race"]:
        shares = at_stake(report["race"])
        if shares is not None:
            first, ours, oracle = (shares[order]["mean"] for order in ("first_come", "firstreply", "oracle"))
            words.append(
                f"A team that can answer {percent(CAPACITIES[0])} gets to {percent(ours)} of purchase and churn-risk"
                f" mentions in time in its order, and to {percent(first)} as they come; with the true labels it would"
                f" be {percent(oracle)}."
            )
    if report["compare"]:
        words.append(f"{compared_words(report['compare'])}.")
    return " ".join(words)


def _file_line(file: Report) -> str:
    refused = [f"row {one['row']} ({one['title']}: {one['detail']})" for one in file["refused"]]
    line = f"{file['file']}: {file['mentions']:,} mentions"
    if not refused:
        return line
    return f"{line}, {len(refused):,} rows refused: {'; '.join(refused[:10])}{' …' if len(refused) > 10 else ''}"


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

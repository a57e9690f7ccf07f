"""A bundle's ``MODEL_CARD.md``: what it was trained on and under which licences, what it reaches, where it ends.

And the last step of every bundle that is made: its card and its manifest, with what a check says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from data.schema import INTENTS
from model.bundle import CARD, write_manifest

Check = Callable[[Path], Mapping[str, Any]]
"""Tries a finished bundle; gives what ``bundle.json`` then holds under ``behaviour`` (``Bundle.behaviour``)."""

_PERMISSIVE = [
    "Trained with `--licence permissive`: registered corpora whose licence does not clearly allow commercial use were"
    " left out. Mentions of no registered corpus are the trainer's own to answer for.",
    "",
]


def describe(folder: Path, manifest: Mapping[str, Any], check: Check | None, progress: Callable[[str], None]) -> None:
    """Complete a bundle's folder with its card and manifest, and record what ``check``, if any, says of it."""
    (folder / CARD).write_text(model_card(manifest), encoding="utf-8")
    write_manifest(folder, manifest)
    if check is not None:
        progress("trying its behaviour")
        describe(folder, {**manifest, "behaviour": check(folder)}, None, progress)


def model_card(manifest: Mapping[str, Any]) -> str:
    """The card of a bundle, from what its ``bundle.json`` will hold."""
    base, figures = manifest["base_model"], manifest["figures"]["dev"]
    own = " (those from before `firstreply calibrate`)" if "calibrated_on" in manifest else ""
    return "\n".join(
        [
            "---",
            f"base_model: {base}",
            "library_name: onnxruntime",
            "pipeline_tag: text-classification",
            "---",
            "",
            f"# {manifest['name']} {manifest['version']}",
            "",
            *(_PERMISSIVE if manifest.get("permissive") else []),
            *_licences(manifest["data"]),
            "",
            "## What it does",
            "",
            "Reads a public post as a mention of one target brand and gives a calibrated probability for each of"
            f" {', '.join(f'`{intent}`' for intent in INTENTS)}. Labels are independent; none of them is a normal"
            " answer. The target brand is masked before reading, so the model judges what is said of *the* brand and"
            " cannot lean on which brand it is.",
            "",
            "## How it was made",
            "",
            f"{_made_from(manifest, base)} with `firstreply train`{_teachers(manifest)}; {manifest['quantisation']}.",
            f"Texts are read up to {manifest['max_tokens']} tokens (head and tail of longer ones). The recipe, every",
            "threshold and every hash are in `bundle.json`.",
            "",
            "## Dev figures",
            "",
            "On mentions that training did not see, at the cut `balanced`;"
            f" {manifest['dev_of_seen_brands']:,} of them are about brands that occur in training, the rest about new"
            f" ones. Calibration and thresholds{own} were fitted on these same mentions, so expect somewhat less"
            " elsewhere; `firstreply evaluate` measures it on your own.",
            "",
            *[line for name, part in figures.items() for line in _figures(name, part)],
            *_beside(manifest),
            *_behaviour(manifest.get("behaviour")),
            "## Cuts",
            "",
            *_confidence(manifest),
            "",
            "## Limits",
            "",
            "- English, and short public posts of the Twitter kind; other languages are read only by their loan words.",
            "- Mentions of two brands are the hardest: read them with the brand that you ask about given.",
            "- Sarcasm without a cue, threads that the post does not quote, and pictures are not understood.",
            "- Labels of the training data come from people and from a language model following one guideline; what"
            " they get wrong, the model learns.",
            "- Made to order a queue for people. It should not decide by itself what a customer gets.",
            "",
        ]
    )


def _made_from(manifest: Mapping[str, Any], base: str) -> str:
    student = manifest["recipe"].get("student")
    if student is None:
        return f"Fine-tuned from `{base}`"
    begins = "another training of its own" if student.get("begin") else "nothing but its word embeddings"
    return (
        f"A student of a fine-tuned `{base}`, of {student['layers']} layers, {student['width']} wide, that begins from"
        f" {begins}, trained"
    )


def _teachers(manifest: Mapping[str, Any]) -> str:
    bases = ", ".join(f"`{row['base_model']}`" for row in manifest["teachers"])
    taught = f", taught by bundles fine-tuned from {bases}" if bases else ""
    count = 1 + len(manifest.get("averaged", ())) // 2
    return f"{taught}; its weights are the mean of {count} fine-tunings" if count > 1 else taught


def _licences(data: list[Mapping[str, Any]]) -> list[str]:
    restricted = [row for row in data if "NC" in str(row["licence"])]
    unstated = [row for row in data if "none stated" in str(row["licence"])]
    lines = []
    if restricted or unstated:
        names = ", ".join(row["name"] for row in restricted) or "none known"
        lines.append(
            f"> **Licences.** Some training data is for non-commercial use ({names})"
            + (f", and some states no licence ({', '.join(row['name'] for row in unstated)})" if unstated else "")
            + ". Whether that binds a model trained on it is for you to judge. To retrain without them: `firstreply"
            " train --train FILE … --licence permissive --out BUNDLE`, or train on your own posts alone."
        )
        lines.append("")
    lines += ["| trained on | mentions | licence |", "|---|---:|---|"]
    lines += [f"| {row['title']} | {row['mentions']:,} | {row['licence']} |" for row in data]
    return lines


def _figures(name: str, part: Mapping[str, Any]) -> list[str]:
    title = {"all": "All strata", "natural": "`natural` (a random draw) alone"}.get(name, name)
    rows = [
        f"| {intent} | {row['precision']:.2f} | {row['recall']:.2f} | {row['f1']:.2f} | {row['average_precision']:.2f}"
        f" | {row['support']} |"
        for intent, row in part["intents"].items()
    ]
    return [
        f"**{title}**: {part['mentions']:,} mentions, macro-F1 {_shown(part['macro_f1'], 3)}",
        "",
        "| intent | precision | recall | F1 | average precision | support |",
        "|---|---:|---:|---:|---:|---:|",
        *rows,
        "",
    ]


def _beside(manifest: Mapping[str, Any]) -> list[str]:
    """Macro-F1 of other bundles on the same dev mentions, this one first."""
    others = manifest.get("beside")
    if not others:
        return []

    def row(name: str, permissive: bool, figures: Mapping[str, Any]) -> str:
        cells = (_shown(figures[part]["macro_f1"], 3) if part in figures else "–" for part in ("all", "natural"))
        return f"| {name}{', trained with `--licence permissive`' if permissive else ''} | {' | '.join(cells)} |"

    return [
        "Macro-F1 beside other bundles, on the same mentions, on which this one's thresholds were fitted and theirs not"
        " (or not on all):",
        "",
        "| bundle | all strata | `natural` |",
        "|---|---:|---:|",
        row("this one", bool(manifest.get("permissive")), manifest["figures"]["dev"]),
        *(row(f"{other['name']} {other['version']}", other["permissive"], other["dev"]) for other in others),
        "",
    ]


def _behaviour(behaviour: Mapping[str, Any] | None) -> list[str]:
    if behaviour is None:
        return []
    verdict = "Every floor is reached." if behaviour["releasable"] else "**Not every floor is reached.**"
    return [
        "## Behaviour",
        "",
        "Share of written cases that pass, at the cut `balanced`, and the floor that a release must reach."
        f" {verdict} `firstreply evaluate` lists the cases that fail.",
        "",
        "| test | cases | passed | floor |",
        "|---|---:|---:|---:|",
        *(
            f"| {test['kind']}: {name} | {test['cases']} | {test['rate']:.2f}{'' if test['reached'] else ' (missed)'}"
            f" | {test['floor']:.2f} |"
            for name, test in behaviour["tests"].items()
        ),
        "",
    ]


def _confidence(manifest: Mapping[str, Any]) -> list[str]:
    """How far probabilities and labels can be trusted, measured on mentions that they were not fitted on."""
    cuts, measured = manifest["cuts"], manifest["calibration"]["measured"]
    by = measured["by"]
    natural = f" ({measured['error_natural']:.3f} on `natural`)" if "error_natural" in measured else ""
    lines = [
        *_calibrated_on(manifest),
        f"Expected calibration error: {measured['error']:.3f}{natural}. It and the tables below are cross-fitted by"
        f" {by}: calibration and thresholds are fitted on all but one of {measured['folds']} folds of whole {by}s, and"
        " measured on the one left out. What is shipped is fitted on all of them. Intervals are 95%: of a threshold"
        f" over resampled {by}s, of a precision by Wilson. “–”: no threshold, or nothing asserted. A mention is"
        " uncertain where one of its probabilities lies inside its threshold's interval.",
    ]
    for name, cut in cuts.items():
        lines += ["", f"**{name}**", "", "| intent | threshold | precision | recall |", "|---|---:|---:|---:|"]
        lines += [
            f"| {intent} | {_within(cut['thresholds'][intent], cut['threshold_interval'][intent])}"
            f" | {_within(cut['precision'][intent], cut['interval'][intent])} | {_shown(cut['recall'][intent])} |"
            for intent in INTENTS
        ]
        for title, part in (("all intents", cut), ("all intents, `natural`", cut.get("natural"))):
            if part:
                pooled = part["pooled"]
                precision = _within(pooled["precision"], pooled["interval"])
                lines.append(f"| {title} | | {precision} | {_shown(pooled['recall'])} |")
        doubt = cut["uncertain"]
        share, wrong, others = (_percent(doubt[part]) for part in ("share", "wrong", "others_wrong"))
        lines += [
            "",
            f"Uncertain: {share} of the mentions. By the labels that are known, {wrong} of the uncertain ones have a"
            f" wrong label, {others} of the others.",
        ]
    return lines


def _calibrated_on(manifest: Mapping[str, Any]) -> list[str]:
    own = manifest.get("calibrated_on")
    if own is None:
        return []
    files = ", ".join(f"`{file['name']}` (sha256 {file['sha256'][:12]})" for file in own["files"])
    kept = f" Too few of {', '.join(own['kept'])}: kept as it was." if own["kept"] else ""
    return [
        f"Calibrated with `firstreply calibrate` on {own['mentions']:,} mentions of {files}, from version"
        f" {own['bundle']['version']}; the network is the same.{kept}",
        "",
    ]


def _within(value: float | None, interval: Sequence[float] | None) -> str:
    return _shown(value) if interval is None else f"{_shown(value)} ({_shown(interval[0])}–{_shown(interval[1])})"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _shown(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

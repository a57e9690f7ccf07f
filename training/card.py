"""A bundle's ``MODEL_CARD.md``: what it was trained on and under which licences, what it reaches, where it ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from data.schema import INTENTS

_PERMISSIVE = [
    "Trained with `--licence permissive`: registered corpora whose licence does not clearly allow commercial use were"
    " left out. Mentions of no registered corpus are the trainer's own to answer for.",
    "",
]


def model_card(manifest: Mapping[str, Any]) -> str:
    """The card of a bundle, from what its ``bundle.json`` will hold."""
    base, figures = manifest["base_model"], manifest["figures"]["dev"]
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
            *(_PERMISSIVE if manifest["permissive"] else []),
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
            f"Fine-tuned from `{base}` with `firstreply train`{_teachers(manifest)}; {manifest['quantisation']}.",
            f"Texts are read up to {manifest['max_tokens']} tokens (head and tail of longer ones). The recipe, every",
            "threshold and every hash are in `bundle.json`.",
            "",
            "## Dev figures",
            "",
            "On mentions that training did not see, at the cut `balanced`;"
            f" {manifest['dev_of_seen_brands']:,} of them are about brands that occur in training, the rest about new"
            " ones. Calibration and thresholds were fitted on these same mentions, so expect somewhat less elsewhere;"
            " `firstreply evaluate` measures it on your own.",
            "",
            *[line for name, part in figures.items() for line in _figures(name, part)],
            "## Cuts",
            "",
            "Threshold, and the precision and recall that it reached on dev. “–”: no threshold reaches it.",
            "",
            *_cuts(manifest["cuts"]),
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


def _teachers(manifest: Mapping[str, Any]) -> str:
    bases = ", ".join(f"`{row['base_model']}`" for row in manifest["teachers"])
    return f", taught by bundles fine-tuned from {bases}" if bases else ""


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


def _cuts(cuts: Mapping[str, Any]) -> list[str]:
    def cell(cut: Mapping[str, Any], intent: str) -> str:
        return " / ".join(_shown(cut[part][intent]) for part in ("thresholds", "precision", "recall"))

    lines = [f"| intent | {' | '.join(cuts)} |", "|---|" + "---|" * len(cuts)]
    return lines + [f"| {i} | {' | '.join(cell(cut, i) for cut in cuts.values())} |" for i in INTENTS]


def _shown(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"

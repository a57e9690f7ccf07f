"""The mistakes themselves: the surest ones first, the words that drove them, and files to look through them elsewhere.

Leaves out how they look on the page (``eval.page``).
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.schema import INTENTS, LabelledMention
from eval.baselines import Predictions
from eval.metrics import Floats
from eval.progress import counted
from model.cascade import Reader

EXPLAINED = 15
"""Mistakes of each intent and kind whose words are measured: each takes as many readings as it has words."""
COLUMNS = (
    "id", "brand", "text", "intent", "kind", "probability", "surprise", "label_suspect", "words", "source", "stratum"
)  # fmt: skip
WRONG, MISSED = "wrongly asserted", "missed"


@dataclass(frozen=True)
class Mistake:
    """One intent of one mention that was read against its label."""

    mentions: Sequence[LabelledMention] = field(repr=False)
    """All that were read."""
    place: int
    """Of the mention among them, from 0."""
    intent: str
    kind: str
    """``WRONG`` or ``MISSED``."""
    probability: float
    surprise: float
    """Cross-entropy of the label, in bits: how sure the model was of the opposite."""
    suspect: bool
    """The label itself is likely wrong, by confident learning."""
    words: tuple[dict[str, Any], ...] = ()
    """What drove it, as ``Scorer.explain`` gives it; empty until ``explained``."""

    @property
    def mention(self) -> LabelledMention:
        """The mention that was read wrongly."""
        return self.mentions[self.place]

    def row(self) -> dict[str, Any]:
        """Flat, for a table."""
        mention = self.mention
        return {
            "id": mention.id,
            "brand": mention.target or "",
            "text": mention.text,
            "intent": self.intent,
            "kind": self.kind,
            "probability": round(self.probability, 4),
            "surprise": round(self.surprise, 3),
            "label_suspect": self.suspect,
            "words": ", ".join(dict.fromkeys(word["word"] for word in self.words)),
            "source": mention.source,
            "stratum": mention.stratum,
        }


def find_mistakes(
    mentions: Sequence[LabelledMention], truth: Floats, model: Predictions, suspects: set[tuple[int, int]]
) -> list[Mistake]:
    """Every cell whose known label is not what was asserted, the most surprising first; ``suspects`` are (row, column).

    The surprise is -log2 of the probability that the model gave the label.
    """
    wrong = (model.labels != (truth == 1)) & ~np.isnan(truth)
    found = []
    for row, column in np.argwhere(wrong).tolist():
        chance = float(model.scores[row, column])
        given = chance if truth[row, column] == 1 else 1 - chance
        found.append(
            Mistake(
                mentions=mentions,
                place=row,
                intent=INTENTS[column],
                kind=MISSED if truth[row, column] == 1 else WRONG,
                probability=chance,
                surprise=float(-np.log2(max(given, 1e-12))),
                suspect=(row, column) in suspects,
            )
        )
    return sorted(found, key=lambda one: -one.surprise)


def explained(mistakes: Sequence[Mistake], scorer: Reader) -> list[Mistake]:
    """The same mistakes; the ``EXPLAINED`` most surprising of each intent and kind have the words that drove them.

    For an intent that was wrongly asserted, the words that it rests on; for one that was missed, those that held it
    down.
    """
    count: Counter[tuple[str, str]] = Counter()
    chosen = []
    for place, one in enumerate(mistakes):
        count[one.intent, one.kind] += 1
        if count[one.intent, one.kind] <= EXPLAINED:
            chosen.append(place)
    whole = list(mistakes)
    for place in counted(chosen, "mistakes explained", len(chosen)):
        whole[place] = replace(whole[place], words=tuple(_words(whole[place], scorer)))
    return whole


def _words(mistake: Mistake, scorer: Reader) -> list[dict[str, Any]]:
    mention = mistake.mention
    return scorer.explain(mention.text, mention.target, [mistake.intent], against=mistake.kind == MISSED)[
        mistake.intent
    ]


def write_mistakes(folder: Path, mistakes: Sequence[Mistake], model: Predictions) -> None:
    """``mistakes.csv``, a row for each; ``label-studio.json`` and ``label-studio.xml``, to look through them there.

    A task of Label Studio has the labels for its annotation, if all are known, and what was read for its prediction.
    """
    with (folder / "mistakes.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows({name: _safe(cell) for name, cell in mistake.row().items()} for mistake in mistakes)
    mistaken = dict.fromkeys(mistake.place for mistake in mistakes)
    with (folder / "label-studio.json").open("w", encoding="utf-8") as stream:
        for number, place in enumerate(mistaken):
            stream.write(",\n" if number else "[\n")
            json.dump(_task(mistakes[0].mentions[place], model, place), stream, ensure_ascii=False)
        stream.write("\n]\n" if mistaken else "[]\n")
    (folder / "label-studio.xml").write_text(_LABEL_STUDIO, encoding="utf-8")


def _safe(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula, marked as text."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _task(mention: LabelledMention, model: Predictions, row: int) -> dict[str, Any]:
    labelled = [intent for intent, label in zip(INTENTS, mention.labels, strict=True) if label == 1]
    read = [intent for intent, asserted in zip(INTENTS, model.labels[row].tolist(), strict=True) if asserted]
    probabilities = dict(zip(INTENTS, model.scores[row].round(4).tolist(), strict=True))
    unknown = [intent for intent, label in zip(INTENTS, mention.labels, strict=True) if label is None]
    shown = {"id": mention.id, "text": mention.text, "brand": mention.target or "", "not_known": ", ".join(unknown)}
    return {
        "data": {**shown, **probabilities},
        # an intent that is not ticked would say that it is not there
        "annotations": [] if unknown else [{"result": _choices(labelled)}],
        "predictions": [{"model_version": model.name, "result": _choices(read)}],
    }


def _choices(intents: Sequence[str]) -> list[dict[str, Any]]:
    if not intents:
        return []
    return [{"from_name": "intents", "to_name": "text", "type": "choices", "value": {"choices": list(intents)}}]


_LABEL_STUDIO = f"""<View>
  <Header value="What does it ask of $brand?"/>
  <Text name="text" value="$text"/>
  <Choices name="intents" toName="text" choice="multiple">
{chr(10).join(f'    <Choice value="{intent}"/>' for intent in INTENTS)}
  </Choices>
</View>
"""

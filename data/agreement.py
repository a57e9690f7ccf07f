"""How far a corpus's labels agree with ours on mentions that both label: which of them can be trusted.

The confident way to clean a noisy source: it is measured, intent by intent, against labels that answer our question.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from data.schema import INTENTS


@dataclass(frozen=True)
class Agreement:
    """One intent of one corpus: mentions that both assert, only the corpus, only we, and neither."""

    both: int
    theirs: int
    ours: int
    neither: int

    @property
    def mentions(self) -> int:
        """How many both of us label."""
        return self.both + self.theirs + self.ours + self.neither

    @property
    def share(self) -> float:
        """Share of these mentions that both label alike, 0 to 1."""
        return (self.both + self.neither) / self.mentions

    @property
    def kappa(self) -> float | None:
        """Cohen's kappa (1960), -1 to 1: agreement beyond chance. None where one side never varies."""
        total = self.mentions
        they, we = self.both + self.theirs, self.both + self.ours
        if they in (0, total) or we in (0, total):
            return None
        by_chance = (they * we + (total - they) * (total - we)) / total**2
        return (self.share - by_chance) / (1 - by_chance)


def agreements(pairs: Iterable[tuple[str, int, int]]) -> dict[str, Agreement]:
    """By intent, from (intent, the corpus's label, ours); intents without a pair are left out."""
    counts = Counter(pairs)
    table = {
        intent: Agreement(*(counts[intent, theirs, ours] for theirs, ours in ((1, 1), (1, 0), (0, 1), (0, 0))))
        for intent in INTENTS
    }
    return {intent: agreement for intent, agreement in table.items() if agreement.mentions}

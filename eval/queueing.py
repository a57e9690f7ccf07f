"""A team that answers mentions one after the other: which one is next, and which ones have gone before their turn.

Leaves out where mentions come from and what makes one urgent (``eval.race``). Times are in hours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eval.metrics import Floats

Indices = NDArray[np.intp]


@dataclass(frozen=True)
class Order:
    """How urgent each mention is: the highest is answered next, of equals the earliest."""

    base: Floats
    """As it arrives; shape (mentions)."""
    waiting_points: float = 0.0
    """What it gains until it has waited for its deadline, evenly."""
    deadline: Floats | None = None
    """Hours until all of them are gained, infinity where none are; None where there are no waiting points."""

    def at(self, waiting: Indices, waited: Floats) -> Floats:
        """The urgency of the mentions of these indices after they have waited for so long."""
        if self.deadline is None:
            return self.base[waiting]
        gained: Floats = self.waiting_points * np.minimum(1.0, waited / self.deadline[waiting])
        return self.base[waiting] + gained


def answered_at(arrival: Floats, free: Floats, order: Order, patience: float) -> Floats:
    """When each mention is answered; infinity where it left unanswered.

    Args:
        arrival: when each mention arrives, ascending.
        free: the moments at which the team takes up one mention, ascending; one that finds nobody waiting is lost.
        order: who is next.
        patience: how long a mention waits before it leaves, whatever the order.
    """
    answered = np.full(len(arrival), np.inf)
    waiting = np.empty(0, dtype=np.intp)
    arrived = 0
    for now, upto in zip(free.tolist(), np.searchsorted(arrival, free, side="right").tolist(), strict=True):
        waiting = np.concatenate([waiting, np.arange(arrived, upto)])
        arrived = upto
        waiting = waiting[now - arrival[waiting] <= patience]
        if len(waiting):
            chosen = int(np.argmax(order.at(waiting, now - arrival[waiting])))
            answered[waiting[chosen]] = now
            waiting = np.delete(waiting, chosen)
    return answered

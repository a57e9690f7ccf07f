"""Who is answered when, against queues worked out by hand."""

from __future__ import annotations

import numpy as np

from eval.queueing import Order, answered_at

ARRIVAL = np.array([0.0, 0.1, 0.2, 0.3])
INF = float("inf")


def test_the_most_urgent_is_next_and_of_equals_the_earliest() -> None:
    free = np.array([0.5, 1.0, 1.5, 2.0])
    assert answered_at(ARRIVAL, free, Order(np.zeros(4)), 9).tolist() == [0.5, 1.0, 1.5, 2.0]
    assert answered_at(ARRIVAL, free, Order(np.array([0.0, 5, 1, 5])), 9).tolist() == [2.0, 0.5, 1.5, 1.0]


def test_nobody_is_answered_before_they_come_and_an_idle_moment_is_lost() -> None:
    free = np.array([-1.0, 0.15, 0.2, 0.25])
    # at 0.15 the second is not the most urgent only because the last has not come
    assert answered_at(ARRIVAL, free, Order(np.array([0.0, 1, 2, 9])), 9).tolist() == [0.25, 0.15, 0.2, INF]


def test_those_who_waited_too_long_are_gone_in_every_order() -> None:
    free = np.array([2.15, 2.2, 2.4])
    # the first two left at 2.0 and 2.1; the third can be answered until 2.2, just
    assert answered_at(ARRIVAL, free, Order(np.array([9.0, 9, 1, 5])), 2.0).tolist() == [INF, INF, 2.2, 2.15]
    assert answered_at(ARRIVAL, free, Order(np.zeros(4)), 2.0).tolist() == [INF, INF, 2.15, 2.2]


def test_waiting_points_grow_until_the_deadline() -> None:
    base, deadline = np.array([1.0, 2.0, 2.5]), np.array([1.0, INF, 1.0])
    order = Order(base, waiting_points=3.0, deadline=deadline)
    every = np.arange(3)
    assert order.at(every, np.full(3, 0.5)).tolist() == [2.5, 2.0, 4.0]
    assert order.at(every, np.full(3, 7.0)).tolist() == [4.0, 2.0, 5.5]
    # the first has waited long enough to overtake the second, which gains nothing
    assert answered_at(np.array([0.0, 0.9, 5]), np.array([1.0, 1.1]), order, 9).tolist() == [1.0, 1.1, INF]

"""Lanes take turns, answers come in order, and whatever ends, nobody waits for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from model import pipeline as module
from model.pipeline import TURN, Lane, Pipeline, PipelineError, QueueFullError, usable_cores


class Gate:
    """Work that waits until it is let, and keeps what it was given."""

    def __init__(self) -> None:
        self.given: list[Any] = []
        self.entered, self.leave = threading.Semaphore(0), threading.Event()

    def __call__(self, items: Sequence[Any]) -> Sequence[Any]:
        """Ten times each item."""
        self.given += items
        self.entered.release()
        assert self.leave.wait(10)
        return [item * 10 for item in items]


@pytest.fixture
def one() -> Iterator[Pipeline]:
    with Pipeline(most_tokens=100, threads=1) as pipeline:
        yield pipeline


def lane_of(pipeline: Pipeline, work: Any, items: Sequence[Any], tokens: int = 1) -> tuple[Lane, threading.Event]:
    ended = threading.Event()
    lane = pipeline.lane(work, ended.set)
    lane.add(items, [tokens] * len(items), last=True)
    return lane, ended


def test_lanes_take_turns(one: Pipeline) -> None:
    gate = Gate()
    many, many_ended = lane_of(one, gate, range(20))
    assert gate.entered.acquire(timeout=10)
    single, single_ended = lane_of(one, gate, [100])
    gate.leave.set()
    assert many_ended.wait(10)
    assert single_ended.wait(10)
    assert gate.given.index(100) <= 2 * TURN
    assert many.answers == [number * 10 for number in range(20)]
    assert single.answers == [1000]


def test_the_queue_is_bounded_in_tokens_and_takes_all_or_nothing(one: Pipeline) -> None:
    gate = Gate()
    lane_of(one, gate, [1], tokens=100)
    assert gate.entered.acquire(timeout=10)  # it is at work and waits no more
    full, full_ended = lane_of(one, gate, [2, 3], tokens=50)
    with pytest.raises(QueueFullError):
        lane_of(one, gate, [4])
    gate.leave.set()
    assert full_ended.wait(10)
    _, ended = lane_of(one, gate, [5], tokens=100)
    assert ended.wait(10)
    assert full.answers == [20, 30]
    assert 4 not in gate.given


def test_what_is_cancelled_makes_room_and_is_not_worked_on(one: Pipeline) -> None:
    gate = Gate()
    lane_of(one, gate, [1])
    assert gate.entered.acquire(timeout=10)
    left, left_ended = lane_of(one, gate, [2, 3], tokens=50)
    left.cancel()
    after, after_ended = lane_of(one, gate, [4, 5], tokens=50)
    gate.leave.set()
    assert after_ended.wait(10)
    assert gate.given == [1, 4, 5]
    assert not left_ended.is_set()
    assert after.failure is None


def test_a_lane_may_grow_until_it_is_closed(one: Pipeline) -> None:
    ended = threading.Event()
    lane = one.lane(lambda items: [item + 1 for item in items], ended.set)
    assert lane.add([1, 2], [1, 1])
    assert not ended.wait(0.2)
    assert lane.add([3], [1])
    assert lane.add([], [], last=True)
    assert lane.result() == [2, 3, 4]
    lane.cancel()
    assert not lane.add([4], [1])


def test_room_is_kept_for_what_will_come(one: Pipeline) -> None:
    gate = Gate()
    lane_of(one, gate, [1])
    assert gate.entered.acquire(timeout=10)
    growing = one.lane(gate)
    growing.reserve(90)
    with pytest.raises(QueueFullError):
        lane_of(one, gate, [2], tokens=11)
    with pytest.raises(QueueFullError):
        one.lane(gate).reserve(11)
    assert growing.add([3], [60])
    with pytest.raises(QueueFullError):
        lane_of(one, gate, [4], tokens=11)
    assert growing.add([5], [5], last=True)  # needs no more
    _, ended = lane_of(one, gate, [6], tokens=35)
    given_up = one.lane(gate)
    with pytest.raises(QueueFullError):
        given_up.reserve(1)
    gate.leave.set()
    assert growing.result() == [30, 50]
    assert ended.wait(10)
    given_up.reserve(100)
    given_up.cancel()
    _, last = lane_of(one, gate, [7], tokens=100)
    assert last.wait(10)


def test_an_error_fails_its_lane_alone(one: Pipeline) -> None:
    def divide(items: Sequence[int]) -> list[float]:
        return [1 / item for item in items]

    bad, bad_ended = lane_of(one, divide, [1] * TURN * 2 + [0] + [1] * TURN * 2)
    good, good_ended = lane_of(one, divide, [2])
    assert bad_ended.wait(10)
    assert good_ended.wait(10)
    assert isinstance(bad.failure, ZeroDivisionError)
    assert good.answers == [0.5]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_thread_that_dies_fails_everything_that_waits(threads: int) -> None:
    def die(items: Sequence[int]) -> list[int]:
        raise SystemExit

    with Pipeline(most_tokens=100, threads=threads) as pipeline:
        gate = Gate()
        lane_of(pipeline, gate, [1] * threads)
        assert gate.entered.acquire(timeout=10)
        dying, dying_ended = lane_of(pipeline, die, [1])
        behind, behind_ended = lane_of(pipeline, die, [2])
        gate.leave.set()
        assert dying_ended.wait(10)
        assert behind_ended.wait(10)
        assert isinstance(dying.failure, PipelineError)
        assert isinstance(behind.failure, PipelineError)
        assert isinstance(pipeline.failure, SystemExit)
        with pytest.raises(PipelineError, match="died"):
            lane_of(pipeline, die, [3])
        with pytest.raises(PipelineError):
            list(pipeline.in_order(die, [1]))


def test_stopping_ends_what_waits() -> None:
    pipeline = Pipeline(most_tokens=100, threads=1)
    gate = Gate()
    begun, begun_ended = lane_of(pipeline, gate, [1])
    assert gate.entered.acquire(timeout=10)
    waiting, waiting_ended = lane_of(pipeline, gate, [2])
    threading.Timer(0.2, gate.leave.set).start()
    pipeline.stop()
    assert begun_ended.is_set()
    assert begun.answers == [10]
    assert waiting_ended.is_set()
    assert isinstance(waiting.failure, PipelineError)
    with pytest.raises(PipelineError, match="stopping"):
        lane_of(pipeline, gate, [3])


def test_answers_come_in_order_while_only_some_are_under_way() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    def squares(numbers: Sequence[int]) -> list[int]:
        return [number * number for number in numbers]

    with Pipeline(most_tokens=10_000, threads=3) as pipeline:
        answers = pipeline.in_order(squares, items())
        assert [next(answers) for _ in range(10)] == [number * number for number in range(10)]
        assert taken < 200
        assert list(answers) == [number * number for number in range(10, 1000)]


def test_an_error_comes_where_its_turn_stood(one: Pipeline) -> None:
    def invert(numbers: Sequence[int]) -> list[float]:
        return [1 / number for number in numbers]

    answers = one.in_order(invert, [1] * TURN + [0] + [4] * TURN)
    assert [next(answers) for _ in range(TURN)] == [1.0] * TURN
    with pytest.raises(ZeroDivisionError):
        next(answers)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are told otherwise here")
@pytest.mark.parametrize(
    ("limit", "share"),
    [("max 100000", 1.0), ("100000 100000", 0.0), ("1 100000", 0.0), ("", 1.0), ("9999999 100000", 1.0)],
)
def test_cores_are_those_that_a_container_may_use(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: str, share: float
) -> None:
    cores = len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text(limit)
    monkeypatch.setattr(module, "_CPU_LIMIT", tmp_path / "cpu.max")
    assert usable_cores() == max(1, cores * share)
    monkeypatch.setattr(module, "_CPU_LIMIT", tmp_path / "none")
    assert usable_cores() == cores

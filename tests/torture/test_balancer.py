"""Replicas behind nginx, drained, replaced and killed under load: only what a killed one was writing is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.balancer import NGINX, Balanced, answers, asking, balanced, failed, refill
from tests.torture.clients import Account

pytestmark = pytest.mark.skipif(NGINX is None, reason="no nginx here")
DRAINED, KILLED = 20_000, 5_000
"""Requests, at least."""
ROUNDS = 4
"""How often each of the two replicas is replaced."""


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Balanced]:
    with balanced(tmp_path) as both:
        yield both


async def replaced_in_turn(behind: Balanced, end: Callable[[int], None], requests: int) -> Account:
    """What becomes of requests while each replica in turn ends, is missed for a while, and is there again.

    Args:
        behind: the replicas.
        end: ends the one of a port.
        requests: how many there are to be, at least.
    """
    each = requests // (2 * ROUNDS + 1)
    async with asking(behind.port) as account:
        for port in behind.ports * ROUNDS:
            await answers(account, each // 2)
            await asyncio.to_thread(end, port)
            await answers(account, each // 2)
            await refill(behind, port, account)
        await answers(account, max(0, requests - account.answered.total()))
    return account


def test_rolling_restarts_fail_no_request(behind: Balanced) -> None:
    began = time.monotonic()
    account = asyncio.run(replaced_in_turn(behind, behind.drain, DRAINED))
    print(
        f"\nbehind nginx, both replicas drained and replaced {ROUNDS} times: {account}, in"
        f" {time.monotonic() - began:.0f} s; sent on to the other replica {behind.sent_on():,} times"
    )
    assert account.answered[200] >= DRAINED
    assert failed(account) == 0
    assert behind.sent_on() > 0, "every request met a replica that was there: this proves nothing"


def test_killed_replicas_cost_only_answers_that_were_half_sent(behind: Balanced) -> None:
    account = asyncio.run(replaced_in_turn(behind, behind.kill, KILLED))
    print(
        f"\nbehind nginx, both replicas killed and replaced {ROUNDS} times: {account}; {behind.cut_off()} answers cut"
        f" off in the middle, {behind.sent_on():,} requests sent on to the other replica"
    )
    assert account.answered[200] >= KILLED
    assert failed(account) == len(account.lost) == behind.cut_off()
    assert behind.sent_on() > behind.cut_off()

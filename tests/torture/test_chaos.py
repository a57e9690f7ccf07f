"""Workers that are killed, stops, reloads and damaged models under load: nobody notices who need not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import psutil
import pytest

from eval.load import closed_loop, request
from eval.workload import real_length, sample_mentions
from model.bundle import BRANDS, CARD, MANIFEST, MODEL, TIER_BUNDLES, TOKENIZER, read_manifest, seal_manifest
from serving.contract import EXAMPLE_REQUEST
from tests.torture.clients import Account, Lost, keep_asking
from tests.torture.servers import STOP_SECONDS, Started, exit_status, started, stop

CLIENTS = 8
SEED = 20261121
KILLS, KILL_SECONDS = 12, 5.0
"""Workers killed, one every so many seconds."""
STOPS = 10
DOOR = 0.1
"""Seconds before a server stops listening in which a connection may still be one that it has not taken."""
RELOADS = 50
FLIPS = 200
STARTS = 10
LEAST_SHARE = 0.2
"""Of the work of two workers, what the less busy one must do; half is what it should."""
REFUSED = "reload refused"
"""What the server says on stderr of a bundle that it does not take."""
RELOAD_SECONDS = 30.0


def requests() -> list[bytes]:
    """Requests of one mention and of 64, in turn."""
    mentions = real_length(sample_mentions(), 64 * 20)
    values = [{"id": mention.id, "text": mention.text, "brand": list(mention.brand)} for mention in mentions]
    bodies = [
        part for start in range(0, len(values), 64) for part in (values[start : start + 1], values[start : start + 64])
    ]
    return [request("/v1/score", json.dumps({"mentions": body}).encode()) for body in bodies]


@asynccontextmanager
async def clients(server: Started) -> AsyncIterator[tuple[Account, asyncio.Event, asyncio.Event]]:
    """Clients at work until the end of the block: their account, and the events of ``keep_asking``."""
    account, ended, last = Account(), asyncio.Event(), asyncio.Event()
    asked = requests()
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(keep_asking(number, server.port, asked, account, ended, last))
        try:
            yield account, ended, last
        finally:
            if not last.is_set():
                ended.set()


async def until(what: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in so many seconds."""
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True


def test_killed_workers_cost_only_what_they_had_in_hand(tmp_path: Path) -> None:
    back: list[float] = []

    async def kill_workers(server: Started) -> Account:
        async with clients(server) as (account, _, _):
            for _ in range(KILLS):
                await asyncio.sleep(KILL_SECONDS - 2)
                before = server.workers()
                assert len(before) == 2, server.said()
                # The older one: workers that die young are started again only after a while.
                victim = min(before, key=psutil.Process.create_time).pid
                lost, began = len(account.lost), time.monotonic()
                os.kill(victim, signal.SIGKILL)
                assert await two_others(server, victim), server.said()
                back.append(time.monotonic() - began)
                await asyncio.sleep(max(0.0, 2 - back[-1]))
                # One each, at most: whoever comes back comes to a worker that lives.
                new = account.lost[lost:]
                assert len(new) == len({one.client for one in new}), new
        return account

    with started(tmp_path, "--tier", "fast", "--workers", "2") as server:
        account = asyncio.run(kill_workers(server))
        assert stop(server) == 0
    print(f"\nworkers killed: {KILLS} times, another one after {max(back):.1f} s at most; {account}")
    assert account.answered.keys() == {200}
    assert account.answered[200] > KILLS * 100
    assert account.refused == 0
    assert 0 < len(account.lost) <= KILLS * CLIENTS


async def two_others(server: Started, victim: int) -> bool:
    """Whether there are soon two workers again."""
    return await until(lambda: len({worker.pid for worker in server.workers()} - {victim}) == 2, KILL_SECONDS)


@pytest.mark.parametrize("workers", [1, 2])
def test_stop_under_load_leaves_no_request_without_its_answer(tmp_path: Path, workers: int) -> None:
    random = Random(SEED)
    took: list[float] = []
    accounts: list[Account] = []
    queued = 0

    async def stop_it(server: Started) -> float:
        async with clients(server) as (account, _, last):
            await asyncio.sleep(random.uniform(0.5, 2.5))
            accounts.append(account)
            last.set()
            told = time.monotonic()
            server.process.terminate()
        return told

    for _ in range(STOPS):
        with started(tmp_path, "--tier", "fast", "--workers", workers) as server:
            told = asyncio.run(stop_it(server))
            assert exit_status(server) == 0, server.said()
            took.append(time.monotonic() - told)
            assert "Traceback" not in server.said(), server.said()
        account = accounts[-1]
        lost = [one for one in account.lost if not at_the_door(one, told, account.first_refused)]
        refused = f"{account.first_refused - told:.3f} s" if account.first_refused else "never"
        assert not lost, (
            f"{len(lost)} lost, sent {', '.join(f'{one.sent - told:.3f} s' for one in lost)} after the stop;"
            f" connections refused from {refused} on: {lost}"
        )
        assert account.answered.keys() <= {200, 503}
        queued += len(account.lost)
    print(
        f"\nstops under load, {workers} workers: {STOPS}, {max(took):.1f} s at most, none lost ({queued} met a"
        " closing door);"
        f" {sum(account.answered[200] for account in accounts):,} answered with 200,"
        f" {sum(account.answered[503] for account in accounts):,} with 503"
    )


def at_the_door(one: Lost, told: float, first_refused: float | None) -> bool:
    """Whether a request was sent after the stop, on a connection that the server may never have seen.

    The system takes connections before the server does; those that wait when it stops listening are reset. They are
    the last ones before the first that is refused.
    """
    return (
        one.sent > told and not one.answered_before and first_refused is not None and one.opened > first_refused - DOOR
    )


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A copy of the fast bundle that may be changed."""
    return shutil.copytree(TIER_BUNDLES["fast"], tmp_path / "bundle")


def put(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a bundle at one stroke."""
    new = folder.with_name("new")
    new.write_bytes(content)
    new.replace(folder / name)


def sha256(server: Started) -> str:
    """The hash of the bundle that answers."""
    status, body = server.get("/v1/model")
    assert status == 200
    found: str = json.loads(body)["sha256"]
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_reloads_under_load_fail_no_request(tmp_path: Path, bundle: Path, workers: int) -> None:
    first = (bundle / MANIFEST).read_bytes()
    manifest = {name: value for name, value in read_manifest(bundle).items() if name != "sha256"}
    seal_manifest(bundle, {**manifest, "version": f"{manifest['version']}-other"})
    second = (bundle / MANIFEST).read_bytes()
    put(bundle, MANIFEST, first)
    took: list[float] = []

    async def reload(server: Started) -> Account:
        async with clients(server) as (account, _, _):
            for number in range(RELOADS):
                await asyncio.sleep(0.2)
                manifest = first if number % 2 else second
                put(bundle, MANIFEST, manifest)
                began = time.monotonic()
                server.process.send_signal(signal.SIGHUP)
                await everywhere(server, workers, json.loads(manifest)["sha256"])
                took.append(time.monotonic() - began)
        return account

    with started(tmp_path, "--bundle", bundle, "--workers", workers) as server:
        account = asyncio.run(reload(server))
        assert stop(server) == 0
        assert REFUSED not in server.said()
        assert "Traceback" not in server.said(), server.said()
    print(f"\nreloads under load, {workers} workers: {RELOADS}, {max(took):.1f} s at most; {account}")
    assert account.answered.keys() == {200}
    assert account.lost == []
    assert account.refused == 0


async def everywhere(server: Started, workers: int, expected: str) -> None:
    """Return once every worker answers with a bundle; AssertionError when that takes too long.

    Which worker answers a connection is chance: the last ones must all have been of the new bundle.
    """
    end, alike = time.monotonic() + RELOAD_SECONDS, 0
    while alike < (1 if workers == 1 else 12):
        assert time.monotonic() < end, f"{alike} answers of the new bundle in a row: {server.said()}"
        found = await asyncio.to_thread(sha256, server)
        alike = alike + 1 if found == expected else 0
        if not alike:
            await asyncio.sleep(0.05)


def flips(bundle: Path, random: Random) -> Iterator[tuple[str, bytes]]:
    """Files of a bundle, each with one byte changed."""
    while True:
        name = random.choice((BRANDS, CARD, MANIFEST, MODEL, TOKENIZER))
        content = bytearray((bundle / name).read_bytes())
        content[random.randrange(len(content))] ^= random.randint(1, 255)
        if name != MANIFEST or not same_json(bytes(content), (bundle / name).read_bytes()):
            yield name, bytes(content)


def same_json(one: bytes, other: bytes) -> bool:
    """Whether they say the same: another kind of white space is no damage."""
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def refusals(server: Started, expected: int) -> bool:
    """Whether bundles were soon refused so often, by each of two workers."""
    return asyncio.run(until(lambda: server.said().count(REFUSED) >= 2 * expected, RELOAD_SECONDS))


def test_damaged_bundles_are_refused_and_the_good_one_goes_on(tmp_path: Path, bundle: Path) -> None:
    whole = {path.name: path.read_bytes() for path in bundle.iterdir()}
    damaged = flips(TIER_BUNDLES["fast"], Random(SEED))

    def probabilities(server: Started) -> list[Any]:
        return [result["probabilities"] for result in server.score(EXAMPLE_REQUEST["mentions"])["results"]]

    with started(tmp_path, "--bundle", bundle, "--workers", "2") as server:
        good, scores = sha256(server), probabilities(server)
        pids = {worker.pid for worker in server.workers()}
        began = time.monotonic()
        for number in range(FLIPS):
            name, content = next(damaged)
            put(bundle, name, content)
            server.process.send_signal(signal.SIGHUP)
            assert refusals(server, number + 1), f"flip {number} in {name} was taken: {server.said()[-2_000:]}"
            assert (sha256(server), probabilities(server)) == (good, scores), f"flip {number} in {name}"
            put(bundle, name, whole[name])
        seconds = time.monotonic() - began
        assert server.said().count(REFUSED) == 2 * FLIPS
        manifest = {name: value for name, value in read_manifest(bundle).items() if name != "sha256"}
        seal_manifest(bundle, {**manifest, "version": "0.0.0-other"})
        server.process.send_signal(signal.SIGHUP)
        other = read_manifest(bundle)["sha256"]
        asyncio.run(everywhere(server, 2, other))
        put(bundle, MANIFEST, whole[MANIFEST])
        server.process.send_signal(signal.SIGHUP)
        asyncio.run(everywhere(server, 2, good))
        assert probabilities(server) == scores
        assert {worker.pid for worker in server.workers()} == pids, "a worker has ended"
        assert "Traceback" not in server.said(), server.said()[-4_000:]
        assert stop(server) == 0
    print(f"\ndamaged bundles: {FLIPS} refused in {seconds:.0f} s, then a good one and the first one taken")


def test_reload_reaches_workers_that_are_just_starting(tmp_path: Path, bundle: Path) -> None:
    manifest = {name: value for name, value in read_manifest(bundle).items() if name != "sha256"}
    random = Random(SEED)
    stale = []
    with started(tmp_path, "--bundle", bundle, "--workers", "2") as server:
        for number in range(STARTS):
            seal_manifest(bundle, {**manifest, "version": f"0.0.{number}"})
            victim, other = random.sample(server.workers(), 2)
            victim.kill()
            delay = random.uniform(0.0, 1.5)
            time.sleep(delay)
            server.process.send_signal(signal.SIGHUP)
            assert asyncio.run(two_others(server, victim.pid)), server.said()
            time.sleep(4.0)  # one has started, the other has reloaded
            other.kill()  # so that for a moment the one that was just starting answers alone
            if sha256(server) != read_manifest(bundle)["sha256"]:
                stale.append(f"{delay:.2f}")
            assert asyncio.run(two_others(server, other.pid)), server.said()
            time.sleep(2.0)
        assert stop(server) == 0
    assert not stale, f"a worker that was starting never heard of a reload so many seconds after: {', '.join(stale)}"
    print(f"\nreloads while a worker starts: {STARTS}, all taken by both")


def test_workers_share_the_connections_that_come_at_once(tmp_path: Path) -> None:
    shares = []
    with started(tmp_path, "--tier", "fast", "--workers", "2", "--remember", "0") as server:
        workers = server.workers()
        for _ in range(5):
            before = [sum(worker.cpu_times()[:2]) for worker in workers]
            closed_loop(server.port, requests(), 4 * CLIENTS, 3.0)
            used = [sum(worker.cpu_times()[:2]) - then for worker, then in zip(workers, before, strict=True)]
            shares.append(min(used) / sum(used))
    print(f"\nconnections shared: the less busy of two workers did {', '.join(f'{share:.0%}' for share in shares)}")
    assert min(shares) >= LEAST_SHARE


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    took = []
    for _ in range(5):
        with started(tmp_path, "--tier", "fast", "--workers", "2") as server:
            workers = server.workers()
            server.process.kill()
            began = time.monotonic()
            _, left = psutil.wait_procs(workers, timeout=STOP_SECONDS)
            took.append(time.monotonic() - began)
            assert len(workers) == 2
            assert not left, f"{len(left)} workers go on without their parent"
    print(f"\nparents killed: {len(took)}, no worker left after {max(took):.1f} s")

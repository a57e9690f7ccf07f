"""Bundles and policies that take each other's place while requests come."""

from __future__ import annotations

import json
import logging
import random
import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from data.schema import Mention, MentionError, mention_from_json
from model.policy import Policy
from model.scorer import Scorer
from model.triage import Ready, Triage
from serving.app import Service, create_app
from serving.keys import Keys, new_key
from serving.live import Live, ReloadError, Shadow
from serving.metrics import Metrics
from tests.processes import until

Serve = Callable[[FastAPI], httpx.Client]
AppOf = Callable[..., FastAPI]
NOW = datetime(2026, 11, 21, tzinfo=UTC)
MENTIONS = [
    mention_from_json({"text": text, "brand": "northtel"}, str(number))
    for number, text in enumerate(("I am leaving", "thank you", "where is my order?", "is it any good?"))
]


def load(folder: Path) -> Triage:
    return Triage(Scorer.load(folder), Policy.load(None))


@pytest.fixture
def bundles(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A folder with two bundles, ``one`` and ``two``, alike but for their names."""
    for name in ("one", "two"):
        shutil.copytree(tiny_bundle, tmp_path / "bundles" / name)
    return tmp_path / "bundles"


class Other(Triage):
    """Says something else of every mention."""

    def answer(self, mention: Any, *, as_of: datetime, explain: bool = False) -> list[dict[str, Any]]:
        """No label, where there was one, and all where there was none."""
        answers = super().answer(mention, as_of=as_of, explain=explain)
        return [{**one, "labels": [] if one["labels"] else ["purchase"]} for one in answers]


class Failing(Triage):
    """Fails on every mention but the examples that warm it up."""

    broken = False

    def answer_ready(
        self, turn: Sequence[Ready], *, as_of: datetime, explain: bool = False
    ) -> list[list[dict[str, Any]] | MentionError]:
        """Nothing, once it is broken."""
        if self.broken:
            raise RuntimeError("secret")
        return super().answer_ready(turn, as_of=as_of, explain=explain)


def test_bundle_takes_over_and_says_how_it_compares(bundles: Path) -> None:
    live = Live(load, bundles / "one", bundles)
    before = live.triage
    live.answered(before, MENTIONS)
    takeover = live.reload(live.folder("two"))
    assert live.triage is not before
    assert live.bundle == bundles / "two"
    assert (takeover.compared, takeover.different) == (len(MENTIONS), 0)
    assert (takeover.model, takeover.before) == (before.name, before.name)


@pytest.mark.parametrize(
    "name", ["three", "..", "../bundles/one", "one/", "/etc", "", ".", "one\x00", "..%2fone", "ONE"]
)
def test_only_a_bundle_of_the_folder_can_be_named(bundles: Path, name: str) -> None:
    live = Live(load, bundles / "one", bundles)
    with pytest.raises(ReloadError, match="there are one, two"):
        live.folder(name)
    with pytest.raises(ReloadError, match="--bundles DIR"):
        Live(load, bundles / "one").folder("one")


def test_bundle_with_a_flipped_byte_is_refused_and_the_old_one_goes_on(bundles: Path) -> None:
    live, metrics = Live(load, bundles / "one", bundles), Metrics()
    live._metrics = metrics
    before, draw = live.triage, random.Random(0)
    files = sorted(path for path in (bundles / "two").iterdir() if path.is_file() and path.stat().st_size)
    for number in range(20):
        path = files[number % len(files)]
        whole = path.read_bytes()
        place = draw.randrange(len(whole))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << draw.randrange(8))]) + whole[place + 1 :])
        with pytest.raises(Exception, match=r"."):
            live.reload(bundles / "two")
        assert live.triage is before
        path.write_bytes(whole)
    live.reload(bundles / "two")
    text = metrics.text().decode()
    assert 'firstreply_reloads_total{outcome="refused"} 20.0' in text
    assert 'firstreply_reloads_total{outcome="done"} 1.0' in text


def test_bundle_that_says_otherwise_on_most_mentions_is_refused(tiny_triage: Triage) -> None:
    other = Other(tiny_triage.scorer, tiny_triage.policy)
    live = Live(lambda folder: other if folder == Path("other") else tiny_triage, Path("one"))
    live.answered(tiny_triage, MENTIONS)
    with pytest.raises(ReloadError, match="otherwise .* on 4 of the last 4"):
        live.reload(Path("other"))
    assert live.triage is tiny_triage


def test_bundle_that_fails_on_mentions_is_refused(tiny_triage: Triage, caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing(tiny_triage.scorer, tiny_triage.policy)
    failing.broken = True
    live = Live(lambda folder: failing if folder == Path("bad") else tiny_triage, Path("one"))
    with caplog.at_level(logging.ERROR), pytest.raises(ReloadError, match="fails on mentions: RuntimeError"):
        live.reload(Path("bad"))
    assert live.triage is tiny_triage
    assert "reload refused: RuntimeError" in caplog.text
    assert "secret" not in caplog.text


def test_bundle_that_fails_after_it_took_over_is_rolled_back(tiny_triage: Triage, serve: Serve) -> None:
    failing, metrics = Failing(tiny_triage.scorer, tiny_triage.policy), Metrics()
    live = Live(lambda folder: failing if folder == Path("bad") else tiny_triage, Path("one"), metrics=metrics)
    client = serve(create_app(Service(live, metrics=metrics)))
    live.reload(Path("bad"))
    failing.broken = True
    body = {"mentions": [{"text": "ok"}]}
    assert client.post("/v1/score", json=body).status_code == 500
    assert live.triage is tiny_triage
    assert client.post("/v1/score", json=body).status_code == 200
    assert 'firstreply_reloads_total{outcome="rolled back"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize("text", ["ok", "long " * 1_000])
def test_bundle_that_cannot_make_tokens_is_rolled_back_too(tiny_triage: Triage, serve: Serve, text: str) -> None:
    class Mute(Triage):
        def prepare(self, mention: Mention) -> Ready:
            if mention.text == text:
                raise RuntimeError("secret")
            return super().prepare(mention)

    mute = Mute(tiny_triage.scorer, tiny_triage.policy)
    live = Live(lambda folder: mute if folder == Path("bad") else tiny_triage, Path("one"))
    client = serve(create_app(Service(live)))
    live.reload(Path("bad"))
    assert client.post("/v1/score", json={"mentions": [{"text": text}]}).status_code == 500
    assert live.triage is tiny_triage
    assert client.post("/v1/score", json={"mentions": [{"text": text}]}).status_code == 200


def test_same_bundle_once_more_does_not_make_it_sound(tiny_triage: Triage) -> None:
    bad = Triage(tiny_triage.scorer, tiny_triage.policy)
    live = Live(lambda folder: bad if folder == Path("bad") else tiny_triage, Path("one"))
    live.reload(Path("bad"))
    live.reload()
    live.failed(bad)
    assert live.triage is tiny_triage


def test_bundle_that_has_proved_itself_is_not_rolled_back(tiny_triage: Triage) -> None:
    second = Triage(tiny_triage.scorer, tiny_triage.policy)
    live = Live(lambda folder: second if folder == Path("two") else tiny_triage, Path("one"))
    live.reload(Path("two"))
    live.answered(second, MENTIONS * 250)
    live.failed(second)
    assert live.triage is second


def test_admin_reloads_by_name_and_nobody_else_does(bundles: Path, serve: Serve, tmp_path: Path) -> None:
    admin, crm = new_key(tmp_path / "k", "admin", admin=True), new_key(tmp_path / "k", "crm")
    live, told = Live(load, bundles / "one", bundles), threading.Event()
    client = serve(create_app(Service(live, keys=Keys.load(tmp_path / "k"), reloaded=told.set)))

    def ask(key: str | None, body: Any) -> httpx.Response:
        return client.post("/v1/admin/reload", json=body, headers={"Authorization": f"Bearer {key}"} if key else {})

    assert ask(None, {}).status_code == 401
    assert ask(crm, {}).status_code == 403
    assert ask(admin, {"bundle": "../one"}).status_code == 409
    wrongs: list[Any] = [{"bundle": 1}, {"bundel": "two"}, [], 5, "two"]
    for wrong in wrongs:
        assert ask(admin, wrong).status_code == 422
    assert not told.is_set()
    answer = ask(admin, {"bundle": "two"})
    assert answer.status_code == 200
    assert answer.json()["sha256"] == live.triage.sha256
    assert live.bundle == bundles / "two"
    assert told.is_set()
    (bundles / "one" / "model.onnx").write_bytes(b"")
    refused = ask(admin, {"bundle": "one"})
    assert refused.status_code == 409
    assert "Nothing was changed" in refused.json()["detail"]
    assert live.bundle == bundles / "two"


def test_server_without_keys_has_no_admin(client: httpx.Client) -> None:
    assert client.post("/v1/admin/reload", json={}).status_code == 403


def test_reloads_fail_no_request(bundles: Path, serve: Serve) -> None:
    live = Live(load, bundles / "one", bundles)
    client = serve(create_app(Service(live)))
    statuses: list[int] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            statuses.append(client.post("/v1/score", json={"mentions": [{"text": "ok"}] * 5}).status_code)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for number in range(8):
        live.reload(bundles / ("two" if number % 2 else "one"))
    over.set()
    for thread in asking:
        thread.join()
    assert len(statuses) > 8
    assert set(statuses) == {200}


def test_shadow_reads_along_and_its_disagreements_are_counted(
    tiny_triage: Triage, serve: Serve, app_of: AppOf, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    shadow = Shadow(Other(tiny_triage.scorer, tiny_triage.policy), 1.0, metrics)
    client = serve(app_of(tiny_triage, shadow=shadow))

    def disagreements() -> list[logging.LogRecord]:
        return [record for record in caplog.records if record.getMessage() == "shadow disagrees"]

    with caplog.at_level(logging.INFO, "firstreply"):
        body = {"mentions": [{"id": "mine", "text": "I am leaving @northtel"}, {"text": ""}]}
        answer = client.post("/v1/score", json=body).json()
        assert until(disagreements)  # told last, once all is counted
    expected = tiny_triage.answer(mention_from_json(body["mentions"][0], "1"), as_of=NOW)
    assert answer["results"][0]["labels"] == expected[0]["labels"]
    text = metrics.text().decode()
    assert "firstreply_shadow_mentions_total 1.0" in text
    assert "firstreply_shadow_disagreements_total{intent=" in text
    (record,) = disagreements()
    told = json.dumps(record.__dict__["fields"])
    assert '"id": "mine"' in told
    assert "leaving" not in told


def test_shadow_of_no_share_reads_nothing(tiny_triage: Triage) -> None:
    assert not any(Shadow(tiny_triage, 0.0, Metrics()).chosen() for _ in range(100))

"""The two clients: ``Client`` blocks, ``AsyncClient`` awaits. Each only sends and waits as ``exchange`` tells it to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from itertools import chain
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from firstreply_client import exchange
from firstreply_client.errors import FirstreplyError
from firstreply_client.exchange import Answer, Deadline, Exchange, Reply, Request
from firstreply_client.mentions import Mention, encode
from firstreply_client.parts import Limits, split
from firstreply_client.results import ModelInfo, Result, Unscored

T = TypeVar("T")
Mentions = Iterable[Mention | str | Mapping[str, Any]]
"""What can be scored: mentions, their texts alone, or mappings with the fields of the HTTP contract."""


class Client:
    """Asks a firstreply server, and blocks until it has answered.

    Make one and keep it: it keeps connections. Threads can share it. Used in a ``with`` it closes them.

    What fails for a while is tried again: 429 and 503, after the time that the server's ``Retry-After`` names; broken
    connections, 408, 502 and 504, after times that double, each drawn at random from nothing to that. This is safe,
    since scoring changes nothing on the server.

    Args:
        url: of the server, such as ``http://127.0.0.1:8080``; a path in it is put before every address.
        key: what ``firstreply keys new`` printed, where the server asks for one.
        timeout: seconds for a whole call, with all its attempts, waits and requests. The server is told how much is
            left, and drops what comes too late.
        retries: how often one request is tried again at most.
        limits: how large lists are split.
        transport: httpx's, for a proxy or certificates of your own.

    Raises:
        ValueError: the URL, the key or a number cannot be used.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        *,
        limits: Limits | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = _Settings(timeout, retries, limits)
        self._http = httpx.Client(base_url=_base(url), headers=_headers(key), transport=transport)

    def score(self, mentions: Mentions, explain: bool = False, timeout: float | None = None) -> list[Result | Unscored]:
        """What each mention asks of its target brand, and the priority, deadline and queue that the policy gives it.

        A large list is split, and sent one request after the other. When one of them fails for good, the error's
        ``scored`` holds the results of those before it; asking again for the rest, or for all, does no harm.

        Args:
            mentions: the text of each is enough; what has no id is named by its position from 1.
            explain: also say which words moved each label (``why``). Takes many times as long.
            timeout: seconds for this call, instead of the client's.

        Returns:
            In the order of the mentions, a ``Result`` for each target brand of each, and an ``Unscored`` in the place
            of a mention that cannot be scored.

        Raises:
            FirstreplyError: the server could not be asked, or did not answer.
            TypeError: something is no mention; nothing was sent.
        """
        deadline = self._settings.deadline(timeout)
        results: list[Result | Unscored] = []
        for part in split(encode(mentions), explain, self._settings.limits):
            try:
                results += self._done(exchange.score(part, deadline, self._settings.retries))
            except FirstreplyError as error:
                error.scored = results
                raise
        return results

    def model(self) -> ModelInfo:
        """What answers: model, cut, thresholds and policy.

        Raises:
            FirstreplyError: the server could not be asked, or did not answer.
        """
        return self._done(exchange.model(self._settings.deadline(), self._settings.retries))

    def ready(self) -> bool:
        """Whether the server can score at this moment; False where it cannot be reached. Asked once, never again.

        Raises:
            RefusedError, NotAuthenticatedError: what answers at this address is no firstreply server.
        """
        return self._done(exchange.ready(self._settings.deadline()))

    def close(self) -> None:
        """Close the connections; the client is of no use afterwards."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _done(self, steps: Exchange[T]) -> T:
        answer: Answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                returned: T = end.value
                return returned
            if isinstance(step, Request):
                answer = self._sent(step)
            else:
                answer = None
                time.sleep(step)

    def _sent(self, request: Request) -> Reply | httpx.RequestError:
        body = bytearray()
        try:
            with self._http.stream(
                request.method, request.path, content=request.body, headers=request.headers, timeout=request.timeout
            ) as response:
                # The time was for the headers; what is left of it is for the body.
                response.request.extensions["timeout"]["read"] = max(request.deadline.left(), 0.001)
                for piece in response.iter_bytes():
                    body += piece
                    if request.deadline.left() <= 0:
                        return httpx.ReadTimeout("the answer did not come whole")
                return Reply(response.status_code, response.headers, bytes(body))
        except httpx.RequestError as error:
            return error


class AsyncClient:
    """Asks a firstreply server from asyncio; otherwise as ``Client``, with the same arguments.

    The requests of a large list go out several at once (``Limits.at_once``).
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = 30.0,
        retries: int = 5,
        *,
        limits: Limits | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = _Settings(timeout, retries, limits)
        self._http = httpx.AsyncClient(base_url=_base(url), headers=_headers(key), transport=transport)

    async def score(
        self, mentions: Mentions, explain: bool = False, timeout: float | None = None
    ) -> list[Result | Unscored]:
        """As ``Client.score``, several requests at once.

        When one of them fails for good, those that wait are not sent, those on their way are given up, and ``scored``
        holds the results of those that were answered.
        """
        deadline, turns = self._settings.deadline(timeout), asyncio.Semaphore(self._settings.limits.at_once)
        parts = list(split(encode(mentions), explain, self._settings.limits))
        results: list[list[Result | Unscored]] = [[] for _ in parts]

        async def fill(place: int) -> None:
            async with turns:
                results[place] = await self._done(exchange.score(parts[place], deadline, self._settings.retries))

        try:
            async with asyncio.TaskGroup() as group:
                for place in range(len(parts)):
                    group.create_task(fill(place))
        except ExceptionGroup as failures:
            failure = failures.exceptions[0]
            if isinstance(failure, FirstreplyError):
                failure.scored = list(chain.from_iterable(results))
            raise failure from failure.__cause__
        return list(chain.from_iterable(results))

    async def model(self) -> ModelInfo:
        """As ``Client.model``."""
        return await self._done(exchange.model(self._settings.deadline(), self._settings.retries))

    async def ready(self) -> bool:
        """As ``Client.ready``."""
        return await self._done(exchange.ready(self._settings.deadline()))

    async def aclose(self) -> None:
        """Close the connections; the client is of no use afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _done(self, steps: Exchange[T]) -> T:
        answer: Answer = None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as end:
                returned: T = end.value
                return returned
            if isinstance(step, Request):
                answer = await self._sent(step)
            else:
                answer = None
                await asyncio.sleep(step)

    async def _sent(self, request: Request) -> Reply | httpx.RequestError:
        try:
            async with asyncio.timeout(request.deadline.left()):
                response = await self._http.request(
                    request.method, request.path, content=request.body, headers=request.headers, timeout=request.timeout
                )
        except TimeoutError:
            return httpx.ReadTimeout("the answer did not come whole")
        except httpx.RequestError as error:
            return error
        return Reply(response.status_code, response.headers, response.content)


class _Settings:
    """What the clients are told once, and checked."""

    def __init__(self, timeout: float, retries: int, limits: Limits | None) -> None:
        if retries < 0:
            raise ValueError(f"retries is {retries}; it must be 0 or more")
        self.retries, self.limits, self._timeout = retries, limits or Limits(), timeout
        self.deadline()

    def deadline(self, timeout: float | None = None) -> Deadline:
        """Of a call that begins now."""
        return Deadline(self._timeout if timeout is None else timeout)


def _base(url: str) -> httpx.URL:
    try:
        base = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no URL: {error}") from None
    if base.scheme not in ("http", "https") or not base.host:
        raise ValueError(f"{url!r} is no address of a server; give one such as http://127.0.0.1:8080")
    return base


def _headers(key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError("the key is empty or has characters that no key has; give None where there is none")
    return {"Authorization": f"Bearer {key}"}

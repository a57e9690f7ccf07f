"""Who is let in: a key where keys are asked for, within its rate. Leaves out the keys themselves (``serving.keys``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.requests import Request

from serving.keys import Keys
from serving.problems import Problem


class Gate:
    """Asks every request for its key; without keys everybody is let in, but for ``admin``.

    Args:
        keys: those in use, asked anew each time as they can change.
    """

    def __init__(self, keys: Callable[[], Keys | None]) -> None:
        self._keys = keys

    @contextmanager
    def admitted(self, request: Request, admin: bool = False) -> Iterator[None]:
        """Let a request in, until the end of the block.

        Raises:
            Problem: 401, 403 or 429.
        """
        keys = self._keys()
        if keys is None:
            if admin:
                raise Problem(403, "This server was started without keys, and nobody is its admin; use --keys FILE.")
            yield
            return
        given = request.headers.getlist("authorization")
        account = keys.find(given[0]) if len(given) == 1 else None
        if account is None:
            what = "There is no key"
            if given:
                is_bearer = given[0].lower().startswith("bearer ")
                what = "The key is none of this server's" if is_bearer else "The header does not begin with Bearer"
            raise Problem(401, f"{what}; send Authorization: Bearer KEY.", {"WWW-Authenticate": "Bearer"})
        request.scope["caller"] = account.name
        if admin and not account.caller.admin:
            raise Problem(403, f"{account.name} is no admin.")
        if account.caller.at_once is not None and account.in_flight >= account.caller.at_once:
            raise Problem(
                429, f"{account.caller.at_once} requests of {account.name} are in flight.", {"Retry-After": "1"}
            )
        if wait := account.wait():
            seconds = str(math.ceil(wait))
            rate = f"{account.name} may send {account.caller.per_second:g} requests a second; wait {seconds} s."
            raise Problem(429, rate, {"Retry-After": seconds})
        account.in_flight += 1
        try:
            yield
        finally:
            account.in_flight -= 1

"""API keys: who may call, and how much. Leaves out where a key is asked for (``serving.gate``).

The keys file is TOML, one table a caller. It holds the SHA-256 of a key and never the key: what is random and long
needs no slower hash. A key is changed by a second table beside the first, which goes when nobody uses it any more.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from data.schema import FirstreplyError

PREFIX = "fr_"
"""What keys begin with, so that one that was published by mistake can be found."""
_NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_RANDOM_BYTES = 32


class KeysError(FirstreplyError):
    """A keys file that cannot be used."""


class Caller(BaseModel):
    """What a table of the keys file says of a caller."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Of the key."""
    admin: bool = False
    """May also do what ``/v1/admin`` offers."""
    per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Requests a second over time, and as many at once after a pause (at least one); None is any number."""
    at_once: Annotated[int, Field(ge=1)] | None = None
    """Requests in flight at once; None is any number."""


_Callers = TypeAdapter(dict[Annotated[str, Field(pattern=f"^{_NAME}$")], Caller])


@dataclass
class Account:
    """A caller, and what it has used up."""

    name: str
    caller: Caller
    share: int = 1
    """Among how many workers its rate is shared out."""
    in_flight: int = 0
    _left: float = field(init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._since = self._most(), time.monotonic()

    def wait(self) -> float:
        """Take one request off the rate: 0.0, or the seconds until there is one to take."""
        if self.caller.per_second is None:
            return 0.0
        rate, now = self.caller.per_second / self.share, time.monotonic()
        self._left = min(self._most(), self._left + (now - self._since) * rate)
        self._since = now
        if self._left < 1:
            return (1 - self._left) / rate
        self._left -= 1
        return 0.0

    def _most(self) -> float:
        return max(1.0, (self.caller.per_second or 1.0) / self.share)


class Keys:
    """The callers of a keys file.

    Args:
        callers: by name.
        workers: processes that share out every caller's rate.
        before: those in use until now: a caller that is still the same keeps what it has used up.
    """

    def __init__(self, callers: dict[str, Caller], workers: int = 1, before: Keys | None = None) -> None:
        used = {(account.name, account.caller): account for _, account in before._accounts} if before else {}
        self._accounts: list[tuple[bytes, Account]] = [
            (bytes.fromhex(caller.sha256), used.get((name, caller)) or Account(name, caller, workers))
            for name, caller in callers.items()
        ]

    @classmethod
    def load(cls, path: Path, workers: int = 1, before: Keys | None = None) -> Keys:
        """Read a keys file.

        Raises:
            KeysError: it cannot be read, is no TOML, says what it cannot, or has no caller.
        """
        callers = _read(path)
        if not callers:
            raise KeysError(f"{path}: there is no key in it; make one with: firstreply keys new {path} NAME")
        return cls(callers, workers, before)

    def find(self, authorization: str) -> Account | None:
        """Whose key an ``Authorization`` header has; how long that takes tells nothing of the keys."""
        scheme, _, key = authorization.partition(" ")
        given = hashlib.sha256(key.strip().encode("utf-8", "surrogateescape")).digest()
        found = None
        for digest, account in self._accounts:
            if hmac.compare_digest(digest, given):
                found = account
        return found if scheme.lower() == "bearer" else None


def new_key(path: Path, name: str, **settings: Any) -> str:
    """Add a caller to a keys file, which need not be there yet, and make its key.

    Args:
        path: the keys file; only its owner may read a new one.
        name: of the caller.
        **settings: of ``Caller``, without ``sha256``.

    Returns:
        The key, which is kept nowhere.

    Raises:
        KeysError: the file cannot be used, or the name is taken or cannot be one.
    """
    if not re.fullmatch(_NAME, name):
        raise KeysError(f"{name!r:.80} cannot be a caller's name; use letters, digits, - and _, 64 at most")
    there = os.access(path, os.F_OK) and path.stat().st_size > 0
    if there and name in _read(path):
        raise KeysError(f"{path}: {name} has a key; for a second one take another name, such as {name}-2")
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    lines = [f"[{name}]", f'sha256 = "{hashlib.sha256(key.encode()).hexdigest()}"']
    for setting, value in settings.items():
        if value:
            lines.append(f"{setting} = {str(value).lower()}")
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as stream:
            stream.write(("\n" if there else "") + "\n".join(lines) + "\n")
    except OSError as error:
        raise KeysError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    return key


def _read(path: Path) -> dict[str, Caller]:
    try:
        return _Callers.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise KeysError(f"{path}: {reason}; make one with: firstreply keys new {path} NAME") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KeysError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise KeysError(f"{path}: {where} is no setting; there are {', '.join(Caller.model_fields)}") from None
        raise KeysError(f"{path}: {where}: {first['msg'].lower()}") from None

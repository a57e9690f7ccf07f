"""The brands file: which names, handles, aliases and products belong to one brand, so that its target can be masked.

Leaves the masking itself to ``model.normalise``. The file is TOML, one table per brand key::

    [target]
    names = ["Target"]
    handles = ["Target", "AskTarget"]
    aliases = ["Targét"]
    products = ["Good & Gather"]
    common_word = true            # also an English word: masked as *another* brand only where written with a capital
    except = ["target audience"]  # phrases that never name the brand

A brand that the file does not list works too: it goes by the name given, with the affixes of care handles
("Ask…", "…Support", "…Cares") taken off.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from data.schema import brand_key
from model.errors import BrandsError

DEFAULT_BRANDS = Path(__file__).with_name("brands.toml")
PLACEHOLDER = "__company__"
"""How corpora that hide the brand write it; always the target."""
LONGEST_PREFIX = 40
"""Letters of the longest beginning of a name in ``prefixes``; longer ones are cut to it."""

_LONGEST_HANDLE = 50
"""Letters of the longest name that can have affixes; networks allow 15 to 30 for a handle."""
_LONGEST_LISTED = 10
"""Words of the longest listed name that is looked for at the beginning of a longer one."""
_LONGEST_SOUGHT = 200
"""Characters of a name as given that may be remembered, or be found in pieces."""
_SHORTEST_IN_HASHTAG = 4
_MOST_SPELLINGS = 4
"""Parts between brackets of a name as given; what is left is one part."""

_POSSESSIVE = re.compile(r"['’][sS](?!\w)")
_CARE = re.compile(
    r"^(?:ask|team|my|the|official|contact)(?=.{3})|(?<=.{3})(?:support|helps?|cares?|service|assist|official|hq|cs)$"
)
_MARKET = re.compile(
    r"(?<=.{3})(?:airlines|airways|air|bank|uk|usa|us|india|canada|australia|mobile|app|online|official)$"
)

Names = Annotated[
    tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...], Field(strict=False)
]


class Brand(BaseModel):
    """One table of the brands file."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    names: Names = ()
    handles: Names = ()
    aliases: Names = ()
    products: Names = ()
    common_word: bool = False
    exceptions: Annotated[Names, Field(alias="except")] = ()


@dataclass(frozen=True)
class Target:
    """What stands for the target brand in a text. Surfaces are brand keys of names ("wellsfargo")."""

    key: str
    surfaces: frozenset[str]
    handles: frozenset[str]
    core: str
    possessives: frozenset[str]
    """Surfaces, and beginnings of surfaces, whose "'s" is the name's own ("mcdonalds")."""

    @cached_property
    def prefixes(self) -> frozenset[str]:
        """Every beginning of every surface, so that a search can stop early."""
        return _prefixes(self.surfaces)

    @cached_property
    def hashtag_names(self) -> tuple[str, ...]:
        """Surfaces that are cut off a hashtag's beginning or end, the longest first."""
        return tuple(sorted((s for s in self.surfaces if len(s) >= _SHORTEST_IN_HASHTAG), key=lambda s: (-len(s), s)))

    def owns_handle(self, handle: str) -> bool:
        """Whether a handle (without "@") is the target's: listed, or the same name with a care or market affix."""
        surface = brand_key(handle)
        return surface in self.handles or surface in self.surfaces or (self.core != "" and core(surface) == self.core)


class Brands:
    """A loaded brands file: looks up keys and targets."""

    def __init__(self, entries: Mapping[str, Brand], sha256: str) -> None:
        self.entries = dict(entries)
        self.sha256 = sha256
        self.handles: dict[str, str] = {}
        """Handle surface → brand key, for every listed handle."""
        self.surfaces: dict[str, str] = {}
        """Name, alias or product surface → brand key."""
        self.exceptions: frozenset[str] = frozenset(
            brand_key(phrase) for brand in entries.values() for phrase in brand.exceptions
        )
        """Surfaces of phrases that never name a brand."""
        for key, brand in entries.items():
            for name in (key, *brand.names, *brand.aliases, *brand.products):
                self._claim(self.surfaces, name, key)
            for handle in brand.handles:
                self._claim(self.handles, handle, key)
        self.prefixes = _prefixes((*self.surfaces, *self.exceptions))
        """Every beginning of every name and exception, so that a search can stop early."""
        self.possessives = _possessives(
            name for brand in entries.values() for name in (*brand.names, *brand.aliases, *brand.products)
        )
        """Surfaces, and beginnings of surfaces, whose "'s" is the name's own ("mcdonalds")."""
        self._remembered = lru_cache(maxsize=4096)(self._target)

    @classmethod
    def load(cls, path: Path | None = None) -> Brands:
        """Read a brands file; None reads the default one.

        Raises:
            BrandsError: not readable, not TOML, an unknown field, or one name that two brands claim.
        """
        path = path or DEFAULT_BRANDS
        try:
            raw = path.read_bytes()
            tables = tomllib.loads(raw.decode())
        except OSError as error:
            raise BrandsError(f"brands file {path}: {error.strerror or error}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BrandsError(f"brands file {path} is not TOML: {error}") from None
        entries = {}
        for key, table in tables.items():
            if key != brand_key(key):
                raise BrandsError(f"brands file {path}: [{key}] is not a brand key; write [{brand_key(key)}]")
            try:
                entries[key] = Brand.model_validate(table)
            except ValidationError as error:
                problem = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in (key, *problem["loc"]))
                known = "; known are names, handles, aliases, products, common_word, except"
                hint = known if problem["type"] == "extra_forbidden" else ""
                raise BrandsError(f"brands file {path}: {where}: {problem['msg']}{hint}") from None
        try:
            return cls(entries, hashlib.sha256(raw).hexdigest())
        except BrandsError as error:
            raise BrandsError(f"brands file {path}: {error}") from None

    def key(self, name: str) -> str:
        """Brand key of any spelling, name, handle, alias or product.

        Of a name with more words than the file has ("Apple iPhone X"), the first words that it does have decide.
        """
        surface = brand_key(name)
        words = name.split(maxsplit=_LONGEST_LISTED)
        beginnings = [brand_key("".join(words[:length])) for length in range(len(words) - 1, 0, -1)]
        for candidate in (surface, core(surface), *beginnings):
            if found := self.handles.get(candidate) or self.surfaces.get(candidate):
                return found
        return surface

    def is_common_word(self, key: str) -> bool:
        """Whether the brand's name is also an English word."""
        return key in self.entries and self.entries[key].common_word

    def target(self, name: str) -> Target:
        """What stands for ``name``, the target brand, in a text (remembered for the 4,096 latest names)."""
        return self._remembered(name) if len(name) <= _LONGEST_SOUGHT else self._target(name)

    def _target(self, name: str) -> Target:
        if name == PLACEHOLDER:
            return Target(brand_key(name), frozenset(), frozenset(), "", frozenset())
        key = self.key(name)
        # "PlayStation5(PS5)": both stand for the brand
        given = {brand_key(part) for part in (name, *re.split(r"[()]", name, maxsplit=_MOST_SPELLINGS)) if part.strip()}
        surfaces = {_without_care(part) for part in given} | given
        handles = set(given)
        entry = self.entries.get(key)
        if entry is not None:
            surfaces |= {brand_key(part) for part in (key, *entry.names, *entry.aliases, *entry.products)}
            handles |= {brand_key(part) for part in entry.handles}
        return Target(
            key, frozenset(surfaces), frozenset(handles), core(key if entry else brand_key(name)), _possessives((name,))
        )

    def _claim(self, index: dict[str, str], name: str, key: str) -> None:
        surface = brand_key(name)
        owner = index.setdefault(surface, key)
        if owner != key:
            raise BrandsError(f"{name!r} belongs to both [{owner}] and [{key}]; keep it in one")


def _prefixes(surfaces: Iterable[str]) -> frozenset[str]:
    return frozenset(
        surface[:length] for surface in surfaces for length in range(1, min(len(surface), LONGEST_PREFIX) + 1)
    )


def _possessives(names: Iterable[str]) -> frozenset[str]:
    return frozenset(
        brand_key(name[: tail.end()]) for name in names for tail in _POSSESSIVE.finditer(name[:_LONGEST_SOUGHT])
    )


def _without_care(surface: str) -> str:
    """A handle's surface without what care teams put around the name: "askwellsfargo" → "wellsfargo"."""
    previous = ""
    while previous != surface and len(surface) <= _LONGEST_HANDLE:
        previous, surface = surface, _CARE.sub("", surface)
    return surface


def core(surface: str) -> str:
    """A surface without care and market affixes: "americanair" → "american", so that handles and names meet."""
    return _core(surface) if len(surface) <= _LONGEST_HANDLE else surface


@lru_cache(maxsize=16_384)
def _core(surface: str) -> str:
    previous = ""
    while previous != surface:
        previous, surface = surface, _MARKET.sub("", _without_care(surface))
    return surface

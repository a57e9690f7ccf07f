"""A cascade: a fast bundle reads every mention, and what it is not sure of goes to a full one.

How sure it has to be is a band of probabilities per cut and intent, fitted by ``training.cascade``. What escalates is
answered wholly by the full bundle. Leaves reading to ``model.scorer``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.brands import Brands
from model.bundle import (
    BRANDS,
    CUTS,
    FORMAT,
    FORMATS,
    MANIFEST,
    Bundle,
    Interval,
    intervals_of,
    read_manifest,
    seal_manifest,
)
from model.errors import BundleError
from model.scorer import MentionReader, Prepared, Reading, Scorer

KIND = "cascade"
TIERS = ("fast", "full")


@dataclass(frozen=True)
class CascadeBundle:
    """What the ``bundle.json`` of a cascade says."""

    folder: Path
    name: str
    version: str
    fast: Bundle
    full: Bundle
    bands: Mapping[str, tuple[Interval, ...]]
    """Cut name → per intent the probabilities, ends included, that the fast bundle leaves to the full one."""
    figures: Mapping[str, Any]
    sha256: str
    """Hash of the manifest, and through it of both bundles."""

    @classmethod
    def load(cls, folder: Path) -> CascadeBundle:
        """Read and check a cascade and its two bundles.

        Raises:
            BundleError: a file is missing or damaged, or a bundle is not the one that the cascade was made of.
        """
        manifest = read_manifest(folder)
        if manifest.get("format") not in FORMATS or manifest.get("kind") != KIND:
            raise BundleError(f"bundle {folder} is no cascade of a format that this firstreply reads")
        try:
            bundles = [_part(folder, tier, manifest["bundles"][tier]) for tier in TIERS]
            return cls(
                folder=folder,
                name=manifest["name"],
                version=manifest["version"],
                fast=bundles[0],
                full=bundles[1],
                bands={cut: intervals_of(manifest["bands"][cut]) for cut in CUTS},
                figures=manifest["figures"],
                sha256=manifest["sha256"],
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"bundle {folder}: {MANIFEST} lacks or garbles {error}; get the bundle again") from None


class Cascade(MentionReader):
    """A loaded cascade, at one cut. Thread-safe; it reads as a ``Scorer`` does."""

    def __init__(self, cascade: CascadeBundle, fast: Scorer, full: Scorer, cut: str) -> None:
        self.cascade = cascade
        self.fast = fast
        self.full = full
        self.cut = cut
        self.bands = cascade.bands[cut]

    @property
    def name(self) -> str:
        """What results call the model: NAME@VERSION, with the brands file's hash where another one is in use."""
        own = f"{self.full.bundle.name}@{self.full.bundle.version}"
        return f"{self.cascade.name}@{self.cascade.version}{self.full.name.removeprefix(own)}"

    @property
    def bundle(self) -> Bundle:
        """The full bundle: the one that answers what is hard."""
        return self.full.bundle

    @property
    def brands(self) -> Brands:
        """The brands file in use, of both."""
        return self.full.brands

    def at(self, cut: str) -> Cascade:
        """The same with the bands of another cut.

        Raises:
            BundleError: there is no such cut.
        """
        self.bundle.thresholds(cut)
        return self if cut == self.cut else Cascade(self.cascade, self.fast, self.full, cut)

    def prepare(self, text: str, brand: str | None) -> Prepared:
        """What the fast bundle will be given."""
        return self.fast.prepare(text, brand)

    def read_prepared(self, prepared: Prepared) -> Reading:
        """What the fast bundle reads or, where one of its probabilities is in its band, the full one.

        Both read with one brands file, so text is normalised once.
        """
        reading = self.fast.read_prepared(prepared)
        if reading.any_within(self.bands):
            return replace(self.full.read_prepared(self.full.prepare_words(prepared.normalised)), tier="full")
        return replace(reading, tier="fast")

    def remembered(self) -> tuple[int, int]:
        """Of both bundles together."""
        (hits, misses), (more, others) = self.fast.remembered(), self.full.remembered()
        return hits + more, misses + others

    def explain(
        self, text: str, brand: str | None, intents: Sequence[str], *, against: bool = False
    ) -> dict[str, list[dict[str, Any]]]:
        """The words that an intent rests on, by the bundle that answers."""
        answers = self.full if self.read(text, brand).tier == "full" else self.fast
        return answers.explain(text, brand, intents, against=against)


Reader = Scorer | Cascade
"""Whatever reads mentions."""


def load_reader(folder: Path, *, brands: Path | None = None, cut: str = "balanced", remember: int = 0) -> Reader:
    """Load a bundle or a cascade, with its own brands file or another, to be used at a cut.

    ``remember`` is how many mentions each bundle remembers (``Scorer``).

    Raises:
        BundleError: it is missing, damaged or of another version, or has no such cut.
        BrandsError: the brands file cannot be used.
    """
    if not is_cascade(folder):
        return Scorer.load(folder, brands=brands, remember=remember).at(cut)
    cascade = CascadeBundle.load(folder)
    brands = brands or cascade.full.folder / BRANDS  # both read alike
    fast, full = (Scorer.of(bundle, brands=brands, remember=remember) for bundle in (cascade.fast, cascade.full))
    return Cascade(cascade, fast, full, "balanced").at(cut)


def is_cascade(folder: Path) -> bool:
    """Whether the folder says that it is a cascade."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError, RecursionError):
        return False  # what is wrong with it is said when it is loaded
    return isinstance(manifest, dict) and manifest.get("kind") == KIND


def write_cascade(
    folder: Path, parts: Mapping[str, Path], bands: Mapping[str, Any], described: Mapping[str, Any]
) -> None:
    """Write the ``bundle.json`` of a cascade.

    Args:
        folder: where to; made if need be.
        parts: tier (``TIERS``) → folder of its bundle; recorded relative to ``folder``.
        bands: cut → intent → [low, high], or None where nothing escalates.
        described: ``name``, ``version`` and ``figures``.
    """
    bundles = {
        tier: {"folder": _relative(part, folder), "sha256": Bundle.load(part).sha256} for tier, part in parts.items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    seal_manifest(folder, {"format": FORMAT, "kind": KIND, **described, "bundles": bundles, "bands": bands})


def _relative(part: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(part.resolve(), folder.resolve())).as_posix()
    except ValueError:  # of Windows
        raise BundleError(f"bundle {part} is on another drive than {folder}; put both on one") from None


def _part(folder: Path, tier: str, recorded: Mapping[str, str]) -> Bundle:
    bundle = Bundle.load(folder / recorded["folder"])
    if bundle.sha256 != recorded["sha256"]:
        raise BundleError(
            f"bundle {folder}: its {tier} bundle {bundle.folder} is not the one that the cascade was made of;"
            " make the cascade again"
        )
    return bundle

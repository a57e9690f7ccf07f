"""A bundle: the model folder that describes itself, checked by hash and version before anything in it is used.

Leaves running the model to ``model.scorer`` and fitting what is in it to ``training``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.schema import INTENTS
from model.brands import Brands
from model.encoding import Encoder
from model.errors import BundleError
from model.normalise import NORMALISER_VERSION

FORMAT = 2
"""Of the bundles that are written; since 2 a model need not ask for ``attention_mask``."""
FORMATS = (1, 2)
"""Of those that are read."""
Interval = tuple[float, float]
NO_INTERVAL: Interval = (math.inf, -math.inf)
"""Holds no probability."""
CUTS = ("balanced", "p70", "p80", "p90", "p95")
DEFAULT_BUNDLE = Path(__file__).with_name("default")
TIER_BUNDLES = {
    "full": DEFAULT_BUNDLE,
    "fast": DEFAULT_BUNDLE.with_name("fast"),
    "cascade": DEFAULT_BUNDLE.with_name("cascade"),
}
"""Tier → the bundle that comes along."""
MANIFEST, MODEL, TOKENIZER, BRANDS, CARD = "bundle.json", "model.onnx", "tokenizer.json", "brands.toml", "MODEL_CARD.md"


@dataclass(frozen=True)
class Calibration:
    """Platt scaling per intent: probability = sigmoid(scale × logit + offset), both in the order of ``INTENTS``.

    Platt, "Probabilistic outputs for support vector machines" (1999).
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]

    def log_odds(self, logits: tuple[float, ...]) -> tuple[float, ...]:
        """Calibrated log-odds of raw logits."""
        return tuple(a * z + b for a, b, z in zip(self.scale, self.offset, logits, strict=True))


def probability(log_odds: float) -> float:
    """The logistic function, without overflow."""
    if log_odds >= 0:
        return 1 / (1 + math.exp(-log_odds))
    odds = math.exp(log_odds)
    return odds / (1 + odds)


@dataclass(frozen=True)
class Bundle:
    """What ``bundle.json`` says, and where the rest lies."""

    folder: Path
    name: str
    version: str
    max_tokens: int
    normaliser_version: int
    base_model: str
    calibration: Calibration
    cuts: Mapping[str, tuple[float, ...]]
    """Cut name → threshold per intent; infinity where no threshold reaches the cut's precision."""
    intervals: Mapping[str, tuple[Interval, ...]]
    """Cut name → 95% interval of each threshold, ends included; ``NO_INTERVAL`` where the bundle states none."""
    stated: Mapping[str, Mapping[str, Sequence[float] | None]]
    """Cut name → per intent the 95% interval of the precision that its maker measured; empty in older bundles."""
    data: tuple[Mapping[str, Any], ...]
    """The corpora it was trained on, each with at least ``name``, ``mentions`` and ``licence``."""
    figures: Mapping[str, Any]
    sha256: str
    """Hash of the manifest, and through it of every file."""
    permissive: bool = False
    """Trained without corpora whose licence does not clearly allow commercial use."""
    behaviour: Mapping[str, Any] | None = None
    """``releasable`` and the behavioural ``tests`` by name, each with its rate and floor; None where none were run."""

    @classmethod
    def load(cls, folder: Path) -> Bundle:
        """Read and check a bundle.

        Raises:
            BundleError: a file is missing or differs from its hash, or the bundle was made for another version.
        """
        manifest = read_manifest(folder)
        if manifest.get("kind"):
            raise BundleError(f"bundle {folder} is a {manifest['kind']} of two bundles; give one of these")
        files = manifest.get("files")
        missing = {MODEL, TOKENIZER, BRANDS, CARD}.difference(files if isinstance(files, dict) else ())
        if missing:
            raise BundleError(f"bundle {folder}: {MANIFEST} records no hash for {', '.join(sorted(missing))}")
        if manifest.get("format") not in FORMATS:
            known = " and ".join(map(str, FORMATS))
            raise BundleError(f"bundle {folder}: format {manifest.get('format')!r}; this firstreply reads {known}")
        for name, expected in manifest["files"].items():
            try:
                found = file_hash(folder / name)
            except OSError as error:
                raise BundleError(f"bundle {folder}: {name}: {error.strerror}; get the bundle again") from None
            if found != expected:
                raise BundleError(
                    f"bundle {folder}: {name} is damaged (its hash is not the recorded one); get it again"
                )
        if manifest.get("normaliser") != NORMALISER_VERSION:
            raise BundleError(
                f"bundle {folder} was trained with normaliser {manifest.get('normaliser')}, this firstreply has"
                f" {NORMALISER_VERSION}; retrain it or install the version that made it"
            )
        if manifest.get("intents") != list(INTENTS):
            raise BundleError(f"bundle {folder} has the intents {manifest.get('intents')}, not {list(INTENTS)}")
        try:
            calibration = manifest["calibration"]
            return cls(
                folder=folder,
                name=manifest["name"],
                version=manifest["version"],
                max_tokens=int(manifest["max_tokens"]),
                normaliser_version=manifest["normaliser"],
                base_model=manifest["base_model"],
                calibration=Calibration(_per_intent(calibration["scale"]), _per_intent(calibration["offset"])),
                cuts={name: _thresholds(manifest["cuts"][name]["thresholds"]) for name in CUTS},
                intervals={name: intervals_of(manifest["cuts"][name].get("threshold_interval", {})) for name in CUTS},
                stated={name: manifest["cuts"][name].get("interval", {}) for name in CUTS},
                data=tuple(manifest["data"]),
                figures=manifest["figures"],
                sha256=manifest["sha256"],
                permissive=bool(manifest.get("permissive")),
                behaviour=manifest.get("behaviour"),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BundleError(f"bundle {folder}: {MANIFEST} lacks or garbles {error}; get the bundle again") from None

    def thresholds(self, cut: str) -> tuple[float, ...]:
        """Thresholds of a cut, in the order of ``INTENTS``.

        Raises:
            BundleError: there is no such cut.
        """
        if cut not in self.cuts:
            raise BundleError(f"there is no cut {cut!r}; bundle {self.folder} has {', '.join(self.cuts)}")
        return self.cuts[cut]

    def encoder(self) -> Encoder:
        """The tokenizer, ready for this model."""
        return Encoder.load(self.folder / TOKENIZER, self.max_tokens)

    def brands(self) -> Brands:
        """The brands file inside the bundle."""
        return Brands.load(self.folder / BRANDS)


def write_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Complete ``manifest`` with format, normaliser, intents and hashes of the folder's files, and write it."""
    files = {name: file_hash(folder / name) for name in (MODEL, TOKENIZER, BRANDS, CARD)}
    whole = {
        "format": FORMAT,
        **manifest,
        "normaliser": NORMALISER_VERSION,
        "intents": list(INTENTS),
        "files": files,
    }
    seal_manifest(folder, whole)


def seal_manifest(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write a manifest that is whole but for its own hash, which ``read_manifest`` checks."""
    sealed = {**manifest, "sha256": _canonical_hash(manifest)}
    (folder / MANIFEST).write_text(json.dumps(sealed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def file_hash(path: Path) -> str:
    """SHA-256 of a file in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder, its own hash checked.

    Raises:
        BundleError: it is missing or damaged.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
    except OSError as error:
        raise BundleError(f"bundle {folder}: cannot read {MANIFEST}: {error.strerror}; is this a bundle?") from None
    except (ValueError, RecursionError):
        raise BundleError(f"bundle {folder}: {MANIFEST} is damaged (not JSON); get the bundle again") from None
    if not isinstance(manifest, dict) or manifest.get("sha256") != _canonical_hash(manifest):
        raise BundleError(f"bundle {folder}: {MANIFEST} is damaged (its hash is not the recorded one); get it again")
    return manifest


def _canonical_hash(manifest: Mapping[str, Any]) -> str:
    body = {name: value for name, value in manifest.items() if name != "sha256"}
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def _per_intent(values: Mapping[str, float]) -> tuple[float, ...]:
    numbers = tuple(float(values[intent]) for intent in INTENTS)
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"numbers: {numbers}")
    return numbers


def _thresholds(values: Mapping[str, float | None]) -> tuple[float, ...]:
    known = _per_intent({intent: 0.0 if value is None else value for intent, value in values.items()})
    return tuple(math.inf if values[intent] is None else t for intent, t in zip(INTENTS, known, strict=True))


def intervals_of(values: Mapping[str, Sequence[float] | None]) -> tuple[Interval, ...]:
    """Intervals of probabilities in the order of ``INTENTS``, ``NO_INTERVAL`` where an intent has none.

    Raises:
        TypeError: not pairs of numbers.
        ValueError: not 0 <= low <= high <= 1.
    """
    given = (values.get(intent) for intent in INTENTS)
    return tuple(NO_INTERVAL if ends is None else _interval(*map(float, ends)) for ends in given)


def _interval(low: float, high: float) -> Interval:
    if not 0 <= low <= high <= 1:
        raise ValueError(f"interval: {low} to {high}")
    return low, high

"""Teachers of a training run: what bundles and kept encoders read in its mentions.

Leaves mixing that with the labels to ``training.examples``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.schema import INTENTS, LabelledMention
from model.brands import Brands
from model.bundle import MANIFEST, Bundle, file_hash
from model.encoding import Encoder
from model.errors import FirstreplyError
from model.scorer import Scorer
from training import calibrate
from training.base import load_base
from training.examples import padded, token_ids
from training.fit import multiplies_bfloat16
from training.kept import RECORD, WEIGHTS, Kept, kept_record, restore_head
from training.network import IntentNetwork, target_id
from training.processes import say
from training.sample import Floats, Sample

_BATCH = 64


class TeacherError(FirstreplyError):
    """A folder given as a teacher is neither a bundle nor a kept encoder."""


@dataclass(frozen=True)
class Teacher:
    """A bundle, or the encoder and head that ``train --keep-encoder`` kept."""

    folder: Path
    file: Path
    """What its hash is of: the manifest, or the encoder's weights."""
    sha256: str
    made: Bundle | Kept

    @classmethod
    def load(cls, folder: Path) -> Teacher:
        """Find out what the folder holds.

        Raises:
            TeacherError: neither of the two.
            BundleError: a bundle that cannot be used.
            BaseModelError: a kept encoder that cannot be used.
        """
        if (folder / MANIFEST).is_file():
            bundle = Bundle.load(folder)
            return cls(folder, folder / MANIFEST, bundle.sha256, bundle)
        kept = kept_record(folder)
        if kept is None:
            raise TeacherError(
                f"--teacher {folder}: no {MANIFEST} and no {RECORD}; give a bundle or what --keep-encoder kept"
            )
        return cls(folder, folder / WEIGHTS, file_hash(folder / WEIGHTS), kept)

    def described(self) -> dict[str, str]:
        """How the student's manifest names it."""
        known = {"base_model": self.made.base_model, "sha256": self.sha256}
        if isinstance(self.made, Bundle):
            return {"name": self.made.name, "version": self.made.version, **known}
        return {"name": self.folder.name, "version": "encoder", **known}

    def read(self, mentions: Sequence[LabelledMention], dev: Sequence[LabelledMention], brands: Brands) -> Floats:
        """Calibrated probabilities, shape (mentions, intents); a kept encoder is calibrated on ``dev`` first."""
        if isinstance(self.made, Bundle):
            readings = Scorer.load(self.folder).read_all((mention.text, mention.target) for mention in mentions)
            return np.array([reading.probabilities for reading in readings])
        read = self._reader(self.made, brands)
        fitted = calibrate.fit(Sample.of(dev, read(dev)))
        return calibrate.probabilities(fitted.calibration, read(mentions))

    def _reader(self, kept: Kept, brands: Brands) -> Callable[[Sequence[LabelledMention]], Floats]:
        """Logits of mentions by torch, in batches of mentions of like length."""
        encoder_network, tokenizer = load_base(str(self.folder))
        network = IntentNetwork(encoder_network, target_id(tokenizer), dropout=0.0).eval()
        restore_head(network, self.folder)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network.to(device)
        encoder = Encoder.load(self.folder / "tokenizer.json", kept.max_tokens)
        padding = tokenizer.pad_token_id or 0

        def read(mentions: Sequence[LabelledMention]) -> Floats:
            ids = token_ids(mentions, encoder, brands)
            order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
            logits = np.zeros((len(ids), len(INTENTS)))
            with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=multiplies_bfloat16()):
                for start in range(0, len(order), _BATCH):
                    chosen = order[start : start + _BATCH]
                    batch = padded([ids[index] for index in chosen], padding)
                    answer = network.logits(batch["input_ids"].to(device), batch["attention_mask"].to(device))
                    logits[chosen] = answer.cpu().numpy()
            return logits

        return read


def taught(
    folders: Sequence[Path],
    mentions: Sequence[LabelledMention],
    dev: Sequence[LabelledMention],
    brands: Brands,
    run: Path,
) -> Floats:
    """Mean probabilities of the teachers, shape (mentions, intents); kept in ``run`` for a run that resumes."""
    kept = run / "taught.npy"
    if kept.is_file():
        return np.asarray(np.load(kept), dtype=np.float64)
    total = np.zeros((len(mentions), len(INTENTS)))
    for folder in folders:
        say(f"asking the teacher {folder}")
        total += Teacher.load(folder).read(mentions, dev, brands)
    np.save(kept.with_suffix(".part.npy"), total / len(folders))
    kept.with_suffix(".part.npy").replace(kept)
    return total / len(folders)

"""What scores chunks on the machines of a Ray cluster, and the model's files that it is sent.

Leaves out how a chunk comes about (``serving.on_ray.chunks``) and where its part is written (``serving.on_ray.parts``).
"""

from __future__ import annotations

import json
import os
import pickle  # nosec B403
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import ray
from ray import ObjectRef

from data.schema import FileError
from model.bundle import BRANDS, MANIFEST, read_manifest
from model.cascade import Cascade
from model.policy import DEFAULT_POLICY
from model.triage import Triage
from serving.bulk import BulkJob, Scoring, json_lines
from serving.on_ray.chunks import Chunk
from serving.on_ray.parts import Parts, part_name


@dataclass(frozen=True)
class Shipped:
    """A job and the content of all files that its triage is loaded from, for machines that do not have them."""

    job: BulkJob
    """Its bundle, brands and policy are paths below the folder that the files are written to."""
    files: Mapping[str, bytes]
    """Path below that folder → content."""

    @classmethod
    def of(cls, job: BulkJob, triage: Triage) -> Shipped:
        """What a job's triage was loaded from.

        Raises:
            FirstreplyError: the bundle has changed since.
            OSError: a file is no longer there.
        """
        scorer, bundle = triage.scorer, job.bundle.resolve()
        if read_manifest(bundle)["sha256"] != triage.sha256:
            raise FileError(f"{bundle}: was changed while it was read; score again")
        parts = (scorer.fast.bundle, scorer.full.bundle) if isinstance(scorer, Cascade) else (scorer.bundle,)
        folders = {bundle, *(part.folder.resolve() for part in parts)}
        # A cascade names its bundles by relative path, so they stay as they lie to each other.
        root = Path(os.path.commonpath([folder.parent for folder in folders]))
        paths = [folder / name for folder in folders for name in (MANIFEST, *read_manifest(folder).get("files", ()))]
        files = {str(path.relative_to(root)): path.read_bytes() for path in paths}
        files["policy.toml"] = (job.policy or DEFAULT_POLICY).read_bytes()
        if job.brands is not None:
            files[BRANDS] = job.brands.read_bytes()
        there = replace(
            job,
            bundle=bundle.relative_to(root),
            policy=Path("policy.toml"),
            brands=Path(BRANDS) if job.brands is not None else None,
        )
        return cls(there, files)

    def load(self, as_of: datetime) -> Scoring:
        """What scores rows; nothing is left on the disk.

        Raises:
            FirstreplyError: the firstreply of this machine cannot use the files.
        """
        with tempfile.TemporaryDirectory(prefix="firstreply-") as folder:
            for name, content in self.files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            there = {
                name: folder / path
                for name in ("bundle", "policy", "brands")
                if (path := getattr(self.job, name)) is not None
            }
            return Scoring(replace(self.job, **there), as_of)


class ScoreChunks:
    """An actor: it loads the model once, then scores chunk after chunk and writes the part of each.

    Args:
        shipped: the job and its files, where Ray keeps it.
        as_of: when it began.
        files: names of the files of mentions, for the rejects.
        parts: where to.
    """

    def __init__(self, shipped: ObjectRef[Shipped], as_of: datetime, files: Sequence[str], parts: Parts) -> None:
        self._files, self._parts = files, parts
        self._score = ray.get(shipped).load(as_of)

    def __call__(self, block: pa.Table) -> pa.Table:
        """A record, in JSON, of what came of each chunk; what is written already is not scored again."""
        # Our own task has made them a moment ago, and Ray's processes move pickles anyway.
        chunks = (pickle.loads(cell.as_buffer()) for cell in block["chunk"])  # noqa: S301  # nosec B301
        return pa.table({"record": [self._record(chunk) for chunk in chunks]})

    def _record(self, chunk: Chunk) -> str:
        part = part_name(chunk.file, chunk.number)
        record = self._parts.done(part)
        if record is None or record["failure"] is not None:  # it may be readable by now
            scored = self._score(chunk.rows)
            record = {**vars(scored.tally), "last": chunk.last, "unread": chunk.unread, "failure": chunk.failure}
            self._parts.write(part, scored.results, self._rejects(chunk, scored.rejects), record)
        return json.dumps({"file": chunk.file, "number": chunk.number, **record})

    def _rejects(self, chunk: Chunk, rejects: bytes) -> bytes:
        """The same with the name of the file; one more if the file could not be read on."""
        file = {"file": self._files[chunk.file]}
        rows = [{**file, **json.loads(line)} for line in rejects.splitlines()]
        if chunk.failure is not None:
            rows.append({**file, "row": None, "id": None, "reason": chunk.failure})
        return json_lines(rows)

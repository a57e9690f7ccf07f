"""A bulk job on a Ray cluster, from the files that are found to the manifest of what was scored.

Leaves out what a row and a result are: those of the local engine (``serving.bulk``). Ray Data reads the files in chunks
(``serving.on_ray.chunks``) and gives these to a pool of actors, which write the parts (``serving.on_ray.actor``). Only
records of what is done come back here, to be counted (``serving.on_ray.counts``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from data.files import file_errors, read_rows
from data.places import Place, StoredFile, find_files
from data.schema import FileError
from model.cascade import is_cascade
from model.triage import Triage
from serving.bulk import BulkJob, columns_of, load_triage, reading_identity, say
from serving.on_ray.cluster import joined
from serving.on_ray.counts import Counts
from serving.on_ray.parts import Parts
from serving.progress import Progress

_DEATHS = 10
"""Actors, one after another, that may die as they begin, say because their machine is lost, until the job gives up."""
_FAILURES_SAID = 20
_READING, _SCORING = 0.1, 0.9
"""CPUs that Ray sets aside for a task that reads and for an actor that scores: a core has room for one of each."""


def score_on_ray(job: BulkJob, address: str | None) -> int:
    """Score files on a Ray cluster to the results and rejects of the local engine; rejects say which file they are of.

    Args:
        job: its ``input`` is a file, a folder or a glob; its ``output`` a folder, of JSON lines where it ends in
            ``.jsonl``, else of Parquet. Both are URIs of an object store, or paths on a disk that all machines of the
            cluster share.
        address: of the cluster, as ``serving.on_ray.cluster.joined`` takes it.

    Returns:
        Exit status: 0 all scored, 3 some rows rejected or some files not readable.

    Raises:
        FirstreplyError: no file can be read, OUTPUT cannot be written, or the cluster did not do it.
    """
    files, others = find_files(job.input)
    parts = _parts(job, files)
    if len(files) == 1:  # as with the local engine, what is wrong with it shows before anything is written
        with files[0].opened() as stream:
            next(read_rows(str(files[0].place), stream=stream), None)
    triage = load_triage(job)
    if others:
        say(f"{job.input}: files passed over that do not end in .csv, .jsonl or .parquet: {others:,}")
    counts = Counts([str(file.place) for file in files])
    with joined(address):
        as_of, found = parts.begin(_identity(job, triage, files), job.as_of or datetime.now(UTC))
        if found:
            say(f"{parts.place}: {found}")
        try:
            with Progress(counts.tally) as progress:
                for record in _records(job, triage, as_of, files, parts):
                    counts.add(record)
                    progress.said()
        except BaseException:
            if counts.tally.rows:
                say(f"{parts.place}: {counts.tally.rows:,} rows are done; the same command goes on after them")
            raise
        _check(job, files, counts)
        parts.finish(counts.parts(), _manifest(job, triage, as_of, counts))
    for failure in counts.failures[:_FAILURES_SAID]:
        say(failure)
    if counts.failures:
        say(f"{len(counts.failures):,} of {len(files):,} files cannot be read, or not to their end")
    progress.summary(str(parts.place), f"{parts.place}/_rejects")
    return 3 if counts.tally.rejected or counts.failures else 0


def _parts(job: BulkJob, files: Sequence[StoredFile]) -> Parts:
    """Where the results go."""
    assert job.output is not None
    place = Place.of(job.output)
    kind = PurePosixPath(place.path).suffix.lower()
    if kind == ".csv":
        raise FileError(
            f"{job.output}: Ray writes a folder of Parquet or of JSON lines; give -o FOLDER or FOLDER.jsonl"
        )
    if place.within(Place.of(job.input)) or any(file.place.within(place) for file in files):
        raise FileError(f"{job.input}: would be read and written at once; give another -o OUTPUT")
    return Parts(place, None if kind == ".jsonl" else columns_of(job.explain, is_cascade(job.bundle)))


def _identity(job: BulkJob, triage: Triage, files: Sequence[StoredFile]) -> dict[str, Any]:
    """What the results depend on, and what is in which part."""
    from serving.on_ray.chunks import CHUNK_CHARACTERS, chunk_rows

    states = [[str(file.place), file.size, file.changed] for file in files]
    return {
        "input": hashlib.sha256(json.dumps(states).encode()).hexdigest(),
        "version": [chunk_rows(job.explain), CHUNK_CHARACTERS],
        **reading_identity(job, triage),
    }


def _records(
    job: BulkJob, triage: Triage, as_of: datetime, files: Sequence[StoredFile], parts: Parts
) -> Iterator[dict[str, Any]]:
    """What came of each chunk, as soon as it is written, in no order."""
    import ray
    from ray.data import ActorPoolStrategy, DataContext, read_datasource

    from serving.on_ray.actor import ScoreChunks, Shipped
    from serving.on_ray.chunks import Mentions, chunk_rows

    with file_errors(job.bundle):
        shipped = ray.put(Shipped.of(job, triage))
    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = _DEATHS
    context.target_max_block_size = 1  # bytes: every chunk is a block, which no other waits for
    cores = max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    records = read_datasource(
        Mentions(files, chunk_rows(job.explain)),
        override_num_blocks=len(files),
        num_cpus=_READING,
    ).map_batches(
        ScoreChunks,
        fn_constructor_args=(shipped, as_of, [str(file.place) for file in files], parts),
        batch_size=None,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=cores, initial_size=cores),
        num_cpus=_SCORING,
    )
    for table in records.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
        yield from map(json.loads, table["record"].to_pylist())


def _check(job: BulkJob, files: Sequence[StoredFile], counts: Counts) -> None:
    """Whether the results are those of the files.

    Raises:
        FirstreplyError: they are not, or no file can be read.
    """
    counts.check()
    now = {file.place.path: file for file in find_files(job.input)[0]}
    if any(now.get(file.place.path) != file for file in files):
        raise FileError(f"{job.input}: was changed while it was read; score it again")
    if len(counts.failures) == len(files) and not counts.tally.rows:
        raise FileError(counts.failures[0])


def _manifest(job: BulkJob, triage: Triage, as_of: datetime, counts: Counts) -> dict[str, Any]:
    """What was scored, by which model, to what."""
    return {
        "model": triage.name,
        "sha256": triage.sha256,
        "policy_sha256": triage.policy.sha256,
        "cut": triage.cut,
        "as_of": as_of.isoformat(),
        "explained": job.explain,
        **vars(counts.tally),
        "files": counts.files,
    }

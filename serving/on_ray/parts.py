"""The folder that many processes write results to: parts that are whole or not there, and a manifest at the end.

Leaves out what is scored (``serving.on_ray.actor``). A part is the results of one chunk (``part-FILE-CHUNK``) and its
rejects, if there are any (``_rejects/part-FILE-CHUNK.jsonl``). A chunk always has the same rows and the same name, so
that one that is scored again takes the place of what it wrote before. ``_unfinished`` has the job and a record of every
part that is written: the same job, begun again, goes on. Once all are, ``_SUCCESS`` takes its place and says what was
scored. Spark, Arrow and their like pass over names that begin with ``_``.
"""

from __future__ import annotations

import json
import re
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from data.files import file_errors, open_writer
from data.places import Place
from data.schema import FileError
from serving.bulk import flat_row

SUCCESS = "_SUCCESS"
_UNFINISHED = "_unfinished"
_JOB = f"{_UNFINISHED}/job.json"
_SHARE = "OUTPUT has to be in an object store, or on a disk that all machines of the cluster share"
_NEW = ".new"
"""End of the name of a file that is being written."""
_OURS = re.compile(
    r"((_rejects|_unfinished)/)?\.?(_SUCCESS|(job|part-\d{5,}-\d{5,})\.(json|jsonl|parquet))(\.[0-9a-f]{32}\.new)?"
)
"""Names of everything that is ever written here."""
_ALL_OR_NOTHING = ("s3", "gcs", "abfs")
"""Stores in which a file is there once it is whole."""


@dataclass(frozen=True)
class Parts:
    """A folder of results; it can be pickled and written to from anywhere.

    Args:
        place: of the folder.
        columns: of Parquet, with their types; None writes JSON lines.
    """

    place: Place
    columns: Mapping[str, type] | None
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Of the job that writes here: another that begins meanwhile has another."""

    def begin(self, identity: Mapping[str, Any], as_of: datetime) -> tuple[datetime, str | None]:
        """Take the folder over: go on with what the same job has left there, or delete what any other has.

        Args:
            identity: what the results depend on.
            as_of: the moment of the beginning.

        Returns:
            The moment that counts as the beginning, an earlier one where the job goes on; and what was found, in words,
            None where there was nothing.

        Raises:
            FileError: the folder cannot be written to, or has files that no such job wrote.
        """
        with self._errors():
            files = self._files()
            ours = SUCCESS in files or _JOB in files
            if strange := next((name for name in sorted(files) if not (ours and _OURS.fullmatch(name))), None):
                raise FileError(f"{self.place}: holds {strange}, which no bulk job wrote; give another -o OUTPUT")
            record, found = self._left(identity, files)
            if SUCCESS in files or (files and record is None):
                # From here on nobody takes this for whole, or goes on with what is being deleted.
                self._write(_JOB, b"{}")
            if SUCCESS in files:
                self._delete(SUCCESS)
            if record is None:
                for name in files - {SUCCESS, _JOB}:
                    self._delete(name)
            as_of = datetime.fromisoformat(record["as_of"]) if record else as_of
            job = {"identity": identity, "as_of": as_of.isoformat(), "token": self.token}
            self._write(_JOB, json.dumps(job, ensure_ascii=False).encode())
        return as_of, found

    def done(self, part: str) -> dict[str, Any] | None:
        """The record of a part that is written; None where it is not.

        Raises:
            FileError: the folder is not the one that the job began, or another job has begun to write here.
        """
        with self._errors():
            identity = self._identity()
            try:
                record: dict[str, Any] = json.loads(self._read(_record(part)))
            except FileNotFoundError:
                return None
        return record["record"] if record["of"] == identity else None

    def write(self, part: str, results: bytes, rejects: bytes, record: Mapping[str, Any]) -> None:
        """Write results and rejects, JSON lines, and then the record that says so.

        Raises:
            FileError: they cannot be written, or another job has begun to write here.
        """
        with self._errors():
            identity = self._identity()
            if rejects:
                self._write(f"_rejects/{part}.jsonl", rejects)
            else:
                with suppress(FileNotFoundError):  # of a time when the file could not be read on
                    self._delete(f"_rejects/{part}.jsonl")
            if self.columns is None:
                self._write(f"{part}.jsonl", results)
            else:
                self._write(f"{part}.parquet", _as_parquet(results, self.columns))
            written = {"of": identity, "record": record}
            self._write(_record(part), json.dumps(written, ensure_ascii=False).encode())

    def finish(self, parts: Iterable[str], manifest: Mapping[str, Any]) -> None:
        """Put the manifest in its place once every part is in its own.

        Args:
            parts: all of them.
            manifest: what was scored.

        Raises:
            FileError: parts are not here, or another job has begun to write here.
        """
        with self._errors():
            self._identity()
            files = self._files()
            ours = set(parts)
            if missing := [part for part in ours if _record(part) not in files]:
                raise FileError(f"{self.place}: parts that were written are not here: {len(missing):,}; {_SHARE}")
            for name in files:
                # Of a process that was killed as it wrote, or of a job that this one took the folder from.
                if not name.startswith(_UNFINISHED) and PurePosixPath(name).stem not in ours:
                    self._delete(name)
            self._write(SUCCESS, (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
            self.place.filesystem.delete_dir((self.place / _UNFINISHED).path)

    def _left(self, identity: Mapping[str, Any], files: set[str]) -> tuple[dict[str, Any] | None, str | None]:
        """The record of the same job, where there is one to go on with; and what was found."""
        if _JOB not in files:
            return None, None
        try:
            record: dict[str, Any] = json.loads(self._read(_JOB))
            before = record["identity"]
            if changed := [name for name in identity if before.get(name) != identity[name]]:
                return None, f"begun anew; what was done before does not count: it was of another {', '.join(changed)}"
            datetime.fromisoformat(record["as_of"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return None, "begun anew; what was done before does not count: it is damaged"
        parts = sum(name.startswith(f"{_UNFINISHED}/part-") for name in files)
        return record, f"going on; parts that are done: {parts:,}"

    def _identity(self) -> Any:
        """That of the job, once it is seen that the folder is still this job's."""
        try:
            job = json.loads(self._read(_JOB))
        except FileNotFoundError:
            raise FileError(f"{self.place}: is not the folder that the job began; {_SHARE}") from None
        if job.get("token") != self.token:
            raise FileError(f"{self.place}: another job has begun to write here; give another -o OUTPUT")
        return job["identity"]

    def _files(self) -> set[str]:
        """Names of all files, relative to the folder."""
        from pyarrow import fs

        selector = fs.FileSelector(self.place.path, recursive=True, allow_not_found=True)
        infos = self.place.filesystem.get_file_info(selector)
        return {info.path[len(self.place.path) + 1 :] for info in infos if info.type == fs.FileType.File}

    def _read(self, name: str) -> bytes:
        with self.place.filesystem.open_input_file((self.place / name).path) as stream:
            content: bytes = stream.read()
        return content

    def _write(self, name: str, content: bytes) -> None:
        """Write a file that is whole or not there; what was there before is replaced."""
        filesystem, path = self.place.filesystem, (self.place / name).path
        whole = filesystem.type_name in _ALL_OR_NOTHING
        folder, _, last = path.rpartition("/")
        new = path if whole else f"{folder}/.{last}.{uuid.uuid4().hex}{_NEW}"
        if not whole:
            filesystem.create_dir(folder, recursive=True)
        with filesystem.open_output_stream(new, compression=None) as stream:
            stream.write(content)
        if not whole:
            filesystem.move(new, path)

    def _delete(self, name: str) -> None:
        self.place.filesystem.delete_file((self.place / name).path)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with file_errors(str(self.place)):
            yield


def part_name(file: int, number: int) -> str:
    """What the part of a file's chunk is called, without an extension."""
    return f"part-{file:05d}-{number:05d}"


def _record(part: str) -> str:
    return f"{_UNFINISHED}/{part}.json"


def _as_parquet(results: bytes, columns: Mapping[str, type]) -> bytes:
    """The Parquet file that ``data.files`` writes of JSON lines of results."""
    with tempfile.TemporaryDirectory(prefix="firstreply-") as folder:
        path = Path(folder) / "part.parquet"
        with open_writer(path, columns) as writer:
            for line in results.splitlines():
                writer.write(flat_row(json.loads(line)))
        return path.read_bytes()

"""Where many files of mentions lie: folders and globs, on this machine's disks or in an object store.

Leaves out the formats (``data.files``). It needs pyarrow and fsspec, which come with the extra ``ray``; one file on a
disk is read without either.
"""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any

from fsspec.implementations.arrow import ArrowFSWrapper  # type: ignore[import-untyped]
from pyarrow import ArrowException, fs

from data.files import extension, file_errors
from data.schema import FileError

_BUFFER = 2**23
"""Bytes asked for at once when a file is read from front to back: object stores answer few large requests sooner."""


@dataclass(frozen=True)
class Place:
    """A file or folder of some file system; it can be pickled and used on another machine."""

    filesystem: Any
    """A ``pyarrow.fs.FileSystem``."""
    path: str
    """As that file system calls it; ``/`` separates."""

    @classmethod
    def of(cls, where: str) -> Place:
        """What a path or a URI such as ``s3://bucket/folder`` names; options of a URI follow a ``?``.

        Raises:
            FileError: the URI is none that pyarrow knows, or its store cannot be asked.
        """
        if "://" not in where:
            return cls(fs.LocalFileSystem(), os.path.abspath(where))  # noqa: PTH100 - resolve() would follow links
        # What a glob has in it is no URI; its store is asked for by what comes before.
        address, question, options = where.partition("?")
        fixed = address[: address.rindex("/", 0, _first_magic(address)) + 1] if _has_magic(address) else address
        try:
            with file_errors(where):
                filesystem, path = fs.FileSystem.from_uri(f"{fixed}{question}{options}")
        except ArrowException as error:
            raise FileError(f"{where}: {str(error).splitlines()[0]}; give a path, s3://… or gs://…") from None
        rest = address[len(fixed) :]
        return cls(filesystem, f"{path.rstrip('/')}/{rest}" if rest else path.rstrip("/"))

    def __truediv__(self, name: str) -> Place:
        return Place(self.filesystem, f"{self.path}/{name}")

    def __str__(self) -> str:
        kind = self.filesystem.type_name
        return self.path if kind == "local" else f"{_SCHEMES.get(kind, kind)}://{self.path}"

    def within(self, other: Place) -> bool:
        """Whether this is the other place, or lies somewhere in it."""
        return bool(self.filesystem.equals(other.filesystem)) and f"{self.path}/".startswith(f"{other.path}/")


@dataclass(frozen=True)
class StoredFile:
    """A file of mentions, as it was when it was looked for."""

    place: Place
    size: int
    """Bytes."""
    changed: str
    """When it was changed last, as its file system tells it."""

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """What ``data.files.read_rows`` takes as a stream, closed at the end of the block.

        Raises:
            FileError: it cannot be opened, say because it is no longer there.
        """
        with file_errors(str(self.place)):
            if extension(self.place.path) == ".parquet":
                stream = self.place.filesystem.open_input_file(self.place.path)
            else:
                raw = self.place.filesystem.open_input_stream(self.place.path, compression=None, buffer_size=None)
                stream = io.BufferedReader(raw, _BUFFER)
        with stream:
            yield stream


def find_files(where: str) -> tuple[list[StoredFile], int]:
    """The files of mentions that a path or URI names, sorted by path, and how many others were passed over.

    Args:
        where: a file; a folder, which is searched to its depths; or a glob, in which ``**`` is any number of folders.
            Passed over are files of other extensions and, as by Spark and Arrow, what ``_`` or ``.`` begins.

    Raises:
        FileError: there is no such file, or none of mentions among them.
    """
    place = Place.of(where)
    with file_errors(where):
        (found,) = place.filesystem.get_file_info([place.path])
        if found.type == fs.FileType.File:
            extension(place.path)
            return [_stored(place, found)], 0
        if found.type == fs.FileType.Directory:
            entries = place.filesystem.get_file_info(fs.FileSelector(place.path, recursive=True))
            below = place.path
        elif _has_magic(place.path):
            paths = ArrowFSWrapper(place.filesystem).glob(place.path)
            entries = place.filesystem.get_file_info(paths) if paths else []
            below = place.path[: place.path.rindex("/", 0, _first_magic(place.path))]
        else:
            raise FileNotFoundError(where)
    files = [one for one in entries if one.type == fs.FileType.File and not _hidden(one.path[len(below) :])]
    known = sorted((one for one in files if _is_known(one.path)), key=lambda one: one.path)
    if not known:
        raise FileError(f"{where}: holds no file that ends in .csv, .jsonl or .parquet")
    return [_stored(Place(place.filesystem, one.path), one) for one in known], len(files) - len(known)


_SCHEMES = {"gcs": "gs"}


def _stored(place: Place, info: Any) -> StoredFile:
    return StoredFile(place, info.size or 0, str(info.mtime_ns))


def _is_known(path: str) -> bool:
    return PurePosixPath(path).suffix.lower() in (".csv", ".jsonl", ".parquet")


def _hidden(relative: str) -> bool:
    return any(part.startswith(("_", ".")) for part in PurePosixPath(relative).parts)


def _has_magic(path: str) -> bool:
    return glob.has_magic(path)


def _first_magic(path: str) -> int:
    return min(path.find(mark) for mark in "*?[" if mark in path)

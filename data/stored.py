"""Labelled mentions in a temporary file, so that as many can be measured as the disk holds."""

from __future__ import annotations

import json
import tempfile
import weakref
from array import array
from collections.abc import Iterator, Sequence
from typing import overload

from data.schema import FileError, LabelledMention, labelled_from_row, labelled_to_row


class StoredMentions(Sequence[LabelledMention]):
    """Mentions that are read again whenever they are asked for; each costs 8 bytes of memory and some 20 µs.

    They lie in an unnamed file of the system's temporary folder, which goes when this object goes. Used on one thread.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the object lives
        weakref.finalize(self, self._file.close)
        self._starts = array("q", [0])

    def append(self, mention: LabelledMention) -> None:
        """Keep one more.

        Raises:
            FileError: the disk is full.
        """
        try:
            self._file.seek(self._starts[-1])
            self._file.write(json.dumps(labelled_to_row(mention)).encode())
            self._file.flush()
        except OSError as error:
            reason = error.strerror or error
            raise FileError(f"{tempfile.gettempdir()}: {reason}; make room, or name a folder in TMPDIR") from None
        self._starts.append(self._file.tell())

    def __len__(self) -> int:
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> LabelledMention: ...
    @overload
    def __getitem__(self, index: slice) -> list[LabelledMention]: ...
    def __getitem__(self, index: int | slice) -> LabelledMention | list[LabelledMention]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start, end = self._starts[place], self._starts[place + 1]
        self._file.seek(start)
        row = json.loads(self._file.read(end - start))
        return labelled_from_row(row, row["id"])

    def __iter__(self) -> Iterator[LabelledMention]:
        return (self[place] for place in range(len(self)))

"""What came of each chunk of a job's files, added up, and whether every chunk is among them.

Leaves out where the counts come from and go to (``serving.on_ray.job``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from data.schema import unknown_columns
from serving.bulk import say
from serving.on_ray.cluster import ClusterError
from serving.on_ray.parts import part_name
from serving.unfinished import Tally


class Counts:
    """The sum so far.

    Args:
        files: names of the job's files.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self.tally = Tally()
        self.files: list[dict[str, Any]] = [
            {"file": name, "parts": 0, "rows": 0, "rejected": 0, "results": 0} for name in files
        ]
        """What the manifest says of each; ``failure`` says why one could not be read, or not to its end."""
        self._numbers: list[set[int]] = [set() for _ in files]
        self._last: list[int | None] = [None for _ in files]
        self._unread: set[str] = set()

    @property
    def failures(self) -> list[str]:
        """Why files could not be read, or not to their end."""
        return [file["failure"] for file in self.files if "failure" in file]

    def add(self, record: Mapping[str, Any]) -> None:
        """Count a chunk: a ``record`` is what ``ScoreChunks`` answers. One that comes again is counted once."""
        file, number = self.files[record["file"]], record["number"]
        if number in self._numbers[record["file"]]:
            return
        self._numbers[record["file"]].add(number)
        file["parts"] += 1
        counted = {name: record[name] for name in ("rows", "rejected", "results")}
        for name, count in counted.items():
            file[name] += count
        self.tally.add(Tally(**counted, labels=record["labels"]))
        if record["last"]:
            self._last[record["file"]] = number
        if record["failure"] is not None:
            file["failure"] = record["failure"]
        if unread := unknown_columns(record["unread"], self._unread):
            self._unread.update(unread)
            say(f"columns that are not read: {', '.join(unread)}")

    def check(self) -> None:
        """Whether every chunk of every file has come.

        Raises:
            ClusterError: one has not.
        """
        for file, numbers, last in zip(self.files, self._numbers, self._last, strict=True):
            if last is None or numbers != set(range(last + 1)):
                raise ClusterError(f"{file['file']}: Ray has lost a part of it; score it again")

    def parts(self) -> Iterator[str]:
        """The names of all parts."""
        return (part_name(file, number) for file, numbers in enumerate(self._numbers) for number in numbers)

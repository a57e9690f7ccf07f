"""``firstreply train --reproduce RUN_JSON``: makes a bundle again and says whether it is the same, bit by bit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from training.card import Check
from training.processes import is_main
from training.record import bundle_files, differences, facts, read_record
from training.train import train


def reproduce(record: Path, out: Path, check: Check | None = None) -> int:
    """Run a recorded job again into another folder and compare the bundles.

    Prints ``identical``, or which files and which recorded facts differ. Returns 0 if identical, else 1.

    Raises:
        FileError: the record or an input cannot be read.
    """
    recorded = read_record(record)
    job = replace(recorded.job, out=out)
    now = facts(job)  # before the work: an input that is gone is said at once
    train(job, check)
    if not is_main():
        return 0
    files = bundle_files(out)
    if files == recorded.files:
        print(f"identical: every file of {out} has the recorded SHA-256")
        return 0
    print(f"not identical: {', '.join(name for name in files if files[name] != recorded.files.get(name))}")
    unknown = "no recorded fact differs; other hardware, or a library that is not recorded, may"
    for line in differences(recorded.facts, now) or [unknown]:
        print(f"  {line}")
    return 1

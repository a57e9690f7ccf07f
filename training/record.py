"""What a run was made of, written beside its bundle so that it can be made again and compared: ``BUNDLE-run.json``."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from transformers import AutoConfig

from model.brands import DEFAULT_BRANDS
from model.bundle import BRANDS, CARD, MANIFEST, MODEL, TOKENIZER, file_hash
from model.errors import FileError
from training.base import base_source
from training.fit import use_bfloat16
from training.job import TrainJob
from training.kept import RECORD, begun_files, weight_files
from training.processes import process_count
from training.teachers import Teacher

FILES = (MODEL, TOKENIZER, BRANDS, CARD, MANIFEST)
_PACKAGES = (
    "accelerate",
    "datasets",
    "numpy",
    "onnx",
    "onnxruntime",
    "scikit-learn",
    "tokenizers",
    "torch",
    "transformers",
)
_ROOT = Path(__file__).parents[1]


class RunRecord(BaseModel):
    """A run: what was asked for, every fact that may decide the outcome, and the outcome."""

    model_config = ConfigDict(frozen=True)

    job: TrainJob
    """With absolute paths, but for the base, whose name is in the bundle."""
    facts: dict[str, str]
    """Versions, hashes of inputs, and hardware, by name."""
    files: dict[str, str]
    """SHA-256 of every file of the bundle."""


def write_record(job: TrainJob) -> None:
    """Write the record of a job whose bundle is there, to ``BUNDLE-run.json``."""
    whole = RunRecord(job=_absolute(job), facts=facts(job), files=bundle_files(job.out))
    job.beside("run.json").write_text(whole.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_record(path: Path) -> RunRecord:
    """The record in a file.

    Raises:
        FileError: it cannot be read or is no record of a run.
    """
    try:
        return RunRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise FileError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"]) or "it"
        raise FileError(f"{path} is no record of a training run: {where}: {problem['msg']}") from None


def facts(job: TrainJob) -> dict[str, str]:
    """Every fact that may decide the bits of a bundle, beside the recipe.

    Raises:
        FileError: an input cannot be read.
    """
    cuda = torch.cuda.is_available()
    found: dict[str, Any] = {
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "firstreply's code": code_hash(),
        "machine": platform.machine(),
        "CPU instructions": torch.backends.cpu.get_cpu_capability(),
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "threads": torch.get_num_threads(),
        "processes": process_count(),
        "precision": "bfloat16" if use_bfloat16(job.recipe) else "float32",
        "base": _base_state(job.recipe.base),
    }
    inputs = [*job.train, *([job.dev] if job.dev else []), job.brands or DEFAULT_BRANDS]
    inputs += [Teacher.load(folder).file for folder in job.teachers]
    inputs += [path for folder in job.averaged for path in (*weight_files(folder), folder / RECORD)]
    inputs += [folder / MANIFEST for folder in job.compared]
    inputs += begun_files(job.recipe)
    try:
        found |= {f"{path.resolve()}": file_hash(path) for path in inputs}
    except OSError as error:
        raise FileError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None
    return {name: str(value) for name, value in found.items()}


def code_hash(root: Path = _ROOT) -> str:
    """Hash of the modules and tables that decide, or write themselves into, a bundle."""
    parts = ("data", "eval", "model", "training")
    return _hash_of(
        sorted(path for part in parts for kind in ("py", "toml") for path in (root / part).rglob(f"*.{kind}"))
    )


def bundle_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a bundle, by name."""
    return {name: file_hash(folder / name) for name in FILES}


def differences(recorded: dict[str, str], now: dict[str, str]) -> list[str]:
    """Names whose values differ, each with both values, or that only one side has."""
    return [
        f"{name}: {recorded.get(name, 'not recorded')} → {now.get(name, 'not there')}"
        for name in sorted(recorded.keys() | now.keys())
        if recorded.get(name) != now.get(name)
    ]


def _absolute(job: TrainJob) -> TrainJob:
    return replace(
        job,
        train=tuple(path.resolve() for path in job.train),
        out=job.out.resolve(),
        dev=job.dev.resolve() if job.dev else None,
        brands=job.brands.resolve() if job.brands else None,
        teachers=tuple(folder.resolve() for folder in job.teachers),
        averaged=tuple(folder.resolve() for folder in job.averaged),
        compared=tuple(folder.resolve() for folder in job.compared),
    )


def _hash_of(paths: Iterable[Path]) -> str:
    return hashlib.sha256(json.dumps([file_hash(path) for path in paths]).encode()).hexdigest()


def _base_state(base: str) -> str:
    """Hash of the folder that the base is read from, or the commit of the hub that it comes from."""
    folder = Path(base_source(base))
    if folder.is_dir():
        return _hash_of(sorted(path for path in folder.iterdir() if path.is_file()))
    return str(AutoConfig.from_pretrained(base)._commit_hash)

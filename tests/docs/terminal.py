"""A terminal in which a page's commands run one after another, as its reader would type them.

A server that a page starts in the foreground runs beside the commands after it, until the next one takes its place, on
a port that the system chooses. Leaves out what the pages say (``tests.docs.blocks``).
"""

from __future__ import annotations

import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from tests.docs.blocks import ROOT
from tests.processes import until

_LONGEST = 900
"""Seconds that a command may take: training takes a minute, and the machine may have others to serve."""
_END = "end of the command"
_SERVE = "firstreply serve"
_TRAIN = "firstreply train"
_ADDRESS = re.compile(r"http://(?:127\.0\.0\.1|localhost):8080|(?<![\w/])localhost:8080")
_HERE = re.compile(r" --(?:host|port) \S+")


class CommandError(AssertionError):
    """A command of a page did not do what a reader expects."""


class Terminal:
    """A shell in a folder.

    Args:
        folder: where it starts.
        trained: what ``firstreply train`` made in other terminals: name of the bundle → their folder. Training takes a
            minute, so that pages which train a bundle of the same name get the first one.
    """

    def __init__(self, folder: Path, trained: dict[str, Path]) -> None:
        self._folder, self._trained = folder, trained
        self._server: subprocess.Popen[bytes] | None = None
        self._url = ""
        self._environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "clients" / "python"),  # which a reader installs
            "CURL_HOME": str(folder),  # its .curlrc keeps the progress meter out of what is printed
        }
        (folder / ".curlrc").write_text("silent\nshow-error\n", encoding="utf-8")
        self._shell = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()
        os.killpg(self._shell.pid, signal.SIGKILL)  # with whatever did not end
        self._shell.communicate()

    def run(self, text: str) -> str:
        """What the last of a block's shell commands prints, standard error included.

        Raises:
            CommandError: one of them ended with another status than 0, or did not end.
        """
        return [self._one(command) for command in commands(text)][-1]

    def python(self, text: str) -> str:
        """What a Python program prints. Raises as ``run``."""
        (self._folder / "program.py").write_text(self._addressed(text), encoding="utf-8")
        return self.run("python program.py")

    def _one(self, command: str) -> str:
        if command.startswith(_SERVE):
            return self._serve(command)
        if command.startswith(_TRAIN):
            return self._train(command)
        return self._ask(command)

    def _ask(self, command: str) -> str:
        assert self._shell.stdin is not None
        lines = f"{{\n{self._addressed(command)}\n}} < /dev/null\nprintf '\\n{_END} %s\\n' $?\n"
        self._shell.stdin.write(lines.encode())
        self._shell.stdin.flush()
        printed = self._printed(time.monotonic() + _LONGEST)
        printed, _, status = printed.rpartition(f"\n{_END} ")
        if status.strip() != "0":
            raise CommandError(f"{command}\nended with status {status.strip() or '(none)'} and printed:\n{printed}")
        return printed

    def _printed(self, deadline: float) -> str:
        assert self._shell.stdout is not None
        printed = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._shell.stdout, selectors.EVENT_READ)
            while not re.search(rf"\n{_END} \d+\n$".encode(), printed):
                if not selector.select(deadline - time.monotonic()):
                    break
                some = os.read(self._shell.stdout.fileno(), 65536)
                if not some:
                    break
                printed += some
        return printed.decode()

    def _train(self, command: str) -> str:
        words = shlex.split(command, comments=True)
        out = words[words.index("--out") + 1]
        printed = self._folder / f"{out}.printed"
        if out not in self._trained:
            printed.write_text(self._ask(command), encoding="utf-8")
            self._trained[out] = self._folder
        elif self._trained[out] != self._folder:
            for path in self._trained[out].glob(f"{out}*"):
                (shutil.copytree if path.is_dir() else shutil.copy)(path, self._folder / path.name)
        return printed.read_text(encoding="utf-8")

    def _serve(self, command: str) -> str:
        self._stop()
        log = self._folder / "server.log"
        arguments = shlex.split(_HERE.sub("", command), comments=True)
        with log.open("wb") as file:
            self._server = subprocess.Popen(
                [*arguments, "--port", "0"], cwd=self._folder, env=self._environment, stdout=file, stderr=file
            )
        server = self._server
        until(lambda: "ready on" in log.read_text(encoding="utf-8") or server.poll() is not None, 60)
        printed = log.read_text(encoding="utf-8")
        ready = re.search(r"ready on (http://[\d.:]+)", printed)
        if ready is None:
            raise CommandError(f"{command}\nis not ready and printed:\n{printed}")
        self._url = ready[1]
        return printed.replace(self._url, "http://127.0.0.1:8080")

    def _stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(signal.SIGINT)  # as Ctrl-C does: at once
            self._server.wait(60)
            self._server = None

    def _addressed(self, text: str) -> str:
        if self._server is None and _ADDRESS.search(text):
            raise CommandError(f"{text}\nasks a server, and the page has started none")
        return _ADDRESS.sub(self._url, text)


def commands(text: str) -> Iterator[str]:
    """The commands of a shell script, each with the lines that belong to it."""
    command = ""
    for line in text.splitlines():
        command += line + "\n"
        checked = subprocess.run(["bash", "-n"], input=command, capture_output=True, text=True, check=False)
        if not line.endswith("\\") and not checked.returncode and not checked.stderr:
            if command.strip():
                yield command.strip()
            command = ""
    if command:
        raise CommandError(f"not a whole command:\n{command}")

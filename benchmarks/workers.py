"""A process for each peer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from typing import TYPE_CHECKING, Any

from benchmarks import environments, peers

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
ENDED = "its process ended"


class Worker:
    """A process that measures."""

    def __init__(self, command: list[str], path: str) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=path,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
            text=True,
        )

    def ask(self, request: dict[str, Any], patience: float) -> dict[str, Any]:
        """Return its answer, or an error if it doesn't come."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("a worker has pipes")
        try:
            print(json.dumps(request), file=stdin, flush=True)
        except BrokenPipeError:
            return {"error": ENDED}
        if not select([stdout], [], [], patience)[0]:
            self.close()
            return {"error": f"took longer than {patience:.0f} s"}
        line = stdout.readline()
        reply: dict[str, Any] = json.loads(line) if line else {"error": ENDED}
        return reply

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._process.poll() is None

    def close(self) -> None:
        """End it, and what it has started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            self._process.communicate()


class Workers:
    """The processes that are running, by peer."""

    def __init__(self, folder: str) -> None:
        self._running: dict[str, Worker] = {}
        self._folder = folder

    def ask(self, name: str, request: dict[str, Any], patience: float = 120) -> dict[str, Any]:
        """Ask the process of a peer, which is started if need be."""
        worker = self._running.get(name)
        if worker is None or not worker.alive:
            worker = self._running[name] = Worker(*self._command(name))
        return worker.ask(request, patience)

    def close(self) -> None:
        """End all of them."""
        while self._running:
            self._running.popitem()[1].close()

    def _command(self, name: str) -> tuple[list[str], str]:
        """Return what to run; a peer's process doesn't see our package."""
        group = peers.load(name).group
        python = sys.executable if group is None else str(environments.python_of(group))
        return [python, "-m", "benchmarks.worker"], str(ROOT) if group is None else self._folder


@contextmanager
def workers() -> Iterator[Workers]:
    """Give processes, which end with the block."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "benchmarks").symlink_to(ROOT / "benchmarks")
        running = Workers(folder)
        try:
            yield running
        finally:
            running.close()

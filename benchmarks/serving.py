"""Applications, called in this process or served by uvicorn."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

from benchmarks import peers, servers
from benchmarks.peers.base import Setting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

WARM_UP = 200
OPTIONS = ("--loop", "uvloop", "--http", "httptools", "--log-level", "critical", "--no-access-log")


def build(who: str, store: str, setting: Setting) -> Any:
    """Return somebody's application."""
    peer: Any = peers.load(who)
    return peer.asgi(store, setting)


def create() -> Any:
    """Return the application that the environment names, for uvicorn."""
    given = json.loads(os.environ["BENCH_SERVED"])
    return build(given["who"], given["store"], Setting(**given["setting"]))


@contextmanager
def served(who: str, store: str, setting: Setting) -> Iterator[int]:
    """Serve somebody's application by uvicorn, as long as the block lasts; gives its port."""
    given = {"who": who, "store": store, "setting": asdict(setting)}
    port = servers.free_port()
    command = [sys.executable, "-m", "uvicorn", "--factory", "benchmarks.serving:create"]
    process = subprocess.Popen(
        [*command, *OPTIONS, "--port", str(port)],
        env={**os.environ, "BENCH_SERVED": json.dumps(given)},
    )
    try:
        servers.wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait()


def warm_up(port: int) -> None:
    """Send some requests to an application that is served."""
    connection = HTTPConnection(servers.HOST, port, timeout=20)
    for _ in range(WARM_UP):
        connection.request("GET", "/")
        connection.getresponse().read()
    connection.close()


@asynccontextmanager
async def started(app: Any) -> AsyncIterator[None]:
    """Start an application up, and shut it down after the block."""
    told: asyncio.Queue[str] = asyncio.Queue()
    answered: asyncio.Queue[str] = asyncio.Queue()

    async def receive() -> dict[str, str]:
        return {"type": f"lifespan.{await told.get()}"}

    async def send(message: dict[str, str]) -> None:
        await answered.put(message["type"])

    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    running = asyncio.create_task(app(scope, receive, send))
    for phase in ("startup", "shutdown"):
        await told.put(phase)
        if await answered.get() != f"lifespan.{phase}.complete":
            raise RuntimeError(f"no {phase}")
        if phase == "startup":
            yield
    await running


async def requested(app: Any) -> list[dict[str, Any]]:
    """Send one request, and return the messages that come back."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(_scope(), receive, send)
    return sent


async def timed(app: Any, count: int) -> float:
    """Return the µs of a request."""
    start = time.perf_counter_ns()
    for _ in range(count):
        await requested(app)
    return (time.perf_counter_ns() - start) / count / 1_000


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"accept", b"*/*")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 80),
        "state": {},
    }

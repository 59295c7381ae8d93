"""What limits add to a request."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks import servers, serving, timing
from benchmarks.peers.base import ASGI
from benchmarks.suites.base import Layout, Metric, Suite, offered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.results import Labels, Result

REQUESTS = {"tiny": 5, "quick": 300, "full": 1_000}
SECONDS = {"tiny": 1, "quick": 2, "full": 3}
TURNS = 3
"""How often the bare and the limited application are timed in turns, for one sample."""
CONNECTIONS = 32
ENOUGH = 10_000_000
WRK = "wrk"


class Asgi(Suite):
    """One FastAPI application, bare and limited: called in process, and served by uvicorn."""

    name = "asgi"
    metrics = {"added": Metric("µs", "less"), "rate": Metric("requests/s", "more")}
    layouts = (
        Layout("µs added to a request, in process", "added", ("who",), ("store",)),
        Layout("requests a second, by wrk through uvicorn", "rate", ("who",), ("store",)),
    )
    rounds = {"tiny": 1, "quick": 3, "full": 5}
    server = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each library on each store; the bare application only by wrk."""
        found = [
            {"who": each["who"], "store": each["algorithm"], "by": by}
            for by in ("call", WRK)
            for each in offered(ASGI, who)
        ]
        if shutil.which(WRK) is None:
            found = [each for each in found if each["by"] != WRK]
        if size == "tiny":
            found = [each for each in found if (each["store"], each["by"]) != ("redis", WRK)]
        return [each for each in found if (each["who"], each["by"]) != ("floor", "call")]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Time requests, of an application that is known to limit."""
        servers.command(url, "FLUSHALL")
        who, store = str(labels["who"]), str(labels["store"])
        if labels["by"] == WRK:
            timing.unpin()
            return {"rate": _through_uvicorn(who, store, SECONDS[size], url)}
        timing.pin(0)
        return {"added": self._runner.run(_added(who, store, REQUESTS[size], url))}

    def remarks(self, result: Result) -> list[str]:
        """Say what is missing, and who adds less."""
        missing = [] if shutil.which(WRK) else [f"{WRK} isn't installed: no requests a second."]
        return [*missing, *_lighter(result)]


async def _added(who: str, store: str, count: int, url: str) -> float:
    """Return by how many µs a request to the limited application takes longer."""
    await _check(who, store, url)
    bare = serving.build("floor", "none", ENOUGH, url)
    limited = serving.build(who, store, ENOUGH, url)
    async with serving.started(bare), serving.started(limited):
        await serving.timed(bare, count // 5 + 1)
        await serving.timed(limited, count // 5 + 1)
        timing.settle()
        added = 0.0
        for _ in range(TURNS):
            added -= await serving.timed(bare, count)
            added += await serving.timed(limited, count)
    return added / TURNS


async def _check(who: str, store: str, url: str) -> None:
    """Make sure that it limits.

    Raises:
        RuntimeError: It does not.

    """
    app = serving.build(who, store, 2, url)
    async with serving.started(app):
        answers = [(await serving.requested(app))[0]["status"] for _ in range(4)]
    servers.command(url, "FLUSHALL")
    if answers != [200, 200, 429, 429]:
        raise RuntimeError(f"a limit of 2 answered {answers}")


def _through_uvicorn(who: str, store: str, seconds: int, url: str) -> float:
    """Return the requests a second that wrk counts.

    Raises:
        RuntimeError: Some weren't answered with 200.

    """
    with serving.served(who, store, url) as port:
        target = f"http://127.0.0.1:{port}/"
        asked = [str(shutil.which(WRK)), "-t", "1", "-c", str(CONNECTIONS), "-d"]
        if seconds > 1:
            _said([*asked, "1", target])
        said = _said([*asked, str(seconds), target])
    if "Non-2xx" in said:
        raise RuntimeError("requests were denied or failed")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _lighter(result: Result) -> list[str]:
    return [
        f"{other.labels['who']} adds less: {other.middle:.0f} µs beside {own.middle:.0f} µs "
        f"({own.labels['store']})."
        for own in result.of("asgi", "added", who="ratelimit")
        for other in result.of("asgi", "added", store=own.labels["store"])
        if other.middle < own.middle
    ]


SUITE = Asgi()

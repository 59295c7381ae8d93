"""What limits add to a request."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from benchmarks import beside, peers, promises, servers, serving, timing
from benchmarks.peers.base import ASGI, STARLETTE, Setting
from benchmarks.suites.base import Layout, Metric, Suite, offered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.results import Labels, Result

DAY = 86_400
REQUESTS = {"tiny": 5, "quick": 200, "full": 300}
SECONDS = {"tiny": 1, "quick": 1, "full": 2}
TURNS = 5
"""How often the bare and the limited application are timed in turns, for one sample."""
CONNECTIONS = 32
ENOUGH = 10_000_000
MANY = 10
IN_MEMORY: Labels = {"store": "memory", "framework": STARLETTE, "rules": 1, "outcome": "allowed"}
"""The labels of what ratios are told of."""
CALL = "call"
WRK = "wrk"


class Asgi(Suite):
    """An application with one route, bare and limited: called in process, and by uvicorn."""

    name = "asgi"
    metrics = {
        "added": Metric("µs", "less"),
        "took": Metric("µs", "less"),
        "rate": Metric("requests/s", "more"),
    }
    layouts = (
        Layout(
            "µs added to a request that is allowed, in process",
            "added",
            ("framework",),
            ("store", "rules"),
            (("outcome", "allowed"),),
        ),
        Layout(
            "µs of a request that is denied, in process",
            "took",
            ("framework",),
            ("store",),
            (("outcome", "denied"),),
        ),
        Layout(
            "µs of a request that is allowed, in process",
            "took",
            ("framework",),
            ("store", "rules"),
            (("outcome", "allowed"),),
        ),
        Layout("requests a second, by wrk through uvicorn", "rate", ("framework",), ("store",)),
    )
    rounds = {"tiny": 1, "quick": 2, "full": 3}
    server = True

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def cases(self, size: str, who: Sequence[str]) -> list[Labels]:
        """Return each library on each store and framework; at smaller sizes one framework only."""
        return [
            {
                "who": each["who"],
                "framework": framework,
                "store": each["algorithm"],
                "by": by,
                "outcome": outcome,
                "rules": rules,
            }
            for by, outcome, rules in _ways()
            for each in offered(ASGI, who)
            for framework in _frameworks(str(each["who"]), size)
            if _possible(each, outcome, rules)
        ]

    def sample(self, labels: Labels, size: str, url: str) -> dict[str, float]:
        """Time requests, of an application that is known to limit."""
        servers.command(url, "FLUSHALL")
        if labels["by"] == WRK:
            timing.unpin()
            return {"rate": _through_uvicorn(labels, SECONDS[size], url)}
        timing.pin(0)
        return self._runner.run(_called(labels, REQUESTS[size], url))

    def remarks(self, result: Result) -> list[str]:
        """Say what is missing, what share of others' costs is added, and who adds less."""
        missing = [] if shutil.which(WRK) else [f"{WRK} isn't installed: no requests a second."]
        return [*missing, *_promised(result), *beside.leads(result, self.name)]


def _ways() -> Iterator[tuple[str, str, int]]:
    """Give how requests come, what becomes of them, and how many rules they meet."""
    yield CALL, "allowed", 1
    yield CALL, "allowed", MANY
    yield CALL, "denied", 1
    if shutil.which(WRK) is not None:
        yield WRK, "allowed", 1


def _frameworks(who: str, size: str) -> tuple[str, ...]:
    frameworks = peers.load(who).frameworks
    return frameworks if size == "full" else frameworks[:1]


def _possible(each: Labels, outcome: str, rules: int) -> bool:
    if each["who"] == "floor":
        return (outcome, rules) == ("allowed", 1)
    return rules == 1 or (each["algorithm"] == "memory" and peers.load(str(each["who"])).many_rules)


def _setting(labels: Labels, limit: int, url: str) -> Setting:
    return Setting(limit, DAY, 1, url, int(labels["rules"]), str(labels["framework"]))


async def _called(labels: Labels, count: int, url: str) -> dict[str, float]:
    """Return the µs of a request, and by how many it takes longer than to the bare one."""
    denied = labels["outcome"] == "denied"
    if labels["who"] != "floor":
        await _check(labels, url)
    who, store = str(labels["who"]), str(labels["store"])
    bare = serving.build("floor", "none", _setting(labels, 1, url))
    limited = serving.build(who, store, _setting(labels, 1 if denied else ENOUGH, url))
    async with serving.started(bare), serving.started(limited):
        await serving.timed(bare, count // 5 + 1)
        await serving.timed(limited, count // 5 + 1)
        timing.settle()
        bare_took = took = 0.0
        for _ in range(TURNS):
            bare_took += await serving.timed(bare, count) / TURNS
            took += await serving.timed(limited, count) / TURNS
    if denied or who == "floor":
        return {"took": took}
    return {"took": took, "added": took - bare_took}


async def _check(labels: Labels, url: str) -> None:
    """Make sure that it limits.

    Raises:
        RuntimeError: It does not.

    """
    app = serving.build(str(labels["who"]), str(labels["store"]), _setting(labels, 2, url))
    async with serving.started(app):
        answers = [(await serving.requested(app))[0]["status"] for _ in range(4)]
    servers.command(url, "FLUSHALL")
    if answers != [200, 200, 429, 429]:
        raise RuntimeError(f"a limit of 2 answered {answers}")


def _through_uvicorn(labels: Labels, seconds: int, url: str) -> float:
    """Return the requests a second that wrk counts.

    Raises:
        RuntimeError: Some weren't answered with 200.

    """
    setting = _setting(labels, ENOUGH, url)
    with serving.served(str(labels["who"]), str(labels["store"]), setting) as port:
        target = f"http://127.0.0.1:{port}/"
        serving.warm_up(port)
        asked = [str(shutil.which(WRK)), "-t", "1", "-c", str(CONNECTIONS), "-d"]
        said = _said([*asked, str(seconds), target])
    if "Non-2xx" in said:
        raise RuntimeError("requests were denied or failed")
    return float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0])


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _promised(result: Result) -> list[str]:
    """Return a sentence for each ratio that is promised, and others of ours."""
    rates = _shares_of_bare(result)
    return [
        *promises.at_most(1 / 15, *_share(result, "slowapi, middleware")),
        *_of_denied(result, "slowapi, middleware"),
        *promises.at_most(1 / 3, *_share(result, "limits, by hand")),
        *_of_denied(result, "limits, by hand"),
        *promises.at_least(
            0.95,
            "Requests a second, as a share of the bare application's",
            {name: share for name, share in rates.items() if name == "memory"},
        ),
        *(
            f"On Redis, which waits for the server, it is {share:.2f}."
            for name, share in rates.items()
            if name == "redis"
        ),
        *promises.at_most(
            2,
            f"A request with {MANY} rules takes, times as long as with one",
            _times(result, "took"),
        ),
        *promises.at_most(
            2, f"{MANY} rules add, times as much as one adds", _times(result, "added")
        ),
    ]


def _share(result: Result, who: str) -> tuple[str, dict[str, float]]:
    """Return what we add in memory, as a share of what somebody adds."""
    return f"Adds to a request, as a share of what {who} adds", {
        str(own.labels["store"]): own.middle / other.middle
        for own in beside.ours(result, "asgi", "added", **IN_MEMORY)
        for other in result.of("asgi", "added", **{**own.labels, "who": who})
    }


def _of_denied(result: Result, who: str) -> list[str]:
    return [
        f"A denied request takes {own.middle / other.middle:.2f} of the time that it takes {who}."
        for own in beside.ours(result, "asgi", "took", **{**IN_MEMORY, "outcome": "denied"})
        for other in result.of("asgi", "took", **{**own.labels, "who": who})
    ]


def _shares_of_bare(result: Result) -> dict[str, float]:
    return {
        str(own.labels["store"]): own.middle / bare.middle
        for own in beside.ours(result, "asgi", "rate", framework=STARLETTE)
        for bare in result.of("asgi", "rate", framework=STARLETTE, who="floor")
    }


def _times(result: Result, metric: str) -> dict[str, float]:
    """Return how many times as much many rules cost as one does."""
    return {
        str(own.labels["store"]): many.middle / own.middle
        for own in beside.ours(result, "asgi", metric, **IN_MEMORY)
        for many in result.of("asgi", metric, **{**own.labels, "rules": MANY})
    }


SUITE = Asgi()

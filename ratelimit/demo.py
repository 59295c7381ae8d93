"""Show every algorithm at work, over real HTTP."""

from __future__ import annotations

import http.client
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingLog,
    SlidingWindowCounter,
    TokenBucket,
)
from ratelimit.asgi import RateLimitMiddleware, Rule, client_ip
from ratelimit.limiter import Limiter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request

HOST = "127.0.0.1"
PORT = 8000
ENDPOINTS: dict[str, tuple[str, Algorithm]] = {
    "/fixed-window": ("fixed", FixedWindow("3/2 seconds")),
    "/sliding-log": ("log", SlidingLog("3/2 seconds")),
    "/sliding-window-counter": ("counter", SlidingWindowCounter("3/2 seconds")),
    "/token-bucket": ("tokens", TokenBucket("3/2 seconds")),
    "/leaky-bucket": ("queue", LeakyBucket("2/second", capacity=2)),
}
"""What is limited: the name and the algorithm of each path."""

_MOST_REQUESTS = 7
_PATIENCE = 0.05
_ROW = "{:<23} {:>2}  {:<6}  {:<17}  {:<11}  {}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for a request."""

    number: int
    status: int
    ratelimit: str
    retry_after: int | None
    took: float
    at: float
    """When it came, in seconds of the performance counter."""

    @property
    def denied(self) -> bool:
        """Whether a limit denied."""
        return self.status == http.client.TOO_MANY_REQUESTS


def application(store: str) -> Starlette:
    """Return an application with an endpoint for each algorithm."""
    rules = [
        Rule(name, algorithm, key=client_ip(), path=path)
        for path, (name, algorithm) in ENDPOINTS.items()
    ]
    return Starlette(
        routes=[Route(path, _answer) for path in ENDPOINTS],
        middleware=[Middleware(RateLimitMiddleware, rules=rules, store=store)],
    )


def run(store: str, port: int | None, *, once: bool) -> bool:
    """Limit real requests, show the answers, and serve until Ctrl-C unless it is for once.

    Args:
        store: The URL of the store.
        port: Where to listen; 0 for any free port, None for 8000 if that is free.
        once: Whether to end after the table.

    Returns:
        Whether each endpoint was seen to deny, and to allow again after the wait it told.

    Raises:
        ImportError: The store's client library isn't installed.
        OSError: The port is taken.
        StoreError: The store can't decide.
        ValueError: No store has such a URL.

    """
    _check_store(store)
    listener = _listen(port)
    port = listener.getsockname()[1]
    with _serving(application(store), listener):
        print(f"Limits on http://{HOST}:{port}, kept in {store.rsplit('@', 1)[-1]}\n", flush=True)
        limited = _show_all(port)
        if not once:
            _serve_on(port)
    return limited


async def _answer(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"hello from {request.url.path}\n")


def _check_store(store: str) -> None:
    """Ask the store once, so that what is wrong with it is told before anything is served."""
    with Limiter(FixedWindow("1/second"), store=store, name="demo") as limiter:
        limiter.peek("demo")


def _listen(port: int | None) -> socket.socket:
    """Return a socket that listens on the port, or on any free one if none was asked for."""
    try:
        return socket.create_server((HOST, PORT if port is None else port))
    except OSError as error:
        if port is not None:
            raise OSError(f"can't listen on port {port}: {error.strerror}") from error
        return socket.create_server((HOST, 0))


@contextmanager
def _serving(app: Starlette, listener: socket.socket) -> Iterator[None]:
    """Serve an application in a thread for as long as the block lasts."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none"))
    thread = Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        thread.join()


def _show_all(port: int) -> bool:
    """Print the table; whether all endpoints limited."""
    start = time.perf_counter()
    print(_ROW.format("endpoint", "#", "status", "RateLimit", "Retry-After", "took"), flush=True)
    with ThreadPoolExecutor(_MOST_REQUESTS) as pool:
        failed = [path for path in ENDPOINTS if not _show(pool, port, path)]
    took = time.perf_counter() - start
    print(f"\n{_verdict(failed)} ({took:.1f} s)", flush=True)
    return not failed


def _verdict(failed: list[str]) -> str:
    if failed:
        return f"Not seen to limit as it should: {', '.join(failed)}"
    return "Each endpoint denied what was too much, and allowed it after the wait that it told"


def _show(pool: ThreadPoolExecutor, port: int, path: str) -> bool:
    """Print the rows of an endpoint; whether it denied, and allowed again after the wait."""
    answers = []
    for answer in _burst(pool, port, path):
        _print_row(path, answer)
        answers.append(answer)
    denied = next((answer for answer in answers if answer.denied), None)
    if denied is None or denied.retry_after is None:
        return False
    print(f"{'':<23}     waiting {denied.retry_after} s, as told", flush=True)
    time.sleep(max(0, denied.at + denied.retry_after - time.perf_counter()))
    last = _ask(port, path, len(answers) + 1)
    _print_row(path, last)
    return last.status == http.client.OK


def _burst(pool: ThreadPoolExecutor, port: int, path: str) -> Iterator[Answer]:
    """Ask until it is denied, without waiting for the answers that are held back."""
    waiting: set[Future[Answer]] = set()
    for number in range(1, _MOST_REQUESTS + 1):
        waiting.add(pool.submit(_ask, port, path, number))
        done, waiting = wait(waiting, timeout=_PATIENCE)
        answers = sorted((future.result() for future in done), key=lambda answer: answer.at)
        yield from answers
        if any(answer.denied for answer in answers):
            break
    for future in as_completed(waiting):
        yield future.result()


def _ask(port: int, path: str, number: int) -> Answer:
    """Send a request, and wait for its answer."""
    start = time.perf_counter()
    with closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
    at = time.perf_counter()
    retry_after = response.getheader("Retry-After")
    return Answer(
        number,
        response.status,
        response.getheader("RateLimit", ""),
        None if retry_after is None else int(retry_after),
        at - start,
        at,
    )


def _print_row(path: str, answer: Answer) -> None:
    retry_after = "" if answer.retry_after is None else answer.retry_after
    took = f"{answer.took:.3f} s"
    row = _ROW.format(path, answer.number, answer.status, answer.ratelimit, retry_after, took)
    print(row, flush=True)


def _serve_on(port: int) -> None:
    """Say what to try, and serve until Ctrl-C."""
    print(
        f"\nStill listening. Try, a few times in a row:\n"
        f"  curl -i http://{HOST}:{port}/token-bucket\n"
        f"Ctrl-C ends it.",
        flush=True,
    )
    Event().wait()

"""A limited application behind real servers, and what real clients make of it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import httpx
import pytest
import urllib3
from httpx_retries import Retry, RetryTransport

from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
UVICORN = ["uvicorn", "tests.served:app", "--log-level", "warning", "--port"]
COMMANDS = {
    "h11": ["--http", "h11", "--loop", "asyncio"],
    "httptools": ["--http", "httptools", "--loop", "asyncio"],
    "uvloop": ["--http", "httptools", "--loop", "uvloop"],
}
PATIENCE = 20
"""How many seconds to wait for what happens at once on a machine that isn't busy."""


@contextmanager
def serving(kind: str) -> Iterator[str]:
    """Serve the application for as long as the block lasts; gives its URL."""
    port = servers.free_port()
    if kind == "hypercorn":
        command = ["hypercorn", "tests.served:app", "--bind", f"127.0.0.1:{port}"]
    elif kind == "granian":
        command = ["granian", "tests.served:app", "--interface", "asgi", "--port", str(port)]
    else:
        command = [*UVICORN, str(port), *COMMANDS[kind]]
    with servers.process([sys.executable, "-m", *command], port, folder=ROOT):
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def served() -> Iterator[Callable[[str], str]]:
    """Return a function that starts a server when it is first wanted, and gives its URL."""
    urls: dict[str, str] = {}
    with ExitStack() as stack:

        def url_of(kind: str) -> str:
            if kind not in urls:
                urls[kind] = stack.enter_context(serving(kind))
            return urls[kind]

        yield url_of


@pytest.fixture(params=[*COMMANDS, "granian", "hypercorn"])
def url(request: pytest.FixtureRequest, served: Callable[[str], str]) -> str:
    """Return the URL of each server in turn."""
    return served(request.param)


@pytest.fixture
def name() -> dict[str, str]:
    """Return a header that names a client of its own."""
    return {"x-name": uuid4().hex}


def happened(url: str, name: dict[str, str], *wanted: object) -> list[Any]:
    """Return what happened to a client, as soon as it is what is wanted."""
    end = time.monotonic() + PATIENCE
    while True:
        told: list[Any] = httpx.get(f"{url}/told", headers=name).json()
        if told == list(wanted) or time.monotonic() > end:
            return told
        time.sleep(0.01)


def connected(url: str) -> socket.socket:
    """Connect to a server, to speak with it byte by byte."""
    host, _, port = url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """Read until something was said."""
    heard = b""
    while end not in heard:
        more = connection.recv(65_536)
        assert more, f"the server has hung up after {heard!r}"
        heard += more
    return heard


both = pytest.mark.parametrize("side", ["bare", "limited"])


def test_a_limit_behind_a_server(url: str, name: dict[str, str]) -> None:
    """It is told and enforced as in process, on a connection that is used again."""
    with httpx.Client(base_url=f"{url}/limited", headers=name) as client:
        first, second, head, other = (
            client.get("/once"),
            client.get("/once"),
            client.head("/once"),
            client.get("/"),
        )
    assert [each.status_code for each in (first, second, head, other)] == [200, 429, 429, 200]
    assert '"once";r=0;t=' in first.headers["ratelimit"]
    assert 3_500 < int(second.headers["retry-after"]) <= 3_600
    assert second.json()["violated-policies"] == ["once"]
    assert head.content == b""
    assert '"once"' not in other.headers["ratelimit"]
    assert '"all"' in other.headers["ratelimit"]


def test_requests_that_wait(url: str, name: dict[str, str]) -> None:
    """Requests that are held back are all served, one after the other."""

    async def ask() -> list[int]:
        async with httpx.AsyncClient(headers=name, timeout=PATIENCE) as client:
            tasks = [client.get(f"{url}/limited/wait") for _ in range(4)]
            return [answer.status_code for answer in await asyncio.gather(*tasks)]

    assert asyncio.run(ask()) == [200] * 4


@both
def test_streaming_in_both_directions(url: str, side: str) -> None:
    """What is sent comes back while more is being sent."""
    with connected(url) as connection:
        request = f"POST /{side}/echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
        connection.sendall(request.encode())
        heard = b""
        for chunk in (b"first", b"second"):
            connection.sendall(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            heard += read_until(connection, chunk)
        connection.sendall(b"0\r\n\r\n")
        read_until(connection, b"0\r\n\r\n")
    assert (b"ratelimit:" in heard.lower()) is (side == "limited")


@both
def test_a_client_that_hangs_up(url: str, side: str, name: dict[str, str]) -> None:
    """The application notices, and its response is closed."""
    with httpx.stream("GET", f"{url}/{side}/drip", headers=name) as response:
        assert next(response.iter_raw()).startswith(b"drop")
    assert happened(url, name, "closed") == ["closed"]


@both
def test_an_upload_that_is_given_up(url: str, side: str, name: dict[str, str]) -> None:
    """The application notices that no more will come."""
    with connected(url) as connection:
        lines = ["host: x", "content-length: 1000", f"x-name: {name['x-name']}"]
        head = "\r\n".join([f"POST /{side}/upload HTTP/1.1", *lines, "", ""])
        connection.sendall(head.encode() + b"x" * 10)
        time.sleep(0.05)
    assert happened(url, name, "gone") == ["gone"]


@both
def test_a_slow_reader(url: str, side: str, name: dict[str, str]) -> None:
    """It slows the application down, which doesn't pile up what isn't read; all of it arrives."""
    with httpx.stream("GET", f"{url}/{side}/much", headers=name, timeout=PATIENCE) as response:
        time.sleep(0.3)
        sent = len(httpx.get(f"{url}/told", headers=name).json())
        size = sum(map(len, response.iter_raw(1 << 16)))
    assert sent < 32
    assert size == 32 << 20


@both
def test_background_tasks_and_context_variables(url: str, side: str, name: dict[str, str]) -> None:
    """They are what they are without the middleware."""
    assert httpx.get(f"{url}/{side}/later", headers=name).text == "now"
    wanted = ("outside", "later inside", "outside inside")
    assert happened(url, name, *wanted) == list(wanted)


def by_urllib3(url: str, name: dict[str, str]) -> list[int]:
    """Ask twice, as urllib3 does."""
    with urllib3.PoolManager(retries=urllib3.Retry(3), headers=name) as pool:
        return [pool.request("GET", url).status for _ in range(2)]


def by_httpx(url: str, name: dict[str, str]) -> list[int]:
    """Ask twice, as httpx with httpx-retries does."""
    transport = RetryTransport(retry=Retry(total=3, backoff_factor=0))
    with httpx.Client(transport=transport, headers=name) as client:
        return [client.get(url).status_code for _ in range(2)]


def by_curl(url: str, name: dict[str, str]) -> list[int]:
    """Ask twice, as curl does."""
    curl = [servers.installed("curl"), "--silent", "--retry", "3"]
    asked = [*curl, "--header", f"x-name: {name['x-name']}", "--write-out", "\n%{http_code}", url]
    said = [subprocess.run(asked, capture_output=True, text=True, check=True) for _ in range(2)]
    return [int(each.stdout.rpartition("\n")[2]) for each in said]


def test_clients_that_obey(served: Callable[[str], str]) -> None:
    """Clients that are denied wait as long as they are told, and get through at the second try."""
    url = served("httptools")

    def tried(ask: Callable[..., list[int]]) -> tuple[list[int], list[Any]]:
        name = {"x-name": uuid4().hex}
        statuses = ask(f"{url}/limited/retry", name)
        return statuses, happened(url, name, 200, 429, 200)

    with ThreadPoolExecutor() as pool:
        outcomes = list(pool.map(tried, (by_urllib3, by_httpx, by_curl)))
    assert outcomes == [([200, 200], [200, 429, 200])] * 3

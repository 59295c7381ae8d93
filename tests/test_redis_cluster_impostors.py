"""Nodes that say all that a node can say in place of an answer."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.algorithms import FixedWindow
from ratelimit.errors import RateLimitError, StoreUnavailable
from ratelimit.limiter import Limiter
from tests.conftest import maker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 0.5
MANY = FixedWindow("1000000/day")


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour."""
    with maker(request.param) as make:
        yield make


def fails(ask: Callable[[], object], *kinds: str) -> None:
    """Expect trouble that passes, of one of some kinds."""
    with pytest.raises(StoreUnavailable) as caught:
        ask()
    assert caught.value.kind in kinds


@contextmanager
def impostor(answer: Callable[[int], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Run what says that it has all slots, and answers each script in words of its own."""
    asked: list[bytes] = []

    def talk(peer: socket.socket, port: int) -> None:
        with peer:
            while data := peer.recv(65_536):
                peer.sendall(b"+OK\r\n" * (data.count(b"SETINFO") + data.count(b"ASKING")))
                if b"SLOTS" in data:
                    host = f"$9\r\n127.0.0.1\r\n:{port}\r\n"
                    peer.sendall(f"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n{host}".encode())
                if b"EVALSHA" in data:
                    asked.append(data)
                    peer.sendall(answer(port))

    def serve(server: socket.socket) -> None:
        port = server.getsockname()[1]
        threads = []
        while True:
            peer, _ = server.accept()
            if done.is_set():
                peer.close()
                break
            threads.append(threading.Thread(target=talk, args=[peer, port]))
            threads[-1].start()
        for thread in threads:
            thread.join()

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=serve, args=[server])
        thread.start()
        yield server.getsockname()[1], asked
        done.set()
        socket.create_connection(server.getsockname()).close()
        thread.join()


@pytest.mark.parametrize("word", ["MOVED", "ASK"])
def test_nodes_that_send_it_round_in_circles(make: Any, word: str) -> None:
    """A hit that is sent on and on ends in time, and nobody is flooded with it."""
    with impostor(lambda port: f"-{word} 1 :{port}\r\n".encode()) as (port, asked):
        limiter = make(f"redis+cluster://127.0.0.1:{port}?protocol=2", MANY, DEADLINE)
        fails(lambda: limiter.hit("k"), "timeout")
        assert 3 < len(asked) < 60
        close(limiter)


def close(limiter: Any) -> None:
    """Close a limiter of either colour."""
    limiter.close() if isinstance(limiter, Limiter) else limiter.aclose()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "cluster"),
        (b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n", "cluster"),
        (b"-MOVED 1 127.0.0.1:1\r\n", "connection"),
        (b"-ASK 1 127.0.0.1:1\r\n", "timeout"),
        (b"$52\r\n1\n!Script attempted to access a non local key in a cl.\r\n", "cluster"),
    ],
)
def test_a_node_that_can_not_serve(make: Any, answer: bytes, kind: str) -> None:
    """What a node says in place of an answer is told as trouble that passes."""
    with impostor(lambda _: answer) as (port, asked):
        limiter = make(f"redis+cluster://127.0.0.1:{port}?protocol=2", MANY, DEADLINE)
        fails(lambda: limiter.hit("k"), kind)
        assert asked
        close(limiter)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"$2\r\nno\r\n"])
def test_somebody_else_listens(make: Any, answer: bytes) -> None:
    """What answers as no Redis does is a mistake, not an outage."""
    with impostor(lambda _: answer) as (port, _):
        limiter = make(f"redis+cluster://127.0.0.1:{port}?protocol=2", MANY)
        with pytest.raises(RateLimitError, match="as no Redis does") as caught:
            limiter.hit("k")
        assert caught.type is not StoreUnavailable
        close(limiter)

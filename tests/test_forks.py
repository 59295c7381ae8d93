"""A forked process goes on, whatever other threads of its parent were doing."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit import decision, forks
from ratelimit.algorithms import TokenBucket
from ratelimit.limiter import Limiter
from ratelimit.stores import Breaker, FallbackStore
from ratelimit.stores.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITER = Limiter(TokenBucket("9/hour"), store=FallbackStore(MemoryStore(), breaker=Breaker()))
STORE: Any = LIMITER.store


def use() -> None:
    """Ask for everything that takes a lock."""
    STORE.breaker.failed()
    given = LIMITER.acquire("k", timeout=1)
    LIMITER.refund(given)
    assert STORE.errors == {}


@pytest.mark.parametrize(
    "lock_of",
    [
        lambda: STORE.first.lock,
        lambda: STORE.second.lock,
        lambda: STORE.breaker._lock,
        lambda: STORE._counting,
        lambda: LIMITER._lines._guard,
        lambda: decision._taking,
    ],
    ids=["store", "share", "breaker", "errors", "lines", "taking"],
)
def test_a_lock_that_another_thread_holds(lock_of: Callable[[], Any]) -> None:
    """A lock that was held at the fork by a thread that isn't there is free in the child."""
    held, forked = threading.Event(), threading.Event()

    def hold() -> None:
        with lock_of():
            held.set()
            forked.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        use()
        os._exit(0)
    forked.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0


def test_what_a_child_does_first() -> None:
    """Every lock that is known is free afterwards, and those that are gone are forgotten."""
    lock = forks.fork_safe(threading.Lock())
    lock.acquire()
    forks._renew()
    assert lock.acquire(blocking=False)

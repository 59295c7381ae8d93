"""Keep locks usable in forked processes."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any, TypeVar
from weakref import WeakSet

L = TypeVar("L")

_locks: WeakSet[Any] = WeakSet()


def fork_safe(lock: L) -> L:
    """Return a lock that is free in a forked process, whoever held it in its parent.

    Only the thread that forks goes on in the child, so a lock that another one held would be held
    there for ever.
    """
    _locks.add(lock)
    return lock


def _renew() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()


with suppress(AttributeError):  # where there is no fork
    os.register_at_fork(after_in_child=_renew)

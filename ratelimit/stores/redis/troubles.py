"""What an error means."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from redis import exceptions

from ratelimit.errors import StoreError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUBJECT = re.compile(r":\{[A-Za-z0-9_.@:/~%#-]+").sub
"""Replaces what a key in Redis is about, also if the rest of it is cut off."""


class Trouble(NamedTuple):
    """What an error means."""

    kind: str
    wrong: str
    passes: bool = True
    """Whether it passes by waiting; else somebody has made a mistake."""

    def error(self, said: object, keys: Sequence[str] = ()) -> StoreError:
        """Return the error to raise: its message shows of each key only what it is for."""
        where = f" (for {', '.join(keys)})" if keys else ""
        error = StoreUnavailable if self.passes else StoreError
        return error(_SUBJECT(":{*", f"Redis {self.wrong}{where}: {said}"), self.kind, keys)


_UNKNOWN = Trouble("error", "could not decide", passes=False)
_FOREIGN = Trouble("foreign", "holds something else than a limit at our key", passes=False)
_DENIED = Trouble(
    "permission", "denies this user a command or a key that limits need", passes=False
)
_REFUSED = Trouble("authentication", "needs a password, or another one", passes=False)
_FULL = Trouble("full", "is full (maxmemory with noeviction)")
_READ_ONLY = Trouble("read-only", "is a replica and takes no writes: name the primary")
_LOADING = Trouble("loading", "is still loading its data")
_ORPHAN = Trouble("read-only", "is a replica that has lost its primary")
_CLUSTER = Trouble("cluster", "is a cluster that can't serve this key just now")
_NODE = Trouble(
    "topology", "is one node of a cluster: name the cluster, by redis+cluster://", passes=False
)
_ALONE = Trouble("topology", "is no node of a cluster: name it by redis://", passes=False)
_TIMEOUT = Trouble("timeout", "did not answer in time")
_CONNECTION = Trouble("connection", "can't be reached")
_BUSY = Trouble("busy", "is busy with a script")
_NONSENSE = Trouble("protocol", "answers as no Redis does: is it one?", passes=False)
_OVERLOAD = Trouble("overload", "is asked by more than there are connections")

_BY_CODE = {
    "FOREIGN": _FOREIGN,
    "WRONGTYPE": _FOREIGN,
    "OOM": _FULL,
    "READONLY": _READ_ONLY,
    "NOPERM": _DENIED,
    "The user executing the script can't": _DENIED,
    "ACL failure in script": _DENIED,
    "WRONGPASS": _REFUSED,
    "NOAUTH": _REFUSED,
    "unauthenticated": _REFUSED,
    "BUSY": _BUSY,
    "Script killed": _BUSY,
    "MISCONF": Trouble("full", "can't save its data and refuses writes"),
    "NOREPLICAS": Trouble("replicas", "has fewer replicas than it needs to take writes"),
    "LOADING": _LOADING,
    "MASTERDOWN": _ORPHAN,
    "CLUSTERDOWN": _CLUSTER,
    "TRYAGAIN": _CLUSTER,
    "access a non local key": _CLUSTER,
    "cluster support disabled": _ALONE,
    "max number of clients": Trouble("overload", "has as many clients as it takes"),
    "Server closed": _CONNECTION,
    "no upstream host": _CONNECTION,
    "upstream failure": _CONNECTION,
}
"""What an error means, by the code that it carries."""

_BY_CLASS = {
    exceptions.NoPermissionError: _DENIED,
    exceptions.BusyLoadingError: _LOADING,
    exceptions.MasterDownError: _ORPHAN,
    exceptions.ClusterDownError: _CLUSTER,
    exceptions.TryAgainError: _CLUSTER,
    exceptions.MovedError: _NODE,
    exceptions.AskError: _NODE,
    exceptions.ReadOnlyError: _READ_ONLY,
    exceptions.OutOfMemoryError: _FULL,
    exceptions.AuthenticationError: _REFUSED,
    exceptions.TimeoutError: _TIMEOUT,
    exceptions.InvalidResponse: _NONSENSE,
}
"""What an error means, by the class that redis-py gives it; the special before the general."""


class Unsent(exceptions.RedisError):
    """A call that never left, for want of a connection."""

    def __init__(self, reason: exceptions.RedisError) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Apart(StoreUnavailable):
    """The keys of a call aren't all on one node just now, as their slot is being moved."""


def trouble_of(said: str) -> Trouble:
    """Return what a text of the server's means."""
    return next((trouble for code, trouble in _BY_CODE.items() if code in said), _UNKNOWN)


def is_demoted(reply: bytes) -> bool:
    """Say whether a server has become a replica: the primary is to be looked for again."""
    return b"READONLY" in reply


def store_error(error: exceptions.RedisError) -> StoreError:
    """Return the error for what redis-py raised."""
    if isinstance(error, Unsent):
        return store_error(error.reason)
    for kind, trouble in _BY_CLASS.items():
        if isinstance(error, kind):
            return trouble.error(error)
    trouble = trouble_of(str(error))
    if trouble is _UNKNOWN and isinstance(error, exceptions.ConnectionError):
        trouble = _CONNECTION
    return trouble.error(error)


def apart(error: exceptions.TryAgainError) -> StoreError:
    """Return the error for keys that aren't all on one node."""
    return Apart(str(_CLUSTER.error(error)), _CLUSTER.kind)


def uncovered(slot: int) -> StoreError:
    """Return the error for a slot that no node has."""
    return _CLUSTER.error(f"no node has slot {slot}")


def too_late(deadline: float) -> StoreError:
    """Return the error for a decision that took too long."""
    return _TIMEOUT.error(f"{deadline} s is the deadline")


def overloaded(most: int, deadline: float) -> StoreError:
    """Return the error for a thread that waited for a connection in vain."""
    return _OVERLOAD.error(f"all of the {most} were in use for {deadline} s")


def nonsense(reply: object) -> StoreError:
    """Return the error for a reply that isn't the script's."""
    return _NONSENSE.error(repr(reply)[:80])

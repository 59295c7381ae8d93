"""Which node of a cluster has a key, as far as is known."""

from __future__ import annotations

from binascii import crc_hqx
from copy import copy
from itertools import count
from math import inf
from random import shuffle
from typing import TYPE_CHECKING, Any

from redis.exceptions import (
    AskError,
    ClusterDownError,
    InvalidResponse,
    MovedError,
    RedisError,
    TryAgainError,
)

from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.stores.redis.troubles import Apart, Unsent, apart, store_error, uncovered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ratelimit.stores.redis.pipeline import Question
    from ratelimit.stores.redis.urls import Address

SLOTS = 16_384
_OFTEN = 0.2
"""How often to ask where the slots are at most, in seconds."""
_HOPS = 3
"""How many times a question is sent on at once; then it rests before each."""
_REST = 0.001
_LONGEST_REST = 0.05
"""How long it rests for each time it was sent on, and at most, in seconds."""


_NOT_RUN = (Unsent, ClusterDownError)
"""What another node may do better at: nothing has run."""


def slot_of(keys: str) -> int:
    """Return the slot of the first of some keys; their hash tag is the subject, in braces."""
    return _slot(keys.partition("{")[2].partition("}")[0])


def _slot(tag: str) -> int:
    return crc_hqx(tag.encode(), 0) % SLOTS


class Slots:
    """Where each slot is: learned from any of the nodes, and mended by what the others say.

    Threads share it, so what is known is replaced whole, or slot by slot.

    Args:
        seeds: Nodes to ask first.
        remap: What turns an address that nodes tell into one that can be reached from here.

    """

    def __init__(
        self, seeds: Iterable[Address], remap: Callable[[Address], Address] | None = None
    ) -> None:
        self._seeds = list(seeds)
        self._remap = remap or (lambda address: address)
        self._owners: list[Address | None] = [None] * SLOTS
        self._suspects: set[Address] = set()
        self._stale = True
        self._next = -inf
        self._failure: StoreError | None = None
        self.nodes: list[Address] = []
        """All nodes that are known, primaries and replicas."""

    def owner(self, slot: int) -> Address | None:
        """Return the primary that has a slot, if any is known."""
        return self._owners[slot]

    def samples(self) -> dict[Address, str]:
        """Return a key that each primary has."""
        owners = list(self._owners)
        many = len(set(owners))
        keys = map("check{}".format, count())
        samples: dict[Address | None, str] = {}
        while len(samples) < many:
            key = next(keys)
            samples.setdefault(owners[_slot(key)], key)
        return {owner: key for owner, key in samples.items() if owner is not None}

    def remarks(self) -> list[str]:
        """Return what is worth knowing, and is no mistake."""
        missing = self._owners.count(None)
        if not missing:
            return []
        return [f"{missing} of {SLOTS} slots have no node, so their keys can't be decided on"]

    def address(self, host: Any, port: Any, source: Address) -> Address:
        """Return an address as a node tells it: without a host, it is the node's own."""
        name = str(host, errors="replace") if isinstance(host, bytes) else host
        return self._remap((source[0] if name in {None, "", "?"} else name, int(port)))

    def move(self, slot: int, owner: Address) -> None:
        """Take down that a slot is elsewhere; others may be too."""
        self._owners[slot] = owner
        self._stale = True

    def suspect(self, address: Address) -> None:
        """Take down that a node is in trouble: it is asked last."""
        self._suspects.add(address)

    def doubt(self, address: Address) -> None:
        """Take down that a primary is in trouble: another may have taken over."""
        self.suspect(address)
        self._stale = True

    def miss(self, slot: int) -> StoreError:
        """Take down that no node is known to have a slot; return the error to raise."""
        self._stale = True
        return self.failure() or uncovered(slot)

    def expire(self) -> None:
        """Have the nodes asked again, however lately they were."""
        self._stale, self._next = True, -inf

    def wants(self, now: float) -> bool:
        """Say whether the nodes are to be asked where the slots are."""
        return self._stale and now >= self._next

    def sources(self, now: float) -> list[Address]:
        """Begin to learn: return whom to ask, those in trouble last, else in any order."""
        self._next = now + _OFTEN
        nodes = list(self.nodes)
        shuffle(nodes)
        return sorted(dict.fromkeys([*nodes, *self._seeds]), key=self._suspects.__contains__)

    def learn(self, reply: Any, source: Address) -> bool:
        """Take up what a node says of all slots; return whether it knows of any.

        Raises:
            redis.InvalidResponse: It says what no node does.

        """
        owners: list[Address | None] = [None] * SLOTS
        nodes: dict[Address, None] = {}
        try:
            for first, last, *places in reply:
                here = [self.address(host, port, source) for host, port, *_ in places]
                owners[first : last + 1] = [here[0]] * (last + 1 - first)
                nodes |= dict.fromkeys(here)
        except (TypeError, ValueError, IndexError) as error:
            raise InvalidResponse(repr(reply)[:80]) from error
        if not nodes:
            return False
        self._owners, self.nodes = owners, list(nodes)
        self._suspects &= {*nodes, *self._seeds} - {source}
        self._stale, self._failure = False, None
        return True

    def fail(self, errors: Iterable[RedisError]) -> None:
        """Take down that nobody could be asked, and why: a mistake if there is one."""
        self._failure = None
        for error in errors:
            if self._failure is None or isinstance(self._failure, StoreUnavailable):
                self._failure = _failure(error)

    def failure(self) -> StoreError | None:
        """Return why nobody could be asked the last time, in an error of the caller's own."""
        if self._failure is None:
            return None
        failure = copy(self._failure)
        failure.__cause__ = self._failure.__cause__
        return failure


class Route:
    """The way of one question to the node that has its slot, and on from there."""

    __slots__ = ("_error", "_failed", "_hops", "_sent_on", "_slots", "question")

    question: Question
    """What to ask: a node that is just being given the slot is told so."""

    def __init__(self, slots: Slots, question: Question) -> None:
        self._slots = slots
        self._sent_on: Address | None = None
        self._failed: Address | None = None
        self._error: RedisError | None = None
        self._hops = 0
        self.question = question

    @property
    def is_lost(self) -> bool:
        """Whether nobody is known who could be asked."""
        return self._failed is not None or self._slots.owner(self.question.slot) is None

    @property
    def rest(self) -> float:
        """How long to wait before asking again: nodes that disagree are given time."""
        if self._hops <= _HOPS:
            return 0.0
        return min(_REST * self._hops, _LONGEST_REST)

    def find(self) -> Address:
        """Return whom to ask.

        Raises:
            StoreError: Nobody has the slot, or still the one that couldn't be asked.

        """
        owner = self._sent_on or self._slots.owner(self.question.slot)
        if self._error is not None and owner in {None, self._failed}:
            raise _failure(self._error)
        if owner is None:
            raise self._slots.miss(self.question.slot)
        return owner

    def heard(self, error: RedisError | StoreError, source: Address) -> None:
        """Take up what came in place of an answer: nothing has run, so somebody else is asked.

        Raises:
            StoreError: It may have run, or nobody else could do better.

        """
        self._sent_on = self._failed = self._error = None
        self.question = self.question._replace(asking=False)
        if isinstance(error, StoreError):
            raise error
        if isinstance(error, AskError):
            self._send_on(error, self._slots.address(error.host, error.port, source))
            return
        failure = _failure(error)
        if isinstance(failure, StoreUnavailable) and not isinstance(failure, Apart):
            self._slots.doubt(source)
        if not isinstance(failure, StoreUnavailable) or not isinstance(error, _NOT_RUN):
            raise failure
        self._failed, self._error = source, error

    def _send_on(self, error: AskError, address: Address) -> None:
        self._hops += 1
        self._sent_on = address
        if isinstance(error, MovedError):
            self._slots.move(self.question.slot, address)
        else:
            self.question = self.question._replace(asking=True)


def _failure(error: RedisError) -> StoreError:
    """Return what to raise, with its cause."""
    failure = apart(error) if isinstance(error, TryAgainError) else store_error(error)
    failure.__cause__ = error.reason if isinstance(error, Unsent) else error
    return failure

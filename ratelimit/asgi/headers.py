"""How decisions are told in header fields.

`"draft-11"` are the fields of draft-ietf-httpapi-ratelimit-headers-11, whose values are structured
fields (RFC 9651). The others are older: `"draft-06"` has a field for each of limit, remaining and
reset, and `"x-ratelimit"` has them with an X and the reset in seconds of Unix time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from hashlib import blake2b
from math import ceil, inf
from typing import TYPE_CHECKING, Literal, cast

from ratelimit.asgi.limit import LARGEST, seconds

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from ratelimit.asgi.limit import Notice, Told
    from ratelimit.asgi.protocol import Fields, Scope
    from ratelimit.decision import Decision

Style = Literal["draft-11", "draft-06", "x-ratelimit", "none"]
"""Which fields are sent."""
Tell = Literal["all", "tightest"]
"""Which limits are told of."""

Allowed = Callable[["Sequence[Told]"], "Fields"]
"""What writes the fields of a response to a request that was allowed."""
Waits = dict[str, int | None]
"""The seconds that a limit which denied says to wait, by its name; None for ever."""


class Fielding(ABC):
    """A way to tell decisions in fields."""

    names: frozenset[bytes]
    """The names of the fields: in lower case, as ASGI wants them, and as some write them."""

    @abstractmethod
    def allowed(self, told: Sequence[Told]) -> Fields:
        """Return the fields of a response to a request that was allowed."""

    def allowed_by(self, limits: Sequence[Notice]) -> Allowed:
        """Return `allowed` for decisions of these limits, all of them in this order."""
        return self.allowed

    @abstractmethod
    def denied(self, told: Sequence[Told], waits: Waits) -> Fields:
        """Return the fields of a response to a request that some of the limits denied."""


class Draft11(Fielding):
    """`RateLimit` and `RateLimit-Policy`."""

    names = frozenset((b"ratelimit", b"RateLimit", b"ratelimit-policy", b"RateLimit-Policy"))

    def allowed(self, told: Sequence[Told]) -> Fields:
        """Return both fields, of all limits."""
        return self.allowed_by([limit for limit, _ in told])(told)

    def allowed_by(self, limits: Sequence[Notice]) -> Allowed:
        """Return what writes both fields by a template that is made once."""
        template = b", ".join([limit.template for limit in limits])
        policies = b"ratelimit-policy", b", ".join([limit.policy for limit in limits])

        def one(told: Sequence[Told]) -> Fields:
            decision = told[0][1]
            remaining, window = decision.page.algorithm.available(decision.verdict[1], decision.now)
            if remaining > LARGEST:  # noqa: PLR1730 - as in `_available`, without its call
                remaining = LARGEST
            wait = (window + 999_999) // 1_000_000 or 1
            return [(b"ratelimit", template % (remaining, wait)), policies]

        def several(told: Sequence[Told]) -> Fields:
            numbers: list[int] = []
            for _, decision in told:
                numbers += _available(decision)
            return [(b"ratelimit", template % tuple(numbers)), policies]

        return one if len(limits) == 1 else several

    def denied(self, told: Sequence[Told], waits: Waits) -> Fields:
        """Return both fields: of the limits that denied, with the policies of all."""
        if len(told) == 1:
            limit, decision = told[0]
            return [(b"ratelimit", _denied(limit, decision, waits)), limit.policy_field]
        items = [_denied(*each, waits) for each in told if each[0].name in waits]
        policies = b", ".join([limit.policy for limit, _ in told])
        return [(b"ratelimit", b", ".join(items)), (b"ratelimit-policy", policies)]


class Trio(Fielding):
    """A field for each of limit, remaining and reset, of the tightest limit."""

    def __init__(self, prefix: bytes, *, epoch: bool) -> None:
        written = [prefix + name for name in (b"Limit", b"Remaining", b"Reset")]
        sent = [name.lower() for name in written]
        self.names = frozenset(written + sent)
        self._limit, self._remaining, self._reset = sent
        self._epoch = epoch

    def allowed(self, told: Sequence[Told]) -> Fields:
        """Return the three fields."""
        return self.denied(told, {})

    def denied(self, told: Sequence[Told], waits: Waits) -> Fields:
        """Return the three fields."""
        limit, decision = slowest(told, waits)
        wait = waits.get(limit.name) or seconds(_window(decision))
        reset = ceil(decision.now / 1_000_000) + wait if self._epoch else wait
        return [
            (self._limit, limit.quota),
            (self._remaining, b"%d" % min(decision.remaining, LARGEST)),
            (self._reset, b"%d" % reset),
        ]


class Silence(Fielding):
    """No fields."""

    names = frozenset()

    def allowed(self, told: Sequence[Told]) -> Fields:
        """Return nothing."""
        return []

    def denied(self, told: Sequence[Told], waits: Waits) -> Fields:
        """Return nothing."""
        return []


class Tightest(Fielding):
    """Fields that tell of the tightest limit alone."""

    def __init__(self, fielding: Fielding) -> None:
        self.names = fielding.names
        self._fielding = fielding

    def allowed(self, told: Sequence[Told]) -> Fields:
        """Return the fields of the tightest limit."""
        return self._fielding.allowed([tightest(told)])

    def denied(self, told: Sequence[Told], waits: Waits) -> Fields:
        """Return the fields of the limit that has to be waited for longest."""
        return self._fielding.denied([slowest(told, waits)], waits)


STYLES: dict[str, Fielding] = {
    "draft-11": Draft11(),
    "draft-06": Trio(b"RateLimit-", epoch=False),
    "x-ratelimit": Trio(b"X-RateLimit-", epoch=True),
    "none": Silence(),
}


def tightest(entries: Sequence[Told]) -> Told:
    """Return the limit that has to be waited for longest, else the one with the least left."""
    return min(entries, key=lambda entry: (-entry[1].retry_after_us, entry[1].remaining))


def slowest(entries: Sequence[Told], waits: Waits) -> Told:
    """Return the limit that says to wait longest, jitter included, else the tightest."""
    if not waits:
        return tightest(entries)
    most = longest(waits)
    return tightest([entry for entry in entries if waits.get(entry[0].name, 0) == most])


def waits_of(entries: Iterable[Told], scope: Scope) -> Waits:
    """Return how long the limits that denied say to wait."""
    return {
        limit.name: _wait(limit, decision, scope)
        for limit, decision in entries
        if not decision.verdict[0]
    }


def longest(waits: Waits) -> int | None:
    """Return the wait after which all allow; None if one never will."""
    every = waits.values()
    return None if None in every else max(cast("Collection[int]", every))


def _available(decision: Decision) -> tuple[int, int]:
    """Return what remains, and the seconds after which more can be used at the soonest."""
    remaining, window = decision.page.algorithm.available(decision.verdict[1], decision.now)
    if remaining > LARGEST:  # noqa: PLR1730 - a call takes a tenth of the time of all this
        remaining = LARGEST
    return remaining, (window + 999_999) // 1_000_000 or 1


def _denied(limit: Notice, decision: Decision, waits: Waits) -> bytes:
    """Return an item of `RateLimit`: what remains, and when more may be asked for, if ever."""
    remaining = decision.page.algorithm.remaining(decision.verdict[1], decision.now)
    remaining, wait = min(remaining, LARGEST), waits[limit.name]
    if wait is None:
        return b"%b%d" % (limit.head, remaining)
    return b"%b%d;t=%d" % (limit.head, remaining, wait)


def _window(decision: Decision) -> int:
    return decision.page.algorithm.effective_window(decision.reading, decision.now)


def _wait(limit: Notice, decision: Decision, scope: Scope) -> int | None:
    """Return how long a client is told to wait, each always the same."""
    wait_us = decision.retry_after_us
    if wait_us == inf:
        return None
    wait = seconds(wait_us)
    if not limit.jitter:
        return wait
    host = (scope.get("client") or ("",))[0]
    who = f"{decision.key} {host}".encode("utf-8", "surrogatepass")
    share = int.from_bytes(blake2b(who, digest_size=8).digest())
    return wait + share % (limit.jitter + 1)

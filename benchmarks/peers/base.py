"""What a peer offers, and how it is called."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

FIXED = "fixed window"
LOG = "sliding log"
COUNTER = "sliding-window counter"
BUCKET = "token bucket"
QUEUE = "leaky bucket"
GCRA = "GCRA"

MEMORY = "memory"
ASYNC_MEMORY = "async_memory"
REDIS = "redis"
ASYNC_REDIS = "async_redis"
ASGI = "asgi"
RAW = "raw"
"""Commands, as redis-benchmark sends them."""

STARLETTE = "Starlette"
FASTAPI = "FastAPI"

CONNECTIONS = 512
"""How many an asyncio client of redis-py may open: by default fewer than there are tasks."""
STORES = ("memory", "redis")
"""What the surface of applications has in place of algorithms."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What a limiter is built for."""

    limit: int
    seconds: int
    keys: int = 1
    """How many keys it has to hold."""
    url: str = ""
    """Where its Redis is."""
    rules: int = 1
    """How many limits a request has; of one unit more each."""
    framework: str = STARLETTE
    """What the application is made with."""


class Verdict(NamedTuple):
    """What a limiter says to one hit."""

    allowed: bool
    retry_after: float | None = None
    """How long to wait, in seconds; None if it doesn't tell."""


def url_of(store: str, setting: Setting) -> str | None:
    """Return where states are kept, or None if that is in this process."""
    return setting.url if store == "redis" else None


def nothing() -> None:
    """Close what needs no closing, or tidy what is tidy."""


@dataclass(frozen=True, slots=True)
class Built:
    """A limiter, and the way its documentation calls it.

    A decision is `call(*before, key, *after)`, awaited if it is of an async surface.
    """

    call: Callable[..., Any]
    before: tuple[Any, ...] = ()
    after: tuple[Any, ...] = ()
    allowed: Callable[[Any], bool] = bool
    spend: Callable[[str, int], Any] | None = None
    """Spend a cost of a key: returns a `Verdict`, or an awaitable of one."""
    close: Callable[[], Any] = nothing
    tidy: Callable[[], Any] = nothing
    """Forget what has expired, as the library does every few seconds in the background."""


class Peer(ABC):
    """A library that limits rates."""

    name: ClassVar[str]
    group: ClassVar[str | None] = "peers"
    """The dependency group that installs it; None if it is there already."""
    packages: ClassVar[tuple[str, ...]] = ()
    """The distributions whose versions are told."""
    way: ClassVar[str]
    """How it is called."""
    lighter: ClassVar[str] = ""
    """Why it may take less than ours does, where it does: a sentence."""
    lighter_in: ClassVar[Mapping[str, str]] = {}
    """The same for a suite in which it is another reason."""
    frameworks: ClassVar[tuple[str, ...]] = (STARLETTE,)
    """What its application may be made with."""
    many_rules: ClassVar[bool] = False
    """Whether a request may have several limits."""
    offers: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """The algorithms on each surface."""

    def build(self, surface: str, algorithm: str, setting: Setting) -> Built:
        """Return a limiter; of an async surface, within a running loop."""
        built: Built = getattr(self, surface)(algorithm, setting)
        return built

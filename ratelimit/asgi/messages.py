"""Limit the messages that come by a WebSocket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal, cast, get_args

from ratelimit.asgi.answers import REFUSED
from ratelimit.asgi.listening import Deaf
from ratelimit.asgi.matching import RuleSet
from ratelimit.asgi.rules import Rule
from ratelimit.asgi.state import Room
from ratelimit.errors import RateLimitExceeded
from ratelimit.stores.base import Ask
from ratelimit.waiting import Deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.asgi.holding import Holding
    from ratelimit.asgi.keys import Key
    from ratelimit.asgi.plan import Plan
    from ratelimit.asgi.protocol import Message, Scope
    from ratelimit.asgi.rules import Test, Unknown
    from ratelimit.asgi.sockets import Socket
    from ratelimit.asgi.stores import Stores
    from ratelimit.stores.opening import OnError

Policy = Literal["close", "drop", "hold"]
"""What becomes of a message that is denied."""

_CONNECTION = "ratelimit.connection"
_MESSAGE = "ratelimit.message"

_connections = count(1)


@dataclass(frozen=True, slots=True)
class MessageLimit:
    """A limit on the messages that clients send by WebSockets.

    Functions get the scope of the connection, but for `cost`, which gets the message. They may be
    coroutine functions.

    Args:
        name: What clients know the limit by: 1 to 64 of A-Z a-z 0-9 _ -.
        algorithm: How it counts, or a function that says it, as in a `Rule`.
        key: Who is charged, as in a `Rule`. Each connection has a count of its own, in this
            process's memory, if not given.
        cost: What a message costs, or a function of the `websocket.receive` message that says so,
            such as `message_size`; 0 isn't counted.
        policy: What becomes of a message that is denied. `"close"` closes the connection with
            1008 (1013 if the store can't decide) and a reason; `"drop"` drops the message, and
            the application doesn't see it; `"hold"` keeps the application waiting for it until it
            is allowed, and takes no other from the server meanwhile, which slows the client down.
        wait: Up to how many seconds `"hold"` holds a message back; what would take longer, or
            never fits, closes the connection.
        path: The path of the connection, as in a `Rule`; all if not given.
        when: A function that says whether it is for a connection with such a path.
        exempt: Who isn't limited, as in a `Rule`.
        unknown: What to do if the key or cost can't be told, as in a `Rule`; `"deny"` closes.
        shadow: Whether it only decides and reports.
        on_error: What to do while the store can't decide, if it isn't what the middleware does.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: An argument can't be used, or the cost is more than the limit ever admits.

    """

    name: str
    algorithm: Algorithm | Callable[[Scope], Algorithm | Awaitable[Algorithm]]
    _: KW_ONLY
    key: str | Key | None = None
    cost: int | Callable[[Message], int | Awaitable[int]] = 1
    policy: Policy = "close"
    wait: float = 60
    path: str | None = None
    when: Test | None = None
    exempt: Test | Iterable[str] | None = None
    unknown: Unknown = "shared"
    shadow: bool = False
    on_error: OnError | None = None
    rule: Rule = field(init=False, repr=False, compare=False)
    """The same as a rule for requests, whose scopes have the message in them."""

    def __post_init__(self) -> None:
        """Check all of it, so that no message has to."""
        if self.policy not in get_args(Policy):
            raise ValueError(f"a policy is one of {get_args(Policy)}, not {self.policy!r}")
        if self.key is None and isinstance(self.on_error, str):
            raise TypeError(
                f"{self.name!r} counts each connection in memory, which is never gone: leave out "
                f"the on_error {self.on_error!r}, or give it a key"
            )
        Deadline(self.wait)
        rule = Rule(
            self.name,
            self.algorithm,
            key=_connection if self.key is None else self.key,
            cost=_of_message(self.cost) if callable(self.cost) else self.cost,
            path=self.path,
            when=self.when,
            exempt=self.exempt,
            unknown=self.unknown,
            shadow=self.shadow,
            wait=self.wait if self.policy == "hold" else 0,
            on_error=self.on_error,
        )
        object.__setattr__(self, "rule", rule)


class MessageLimits:
    """The limits on messages, on their stores.

    Args:
        limits: The limits, checked.
        stores: Where states are kept.
        holding: Where messages wait.

    """

    def __init__(self, limits: Sequence[MessageLimit], stores: Stores, holding: Holding) -> None:
        self.holding = holding
        self.dropping = {limit.name for limit in limits if limit.policy == "drop"}
        """The names of those that drop what they deny."""
        local = {limit.name for limit in limits if limit.key is None}
        self._set = RuleSet(
            [limit.rule for limit in limits],
            lambda rule: stores.local if rule.name in local else stores.of(rule),
        )

    def inlet(self, scope: Scope, room: Room, socket: Socket) -> Inlet | None:
        """Return what lets in what comes by a WebSocket with such a scope, if it is limited."""
        plan = self._set.plan_of(scope)
        return Inlet(self, plan, scope, room, socket) if plan.rules else None


class Inlet:
    """What the limits of one WebSocket let in, message by message."""

    __slots__ = ("_key", "_limits", "_plan", "_room", "_scope", "_socket")

    def __init__(
        self, limits: MessageLimits, plan: Plan, scope: Scope, room: Room, socket: Socket
    ) -> None:
        self._limits = limits
        self._plan = plan
        self._room = room
        self._key = f"connection:{next(_connections)}"
        self._scope = {**scope, _CONNECTION: self._key}
        self._socket = socket

    async def receive(self) -> Message:
        """Receive for the application what is allowed, and all that is no message."""
        while True:
            message = await self._socket.receive()
            if message["type"] != "websocket.receive":
                return message
            refusal = await self._decide(message)
            if refusal is None:
                return message
            if not self._drops(refusal):
                return await self._socket.end(refusal)

    async def close(self) -> None:
        """Forget what was counted for the connection alone."""
        for limit, decision in self._room.entries:
            if decision.key == limit.prefix + self._key:
                await limit.store.reset_all([Ask(limit.ledger, decision.key, 0)])

    async def _decide(self, message: Message) -> Exception | None:
        """Decide on a message; what it is refused for, if it is."""
        scope = {**self._scope, _MESSAGE: message}
        here = Room()
        try:
            allowed = await self._limits.holding.decide(self._plan, scope, here, Deaf())
        except REFUSED as error:
            return error
        finally:
            self._room.renew(scope, here.entries)
        return None if allowed else RateLimitExceeded(here.decision)

    def _drops(self, refusal: Exception) -> bool:
        """Say whether all that refuse a message drop what they refuse."""
        names: Iterable[str] = self._plan.rules
        if isinstance(refusal, RateLimitExceeded):
            names = refusal.decision.denied
        return self._limits.dropping.issuperset(names)


def message_size(message: Message) -> int:
    """Return how many bytes a message has: the `cost` of limits on what is sent.

    An empty message costs 1.
    """
    text, data = message.get("text"), message.get("bytes")
    return max(1, len(data or b"") if text is None else len(text.encode("utf-8", "surrogatepass")))


def _connection(scope: Scope) -> str:
    """Charge the connection alone."""
    return cast("str", scope[_CONNECTION])


def _of_message(
    cost: Callable[[Message], int | Awaitable[int]],
) -> Callable[[Scope], int | Awaitable[int]]:
    """Return a cost of a message as one of the scope that it is in."""
    return lambda scope: cost(scope[_MESSAGE])


def checked_limits(limits: Iterable[MessageLimit]) -> tuple[MessageLimit, ...]:
    """Return the limits, all of them limits on messages.

    Raises:
        TypeError: One of them is no `MessageLimit`.

    """
    if isinstance(limits, MessageLimit) or not isinstance(limits, Iterable):
        raise TypeError(f"messages are a list of message limits, not {limits!r}")
    every = tuple(limits)
    for limit in every:
        if not isinstance(limit, MessageLimit):
            raise TypeError(f"a limit on messages is a MessageLimit, not {limit!r}")
    return every

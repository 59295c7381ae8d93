"""What goes to Redis and what comes back, for whoever makes the call."""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from ratelimit.algorithms.fixed_window import FixedWindow
from ratelimit.decision import Decision
from ratelimit.stores.base import check_cost, check_key, check_name
from ratelimit.stores.redis import script
from ratelimit.stores.redis.troubles import nonsense, trouble_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ratelimit.algorithms.base import Algorithm
    from ratelimit.decision import Page
    from ratelimit.errors import StoreError

    Asks = Sequence[tuple[Page, str, int]]

_LONGEST_SUBJECT = 200

Answer = tuple[int, str]
"""The server's time, and what it said of one transaction."""

_is_plain = re.compile(rf"[A-Za-z0-9_.@:/~-]{{1,{_LONGEST_SUBJECT}}}", re.ASCII).fullmatch


def subject(key: str) -> str:
    """Return a key as Redis sees it: escaped, so that it can't move the slot, or hashed."""
    if _is_plain(key):
        return key
    text = quote(key, safe="@:/", errors="surrogatepass")
    if len(text) <= _LONGEST_SUBJECT:
        return text
    return "#" + blake2b(key.encode(errors="surrogatepass"), digest_size=20).hexdigest()


def _bulk(value: str | int) -> str:
    """Return an argument as RESP has it; all of ours are ASCII."""
    text = str(value)
    return f"${len(text)}\r\n{text}\r\n"


def _bulks(values: Iterable[str | int]) -> str:
    return "".join(map(_bulk, values))


@lru_cache(4_096)
def _part(kind: str, args: tuple[int, ...]) -> str:
    """Return what a form says of an algorithm."""
    return _bulks((kind, *args))


class Form(NamedTuple):
    """What transactions of one kind, on the same limits, have in common."""

    text: str
    """What the script is told of it."""
    length: int
    """How many arguments that is."""
    limits: int
    """How many keys each transaction has."""
    width: int
    """How many arguments it takes to say what is asked of the limits."""
    plain: str
    """What the script is told of it where a call has no other, if it is a hit on one limit."""


def _form(operation: str, algorithms: Sequence[Algorithm]) -> Form:
    parts = "".join(_part(algorithm.kind, algorithm.args) for algorithm in algorithms)
    readings = sum(algorithm.reading_size for algorithm in algorithms)
    limits = len(algorithms)
    return Form(
        f"{_bulk(operation)}{_bulk(limits)}{parts}",
        2 + sum(1 + len(algorithm.args) for algorithm in algorithms),
        limits,
        limits + (readings if operation == "refund" else 0),
        f"{_bulk(operation)}{parts}" if operation == "hit" and limits == 1 else "",
    )


class Transaction:
    """One transaction over one limit or several, as far as it can be put down before it leaves."""

    __slots__ = ("asks", "costs", "form", "keys", "operation")

    def __init__(self, operation: str, form: Form, asks: Asks, keys: str, costs: str) -> None:
        self.operation = operation
        self.form = form
        self.asks = asks
        self.keys = keys
        """The names of the keys in Redis, as RESP has them."""
        self.costs = costs
        """What it asks of its limits, as RESP has it."""

    @property
    def names(self) -> list[str]:
        """The names of the keys in Redis."""
        return self.keys.split("\r\n")[1::2]


_form_of = attrgetter("form")


class Command(NamedTuple):
    """One call of the script."""

    length: int
    """How many arguments it has, the command among them."""
    body: str
    """All that comes behind the script, as RESP has it."""

    def by_digest(self) -> bytes:
        """Return the call of a script that the server should have."""
        return f"*{self.length}\r\n{_BY_DIGEST}{self.body}".encode()

    def by_text(self) -> bytes:
        """Return the call with the script itself, which the server then has."""
        return f"*{self.length}\r\n{_BY_TEXT}{self.body}".encode()


_BY_DIGEST = _bulks(("EVALSHA", script.SHA))
_BY_TEXT = _bulks(("EVAL", script.TEXT))


class Limit:
    """One limit as it goes over the wire, bound once so that a hit adds its key and its cost."""

    __slots__ = ("_beyond", "_extra", "_form", "_head", "_page", "_tail")

    def __init__(self, prefix: str, page: Page) -> None:
        algorithm = page.algorithm
        check_name(page.name)
        self._page = page
        self._form = _form("hit", [algorithm])
        self._head = f"{prefix}:{{"
        self._tail = f"}}:{page.name}:{algorithm.kind}\r\n"
        self._extra = len(self._head) + len(self._tail) - 2
        self._beyond = _beyond(algorithm)

    def hit(self, key: str, cost: int) -> Transaction:
        """Return a hit.

        Raises:
            TypeError, ValueError: The key or the cost can't be used.

        """
        text = key if type(key) is str and _is_plain(key) else subject(check_key(key))
        one = type(cost) is int and cost == 1
        costs = _ONE if one else _bulk(min(check_cost(cost), self._beyond))
        keys = f"${len(text) + self._extra}\r\n{self._head}{text}{self._tail}"
        return Transaction("hit", self._form, ((self._page, key, cost),), keys, costs)

    def name_of(self, key: str) -> str:
        """Return the name of the Redis key that holds the state of a key."""
        return f"{self._head}{subject(key)}{self._tail[:-2]}"

    def decision(self, request: Transaction, answer: Answer) -> Decision:
        """Read what a hit was answered.

        Raises:
            StoreError: It failed on the server.

        """
        numbers = numbers_of(request, answer)
        ((page, key, cost),) = request.asks
        allowed = numbers[0] == 1
        spent = cost if allowed else 0
        return Decision.of(page, key, cost, allowed, answer[0], numbers[1:], spent)


_ONE = _bulk(1)
_NOTHING = _bulk("")


def _beyond(algorithm: Algorithm) -> int:
    """Return a cost that is never allowed: larger ones are told as this one."""
    return algorithm.max_cost + algorithm.max_debt + 1


class _Trial:
    """The page of no limit."""

    name = "check"
    algorithm: Algorithm = FixedWindow("1/second")
    degraded = False


class Wire:
    """Builds requests and reads replies; it never calls.

    Args:
        prefix: What the name of each key in Redis starts with.
        clock: A function that returns the time in microseconds since the epoch, in place of the
            server's clock, for tests.

    """

    def __init__(self, prefix: str, clock: Callable[[], int] | None) -> None:
        self.prefix = check_name(prefix)
        self._clock = clock

    def key(self, page: Page, key: str) -> str:
        """Return the name of the Redis key that holds a state.

        Raises:
            TypeError, ValueError: It is no key.

        """
        return f"{self.prefix}:{{{subject(check_key(key))}}}:{page.name}:{page.algorithm.kind}"

    def request(
        self, operation: str, asks: Asks, readings: Sequence[Sequence[int]] = ()
    ) -> Transaction:
        """Return a transaction; a refund needs the reading of each decision.

        Raises:
            TypeError, ValueError: A key or a cost can't be used.

        """
        keys = [self.key(page, key) for page, key, _ in asks]
        numbers: list[int] = []
        for index, (page, _, cost) in enumerate(asks):
            numbers.append(min(check_cost(cost), _beyond(page.algorithm)))
            if readings:
                numbers += readings[index]
        form = _form(operation, [page.algorithm for page, _, _ in asks])
        return Transaction(operation, form, asks, _bulks(keys), _bulks(numbers))

    def trial(self, key: str = "check") -> Transaction:
        """Return a transaction that tries every command that limits need, and leaves nothing."""
        return self.request("check", [(_Trial(), key, 0)])

    def command(self, transactions: Sequence[Transaction]) -> Command:
        """Return the one call that decides transactions in their order."""
        first = transactions[0]
        if len(transactions) == 1 and first.form.plain:
            return self._plain(first.form, _ONE, first.keys, first.costs, 2)
        forms: dict[Form, int] = {}
        runs: list[str] = []
        keys = length = 0
        for form, run in groupby(transactions, _form_of):
            costs = [transaction.costs for transaction in run]
            count = len(costs)
            if costs.count(costs[0]) == count:
                del costs[1:]
            if form.plain and count == len(transactions):
                names = "".join([hit.keys for hit in transactions])
                said = "".join(costs)
                return self._plain(form, _bulk(count), names, said, count + len(costs))
            index = forms.setdefault(form, len(forms) + 1)
            runs += (_bulk(index), _bulk(count), _bulk(len(costs)), *costs)
            keys += count * form.limits
            length += 3 + len(costs) * form.width
        body = (
            _bulk(keys),
            *(transaction.keys for transaction in transactions),
            _bulk(self._clock() if self._clock else ""),
            _bulk(len(forms)),
            *(form.text for form in forms),
            *runs,
        )
        length += 5 + keys + sum(form.length for form in forms)
        return Command(length, "".join(body))

    def _plain(self, form: Form, count: str, keys: str, costs: str, length: int) -> Command:
        """Return the call for hits on one limit each, all of one form: it needs less of all.

        The length is that of keys and costs together, in arguments.
        """
        time = _bulk(self._clock()) if self._clock else _NOTHING
        body = f"{count}{keys}{time}{form.plain}{costs}"
        return Command(form.length + 3 + length, body)

    def answers(self, reply: bytes, transactions: Sequence[Transaction]) -> list[Answer]:
        """Return what was said of each transaction of a call.

        Raises:
            StoreError: It isn't what the script says.

        """
        first, *lines = str(reply, errors="replace").split("\n")
        if not first.isdecimal() or len(lines) != len(transactions):
            raise nonsense(reply)
        now = int(first)
        return [(now, line) for line in lines]

    def decisions(self, request: Transaction, answer: Answer) -> list[Decision]:
        """Read what a transaction was answered.

        Raises:
            StoreError: It failed on the server.

        """
        now, numbers = answer[0], numbers_of(request, answer)
        charged = request.operation == "charge"
        position = 0
        parts = []
        for page, _, _ in request.asks:
            end = position + 1 + page.algorithm.reading_size
            parts.append((numbers[position], numbers[position + 1 : end]))
            position = end
        hit = request.operation == "hit" and all(said for said, _ in parts)
        decisions = []
        for (page, key, cost), (said, reading) in zip(request.asks, parts, strict=True):
            spent = said if charged else cost if hit else 0
            allowed = charged or said == 1
            decisions.append(Decision.of(page, key, cost, allowed, now, reading, spent))
        return decisions


def numbers_of(request: Transaction, answer: Answer) -> tuple[int, ...]:
    """Return the numbers that a transaction was answered.

    Raises:
        StoreError: It failed on the server.

    """
    line = answer[1]
    if line[:1] == "!":
        raise failure(line[1:], request)
    return tuple(map(int, line.split()))


def failure(said: str, request: Transaction) -> StoreError:
    """Return the error for what the server said of a transaction."""
    return trouble_of(said).error(said, request.names)

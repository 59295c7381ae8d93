"""One request on the keys of several slots of a cluster."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ratelimit.errors import StoreError
from ratelimit.stores.redis.pipeline import Question
from ratelimit.stores.redis.slots import slot_of
from ratelimit.stores.redis.troubles import Apart
from ratelimit.stores.redis.wire import Answer, numbers_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.decision import Decision
    from ratelimit.stores.redis.denials import Denials
    from ratelimit.stores.redis.wire import Transaction, Wire

Heard = Sequence[Answer] | StoreError
"""What was said of each transaction of a question, or what to raise."""


KEPT = 0.25
"""Which part of the deadline is kept for giving back, where that may be needed."""


class Round(NamedTuple):
    """Questions that may be asked at once."""

    questions: list[Question]
    in_part: bool = False
    """Whether something may have to be given back afterwards, within the same deadline."""


class Part(NamedTuple):
    """Some limits of a request, whose keys have one slot."""

    slot: int
    places: list[int]
    """Where they stand in the request."""


class Joint:
    """One request to a cluster: what to ask, and what the answers make together.

    It waits for nobody: whoever asks lets it `go_on` with what was said, from round to round, and
    then reads `decisions` or `numbers`. Where all keys have one slot, that is one question.

    A hit on several slots asks one after another, always in the same order, so that no two hits
    deny each other. If one denies, what the others have charged is given back, and they are asked
    what they have without it. All else may be asked of all slots at once.

    While a slot is being moved, the keys of one call may be on two nodes. Then it is refused, and
    its keys are asked one by one, as if they had different slots.
    """

    def __init__(self, wire: Wire, request: Transaction, denials: Denials) -> None:
        self._wire = wire
        self._request = request
        self._denials = denials
        self._asked = denials.now()
        self._names = request.names
        self._readings = _readings(request)
        self._decisions: dict[int, Decision] = {}
        self._numbers: dict[int, int] = {}
        slots: dict[int, list[int]] = {}
        for place, name in enumerate(self._names):
            slots.setdefault(slot_of(name), []).append(place)
        self._parts = [Part(slot, slots[slot]) for slot in sorted(slots)]
        self._plan = self._hit() if request.operation == "hit" else self._each()

    @property
    def decisions(self) -> list[Decision]:
        """What a hit, a peek or a charge was answered."""
        return [self._decisions[place] for place in range(len(self._names))]

    @property
    def numbers(self) -> list[int]:
        """What a refund or a reset was answered, for each limit."""
        return [self._numbers[place] for place in range(len(self._names))]

    def go_on(self, heard: list[Heard] | None) -> Round | None:
        """Return what to ask next, after what was said last; None if all has been asked.

        Raises:
            StoreError: A part of it couldn't be asked.

        """
        try:
            return next(self._plan) if heard is None else self._plan.send(heard)
        except StopIteration:
            return None

    def _hit(self) -> Generator[Round, list[Heard], None]:
        charged: list[Part] = []
        waiting = self._parts
        while waiting:
            part, *waiting = waiting
            hit = self._transaction("hit", part)
            (heard,) = yield Round([Question((hit,), part.slot)], bool(charged or waiting))
            if _is_apart(heard, part):
                waiting = self._alone(part) + waiting
                continue
            try:
                allowed = self._read(part, hit, _answers(heard)[0])
            except StoreError:
                yield from self._take_back(charged, [])
                raise
            if not allowed:
                for each, transactions, heard in (yield from self._take_back(charged, waiting)):
                    self._read(each, transactions[-1], _answers(heard)[-1])
                if charged:
                    self._denials.keep(self._request, self._asked, self.decisions)
                return
            charged.append(part)

    def _each(self) -> Generator[Round, list[Heard], None]:
        operation = self._request.operation
        done = yield from self._all(self._parts, lambda part: (self._transaction(operation, part),))
        for part, (transaction,), heard in done:
            self._read(part, transaction, _answers(heard)[0])

    def _take_back(self, charged: list[Part], others: list[Part]) -> Asking:
        """Give back what was charged, and ask these and the others what they have without it."""
        given = {place for part in charged for place in part.places}

        def transactions(part: Part) -> tuple[Transaction, ...]:
            peek = self._transaction("peek", part)
            return (self._refund(part), peek) if part.places[0] in given else (peek,)

        try:
            return (yield from self._all(charged + others, transactions))
        finally:
            if given:
                names = [self._names[place] for place in given]
                turn = self._denials.changes.note_own(names, self._asked.turn, self._names)
                self._asked = self._asked._replace(turn=turn)

    def _all(
        self, parts: list[Part], transactions_of: Callable[[Part], tuple[Transaction, ...]]
    ) -> Asking:
        """Ask all of them at once, and those whose keys are apart alone."""
        done = []
        while parts:
            asked = [(part, transactions_of(part)) for part in parts]
            parts = []
            said = yield Round([Question(transactions, part.slot) for part, transactions in asked])
            for (part, transactions), heard in zip(asked, said, strict=True):
                if _is_apart(heard, part):
                    parts += self._alone(part)
                else:
                    done.append((part, transactions, heard))
        return done

    def _alone(self, part: Part) -> list[Part]:
        """Return a part for each key, in the order of their names."""
        places = sorted(part.places, key=self._names.__getitem__)
        return [Part(part.slot, [place]) for place in places]

    def _transaction(self, operation: str, part: Part) -> Transaction:
        request = self._request
        if operation == request.operation and len(part.places) == len(request.asks):
            return request
        asks = [request.asks[place] for place in part.places]
        readings = [self._readings[place] for place in part.places] if self._readings else ()
        return self._wire.request(operation, asks, readings)

    def _refund(self, part: Part) -> Transaction:
        decisions = [self._decisions[place] for place in part.places]
        asks = [(decision.page, decision.key, decision.spent) for decision in decisions]
        return self._wire.request("refund", asks, [decision.reading for decision in decisions])

    def _read(self, part: Part, transaction: Transaction, answer: Answer) -> bool:
        """Take up what was said of a part; return whether it was allowed."""
        if transaction.operation in {"refund", "reset"}:
            self._numbers.update(zip(part.places, numbers_of(transaction, answer), strict=True))
            return True
        decisions = self._wire.decisions(transaction, answer)
        self._decisions.update(zip(part.places, decisions, strict=True))
        return all(decisions)


Asking = Generator[Round, list[Heard], list[tuple[Part, tuple["Transaction", ...], Heard]]]
"""A part of a plan, which returns what was said of each part of the request."""


def _is_apart(heard: Heard, part: Part) -> bool:
    """Say whether a part was refused because its keys are on two nodes."""
    return isinstance(heard, Apart) and len(part.places) > 1


def _answers(heard: Heard) -> Sequence[Answer]:
    if isinstance(heard, StoreError):
        raise heard
    return heard


def _readings(request: Transaction) -> list[list[int]]:
    """Return the readings that a refund has, one for each limit."""
    if request.operation != "refund":
        return []
    numbers = iter(map(int, request.costs.split("\r\n")[1::2]))
    readings = []
    for page, _, _ in request.asks:
        next(numbers)
        readings.append([next(numbers) for _ in range(page.algorithm.reading_size)])
    return readings

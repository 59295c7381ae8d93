"""What goes to one node of a cluster at once, and what becomes of it."""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.exceptions import AskError, MovedError, NoScriptError, RedisError, TryAgainError

from ratelimit.errors import StoreError
from ratelimit.stores.redis.wire import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.stores.redis.wire import Transaction, Wire


class Question(NamedTuple):
    """Transactions on the keys of one slot, to be decided in their order by one call."""

    transactions: tuple[Transaction, ...]
    slot: int
    asking: bool = False
    """Whether the node is just being given the slot, and answers only if it is told so."""


Outcome = list[Answer] | RedisError | StoreError
"""What was said of each transaction of a question, or why nothing was."""

ASKING = b"*1\r\n$6\r\nASKING\r\n"


class _Call:
    """One call of the script, for some questions on one slot."""

    __slots__ = ("asking", "refusal", "wanted")

    def __init__(self, wanted: list[int], *, asking: bool) -> None:
        self.wanted = wanted
        self.asking = asking
        self.refusal: RedisError | None = None


class Pipeline:
    """Questions to one node: a call of the script for each slot, all sent at once.

    It neither sends nor waits: it says what to send and takes what comes back, until nothing is
    left to be sent. What was refused, and so hasn't run, is sent again where that helps: with the
    script's text to a node that lacks it, and each question alone where a slot is being moved and
    the keys of several aren't in one place.
    """

    def __init__(self, wire: Wire, questions: Sequence[Question]) -> None:
        self._wire = wire
        self._questions = questions
        self._outcomes: dict[int, Outcome] = {}
        self._waiting: deque[_Call] = deque()
        self._text = False
        slots: dict[int, list[int]] = {}
        for index, question in enumerate(questions):
            if question.asking:
                self._waiting.append(_Call([index], asking=True))
            else:
                slots.setdefault(question.slot, []).append(index)
        self._waiting += [_Call(wanted, asking=False) for wanted in slots.values()]
        self._sent: deque[tuple[_Call, bool]] = deque()

    @property
    def outcomes(self) -> list[Outcome]:
        """What became of each question, in their order."""
        return [self._outcomes[index] for index in range(len(self._questions))]

    @property
    def replies(self) -> int:
        """How many replies are still to come."""
        return len(self._sent)

    def packed(self) -> bytes:
        """Return what is to be sent, or nothing if all is over."""
        parts = []
        while self._waiting:
            call = self._waiting.popleft()
            if call.asking:
                parts.append(ASKING)
                self._sent.append((call, False))
            command = self._wire.command(self._transactions(call))
            parts.append(command.by_text() if self._text else command.by_digest())
            self._text = False  # the others find it there
            self._sent.append((call, True))
        return b"".join(parts)

    def take(self, reply: Any) -> None:
        """Take the next reply: what was answered, or the error."""
        call, is_script = self._sent.popleft()
        if not is_script:
            call.refusal = reply if isinstance(reply, RedisError) else None
            return
        reply = call.refusal or reply
        if isinstance(reply, NoScriptError):
            self._text = True
            self._waiting.append(call)
        elif isinstance(reply, RedisError):
            self._refuse(call, reply)
        else:
            self._answer(call, reply)

    def fail(self, error: RedisError) -> None:
        """Tell all that have no answer yet."""
        for index in range(len(self._questions)):
            self._outcomes.setdefault(index, error)

    def _refuse(self, call: _Call, error: RedisError) -> None:
        is_moving = isinstance(error, AskError | TryAgainError) and not isinstance(
            error, MovedError
        )
        if is_moving and len(call.wanted) > 1:
            self._waiting += [_Call([index], asking=False) for index in call.wanted]
        else:
            self._outcomes |= dict.fromkeys(call.wanted, error)

    def _answer(self, call: _Call, reply: Any) -> None:
        try:
            answers = self._wire.answers(reply, self._transactions(call))
        except StoreError as error:
            self._outcomes |= {index: copy(error) for index in call.wanted}
            return
        for index in call.wanted:
            count = len(self._questions[index].transactions)
            self._outcomes[index], answers = answers[:count], answers[count:]

    def _transactions(self, call: _Call) -> list[Transaction]:
        return [each for index in call.wanted for each in self._questions[index].transactions]

"""What is asked while a call is in flight leaves together."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.errors import StoreUnavailable
from ratelimit.stores.redis.dispatcher import Dispatcher
from tests.conftest import PATIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ratelimit.stores.redis.dispatcher import Waiting


class Server:
    """Answers a call when it is told to, with the question itself."""

    def __init__(self, deadline: float = PATIENT) -> None:
        self.calls: list[list[int]] = []
        self.dropped = 0
        self._batch: Sequence[Waiting[int, int]] = ()
        self._done: Callable[[], None] = pytest.fail
        self.dispatcher: Dispatcher[int, int] = Dispatcher(
            [self], deadline, lambda: StoreUnavailable("late", "late")
        )

    def call(self, batch: Sequence[Waiting[int, int]], done: Callable[[], None]) -> None:
        """Wait for the word, and answer or fail."""
        self.calls.append([waiting.question for waiting in batch])
        self._batch, self._done = batch, done

    def drop(self) -> None:
        """Forget the call."""
        self.dropped += 1
        self._done()

    def ask(self, question: int) -> asyncio.Task[int]:
        """Ask in a task of its own."""

        async def asking() -> int:
            return await self.dispatcher.ask(question)

        return asyncio.create_task(asking())

    async def reply(self, error: Exception | None = None) -> None:
        """Answer the latest call, and let everybody go on."""
        await ticks()
        batch, self._batch = self._batch, ()
        for waiting in batch:
            if error:
                waiting.fail(error)
            else:
                waiting.succeed(waiting.question)
        if batch:
            self._done()
        await ticks()


async def ticks() -> None:
    """Let everybody go on."""
    for _ in range(5):
        await asyncio.sleep(0)


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a scenario, which leaves no task behind."""

    async def whole() -> None:
        await scenario
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(whole())


def test_gathers_while_a_call_is_in_flight() -> None:
    """The first one leaves alone and at once; who comes meanwhile leaves together, in order."""

    async def scenario() -> None:
        server = Server()
        tasks = [server.ask(n) for n in range(5)]
        await ticks()
        assert server.calls == [[0]]
        await server.reply()
        assert server.calls == [[0], [1, 2, 3, 4]]
        late = server.ask(5)
        await server.reply()
        assert server.calls[2:] == [[5]]
        await server.reply()
        assert await asyncio.gather(*tasks, late) == [0, 1, 2, 3, 4, 5]
        for _ in range(2):
            await server.dispatcher.finish()

    run(scenario())


def test_who_is_alone_calls_at_once() -> None:
    """With nobody else about, a question leaves before anything else happens."""

    async def scenario() -> None:
        server = Server()
        waiting = server.dispatcher.ask(7)
        assert server.calls == [[7]]
        await server.reply()
        assert await waiting == 7
        await server.dispatcher.finish()

    run(scenario())


def test_who_comes_back_at_once_leaves_with_the_others() -> None:
    """Those who were answered and ask again find themselves in one call."""

    async def scenario() -> None:
        server = Server()

        async def twice(n: int) -> None:
            for _ in range(2):
                await server.dispatcher.ask(n)

        tasks = [asyncio.create_task(twice(n)) for n in range(4)]
        for _ in range(3):
            await server.reply()
        assert server.calls == [[0], [1, 2, 3, 0], [1, 2, 3]]
        await asyncio.gather(*tasks)
        await server.dispatcher.finish()

    run(scenario())


def test_no_call_is_too_large() -> None:
    """More than fit wait for the next call, first come, first served."""

    async def scenario() -> None:
        server = Server()
        tasks = [server.ask(n) for n in range(600)]
        for _ in range(4):
            await server.reply()
        assert [len(call) for call in server.calls] == [1, 256, 256, 87]
        assert await asyncio.gather(*tasks) == list(range(600))
        await server.dispatcher.finish()

    run(scenario())


def test_the_cancelled_do_not_leave() -> None:
    """Who is cancelled while waiting isn't sent; who is cancelled in flight harms nobody."""

    async def scenario() -> None:
        server = Server()
        tasks = [server.ask(n) for n in range(5)]
        await ticks()
        tasks[2].cancel()
        await server.reply()
        assert server.calls == [[0], [1, 3, 4]]
        tasks[3].cancel()
        await server.reply()
        assert await asyncio.gather(*(tasks[n] for n in (0, 1, 4))) == [0, 1, 4]
        await server.dispatcher.finish()

    run(scenario())


def test_an_error_is_told_to_each() -> None:
    """Each one of a failed call has an exception of their own, with the same cause."""

    async def scenario() -> None:
        server = Server()
        tasks = [server.ask(n) for n in range(4)]
        await server.reply()
        tasks[3].cancel()
        error = StoreUnavailable("gone", "connection")
        error.__cause__ = OSError("wire")
        await server.reply(error)
        errors: list[Any] = await asyncio.gather(*tasks[1:3], return_exceptions=True)
        assert [(str(each), each.kind, each.__cause__) for each in errors] == [
            ("gone", "connection", error.__cause__)
        ] * 2
        assert errors[0] is not errors[1]
        await server.dispatcher.finish()

    run(scenario())


def test_who_is_too_late_does_not_leave() -> None:
    """A deadline holds for those who wait behind a call, and they aren't sent afterwards."""

    async def scenario() -> None:
        server = Server(deadline=0.05)
        first = server.ask(0)
        await ticks()
        with pytest.raises(StoreUnavailable):
            await server.ask(1)
        with pytest.raises(StoreUnavailable):
            await first
        await ticks()
        assert (server.calls, server.dropped) == ([[0]], 1)
        await server.dispatcher.finish()

    run(scenario())


def test_each_has_a_deadline_of_their_own() -> None:
    """Who asked later is told later, whether in flight or waiting."""

    async def scenario() -> None:
        server = Server(deadline=0.1)
        first = server.ask(0)
        early = server.ask(1)
        await server.reply()
        await asyncio.sleep(0.05)
        gone, late = server.ask(2), server.ask(3)
        await ticks()
        gone.cancel()
        with pytest.raises(StoreUnavailable):
            await early
        assert not late.done()
        with pytest.raises(StoreUnavailable):
            await late
        assert await first == 0
        await server.dispatcher.finish()

    run(scenario())


class Lanes:
    """Several lanes, whose calls are answered when they are told to, on a clock of their own."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.servers = [Server() for _ in range(count)]
        monkeypatch.setattr("ratelimit.stores.redis.dispatcher.monotonic", lambda: self.now)
        self.dispatcher: Dispatcher[int, int] = Dispatcher(
            self.servers, PATIENT, lambda: StoreUnavailable("late", "late")
        )

    @property
    def calls(self) -> list[int]:
        """How many calls each lane has made."""
        return [len(server.calls) for server in self.servers]


def test_many_who_wait_have_two_calls_in_flight(monkeypatch: pytest.MonkeyPatch) -> None:
    """While calls are fast, a second one leaves for many, and no third."""

    async def scenario() -> None:
        lanes = Lanes(4, monkeypatch)
        answers = [lanes.dispatcher.ask(n) for n in range(200)]
        assert lanes.calls == [1, 1, 0, 0]
        for _ in range(8):
            for server in lanes.servers[:2]:
                await server.reply()
        assert await asyncio.gather(*answers) == list(range(200))
        assert lanes.calls[2:] == [0, 0]
        await lanes.dispatcher.finish()

    run(scenario())


def test_nobody_waits_for_two_slow_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a call takes an eighth of the deadline, who comes meanwhile has one of their own."""

    async def scenario() -> None:
        lanes = Lanes(3, monkeypatch)
        first = lanes.dispatcher.ask(0)
        lanes.now += PATIENT / 4
        await lanes.servers[0].reply()
        assert await first == 0
        answers = [lanes.dispatcher.ask(n) for n in range(4)]
        assert lanes.calls == [2, 1, 1]
        for server in (*lanes.servers, lanes.servers[0]):
            await server.reply()
        assert await asyncio.gather(*answers) == [0, 1, 2, 3]
        await lanes.dispatcher.finish()

    run(scenario())


def test_an_event_loop_that_stands_still() -> None:
    """While the loop is blocked nobody's time runs out: neither of those in flight nor in line."""

    async def scenario() -> None:
        server = Server(deadline=0.4)
        tasks = [server.ask(n) for n in range(3)]
        await ticks()
        time.sleep(0.5)  # noqa: ASYNC251  # as an application that blocks its event loop does
        await ticks()
        for _ in range(2):
            await server.reply()
        assert await asyncio.gather(*tasks) == [0, 1, 2]
        await server.dispatcher.finish()

    run(scenario())

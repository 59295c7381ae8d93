"""Requests that are held back, on a loop where no time is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ratelimit.algorithms import FixedWindow, LeakyBucket, TokenBucket
from ratelimit.asgi import RateLimitMiddleware, Rule, header
from ratelimit.stores.memory import MemoryStore
from tests.applications import Broken, Exchange, call, everyone, ok, scope_of
from tests.virtual import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from tests.conftest import Clock


class Client:
    """A client that sends what it is told to, and may hang up."""

    def __init__(self, app: Any, *messages: dict[str, Any], **more: Any) -> None:
        self.app = app
        self.scope = scope_of(**more)
        self.saying: asyncio.Queue[Any] = asyncio.Queue()
        for message in messages or ({"type": "http.request", "body": b"", "more_body": False},):
            self.saying.put_nowait(message)
        self.sent: list[Any] = []
        self.task = asyncio.create_task(self.ask())
        self.answered_at = 0.0

    async def ask(self) -> Exchange:
        """Ask, and return the answer."""

        async def send(message: Any) -> None:
            self.sent.append(message)
            self.answered_at = asyncio.get_running_loop().time()

        await self.app(self.scope, self.saying.get, send)
        return Exchange(self.sent)

    def hang_up(self) -> None:
        """Go away."""
        self.saying.put_nowait({"type": "http.disconnect"})


@pytest.fixture
def limited(clock: Clock) -> Callable[..., RateLimitMiddleware]:
    """Return a function that limits an application, on the test's clock."""

    def make(*rules: Rule, app: Any = ok, **options: Any) -> RateLimitMiddleware:
        return RateLimitMiddleware(app, rules=rules, store=MemoryStore(clock=clock), **options)

    return make


TEN = TokenBucket("10/second", burst=1)


def test_a_request_waits_instead_of_being_denied(clock: Clock, limited: Any) -> None:
    """It is let in as soon as the limit allows."""
    start = clock.now

    async def ask() -> list[Exchange]:
        app = limited(everyone(TEN, wait=2))
        return [await call(app, scope_of()) for _ in range(3)]

    answers = run(clock, ask())
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert clock.now - start == 200_000


def test_a_wait_that_is_too_long_is_refused_at_once(clock: Clock, limited: Any) -> None:
    """Nobody waits for what comes too late anyway."""
    start = clock.now

    async def ask() -> list[Exchange]:
        app = limited(everyone(FixedWindow("1/minute"), wait=0.5))
        return [await call(app, scope_of()) for _ in range(2)]

    answers = run(clock, ask())
    assert [answer.status for answer in answers] == [200, 429]
    assert clock.now == start


def test_first_come_first_served(clock: Clock, limited: Any) -> None:
    """Those who wait are served in their order, and who can't be in time is refused."""

    async def ask() -> tuple[list[int], list[float]]:
        app = limited(everyone(TEN, wait=0.35))
        clients = [Client(app) for _ in range(6)]
        answers = await asyncio.gather(*(client.task for client in clients))
        return [answer.status for answer in answers], [client.answered_at for client in clients]

    statuses, times = run(clock, ask())
    assert statuses[:4] == [200, 200, 200, 200]
    assert statuses[4:] == [429, 429]
    assert times[:4] == sorted(times[:4])


def test_a_turn_that_comes_too_late_is_refused_at_once(clock: Clock, limited: Any) -> None:
    """Who is too far back in the line takes no place that others could wait in."""

    async def ask() -> list[Any]:
        rule = Rule("all", TokenBucket("1/second", burst=2), key=header("x-key"), wait=3)
        app = limited(rule, max_waiting=4)
        flood = [Client(app, headers=[(b"x-key", b"a")]) for _ in range(30)]
        other = [Client(app, headers=[(b"x-key", b"b")]) for _ in range(3)]
        answers = await asyncio.gather(*(client.task for client in flood + other))
        waits = {answer.headers.get("retry-after") for answer in answers}
        return [[answer.status for answer in answers], waits, flood[-1].answered_at]

    statuses, waits, answered_at = run(clock, ask())
    assert statuses == [200] * 5 + [429] * 25 + [200] * 3
    assert waits == {None, "4"}
    assert answered_at == 0


def test_what_never_fits_does_not_wait_in_line(clock: Clock, limited: Any) -> None:
    """It is refused at once, for ever, however many wait."""

    async def ask() -> list[Any]:
        def cost(scope: Any) -> int:
            return len(scope["query_string"])

        app = limited(everyone(TokenBucket("1/second", burst=2), cost=cost, wait=5))
        clients = [Client(app, query_string=b"x" * size) for size in (2, 2, 3)]
        answers = await asyncio.gather(*(client.task for client in clients))
        assert "retry-after" not in answers[-1].headers
        return [[answer.status for answer in answers], clients[-1].answered_at]

    assert run(clock, ask()) == [[200, 200, 429], 0]


def test_no_more_than_may_wait(clock: Clock, limited: Any) -> None:
    """When as many wait as may, the next is denied at once, and it holds nobody else up."""

    async def ask() -> list[int]:
        app = limited(everyone(TEN, wait=5), max_waiting=2)
        clients = [Client(app) for _ in range(4)]
        answers = await asyncio.gather(*(client.task for client in clients))
        assert app._holding.held == 0
        return [answer.status for answer in answers]

    assert run(clock, ask()) == [200, 200, 200, 429]


def test_other_keys_do_not_wait(clock: Clock, limited: Any) -> None:
    """Each key has a line of its own."""

    async def ask() -> list[Any]:
        app = limited(Rule("all", TEN, key=header("x-key"), wait=5))
        headers = {name: [(b"x-key", name)] for name in (b"a", b"b")}
        clients = [Client(app, headers=headers[name]) for name in (b"a", b"a", b"b")]
        await asyncio.gather(*(client.task for client in clients))
        return [round(client.answered_at * 1e6) for client in clients]

    assert run(clock, ask()) == [0, 100_000, 0]


def test_a_rule_that_does_not_wait_denies_at_once(clock: Clock, limited: Any) -> None:
    """Only rules that say so hold back; what another denies is denied."""
    start = clock.now

    async def ask() -> list[int]:
        app = limited(everyone(TEN, wait=5), Rule("hard", FixedWindow("1/minute"), key="k"))
        return [(await call(app, scope_of())).status for _ in range(2)]

    assert run(clock, ask()) == [200, 429]
    assert clock.now == start


def test_what_others_decided_is_no_denial(clock: Clock, limited: Any) -> None:
    """A shadow outside that would deny doesn't make a rule inside deny that waits."""

    async def ask() -> list[int]:
        inner = limited(everyone(TEN, wait=5))
        shadow = Rule("trial", FixedWindow("1/minute"), key="k", shadow=True)
        outer = limited(shadow, app=inner)
        return [(await call(outer, scope_of())).status for _ in range(3)]

    assert run(clock, ask()) == [200, 200, 200]


def test_a_turn_outside_is_waited_for_once(clock: Clock, limited: Any) -> None:
    """A middleware inside doesn't wait again for the turn that one outside has waited for."""
    start = clock.now

    async def ask() -> list[int]:
        inner = limited(Rule("inner", LeakyBucket("1/second", capacity=9), key="inner"))
        outer = limited(Rule("outer", LeakyBucket("1/second", capacity=9), key="outer"), app=inner)
        return [(await call(outer, scope_of())).status for _ in range(2)]

    assert run(clock, ask()) == [200, 200]
    assert clock.now - start == 1_000_000


def test_who_hangs_up_gives_the_place_back(clock: Clock, limited: Any) -> None:
    """A client that goes away while it waits is charged nothing, and the next moves up."""
    served: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope)
        await ok(scope, receive, send)

    async def ask() -> list[Any]:
        limited_app = limited(everyone(TEN, wait=5), app=app)
        first, gone, last = (Client(limited_app) for _ in range(3))
        await first.task
        gone.hang_up()
        await asyncio.gather(gone.task, last.task)
        assert limited_app._holding.held == 0
        return [first.sent != [], gone.sent, last.sent != [], last.answered_at]

    answers = run(clock, ask())
    assert answers[:3] == [True, [], True]
    assert answers[3] == pytest.approx(0.1)
    assert len(served) == 2


def test_who_hangs_up_before_a_turn_is_not_charged(clock: Clock, limited: Any) -> None:
    """A place in a leaky bucket's queue is given back too."""

    async def ask() -> list[Any]:
        app = limited(everyone(LeakyBucket("1/second", capacity=1)))
        await Client(app).task
        gone = Client(app)
        await asyncio.sleep(0.5)
        gone.hang_up()
        await gone.task
        return [gone.sent, (await Client(app).task).status]

    assert run(clock, ask()) == [[], 200]


def test_a_turn_that_too_many_wait_for(clock: Clock, limited: Any) -> None:
    """A request that can't be held back until its turn is refused with 503, and not charged."""

    async def ask() -> list[Any]:
        app = limited(everyone(LeakyBucket("1/second", capacity=5)), max_waiting=0)
        return [await call(app, scope_of()) for _ in range(3)]

    first, *others = run(clock, ask())
    assert [first.status, *(answer.status for answer in others)] == [200, 503, 503]
    assert b"Too many requests are waiting" in others[0].body


def test_a_queue_is_waited_for_no_longer_than_the_rule_says(clock: Clock, limited: Any) -> None:
    """`wait` on a leaky bucket bounds the delay: whose turn comes later is denied at once."""
    start = clock.now

    async def ask() -> list[int]:
        app = limited(everyone(LeakyBucket("1/second", capacity=9), wait=2))
        clients = [Client(app) for _ in range(5)]
        answers = await asyncio.gather(*(client.task for client in clients))
        return [answer.status for answer in answers]

    assert run(clock, ask()) == [200, 200, 200, 429, 429]
    assert clock.now - start == 2_000_000


def test_cancelled_in_line(clock: Clock, limited: Any) -> None:
    """A request that the server cancels leaves the line."""

    async def ask() -> int:
        app = limited(everyone(TEN, wait=5))
        first, cancelled = Client(app), Client(app)
        await first.task
        cancelled.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled.task
        assert app._holding.held == 0
        return (await Client(app).task).status

    assert run(clock, ask()) == 200


async def echo(request: Request) -> PlainTextResponse:
    """Answer with the body."""
    return PlainTextResponse(await request.body())


def body(*chunks: bytes) -> list[dict[str, Any]]:
    """Return the messages of a body."""
    last = len(chunks) - 1
    return [
        {"type": "http.request", "body": chunk, "more_body": number < last}
        for number, chunk in enumerate(chunks)
    ]


ECHO = Starlette(routes=[Route("/", echo, methods=["POST"])])


@pytest.mark.parametrize(
    "chunks", [(b"",), (b"a", b"b", b"c"), (b"x" * 40_000,) * 5, (b"y" * 1_000_000, b"z")]
)
def test_nothing_that_was_sent_meanwhile_is_lost(
    clock: Clock, limited: Any, chunks: tuple[bytes, ...]
) -> None:
    """The application receives the body as it was sent, in order, whatever was heard before."""

    async def ask() -> bytes:
        app = limited(everyone(TEN, wait=5), app=ECHO)
        more = {"method": "POST", "query_string": b"", "http_version": "1.1"}
        await Client(app, *body(b""), **more).task
        answer = await Client(app, *body(*chunks), **more).task
        return answer.body

    assert run(clock, ask()) == b"".join(chunks)


def test_a_body_that_comes_after_the_wait(clock: Clock, limited: Any) -> None:
    """What is sent later is received when it comes."""

    async def ask() -> bytes:
        app = limited(everyone(TEN, wait=5), app=ECHO)
        more = {"method": "POST", "query_string": b"", "http_version": "1.1"}
        await Client(app, *body(b""), **more).task
        slow = Client(app, *body(b"a", b"b")[:1], **more)
        await asyncio.sleep(1)
        slow.saying.put_nowait(body(b"b")[0])
        return (await slow.task).body

    assert run(clock, ask()) == b"ab"


def test_no_body_piles_up(clock: Clock, limited: Any) -> None:
    """No more than some 64 KiB are taken from the server while a request is held back."""

    async def ask() -> int:
        app = limited(everyone(TEN, wait=5))
        await Client(app).task
        chunks = [b"x" * 10_000] * 100
        waiting = Client(app, *body(*chunks))
        await asyncio.sleep(0.05)
        left = waiting.saying.qsize()
        await waiting.task
        return len(chunks) - left

    assert run(clock, ask()) <= 8


def test_a_receive_that_fails(clock: Clock, limited: Any) -> None:
    """An error of the server's is the server's, and isn't lost."""

    async def ask() -> None:
        app = limited(everyone(TEN, wait=5))
        await call(app, scope_of())

        async def receive() -> Any:
            raise ConnectionError

        async def send(message: Any) -> None:
            raise AssertionError

        await app(scope_of(), receive, send)

    with pytest.raises(ConnectionError):
        run(clock, ask())


def test_a_receive_that_fails_unheard(clock: Clock, limited: Any) -> None:
    """An error that came while the request was served is seen by who receives, if anyone does."""

    async def ask() -> int:
        app = limited(everyone(TEN, wait=5))
        await call(app, scope_of())
        fail = asyncio.Event()

        async def receive() -> Any:
            await fail.wait()
            raise ConnectionError

        sent: list[Any] = []

        async def send(message: Any) -> None:
            fail.set()
            await asyncio.sleep(0)
            sent.append(message)

        await app(scope_of(), receive, send)
        return int(sent[0]["status"])

    assert run(clock, ask()) == 200


def test_the_context_is_the_same(clock: Clock, limited: Any) -> None:
    """A held request is served by the task and in the context that it came in."""
    tasks: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        tasks.append(asyncio.current_task())
        await ok(scope, receive, send)

    async def ask() -> bool:
        limited_app = limited(everyone(TEN, wait=5), app=app)
        clients = [Client(limited_app) for _ in range(2)]
        await asyncio.gather(*(client.task for client in clients))
        return tasks == [client.task for client in clients]

    assert run(clock, ask())


def test_what_cannot_be_given_back_stays_charged(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """A store that is gone when a turn is given up harms nobody."""

    async def ask() -> list[Any]:
        rule = everyone(LeakyBucket("1/second", capacity=5))
        app = RateLimitMiddleware(ok, rules=[rule], store=Broken("refund_all"))
        await Client(app).task
        gone = Client(app)
        await asyncio.sleep(0.5)
        gone.hang_up()
        await gone.task
        return gone.sent

    assert run(clock, ask()) == []
    assert "could not be given back" in caplog.text

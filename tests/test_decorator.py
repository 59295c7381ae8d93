"""What `rate_limited` does to each kind of function, and what it refuses."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
from contextlib import aclosing
from functools import partial, partialmethod
from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.algorithms import FixedWindow, LeakyBucket, TokenBucket
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.decorator import rate_limited
from ratelimit.errors import RateLimitExceeded
from ratelimit.limiter import Limiter
from ratelimit.stores.memory import MemoryStore
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from tests.conftest import wrong

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from tests.conftest import Clock

TEN = TokenBucket("10/second")
ONE = TokenBucket("1/second")


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    """Return a store on the test's clock."""
    return MemoryStore(clock=clock)


def plain(value: int = 1) -> int:
    """Return what it is given."""
    return value


async def awaiting(value: int = 1) -> int:
    """Return what it is given, later."""
    return value


def yielding(value: int = 1) -> Generator[int, int, str]:
    """Yield what it is given, then what it is sent, and return a text."""
    yield (yield value)
    return "done"


async def awaiting_and_yielding(value: int = 1) -> AsyncGenerator[int, int]:
    """Yield what it is given, then what it is sent."""
    yield (yield value)


async def first(generator: AsyncGenerator[Any, Any]) -> Any:
    """Return the first value, and close the generator."""
    async with aclosing(generator):
        return await anext(generator)


def finish(result: Any) -> Any:
    """Return what a call of any kind of function comes to."""
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    if inspect.isasyncgen(result):
        return asyncio.run(first(result))
    if inspect.isgenerator(result):
        return next(result)
    return result


KINDS = pytest.mark.parametrize("function", [plain, awaiting, yielding, awaiting_and_yielding])


@KINDS
def test_every_kind_of_function_runs_until_it_is_denied(
    function: Callable[..., Any], store: MemoryStore
) -> None:
    """A call that is allowed runs with its arguments; one that is denied raises the decision."""
    limited = rate_limited(TokenBucket("2/second"), store=store)(function)
    assert [7, 8] == [finish(limited(7)), finish(limited(value=8))]
    with pytest.raises(RateLimitExceeded) as caught:
        finish(limited(9))
    assert caught.value.decision.retry_after == 0.5


@KINDS
def test_a_call_is_let_in_when_time_has_passed(
    function: Callable[..., Any], store: MemoryStore, clock: Clock
) -> None:
    """Who waits for `retry_after` is let in."""
    limited = rate_limited(ONE, store=store)(function)
    finish(limited())
    with pytest.raises(RateLimitExceeded) as caught:
        finish(limited())
    clock.advance(caught.value.decision.retry_after)
    assert finish(limited(5)) == 5


@KINDS
def test_a_function_keeps_its_kind_and_its_face(function: Callable[..., Any]) -> None:
    """The result has the function's name, text and signature, and is of the same kind."""
    limited = rate_limited(TEN)(function)
    assert function.__name__ == limited.__name__
    assert function.__doc__ == limited.__doc__
    assert inspect.signature(function) == inspect.signature(limited)
    for kind in (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    ):
        assert kind(function) == kind(limited)


@KINDS
def test_a_given_limiter_is_shared(function: Callable[..., Any], store: MemoryStore) -> None:
    """With a limiter and a key, the calls and the limiter draw on one bucket."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        limiter: Any = AsyncLimiter(ONE, store=store)
    else:
        limiter = Limiter(ONE, store=store)
    limited = rate_limited(limiter, key="k")(function)
    assert finish(limited(3)) == 3
    assert not finish(limiter.hit("k"))


def test_a_denied_call_does_not_run() -> None:
    """The body of a call that is denied is never entered."""
    calls: list[int] = []
    limited = rate_limited(FixedWindow("1/day"), key="k", name="n")(calls.append)
    limited(1)
    with pytest.raises(RateLimitExceeded):
        limited(2)
    assert [1] == calls


@pytest.mark.parametrize("function", [yielding, awaiting_and_yielding])
def test_a_generator_is_charged_when_it_starts(
    function: Callable[..., Any], store: MemoryStore
) -> None:
    """Making a generator is free; only the first one that runs is charged, and once."""
    limited = rate_limited(ONE, store=store)(function)
    first, second = limited(1), limited(2)
    assert finish(second) == 2
    with pytest.raises(RateLimitExceeded):
        finish(first)


def test_a_generator_is_delegated_to() -> None:
    """What is sent goes in, what is returned comes out."""
    generator = rate_limited(TEN)(yielding)(1)
    assert [1, 2] == [next(generator), generator.send(2)]
    with pytest.raises(StopIteration) as caught:
        next(generator)
    assert caught.value.value == "done"


def test_a_generator_is_closed_and_thrown_into() -> None:
    """An error that is thrown in can be answered, and closing runs what cleans up."""
    seen: list[str] = []

    @rate_limited(TEN)
    def stubborn() -> Generator[str, None, None]:
        try:
            try:
                yield "first"
            except KeyError:
                yield "caught"
        finally:
            seen.append("closed")

    generator = stubborn()
    assert ["first", "caught"] == [next(generator), generator.throw(KeyError())]
    generator.close()
    assert ["closed"] == seen


def test_an_async_generator_is_sent_to() -> None:
    """What is sent to an async generator goes in, and it ends when the inner one does."""

    async def scenario() -> list[int]:
        generator = rate_limited(TEN)(awaiting_and_yielding)(1)
        values = [await anext(generator), await generator.asend(2)]
        return values + [value async for value in generator]

    assert asyncio.run(scenario()) == [1, 2]


def stubborn(seen: list[object]) -> AsyncGenerator[str, None]:
    """Return a limited generator that tells what happens to it, and answers a `KeyError`."""

    @rate_limited(TEN)
    async def generator() -> AsyncGenerator[str, None]:
        try:
            yield "first"
        except KeyError as error:
            seen.append(error)
            yield "caught"
        finally:
            await asyncio.sleep(0)
            seen.append("closed")

    return generator()


def test_an_async_generator_is_thrown_into() -> None:
    """An error that is thrown into an async generator can be answered there."""
    seen: list[object] = []
    error = KeyError("k")

    async def scenario() -> list[str]:
        generator = stubborn(seen)
        values = [await anext(generator), await generator.athrow(error)]
        return values + [value async for value in generator]

    assert asyncio.run(scenario()) == ["first", "caught"]
    assert [error, "closed"] == seen


def test_an_error_passes_through_an_async_generator() -> None:
    """An error that nobody answers comes out as it went in, after the inner one cleaned up."""
    seen: list[object] = []
    error = OSError("gone")

    async def scenario() -> None:
        generator = stubborn(seen)
        await anext(generator)
        await generator.athrow(error)

    with pytest.raises(OSError, match="gone") as caught:
        asyncio.run(scenario())
    assert error is caught.value
    assert error.__context__ is None
    assert ["closed"] == seen


def test_an_async_generator_is_closed() -> None:
    """Closing an async generator waits until the inner one has cleaned up."""
    seen: list[object] = []

    async def scenario() -> None:
        generator = stubborn(seen)
        await anext(generator)
        await generator.aclose()
        assert ["closed"] == seen
        assert [value async for value in generator] == []

    asyncio.run(scenario())


def test_an_async_generator_that_refuses_to_close_is_reported() -> None:
    """Yielding in answer to `aclose` is the error that it is without the decorator."""

    @rate_limited(TEN)
    async def refusing() -> AsyncGenerator[int, None]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    async def scenario() -> None:
        generator = refusing()
        await anext(generator)
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            await generator.aclose()

    asyncio.run(scenario())


def test_an_async_generator_that_never_started_is_closed_for_free(store: MemoryStore) -> None:
    """Closing before the first value charges nothing."""
    limited = rate_limited(ONE, store=store)(awaiting_and_yielding)

    async def scenario() -> int:
        await limited().aclose()
        return await anext(limited(4))

    assert asyncio.run(scenario()) == 4


def test_a_cancelled_step_reaches_the_inner_generator() -> None:
    """Cancelling whoever waits for a value cancels what the inner generator waits for."""
    seen: list[str] = []

    @rate_limited(TEN)
    async def slow() -> AsyncGenerator[int, None]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        yield 1

    async def scenario() -> None:
        waiting = asyncio.ensure_future(anext(slow()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(scenario())
    assert ["cancelled"] == seen


def limit_by_self() -> Any:
    """Return a decorator that charges the first argument, once a day."""
    return rate_limited(FixedWindow("1/day"), key=lambda owner: owner.label)


class Shop:
    """A class with a method of every kind."""

    label = "class"

    def __init__(self, label: str) -> None:
        self.label = label

    @limit_by_self()
    def method(self) -> str:
        """Say who it is."""
        return self.label

    @limit_by_self()
    @classmethod
    def outside_class(cls) -> str:
        """Say who it is."""
        return cls.label

    @classmethod
    @limit_by_self()
    def inside_class(cls) -> str:
        """Say who it is."""
        return cls.label

    @rate_limited(FixedWindow("1/day"))
    @staticmethod
    def outside_static(value: str) -> str:
        """Return what it is given."""
        return value

    @staticmethod
    @rate_limited(FixedWindow("1/day"))
    def inside_static(value: str) -> str:
        """Return what it is given."""
        return value

    @rate_limited(FixedWindow("1/day"))
    @classmethod
    async def outside_async(cls) -> str:
        """Say who it is, later."""
        return cls.label


def test_methods_can_be_charged_by_their_object() -> None:
    """A method's key function gets `self`, so that each object has its own bucket."""
    one, other = Shop("one"), Shop("other")
    assert [one.method(), other.method()] == ["one", "other"]
    with pytest.raises(RateLimitExceeded):
        one.method()


@pytest.mark.parametrize("name", ["outside_class", "inside_class"])
def test_class_methods_in_either_order(name: str) -> None:
    """A classmethod is limited from outside and from inside, and bound as ever."""
    assert isinstance(vars(Shop)[name], classmethod)
    assert getattr(Shop, name)() == "class"
    with pytest.raises(RateLimitExceeded):
        getattr(Shop("object"), name)()


@pytest.mark.parametrize("name", ["outside_static", "inside_static"])
def test_static_methods_in_either_order(name: str) -> None:
    """A staticmethod is limited from outside and from inside, and stays unbound."""
    assert isinstance(vars(Shop)[name], staticmethod)
    assert getattr(Shop("object"), name)("x") == "x"
    with pytest.raises(RateLimitExceeded):
        getattr(Shop, name)("x")


def test_an_async_class_method_awaits() -> None:
    """The colour is that of the function inside the classmethod."""
    assert inspect.iscoroutinefunction(Shop.outside_async)
    assert asyncio.run(Shop.outside_async()) == "class"


def test_keys_and_costs_are_made_of_the_arguments(store: MemoryStore) -> None:
    """Functions for key and cost get the call's arguments as they were given."""
    limiter = Limiter(TEN, store=store)

    @rate_limited(limiter, key=lambda user, **_: user, cost=lambda _, *, size: size)
    def send(user: str, *, size: int) -> tuple[str, int]:
        return user, size

    assert send("ann", size=4) == ("ann", 4)
    assert send("bob", size=10) == ("bob", 10)
    assert [limiter.peek(user).remaining for user in ("ann", "bob")] == [6, 0]


def test_keys_and_costs_can_differ_by_limit(store: MemoryStore) -> None:
    """For several limits the functions may give a mapping by the limits' names."""
    limiter = Limiter({"calls": ONE, "bytes": TEN}, store=store)

    @rate_limited(
        limiter,
        key=lambda user, _: {"calls": user, "bytes": "all"},
        cost=lambda _, size: {"calls": 1, "bytes": size},
    )
    def send(user: str, size: int) -> int:
        return len(user) + size

    assert [send("ann", 4), send("bob", 5)] == [7, 8]
    with pytest.raises(RateLimitExceeded) as caught:
        send("cid", 2)
    assert caught.value.decision.denied == ("bytes",)


def test_a_key_function_that_returns_no_text_is_told() -> None:
    """A key of None is an error at the call, not a bucket for all who have none."""
    limited: Any = rate_limited(TEN, key=lambda value: value)(plain)
    with pytest.raises(TypeError, match="a key is a str, not NoneType"):
        limited(None)


def test_a_cost_of_the_arguments_that_never_fits_is_denied() -> None:
    """A cost that a caller chose is denied for ever, since it is no mistake of the code."""
    limited = rate_limited(TEN, cost=lambda value: value)(plain)
    with pytest.raises(RateLimitExceeded, match="a cost of 11 never fits a limit of 10"):
        limited(11)


def test_without_a_key_a_function_has_one_bucket(store: MemoryStore) -> None:
    """The key is the function's module and qualified name."""
    limiter = Limiter(ONE, store=store)
    rate_limited(limiter)(plain)()
    assert not limiter.peek(f"{__name__}:plain")
    assert limiter.peek(f"{__name__}:yielding")


def test_without_a_name_a_limit_is_called_like_its_function(store: MemoryStore) -> None:
    """Functions that share a store and a key are apart, since their limits' names are."""
    calls = [rate_limited(ONE, key="k", store=store)(each) for each in (plain, yielding)]
    for limited in calls:
        finish(limited())
    with pytest.raises(RateLimitExceeded) as caught:
        finish(calls[0]())
    assert caught.value.decision.denied == (f"{__name__}.plain",)


def named(qualname: str, module: str = "app") -> Any:
    """Return a function with this name."""

    def function() -> None: ...

    function.__qualname__ = qualname
    function.__module__ = module
    return function


def limit_name(function: Any) -> str:
    """Return the name that the limit of a function gets."""
    limited = rate_limited(FixedWindow("1/day"), store=MemoryStore())(function)
    limited()
    with pytest.raises(RateLimitExceeded) as caught:
        limited()
    return caught.value.decision.denied[0]


def test_names_that_had_to_be_changed_stay_apart() -> None:
    """Local, foreign and long names become plain ones, each with a digest of its own."""
    shapes = ["f.<locals>.g", "f._locals_.g", "f.[locals].g", "größe", "grüße"]
    shapes += ["x" * 124, "x" * 125, "x" * 126, "\udc80"]
    names = [limit_name(named(shape)) for shape in shapes]
    assert len(set(names)) == len(shapes)
    assert max(map(len, names)) == 128
    assert names[0].startswith("app.f._locals_.g-")
    assert names[1] == "app.f._locals_.g"
    assert names[5] == "app." + "x" * 124
    assert names[6].startswith("x" * 111 + "-")
    assert names == [limit_name(named(shape)) for shape in shapes]


def test_a_name_can_be_given(store: MemoryStore) -> None:
    """Two functions with one name, key and store share a limit."""
    options: dict[str, Any] = {"name": "mail", "key": "k", "store": store}
    rate_limited(ONE, **options)(plain)()
    with pytest.raises(RateLimitExceeded) as caught:
        asyncio.run(rate_limited(ONE, **options)(awaiting)())
    assert caught.value.decision.denied == ("mail",)


def test_functions_without_a_store_are_apart() -> None:
    """One decorator on two functions of one name gives each a store of its own."""
    limit = rate_limited(FixedWindow("1/day"), key="k", name="n")
    assert [limit(plain)(), limit(plain)()] == [1, 1]


def test_several_limits_are_one_decision(store: MemoryStore) -> None:
    """A call that one limit denies uses up nothing of the others."""
    limits = {"burst": ONE, "daily": FixedWindow("5/day")}
    limited = rate_limited(limits, key="k", store=store)(plain)
    limited()
    for _ in range(3):
        with pytest.raises(RateLimitExceeded) as caught:
            limited()
    assert caught.value.decision.denied == ("burst",)
    assert caught.value.decision.limits["daily"].remaining == 4


class Callee:
    """An object that can be called."""

    def __call__(self, value: int) -> int:
        """Return what it is given."""
        return value


class AsyncCallee:
    """An object whose call is awaited."""

    async def __call__(self, value: int) -> int:
        """Return what it is given, later."""
        return value

    async def method(self, value: int) -> int:
        """Return what it is given, later."""
        return value

    half = partialmethod(method, 2)


@pytest.mark.parametrize(
    "function",
    [
        partial(plain),
        partial(partial(awaiting)),
        partial(yielding, 2),
        partial(awaiting_and_yielding, value=2),
        Callee(),
        AsyncCallee(),
        partial(Callee(), 2),
        partial(AsyncCallee(), 2),
        AsyncCallee().half,
    ],
)
def test_functions_without_a_name_need_a_key_and_a_name(function: Any) -> None:
    """Partials and objects work with a key and a name, and are refused without them."""
    lacking: tuple[dict[str, Any], ...] = ({}, {"key": "k"}, {"name": "n"})
    for options in lacking:
        with pytest.raises(TypeError, match="no qualified name: give rate_limited a key and a na"):
            rate_limited(TEN, **options)(function)
    limited: Any = rate_limited(TEN, key="k", name="n")(function)
    free = isinstance(function, partial) and (function.args or function.keywords)
    args = () if free or isinstance(function, partial) else (2,)
    assert finish(limited(*args)) in {1, 2}


def test_functions_without_a_name_need_no_name_where_limits_have_theirs() -> None:
    """With a limiter, or a mapping, only the key is missing."""
    for limit in (Limiter(TEN), {"ten": TEN}):
        with pytest.raises(TypeError, match=r"no qualified name: give rate_limited a key$"):
            rate_limited(limit)(partial(plain))
        assert rate_limited(limit, key="k")(partial(plain))() == 1


def test_a_function_without_a_module_counts_as_nameless() -> None:
    """Methods of built-in objects have no module, so that their path would be no one's own."""
    with pytest.raises(TypeError, match="give rate_limited a key and a name"):
        rate_limited(TEN)([].append)
    limited = rate_limited(TEN, key="k", name="n")("-".join)
    assert limited("ab") == "a-b"


def test_a_bound_method_keeps_its_colour() -> None:
    """A bound async method is awaited, and named like its function."""
    limited = rate_limited(TEN)(AsyncCallee().method)
    assert inspect.iscoroutinefunction(limited)
    assert asyncio.run(limited(3)) == 3


def test_the_wrong_colour_is_refused_with_its_mend() -> None:
    """A limiter that doesn't fit the function is refused at decoration."""
    for awaits in (awaiting, awaiting_and_yielding):
        with pytest.raises(TypeError, match=r"would block its event loop: give .* an AsyncLimiter"):
            rate_limited(Limiter(TEN))(awaits)
    for blocks in (plain, yielding):
        with pytest.raises(TypeError, match=r"can't await an AsyncLimiter: give .* a Limiter"):
            rate_limited(AsyncLimiter(TEN))(blocks)


def test_the_wrong_colour_of_store_is_refused() -> None:
    """A store that doesn't fit the function is refused at decoration."""
    with pytest.raises(TypeError, match="an AsyncLimiter needs a store that awaits"):
        rate_limited(TEN, store=RedisStore("redis://localhost"))(awaiting)
    with pytest.raises(TypeError, match="a Limiter needs a store that doesn't await"):
        rate_limited(TEN, store=AsyncRedisStore("redis://localhost"))(plain)


@pytest.mark.parametrize("options", [{"store": "memory://"}, {"name": "n"}, {"name": ""}])
@pytest.mark.parametrize("limiter", [Limiter(TEN), AsyncLimiter(TEN)])
def test_a_limiter_takes_no_store_and_no_name(limiter: Any, options: dict[str, Any]) -> None:
    """What a limiter has already is not given again."""
    with pytest.raises(TypeError, match="a limiter has its store and names"):
        rate_limited(limiter, **options)


def test_a_mapping_takes_no_name() -> None:
    """Limits in a mapping have their names."""
    with pytest.raises(TypeError, match=r"a mapping names its limits itself: .* 'n'"):
        rate_limited({"ten": TEN}, name="n")


@pytest.mark.parametrize("limit", ["10/second", None, {}, {"ten": "10/second"}])
def test_a_limit_that_is_none_is_refused(limit: Any) -> None:
    """What is no algorithm, mapping of them, or limiter is refused at decoration."""
    with pytest.raises((TypeError, ValueError), match="limit"):
        rate_limited(limit)(plain)


def test_each_limit_has_a_constant_of_its_own() -> None:
    """Of several limits each may have its key and cost, checked when the function is decorated."""
    limits = {"calls": FixedWindow("9/hour"), "units": FixedWindow("5/hour")}

    @rate_limited(limits, key={"calls": "a", "units": "b"}, cost={"calls": 1, "units": 3})
    def work() -> None:
        """Do nothing."""

    work()
    with pytest.raises(RateLimitExceeded) as caught:
        work()
    assert caught.value.decision.denied == ("units",)
    for options, match in (
        ({"cost": {"calls": 1, "units": 6}}, "a cost of 6 never fits a limit of 5"),
        ({"cost": {"calls": 1}}, "no cost for the limit 'units'"),
        ({"cost": {"calls": 1, "units": 1, "others": 1}}, "there is no limit 'others'"),
        ({"key": {"calls": "a", "units": ""}}, "a key is not empty"),
        ({"key": {"calls": "a", "units": "b", "others": "c"}}, "there is no limit 'others'"),
    ):
        with pytest.raises(ValueError, match=match):
            rate_limited(limits, **wrong(options))(work)
    with pytest.raises(TypeError, match="the only limit takes one cost"):
        rate_limited(limits["units"], cost={"units": 1})(work)


@pytest.mark.parametrize("function", [plain, awaiting])
@pytest.mark.parametrize("limit", [TEN, {"big": TokenBucket("20/second"), "small": TEN}])
def test_a_constant_cost_that_never_fits_is_refused(limit: Any, function: Any) -> None:
    """A cost beyond the smallest limit is a mistake, told at decoration; the limit itself fits."""
    assert finish(rate_limited(limit, cost=10)(function)())
    with pytest.raises(ValueError, match="a cost of 11 never fits a limit of 10"):
        rate_limited(limit, cost=11)(function)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"key": ""}, ValueError, "a key is not empty"),
        ({"key": 42}, TypeError, "a key is a str, not int"),
        ({"key": "x" * 5_000}, ValueError, "a key has at most 4096 characters"),
        ({"key": awaiting}, TypeError, "a key comes from a function that returns it"),
        ({"cost": -1}, ValueError, "a cost is at least 0, not -1"),
        ({"cost": 1.5}, TypeError, "a cost is a whole number, not float"),
        ({"cost": True}, TypeError, "a cost is a whole number, not bool"),
        ({"cost": None}, TypeError, "a cost is a whole number, not NoneType"),
        ({"cost": yielding}, TypeError, "a cost comes from a function that returns it"),
        ({"timeout": -1}, ValueError, "a timeout is 0 s or more"),
        ({"timeout": "1"}, TypeError, "a timeout is seconds, not str"),
    ],
)
def test_constants_are_checked_at_decoration(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    """What can't be used is told before there is any call."""
    with pytest.raises(error, match=message):
        rate_limited(TEN, **options)


@pytest.mark.parametrize("name", ["", "two words", "x" * 129])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    """A name that was given is taken as it is, or not at all."""
    with pytest.raises(ValueError, match="a limit's name is 1 to 128"):
        rate_limited(TEN, name=name)(plain)


@pytest.mark.parametrize("thing", [Shop, property(plain), None])
def test_what_is_no_function_is_refused(thing: Any) -> None:
    """Classes and properties are not decorated."""
    with pytest.raises(TypeError, match="decorates functions and methods"):
        rate_limited(TEN)(thing)


def sleeping(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> list[float]:
    """Let time pass on the clock wherever a limiter would sleep, and return what it slept."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    async def async_sleep(seconds: float) -> None:
        sleep(seconds)

    monkeypatch.setattr("ratelimit.limiter.sleep", sleep)
    monkeypatch.setattr("ratelimit.async_limiter.async_sleep", async_sleep)
    return slept


@KINDS
def test_with_a_timeout_a_call_waits_for_its_turn(
    function: Callable[..., Any], store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that fits within the timeout waits, and runs."""
    slept = sleeping(monkeypatch, clock)
    limited = rate_limited(ONE, store=store, timeout=10)(function)
    assert [1, 2, 3] == [finish(limited(value)) for value in (1, 2, 3)]
    assert sum(slept) == 2


@KINDS
def test_with_a_timeout_that_is_too_short_a_call_is_refused_at_once(
    function: Callable[..., Any], store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose turn comes after the timeout doesn't wait for it."""
    slept = sleeping(monkeypatch, clock)
    limited = rate_limited(ONE, store=store, timeout=0.9)(function)
    finish(limited())
    with pytest.raises(RateLimitExceeded):
        finish(limited())
    assert sum(slept) == 0


@KINDS
def test_a_queue_spaces_calls_evenly(
    function: Callable[..., Any], store: MemoryStore, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leaky bucket's delay is waited out before the call runs."""
    slept = sleeping(monkeypatch, clock)
    limited = rate_limited(LeakyBucket("5/second"), store=store)(function)
    for _ in range(3):
        finish(limited())
    assert slept == [0, 0.2, 0.2]


def test_importing_it_leaves_asyncio_out() -> None:
    """The decorator needs asyncio only where something awaits."""
    script = (
        "import sys, ratelimit.decorator as d, ratelimit as r\n"
        "d.rate_limited(r.TokenBucket('1/day'))(lambda: None)\n"
        "sys.exit('asyncio' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

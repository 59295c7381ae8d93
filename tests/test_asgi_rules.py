"""Which requests a rule is for, and what it asks, whatever its functions do."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ratelimit.algorithms import FixedWindow, TokenBucket
from ratelimit.asgi import (
    RateLimitMiddleware,
    Rule,
    RuleBook,
    client_ip,
    combined,
    from_networks,
    header,
    path_param,
)
from ratelimit.asgi.paths import canonical
from ratelimit.errors import StoreUnavailable
from ratelimit.stores.fallback import AsyncFallbackStore
from ratelimit.stores.memory import AsyncMemoryStore, MemoryStore
from tests.applications import ONE, ask, everyone, limited, ok, statuses
from tests.conftest import Clock, wrong

if TYPE_CHECKING:
    from collections.abc import Callable

UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/items/{id}", "/items/a", True),
        ("/items/{id}", "/items/", False),
        ("/items/{id}", "/items/a/b", False),
        ("/items/{id:int}", "/items/42", True),
        ("/items/{id:int}", "/items/-1", False),
        ("/items/{id:int}", "/items/٥", False),
        ("/items/{id:int}/x", "/items/42/x", True),
        ("/items/{price:float}", "/items/4.2", True),
        ("/items/{price:float}", "/items/4.", False),
        ("/items/{id:uuid}", f"/items/{UUID}", True),
        ("/items/{id:uuid}", "/items/1234", False),
        ("/files/{rest:path}", "/files/a/b", True),
        ("/files/{rest:path}", "/files/", True),
        ("/{a}/{b:int}", "/x/1", True),
        ("/a.b/{id}", "/aXb/1", False),
        ("/{team}/admin/*", "/a/admin", True),
        ("/{team}/admin/*", "/a/admin/b/c", True),
        ("/{team}/admin/*", "/a/administrator", False),
        ("/search", "/search\n", True),
        ("/search", "/search\n\n", False),
        ("/items/{id}", "/items/\n", True),
        ("/items/{id:int}", "/items/5\n", True),
        ("/admin/*", "/admin\n", True),
        ("/admin/*", "/admin/\nx", True),
        ("/*", "/", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    """Parameters are read as Starlette's routes read them."""
    assert statuses(limited(everyone(path=pattern)), path, path)[1] == (429 if matches else 200)


ROUTES = ("/search", "/items/{id:int}", "/files/{rest:path}", "/{a}/x/{b:float}", "/u/{id:uuid}")
ASKED = (
    *("/search", "/search%0A", "/search/", "/search%0A%0A", "/Search", "//search", "/search;x"),
    *("/items/5", "/items/5%0A", "/items/05", "/items/%35", "/items/5%2F", "/items/+5"),
    *("/files/a/b", "/files/%0A", "/files/", "/files/..%2Fx", "/files/a%0A"),
    *("/y/x/1.5", "/%0A/x/1", "/y/x/1.5%0A", f"/u/{UUID}", f"/u/{UUID.upper()}%0A"),
)


@pytest.mark.parametrize("path", ASKED)
def test_whatever_a_route_answers_its_rule_counts(path: str) -> None:
    """There is no way to write a path that Starlette routes and the rule of the route misses."""
    routes = [Route(route, PlainTextResponse(route)) for route in ROUTES]
    rules = [
        Rule(f"route-{number}", ONE, key="all", path=route) for number, route in enumerate(ROUTES)
    ]
    app = RateLimitMiddleware(Starlette(routes=routes), rules=rules)
    client = TestClient(app, follow_redirects=False)
    answer = client.get(path)
    told = answer.headers.get("ratelimit", "")
    assert answer.status_code != 200 or f'"route-{ROUTES.index(answer.text)}"' in told


def test_a_parameter_has_a_bucket_for_each_value_only_if_it_is_the_key() -> None:
    """A rule's key may be a parameter; otherwise concrete values make no new buckets."""
    tenants = Rule("tenants", ONE, key=path_param("tenant"), path="/{tenant}/items/{id}")
    assert statuses(limited(tenants), "/a/items/1", "/b/items/1", "/a/items/2") == [200, 200, 429]
    both = Rule("both", ONE, key=combined(client_ip(), path_param("id")), path="/items/{id:int}")
    assert statuses(limited(both), "/items/7", "/items/007", "/items/8") == [200, 429, 200]


@pytest.mark.parametrize(
    ("value", "convertor", "one"),
    [
        ("007", "int", "7"),
        ("000", "int", "0"),
        ("0" * 5000 + "7", "int", "7"),
        ("1.50", "float", "1.5"),
        ("1.0", "float", "1"),
        ("0.0", "float", "0"),
        ("100", "float", "100"),
        (UUID.upper(), "uuid", UUID.replace("-", "")),
        ("A/0", "path", "A/0"),
        ("A", "str", "A"),
    ],
)
def test_one_form_for_each_value(value: str, convertor: str, one: str) -> None:
    """However a value is written, it is one key."""
    assert canonical(value, convertor) == one


@pytest.mark.parametrize("path", ["/items/{id", "/items/id}", "/{id}/{id}", "/{id:int:x}", "/a*b"])
def test_patterns_that_cannot_be_understood(path: str) -> None:
    """A pattern that Starlette would take for plain text, or refuse, is refused."""
    with pytest.raises(ValueError, match=r"path|parameter"):
        everyone(path=path)


def test_when() -> None:
    """A predicate narrows a rule, and may be a coroutine function."""

    async def is_large(scope: Any) -> bool:
        return scope["path"] == "/large"

    for when in (is_large, lambda scope: scope["path"] == "/large"):
        app = limited(everyone(when=when))
        assert statuses(app, "/small", "/large", "/small", "/large") == [200, 200, 200, 429]


def test_who_is_exempt() -> None:
    """A list of networks, or a predicate, says who isn't limited."""
    app = limited(Rule("all", ONE, key=client_ip(), exempt=["192.0.2.0/24"]))
    assert statuses(app, "/", "/") == [200, 200]
    assert statuses(app, "/", "/", client=("198.51.100.1", 1)) == [200, 429]
    behind = client_ip(trusted_proxies=["10.0.0.0/8"])
    key = combined(behind, header("x-key"))
    app = limited(Rule("all", ONE, key=key, exempt=["192.0.2.0/24"]))
    for host, status in ((b"192.0.2.1", 200), (b"198.51.100.1", 429)):
        headers = [(b"x-forwarded-for", host), (b"x-key", b"k")]
        assert statuses(app, "/", "/", client=("10.0.0.1", 1), headers=headers)[1] == status
    app = limited(everyone(exempt=from_networks(["192.0.2.0/24"])))
    assert statuses(app, "/", "/") == [200, 200]


def test_exempt_networks_need_an_address() -> None:
    """Which address is meant isn't guessed: behind a proxy, the peer's would exempt everyone."""
    with pytest.raises(ValueError, match="from_networks"):
        everyone(exempt=["10.0.0.0/8"])
    with pytest.raises(ValueError, match="from_networks"):
        Rule("a", ONE, key=header("x-key"), exempt=["10.0.0.0/8"])


def test_functions_may_await() -> None:
    """Key, cost and algorithm may come from coroutine functions."""
    wide = FixedWindow("4/minute")

    async def key(scope: Any) -> str:
        return str(scope["path"])

    async def cost(scope: Any) -> int:
        return 2

    async def algorithm(scope: Any) -> FixedWindow:
        return wide

    app = limited(Rule("all", algorithm, key=key, cost=cost))
    assert statuses(app, "/a", "/a", "/a", "/b") == [200, 200, 429, 200]


def test_a_lambda_that_returns_a_coroutine() -> None:
    """What has to be awaited is awaited, though the function doesn't look like it."""

    async def session(scope: Any) -> str:
        return "s"

    app = limited(Rule("all", ONE, key=lambda scope: session({**scope}), cost=lambda scope: 1))
    assert statuses(app, "/", "/") == [200, 429]


@pytest.mark.parametrize("more", [(), (Rule("wide", FixedWindow("9/minute"), key="k"),)])
def test_keys_that_are_awaited(more: tuple[Rule, ...]) -> None:
    """A coroutine function is asked for the key once, and no coroutine is left behind."""
    asked: list[str] = []

    async def key(scope: Any) -> str:
        asked.append(scope["path"])
        return str(scope["path"])

    for function in (key, lambda scope: key({**scope})):
        asked.clear()
        app = limited(Rule("all", ONE, key=function), *more)
        assert statuses(app, "/a", "/a", "/b") == [200, 429, 200]
        assert asked == ["/a", "/a", "/b"]
    gc.collect()


FREE, PREMIUM = FixedWindow("1/minute"), FixedWindow("3/minute")


def plan(scope: Any) -> FixedWindow:
    """Return what a caller has paid for."""
    return PREMIUM if (b"x-plan", b"premium") in scope["headers"] else FREE


def test_different_quotas_for_different_callers() -> None:
    """Each algorithm counts for itself, and the policy that is told is the caller's own."""
    app = limited(Rule("plan", plan, key=client_ip()))
    premium: dict[str, Any] = {"headers": [(b"x-plan", b"premium")]}
    assert statuses(app, *"////", **premium) == [200, 200, 200, 429]
    assert statuses(app, *"//") == [200, 429]
    clock = Clock()
    app = limited(Rule("plan", plan, key=client_ip()), clock=clock)
    assert ask(app, **premium).headers["ratelimit-policy"] == '"plan";q=3;w=60'
    answer = ask(app)
    assert answer.headers["ratelimit-policy"] == '"plan";q=1;w=60'
    assert answer.headers["ratelimit"].startswith('"plan";r=0;')


def test_algorithms_that_are_made_anew_for_each_request() -> None:
    """They count together if they are equal, and don't pile up."""
    app = limited(Rule("all", lambda scope: FixedWindow("300/minute"), key="k"))
    answers = [ask(app) for _ in range(301)]
    gc.collect()
    assert [answer.status for answer in answers[-2:]] == [200, 429]


@pytest.mark.parametrize("unknown", ["shared", "exempt", "deny"])
def test_who_cannot_be_told(unknown: Any) -> None:
    """What becomes of requests without a key is what the rule says."""
    app = limited(Rule("all", ONE, key=header("x-key"), unknown=unknown))
    wanted = {"shared": [200, 429], "exempt": [200, 200], "deny": [403, 403]}
    assert statuses(app, "/", "/") == wanted[unknown]
    assert statuses(app, "/", headers=[(b"x-key", b"a")]) == [200]


def test_nobody_is_called_unknown() -> None:
    """Those who can't be told share no limit with somebody whose name says so."""
    app = limited(Rule("all", ONE, key=lambda scope: scope["path"][1:]))
    assert statuses(app, "/", "/unknown", "/") == [200, 200, 429]


def test_the_answer_to_who_cannot_be_told() -> None:
    """It is a 403 that names the rule."""
    answer = ask(limited(Rule("api", ONE, key=header("x-key"), unknown="deny")))
    assert b"whom to charge for api" in answer.body
    assert answer.headers["cache-control"] == "no-store"


def fails(scope: Any) -> Any:
    """Raise, as a function of an application may."""
    raise RuntimeError("a bug")


NONSENSE: dict[str, Any] = {
    "raises": fails,
    "a number": lambda scope: 5,
    "bytes": lambda scope: b"k",
    "a list": lambda scope: [],
    "a class": lambda scope: object,
}


@pytest.mark.parametrize("key", NONSENSE.values(), ids=NONSENSE)
@pytest.mark.parametrize("unknown", ["shared", "exempt", "deny"])
def test_key_functions_that_fail(key: Any, unknown: Any, caplog: pytest.LogCaptureFixture) -> None:
    """They make no 500 and nobody unlimited, and the log says so once."""
    app = limited(Rule("all", ONE, key=key, unknown=unknown))
    wanted = {"shared": [200, 429, 429], "exempt": [200, 200, 200], "deny": [403, 403, 403]}
    assert statuses(app, *"///") == wanted[unknown]
    assert caplog.text.count("the key of the rule 'all' fails") == 1


@pytest.mark.parametrize(
    "cost",
    [fails, *(lambda scope, cost=cost: cost for cost in (-1, 1.0, True, None, "1", float("nan")))],
)
@pytest.mark.parametrize("unknown", ["shared", "exempt", "deny"])
def test_cost_functions_that_fail(
    cost: Any, unknown: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """They cost as much as the limit ever admits, unless the rule says something else."""
    app = limited(Rule("all", FixedWindow("9/minute"), key="k", cost=cost, unknown=unknown))
    wanted = {"shared": [200, 429, 429], "exempt": [200, 200, 200], "deny": [403, 403, 403]}
    assert statuses(app, *"///") == wanted[unknown]
    assert caplog.text.count("the cost of the rule 'all' fails") == 1


@pytest.mark.parametrize("cost", [2**53, 10**400])
def test_costs_without_measure(cost: int) -> None:
    """A cost beyond all limits is denied for ever, and harms nobody."""
    app = limited(everyone(FixedWindow("9/minute"), cost=lambda scope: cost))
    answer = ask(app)
    assert answer.status == 429
    assert "retry-after" not in answer.headers
    assert answer.headers["ratelimit"] == '"all";r=9'


@pytest.mark.parametrize("algorithm", NONSENSE.values(), ids=NONSENSE)
def test_algorithm_functions_that_fail(algorithm: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without an algorithm nothing can be counted: that is a 503, or no limit if it says so."""
    assert statuses(limited(Rule("all", algorithm, key="k")), "/", "/") == [503, 503]
    assert caplog.text.count("the algorithm of the rule 'all' fails") == 1
    assert statuses(limited(Rule("all", algorithm, key="k", unknown="exempt")), "/") == [200]


def test_predicates_that_fail(caplog: pytest.LogCaptureFixture) -> None:
    """A rule whose predicates fail is for every request."""
    app = limited(everyone(when=fails, exempt=fails))
    assert statuses(app, *"///") == [200, 429, 429]
    assert caplog.text.count("the when of the rule 'all' fails") == 1
    assert caplog.text.count("the exempt of the rule 'all' fails") == 1


@pytest.mark.parametrize("key", ["k" * 1_000_000, "\udcff" * 5_000, "é\0\r\n{}:"])
def test_odd_keys(key: str) -> None:
    """A key may be any text of any length, and is the same key each time."""
    app = limited(Rule("all", ONE, key=lambda scope: key + scope["path"]))
    assert statuses(app, "/a", "/a", "/b") == [200, 429, 200]


def test_header_values_without_measure() -> None:
    """A megabyte of header, or 10 000 of them, is one client."""
    app = limited(Rule("all", ONE, key=header("x-key")))
    large: list[tuple[bytes, bytes]] = [(b"x-key", b"\x00\xff" * 500_000)]
    assert statuses(app, "/", "/", headers=large) == [200, 429]
    many = [(b"x-key", b"%d" % number) for number in range(10_000)]
    assert statuses(app, "/", "/", headers=many) == [200, 429]


def test_several_rules_with_keys_that_fail() -> None:
    """Rules that are asked together are asked with the same care."""
    for key in (fails, lambda scope: 5):
        app = limited(Rule("a", FixedWindow("9/minute"), key="k"), Rule("b", ONE, key=wrong(key)))
        assert statuses(app, "/", "/") == [200, 429]


def test_a_key_that_rules_share_is_asked_for_once() -> None:
    """A function that is the key of several rules is called once for a request."""
    calls = []

    def key(scope: Any) -> str:
        calls.append(scope)
        return "k"

    app = limited(Rule("a", ONE, key=key), Rule("b", ONE, key=key))
    assert statuses(app, "/", "/") == [200, 429]
    assert len(calls) == 2


def test_shadow() -> None:
    """A shadow decides and reports, tells clients nothing, and denies none."""
    told: list[tuple[str, bool, bool]] = []
    app = RateLimitMiddleware(
        ok,
        rules=[
            Rule("real", FixedWindow("3/minute"), key="k"),
            Rule("trial", ONE, key="k", shadow=True),
        ],
        on_decision=lambda scope, limit, decision: told.append(
            (limit.name, limit.shadow, decision.allowed)
        ),
    )
    answers = [ask(app) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["ratelimit-policy"] for answer in answers] == ['"real";q=3;w=60'] * 4
    trial = [allowed for name, shadow, allowed in told if shadow]
    assert trial == [True, False, False]
    assert [name for name, shadow, _ in told if not shadow] == ["real"] * 4


def test_a_shadow_alone() -> None:
    """A rule that only reports leaves responses as they are."""
    app = limited(everyone(shadow=True))
    assert [ask(app).headers for _ in range(2)] == [{"x-app": "1"}] * 2


class Gone(AsyncMemoryStore):
    """A store whose server is gone."""

    def __init__(self) -> None:
        super().__init__(MemoryStore(clock=Clock()))

    async def hit_all(self, asks: Any) -> Any:
        """Fail."""
        raise StoreUnavailable("gone")


def test_a_shadow_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """Neither a store that is gone nor a key that can't be told makes a shadow visible."""
    rule = everyone(shadow=True)
    assert ask(RateLimitMiddleware(ok, rules=[rule], store=Gone())).status == 200
    assert "only reports could not be checked" in caplog.text
    nobody = Rule("all", ONE, key=header("x-key"), unknown="deny", shadow=True)
    assert statuses(limited(nobody), "/", "/") == [200, 200]


class Distant:
    """A store on a server, which may be gone."""

    def __init__(self, clock: Clock) -> None:
        self.gone = False
        self.store = AsyncMemoryStore(MemoryStore(clock=clock))

    def open(self, name: str, algorithm: Any) -> Any:
        """Return a ledger that asks the server."""
        ledger = self.store.open(name, algorithm)
        inner = ledger.hit

        async def hit(key: str, cost: int = 1) -> Any:
            self.check()
            return await inner(key, cost)

        ledger.hit = hit
        return ledger

    def check(self) -> None:
        """Fail if the server is gone."""
        if self.gone:
            raise StoreUnavailable("gone")

    def __getattr__(self, name: str) -> Any:
        """Return a method that asks the server."""
        method = getattr(self.store, name)

        async def asked(*args: Any) -> Any:
            self.check()
            return await method(*args)

        return asked


@pytest.mark.parametrize(
    ("on_error", "answers"),
    [
        (None, [503, 503]),
        ("local", [200, 429]),
        ("open", [200, 200]),
        ("closed", [503, 503]),
        ("raise", [503, 503]),
    ],
)
def test_each_rule_has_its_policy_for_outages(on_error: Any, answers: list[int]) -> None:
    """While the store is gone, a rule does what it says, and else what the middleware says."""
    store: Any = Distant(Clock())
    rule = everyone(on_error=on_error)
    app = RateLimitMiddleware(ok, rules=[rule], store=store, on_error="closed")
    store.gone = True
    assert statuses(app, "/", "/") == answers


def test_rules_with_different_policies_are_all_or_nothing() -> None:
    """What one of them has charged is given back if another denies, or fails."""
    store: Any = Distant(Clock())
    app = RateLimitMiddleware(
        ok,
        rules=[
            Rule("wide", FixedWindow("3/minute"), key="k", on_error="open"),
            Rule("narrow", ONE, key=header("x-key"), on_error="raise"),
        ],
        store=store,
    )
    a: dict[str, Any] = {"headers": [(b"x-key", b"a")]}
    b: dict[str, Any] = {"headers": [(b"x-key", b"b")]}
    assert [ask(app, **a).status for _ in range(5)] == [200, 429, 429, 429, 429]
    assert '"wide";r=1' in ask(app, **b).headers["ratelimit"]
    store.gone = True
    assert ask(app, **b).status == 503
    store.gone = False


def test_a_policy_of_a_store_and_another_of_a_rule() -> None:
    """A fallback store has its policy, and a rule can't have another."""
    store = AsyncFallbackStore(wrong(Distant(Clock())))
    with pytest.raises(TypeError, match="leave out the on_error 'open' of the rule 'all'"):
        RateLimitMiddleware(ok, rules=[everyone(on_error="open")], store=store)


def test_rules_are_replaced_without_losing_counts() -> None:
    """What was used stays used, for rules of the same names."""
    book = RuleBook([everyone(FixedWindow("3/minute"))])
    app = RateLimitMiddleware(ok, rules=book, store=MemoryStore(clock=Clock()))
    assert statuses(app, "/", "/") == [200, 200]
    book.replace([everyone(FixedWindow("2/minute")), everyone_else()])
    assert statuses(app, "/") == [429]
    with pytest.raises(ValueError, match="at least one rule"):
        book.replace([])
    assert app.rules == book.rules
    book.replace([everyone(FixedWindow("4/minute"))])
    assert statuses(app, "/", "/", "/") == [200, 200, 429]


def everyone_else() -> Rule:
    """Return another rule."""
    return Rule("other", TokenBucket("9/minute"), key="k")


def test_rules_are_replaced_while_a_request_is_served() -> None:
    """A request is served by the rules that it came under."""
    book = RuleBook([everyone()])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        book.replace([everyone_else()])
        await ok(scope, receive, send)

    limited_app = RateLimitMiddleware(app, rules=book)
    assert '"all"' in ask(limited_app).headers["ratelimit"]
    assert '"other"' in ask(limited_app).headers["ratelimit"]


def test_long_paths_are_not_remembered() -> None:
    """A path of any length is matched, and none is kept for ever."""
    app = limited(everyone(path="/x/*"))
    assert statuses(app, "/x/" + "y" * 100_000, "/x/" + "z" * 100_000) == [200, 429]


@pytest.mark.parametrize(
    "headers",
    [[(b"access-control-request-method", b"PUT")], [(b"origin", b"https://x")], []],
)
def test_what_only_looks_like_a_preflight_counts(headers: list[tuple[bytes, bytes]]) -> None:
    """A request that no CORS middleware takes for a preflight is no way round a limit."""
    app = limited(everyone())
    assert [ask(app, method="OPTIONS", headers=headers).status for _ in range(2)] == [200, 429]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: everyone(unknown="open"), ValueError),
        (lambda: everyone(on_error="deny"), ValueError),
        (lambda: everyone(shadow=1), TypeError),
        (lambda: everyone(wait=-1), ValueError),
        (lambda: everyone(wait="2"), TypeError),
        (lambda: everyone(jitter=-1), ValueError),
        (lambda: everyone(jitter=0.5), TypeError),
        (lambda: everyone(when=True), TypeError),
        (lambda: Rule("a", ONE, key=client_ip(), exempt=wrong(5)), TypeError),
        (lambda: everyone(count_if=200), TypeError),
        (lambda: everyone(on_denied="no"), TypeError),
        (lambda: everyone(wrong(FixedWindow)), TypeError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], headers=wrong("x")), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], tell=wrong("x")), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], body=wrong("x")), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], on_denied=wrong("x")), TypeError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], max_waiting=-1), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], on_error=wrong("x")), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], slashes=wrong("x")), ValueError),
        (lambda: RateLimitMiddleware(ok, rules=[everyone()], server_timing=wrong(1)), TypeError),
    ],
)
def test_misuse_is_told_at_construction(make: Callable[[], object], error: type[Exception]) -> None:
    """What can't work is refused before the first request."""
    with pytest.raises(error):
        make()


def test_costs_of_a_rule_whose_algorithm_is_chosen() -> None:
    """A constant cost is checked where the algorithm is known, and denied where it isn't."""
    app = limited(Rule("all", plan, key="k", cost=2))
    answer = ask(app)
    assert answer.status == 429
    assert b"a cost of 2 never fits a limit of 1" in answer.body


def test_a_state_that_requests_share() -> None:
    """What is decided on a request is its own, also where a test client has one state for all."""
    shared = {"mine": 1}
    app = limited(everyone(FixedWindow("2/minute")))
    answers = [ask(app, state=shared) for _ in range(5)]
    assert [answer.status for answer in answers] == [200, 200, 429, 429, 429]
    assert all("ratelimit" in answer.headers for answer in answers)
    assert shared == {"mine": 1}

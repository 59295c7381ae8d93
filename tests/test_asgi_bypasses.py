"""Ways round a limit that were open elsewhere, and are closed here.

Of each row the second request comes from the same client as the first, or means the same thing,
however it is written: so it is denied where the limit is one.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ratelimit.algorithms import FixedWindow
from ratelimit.asgi import (
    RateLimitMiddleware,
    Rule,
    api_key,
    client_ip,
    combined,
    cookie,
    header,
    path_param,
    user,
)
from ratelimit.stores.memory import MemoryStore
from tests.applications import ONE, ask, call, everyone, limited, ok, scope_of, statuses
from tests.conftest import Clock

PROXIES = ["10.0.0.0/8"]
UUID = "123e4567-e89b-12d3-a456-426614174000"


def of(*fields: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return what is special about a request that has header fields."""
    lines = [(name.encode(), value.encode("latin-1")) for name, value in fields]
    return {"headers": lines, **more}


def via(*fields: tuple[str, str], peer: str = "10.0.0.1") -> dict[str, Any]:
    """Return what is special about a request that came through a proxy."""
    return of(*fields, client=(peer, 1))


def at(path: str, **more: Any) -> dict[str, Any]:
    """Return what is special about a request for a path."""
    return {"path": path, **more}


def from_(host: Any) -> dict[str, Any]:
    """Return what is special about a request from somewhere."""
    return {"client": (host, 1)}


def rule(key: Any, **options: Any) -> Rule:
    """Return a rule that lets one request a key through."""
    return Rule("all", ONE, key=key, **options)


IP, BEHIND = client_ip(), client_ip(trusted_proxies=PROXIES)
ANN = {"user": type("Ann", (), {"is_authenticated": True, "identity": "ann"})()}

SAME: dict[str, tuple[Rule, dict[str, Any], dict[str, Any]]] = {
    "HEAD runs the handler of GET": (everyone(methods=["GET"]), {}, {"method": "HEAD"}),
    "a method in lower case": (everyone(methods=["POST"]), {"method": "POST"}, {"method": "post"}),
    "an OPTIONS that is no preflight": (
        rule(IP),
        {"method": "OPTIONS"},
        of(("origin", "https://x"), method="OPTIONS"),
    ),
    "a doubled slash": (rule(IP), at("/x"), at("//x")),
    "another case": (rule(IP), at("/x"), at("/X")),
    "an encoded slash": (rule(IP), at("/x/y"), at("/x/y", raw_path=b"/x%2Fy")),
    "another raw path": (everyone(path="/x"), at("/x", raw_path=b"/x"), at("/x", raw_path=b"/%78")),
    "a line feed": (everyone(path="/x"), at("/x"), at("/x\n")),
    "paths that aren't there": (rule(IP), at("/1"), at("/2")),
    "a query": (rule(IP), {"query_string": b"a=1"}, {"query_string": b"a=2"}),
    "a root path": (everyone(path="/x"), at("/x"), at("/api/x", root_path="/api")),
    "a root path that isn't stripped": (everyone(path="/x"), at("/x"), at("/x", root_path="/api")),
    "concrete parameters": (everyone(path="/i/{id}"), at("/i/1"), at("/i/2")),
    "leading zeros": (rule(path_param("id"), path="/i/{id:int}"), at("/i/7"), at("/i/007")),
    "a UUID in capitals": (
        rule(path_param("id"), path="/u/{id:uuid}"),
        at(f"/u/{UUID}"),
        at(f"/u/{UUID.upper().replace('-', '')}"),
    ),
    "X-Forwarded-For that nobody asked for (CVE-2025-59152)": (
        rule(IP),
        of(("x-forwarded-for", "192.0.2.7")),
        of(("x-forwarded-for", "192.0.2.8")),
    ),
    "Forwarded that nobody asked for (CVE-2025-46814)": (
        rule(IP),
        of(("forwarded", "for=192.0.2.7"), ("x-real-ip", "192.0.2.7")),
        of(("forwarded", "for=192.0.2.8"), ("x-real-ip", "192.0.2.8")),
    ),
    "what a client writes left of its address": (
        rule(BEHIND),
        via(("x-forwarded-for", "6.6.6.6, 192.0.2.7")),
        via(("x-forwarded-for", "7.7.7.7, 192.0.2.7")),
    ),
    "a line of its own before the proxy's": (
        rule(BEHIND),
        via(("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")),
        via(("x-forwarded-for", "192.0.2.7")),
    ),
    "a peer that is no proxy": (
        rule(BEHIND),
        via(("x-forwarded-for", "6.6.6.6"), peer="192.0.2.9"),
        via(("x-forwarded-for", "7.7.7.7"), peer="192.0.2.9"),
    ),
    "no address in the header": (
        rule(BEHIND),
        via(("x-forwarded-for", "a")),
        via(("x-forwarded-for", "b")),
    ),
    "more entries than anybody needs": (
        rule(BEHIND),
        via(("x-forwarded-for", "6.6.6.6, " + ", ".join(["10.0.0.9"] * 40))),
        via(("x-forwarded-for", "7.7.7.7, " + ", ".join(["10.0.0.9"] * 40))),
    ),
    "IPv4 written as IPv6": (rule(IP), from_("192.0.2.7"), from_("::FFFF:c000:0207")),
    "an address with a port": (rule(IP), from_("192.0.2.7"), from_("192.0.2.7:8080")),
    "aliases of IPv6 (CVE-2026-45364)": (
        rule(client_ip(ipv6_prefix=128)),
        from_("2001:db8::7"),
        from_("[2001:0DB8:0:0::0.0.0.7%eth0]:80"),
    ),
    "another address of the same customer": (rule(IP), from_("2001:db8::7"), from_("2001:db8::8")),
    "no client at all": (rule(IP), {"client": None}, {"client": ("", 0)}),
    "a client that is none": (rule(IP), {"client": (None, None)}, {"client": ([], 0)}),
    "an empty key": (rule(header("x-key")), of(("x-key", "")), of()),
    "a key that comes twice": (
        rule(header("x-key")),
        of(("x-key", "a"), ("x-key", "b")),
        of(("x-key", "c"), ("x-key", "d")),
    ),
    "control characters": (
        rule(header("x-key")),
        of(("x-key", "\0\r\n")),
        of(("x-key", "\0\r\n")),
    ),
    "a megabyte of key": (
        rule(header("x-key")),
        of(("x-key", "\xff" * 1_000_000)),
        of(("x-key", "\xff" * 1_000_000)),
    ),
    "the scheme in another case": (
        rule(api_key()),
        of(("authorization", "Bearer a")),
        of(("authorization", "BEARER  a ")),
    ),
    "a cookie in another place": (
        rule(cookie("s")),
        of(("cookie", "s=a; t=b")),
        of(("cookie", "t=c"), ("cookie", 's="a"')),
    ),
    "a cookie with two values": (
        rule(cookie("s")),
        of(("cookie", "s=a; s=b")),
        of(("cookie", "s=c; s=d")),
    ),
    "a part of a key that is missing": (
        rule(combined(user(), header("x-key"))),
        of(("x-key", "a")),
        of(("x-key", "b")),
    ),
    "another address of a user": (rule(user()), {**ANN, **from_("::1")}, {**ANN, **from_("::2")}),
}

APART: dict[str, tuple[Rule, dict[str, Any], dict[str, Any]]] = {
    "a prefix ends at a segment": (everyone(path="/admin/*"), at("/admin"), at("/administrator")),
    "a path is that path alone": (everyone(path="/x"), at("/x"), at("/x/y")),
    "IPv4 clients in IPv6 (CVE-2026-30827)": (
        rule(IP),
        from_("::ffff:192.0.2.7"),
        from_("::ffff:192.0.2.8"),
    ),
    "IPv4 clients behind a NAT64": (
        rule(IP),
        from_("64:ff9b::192.0.2.7"),
        from_("64:ff9b::192.0.2.8"),
    ),
    "parts that run into each other": (
        rule(combined(header("x-a"), header("x-b"))),
        of(("x-a", "a:b"), ("x-b", "c")),
        of(("x-a", "a"), ("x-b", "b:c")),
    ),
    "a value that looks like a hash": (
        rule(header("x-key")),
        of(("x-key", "a" * 200)),
        of(("x-key", str(header("x-key")(of(("x-key", "a" * 200)))))),
    ),
    "a forwarded client and its proxy": (
        rule(BEHIND),
        via(("x-forwarded-for", "192.0.2.7")),
        via(),
    ),
}


@pytest.mark.parametrize(("limit", "first", "second"), SAME.values(), ids=SAME)
def test_no_way_round(limit: Rule, first: dict[str, Any], second: dict[str, Any]) -> None:
    """However a request is written, it has no second bucket."""
    app = limited(limit)
    assert [ask(app, **each).status for each in (first, second)] == [200, 429]


@pytest.mark.parametrize(("limit", "first", "second"), APART.values(), ids=APART)
def test_nobody_pays_for_another(
    limit: Rule, first: dict[str, Any], second: dict[str, Any]
) -> None:
    """What isn't the same has buckets of its own."""
    app = limited(limit)
    assert [ask(app, **each).status for each in (first, second)] == [200, 200]


def test_a_flood_of_keys_frees_nobody() -> None:
    """Whoever is blocked stays so while others fill the memory up (CVE-2024-21662)."""
    app = RateLimitMiddleware(ok, rules=[rule(IP)], store=MemoryStore(max_keys=100, clock=Clock()))
    assert statuses(app, "/", "/") == [200, 429]

    async def flood() -> None:
        for number in range(2_000):
            await call(app, scope_of(client=(f"198.51.{number % 256}.{number // 256}", 1)))

    asyncio.run(flood())
    assert statuses(app, "/") == [429]


def test_many_calls_in_one_request() -> None:
    """A batch costs what is in it (CVE-2026-30972)."""
    app = limited(everyone(FixedWindow("5/minute"), cost=lambda scope: len(scope["batch"])))
    assert [ask(app, batch=[1] * size).status for size in (4, 2, 1)] == [200, 429, 200]


@pytest.mark.parametrize("path", ["/x/", "//x", "///x//", "/x//"])
def test_routers_that_merge_slashes(path: str) -> None:
    """A router that takes `//x/` for `/x`, as Litestar's, has rules that do so."""
    options: dict[str, Any] = {"path": "/x/{id}", "key": path_param("id")}
    seen: list[str] = []

    def when(scope: Any) -> bool:
        seen.append(scope["path"])
        return True

    app = RateLimitMiddleware(
        ok,
        rules=[
            Rule("all", ONE, key="k", path="/x"),
            Rule("item", ONE, when=when, **options),
        ],
        store=MemoryStore(clock=Clock()),
        slashes="merged",
    )
    assert statuses(app, "/x", path) == [200, 429]
    assert statuses(app, "/x/7", f"{path}/7/", f"{path}/8") == [200, 429, 200]
    assert seen == ["/x/7", "/x/7", "/x/8"]
    assert statuses(app, "/", "//", "/y") == [200, 200, 200]

"""Who is charged, whatever a client writes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ratelimit.asgi import (
    Rule,
    api_key,
    client_ip,
    combined,
    cookie,
    from_networks,
    header,
    path_param,
    user,
)
from tests.applications import ONE, scope_of
from tests.conftest import wrong

if TYPE_CHECKING:
    from collections.abc import Callable

PROXIES = ["10.0.0.0/8", "2001:db8:1::/48"]


def behind(*lines: str, peer: Any = ("10.0.0.1", 1), name: str = "x-forwarded-for") -> Any:
    """Return the scope of a request that came through a proxy."""
    headers = [(name.encode(), line.encode("latin-1")) for line in lines]
    return scope_of(headers=headers, client=peer)


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6, 192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6", "192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, 10.0.0.9"], "192.0.2.7"),
        (["192.0.2.7", "10.0.0.9, 10.0.0.8"], "192.0.2.7"),
        (["10.0.0.9, 10.0.0.8"], "10.0.0.9"),
        (["192.0.2.7:4711"], "192.0.2.7"),
        ([' "192.0.2.7" '], "192.0.2.7"),
        (["::ffff:192.0.2.7"], "192.0.2.7"),
        (["64:ff9b::192.0.2.7"], "192.0.2.7"),
        (["192.0.2.7, ::ffff:10.0.0.9"], "192.0.2.7"),
        (["192.0.2.7, 2001:db8:1::5"], "192.0.2.7"),
        ([], "10.0.0.1"),
        ([""], "10.0.0.1"),
        (["192.0.2.7, unknown"], "10.0.0.1"),
        (["192.0.2.7, _hidden, 10.0.0.9"], "10.0.0.9"),
        (["192.0.2.7:x"], "10.0.0.1"),
        (["[::1]x"], "10.0.0.1"),
        (["192.0.2.7\x00"], "10.0.0.1"),
        (["192.0.2.007"], "10.0.0.1"),
        (["0300.0.2.7"], "10.0.0.1"),
        (["3221225991"], "10.0.0.1"),
        (["\xe9"], "10.0.0.1"),
        (["9" * 1_000_000], "10.0.0.1"),
        (["6.6.6.6," * 10_000 + "192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6"] * 10_000 + ["192.0.2.7"], "192.0.2.7"),
        (["6.6.6.6, " + ", ".join(["10.0.0.9"] * 32)], "10.0.0.9"),
        (["," * 1_000_000], "10.0.0.1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_first_from_the_right_that_is_no_proxy(lines: list[str], client: str) -> None:
    """Whatever stands left of what the trusted proxies wrote is the client's invention."""
    assert client_ip(trusted_proxies=PROXIES)(behind(*lines)) == f"ip:{client}"


def test_a_peer_that_is_no_proxy_is_the_client() -> None:
    """Who connects by going round the proxies is believed nothing."""
    key = client_ip(trusted_proxies=PROXIES)
    assert key(behind("192.0.2.7", peer=("192.0.2.9", 1))) == "ip:192.0.2.9"
    assert key(behind("192.0.2.7", peer=("2001:db8:2::1", 1))) == "ip:2001:db8:2::/64"
    assert key(behind("192.0.2.7", peer=None)) is None
    assert key(behind("192.0.2.7", peer=("::ffff:10.0.0.1", 1))) == "ip:192.0.2.7"
    assert key(behind("192.0.2.7", peer=("testclient", 1))) is None


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["6.6.6.6, 192.0.2.7, 10.0.0.9"], "192.0.2.7"),
        (["192.0.2.7", "10.0.0.9"], "192.0.2.7"),
        (["10.0.0.9"], "10.0.0.1"),
        ([], "10.0.0.1"),
        (["unknown, 10.0.0.9"], "10.0.0.1"),
    ],
)
def test_so_many_hops(lines: list[str], client: str) -> None:
    """With two proxies it is the second entry from the right, and with fewer the peer."""
    assert client_ip(hops=2)(behind(*lines)) == f"ip:{client}"


def test_hops_over_a_unix_socket() -> None:
    """A proxy that connects by a Unix socket has no address, and is counted all the same."""
    assert client_ip(hops=1)(behind("192.0.2.7", peer=None)) == "ip:192.0.2.7"
    assert client_ip(hops=1)(behind(peer=None)) is None


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        (["for=192.0.2.7"], "192.0.2.7"),
        (["For=192.0.2.7;proto=http;by=10.0.0.1"], "192.0.2.7"),
        (["for=6.6.6.6, for=192.0.2.7"], "192.0.2.7"),
        (['for="192.0.2.7:80"'], "192.0.2.7"),
        (['proto=http;for="[::ffff:192.0.2.7]:80"'], "192.0.2.7"),
        (["for=192.0.2.7, for=10.0.0.9"], "192.0.2.7"),
        (['for="6.6.6.6, for=192.0.2.7'], "192.0.2.7"),
        (["proto=http"], "10.0.0.1"),
        (["for=unknown"], "10.0.0.1"),
        (["for=_hidden"], "10.0.0.1"),
        (["for=192.0.2.7;for=6.6.6.6"], "10.0.0.1"),
        (['host="x;for=6.6.6.6"'], "10.0.0.1"),
        (['for=192.0.2.7;host="x\\", for=6.6.6.6;by=\\"y"'], "10.0.0.1"),
        (['for=192.0.2.7;host="x;for=6.6.6.6"'], "192.0.2.7"),
        (["192.0.2.7"], "10.0.0.1"),
        (["for=" + "9" * 1_000_000], "10.0.0.1"),
        (['for="' + "\\" * 500], "10.0.0.1"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_forwarded_header(lines: list[str], client: str) -> None:
    """Of RFC 7239's elements the one that the nearest proxy wrote is read, by its grammar."""
    key = client_ip(trusted_proxies=PROXIES, header="Forwarded")
    assert key(behind(*lines, name="forwarded")) == f"ip:{client}"


def test_a_header_with_one_address() -> None:
    """A header that a proxy overwrites has one address; anything else is not believed."""
    key = client_ip(trusted_proxies=PROXIES, header="CF-Connecting-IP")
    name = "cf-connecting-ip"
    assert key(behind("192.0.2.7", name=name)) == "ip:192.0.2.7"
    assert key(behind("2001:db8::7", name=name)) == "ip:2001:db8::/64"
    assert key(behind("6.6.6.6, 192.0.2.7", name=name)) == "ip:10.0.0.1"
    assert key(behind("6.6.6.6", "192.0.2.7", name=name)) == "ip:10.0.0.1"
    assert client_ip(hops=1, header=name)(behind("192.0.2.7", name=name)) == "ip:192.0.2.7"


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=60), max_size=5), st.booleans())
def test_no_text_of_a_client_becomes_a_key(lines: list[str], forwarded: bool) -> None:
    """Whatever is in the header, the key is an address."""
    name = "forwarded" if forwarded else "x-forwarded-for"
    key = client_ip(trusted_proxies=PROXIES, header=name)(behind(*lines, name=name))
    assert key is not None
    assert set(key.removeprefix("ip:")) <= set("0123456789abcdef.:/")


def test_aliases_of_an_ipv6_address() -> None:
    """However an address is written, it is one client (CVE-2026-45364)."""
    key = client_ip(trusted_proxies=PROXIES)
    aliases = ["2001:db8::7", "2001:DB8:0:0:0:0:0:7", "[2001:db8::7]:80", "2001:db8::0.0.0.7%eth0"]
    assert {key(behind(alias)) for alias in aliases} == {"ip:2001:db8::/64"}


def in_headers(*headers: tuple[bytes, bytes]) -> dict[str, Any]:
    """Return the scope of a request with headers."""
    return scope_of(headers=list(headers))


def test_api_keys_are_hashed() -> None:
    """Neither a store nor a log ever has the key itself, and it is the same key each time."""
    key: Any = api_key("X-Api-Key")
    said = key(in_headers((b"x-api-key", b"secret")))
    assert said.startswith("blake2b:key:x-api-key:")
    assert "secret" not in said
    assert said == key(in_headers((b"x-api-key", b"secret")))
    assert said != key(in_headers((b"x-api-key", b"other")))
    assert key(in_headers()) is None
    assert key(in_headers((b"x-api-key", b""))) is None
    assert key(in_headers((b"x-api-key", b"secret"), (b"x-api-key", b"a"))) is None


def test_the_scheme_of_authorization_is_read_in_any_case() -> None:
    """The same token opens no second bucket because its scheme is written in another way."""
    written = (b"Bearer secret", b"bearer secret", b"BEARER  secret ")
    key = api_key()
    assert len({key(in_headers((b"authorization", value))) for value in written}) == 1
    assert key(in_headers((b"authorization", b"Bearer Secret"))) != key(
        in_headers((b"authorization", b"Bearer secret"))
    )


@pytest.mark.parametrize(
    ("lines", "same"),
    [
        ([b"session=a"], True),
        ([b'other=b; session="a"'], True),
        ([b"other=session=b", b"session=a"], True),
        ([b"session=a; session=a"], True),
        ([b"session=b"], False),
    ],
)
def test_cookies(lines: list[bytes], same: bool) -> None:
    """A cookie is found wherever it stands."""
    key = cookie("session")
    one = key(in_headers((b"cookie", b"session=a")))
    assert (key(in_headers(*((b"cookie", line) for line in lines))) == one) is same
    assert str(one).startswith("blake2b:cookie:session:")


@pytest.mark.parametrize("line", [b"", b"session=", b"xsession=a", b"session=a; session=b", b";;;"])
def test_a_cookie_that_cannot_be_told(line: bytes) -> None:
    """One that is missing, empty or ambiguous says nothing."""
    assert cookie("session")(in_headers((b"cookie", line))) is None


def test_users() -> None:
    """A user that is logged in is charged, by what tells users apart."""
    ann = SimpleNamespace(is_authenticated=True, identity="ann", id=7, nothing=None)
    nobody = SimpleNamespace(is_authenticated=False)
    assert user()(scope_of(user=ann)) == "user:ann"
    assert user("id")(scope_of(user=ann)) == "user:7"
    assert user("nothing")(scope_of(user=ann)) is None
    assert user()(scope_of(user=nobody)) is None
    assert user()(scope_of()) is None


def test_parameters_of_the_route() -> None:
    """After routing a parameter is what the router has found."""
    key = path_param("id")
    assert key(scope_of(path_params={"id": 7})) == "path:id:7"
    assert key(scope_of()) is None


def test_combined_keys_do_not_run_into_each_other() -> None:
    """`a:b` and `c` are not `a` and `b:c`."""
    key = combined(header("x-a"), header("x-b"))
    keys = {
        key(in_headers((b"x-a", a), (b"x-b", b)))
        for a, b in ((b"a:b", b"c"), (b"a", b"b:c"), (b"a", b"b"), (b"b", b"a"))
    }
    assert len(keys) == 4
    assert key(in_headers((b"x-a", b"a"))) is None


@given(st.tuples(*[st.text(min_size=1)] * 2), st.tuples(*[st.text(min_size=1)] * 2))
def test_combined_keys_are_equal_if_all_parts_are(
    ours: tuple[str, str], theirs: tuple[str, str]
) -> None:
    """No two pairs of keys make the same key."""
    key = combined(lambda scope: scope["pair"][0], lambda scope: scope["pair"][1])
    assert (key({"pair": ours}) == key({"pair": theirs})) is (ours == theirs)


def test_combined_keys_may_await() -> None:
    """A part, or a combination in a combination, may be a coroutine function."""

    async def session(scope: Any) -> str | None:
        return None if scope["path"] == "/x" else "s"

    both = combined(session, lambda scope: "a")
    key: Any = combined(both, lambda scope: "b")
    assert asyncio.run(key(scope_of())) == "6:1:s1:a1:b"
    assert asyncio.run(key(scope_of("/x"))) is None


def test_who_is_in_a_network() -> None:
    """An address is in a network or not, and nobody at all is in none."""
    within = from_networks(["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"])
    inside = ("192.0.2.9", "::ffff:192.0.2.9", "2001:db8:9::1", "198.51.100.7")
    outside = ("192.0.3.9", "2001:db9::1", "198.51.100.8", "::c000:209", "testclient")
    assert [within(scope_of(client=(host, 1))) for host in inside] == [True] * 4
    assert [within(scope_of(client=(host, 1))) for host in outside] == [False] * 5
    assert within(scope_of(client=None)) is False
    through = from_networks(["192.0.2.0/24"], trusted_proxies=PROXIES)
    assert through(behind("192.0.2.9")) is True
    assert through(behind("192.0.2.9", peer=("192.0.3.1", 1))) is False


def test_a_network_of_mapped_addresses() -> None:
    """A network that is written as IPv6 holds the IPv4 addresses that it stands for."""
    within = from_networks(["::ffff:192.0.2.0/120"])
    assert within(scope_of(client=("192.0.2.9", 1))) is True
    assert within(scope_of(client=("192.0.3.9", 1))) is False


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: client_ip(trusted_proxies=["*"]), ValueError),
        (lambda: client_ip(trusted_proxies=["0.0.0.0/0"]), ValueError),
        (lambda: client_ip(trusted_proxies=["::/0"]), ValueError),
        (lambda: client_ip(trusted_proxies=["::ffff:0.0.0.0/96"]), ValueError),
        (lambda: client_ip(trusted_proxies=["64:ff9b::/96"]), ValueError),
        (lambda: client_ip(trusted_proxies=["10.0.0.1/8"]), ValueError),
        (lambda: client_ip(trusted_proxies=[]), ValueError),
        (lambda: client_ip(trusted_proxies="10.0.0.0/8"), TypeError),
        (lambda: client_ip(trusted_proxies=wrong(5)), TypeError),
        (lambda: client_ip(trusted_proxies=[wrong(5)]), TypeError),
        (lambda: client_ip(trusted_proxies=["10.0.0.0/8"], hops=1), ValueError),
        (lambda: client_ip(hops=0), ValueError),
        (lambda: client_ip(hops=2, header="x-real-ip"), ValueError),
        (lambda: client_ip(hops=1, header="x real ip"), ValueError),
        (lambda: from_networks([]), ValueError),
        (lambda: from_networks(["0.0.0.0/0"]), ValueError),
        (lambda: api_key("a b"), ValueError),
        (lambda: cookie("a=b"), ValueError),
        (lambda: user(wrong(5)), TypeError),
        (lambda: path_param("a/b"), ValueError),
        (lambda: combined(client_ip()), ValueError),
        (lambda: combined(client_ip(), wrong("k")), TypeError),
        (lambda: Rule("a", ONE, key=path_param("id")), ValueError),
        (lambda: Rule("a", ONE, key=path_param("id"), path="/x/{no}"), ValueError),
        (
            lambda: Rule("a", ONE, key=combined(client_ip(), path_param("id")), path="/x"),
            ValueError,
        ),
    ],
)
def test_misuse_is_told_at_construction(make: Callable[[], object], error: type[Exception]) -> None:
    """What can't work, or would trust everyone, is refused before the first request."""
    with pytest.raises(error):
        make()

"""A server is looked at before it is used, and reached by every way there is."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio

from ratelimit.algorithms import FixedWindow
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from ratelimit.stores.redis.suitability import remarks_on
from tests import proxy as proxies
from tests import servers
from tests.conftest import ALGORITHMS, PATIENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).parent.parent / "docs/how-to/run-on-redis.md"
RIGHTS = re.findall(r"\+(\w+)", PAGE.read_text().partition("ACL SETUSER")[2].partition("```")[0])
"""What the documentation says that a user needs."""


@pytest.fixture(scope="module", params=servers.KINDS)
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Run each server, for this module alone: its settings are changed."""
    with servers.running(request.param) as port:
        yield port


@pytest.fixture
def client(port: int) -> Iterator[redis.Redis]:
    """Return a client of an empty server."""
    with redis.Redis(port=port) as client:
        client.flushall()
        yield client


def url_of(port: int, user: str = "") -> str:
    """Return the URL of a server."""
    return f"redis://{user}127.0.0.1:{port}"


def sync_check(url: str, deadline: float = PATIENT) -> list[str]:
    """Check in the one colour."""
    with RedisStore(url, deadline=deadline) as store:
        return store.check()


def async_check(url: str, deadline: float = PATIENT) -> list[str]:
    """Check in the other."""

    async def scenario() -> list[str]:
        async with AsyncRedisStore(url, deadline=deadline) as store:
            return await store.check()

    return asyncio.run(scenario())


@pytest.fixture(params=[sync_check, async_check])
def check(request: pytest.FixtureRequest) -> Callable[..., list[str]]:
    """Return the self-test in each colour."""
    return request.param


def test_a_server_that_suits(check: Any, client: redis.Redis, port: int) -> None:
    """There is nothing to say, and nothing is left behind."""
    assert check(url_of(port)) == []
    assert client.keys() == []


def test_a_server_that_evicts(check: Any, client: redis.Redis, port: int) -> None:
    """A server that drops keys when it is full is told, once it can be full."""
    client.config_set("maxmemory-policy", "allkeys-lru")
    assert check(url_of(port)) == []
    client.config_set("maxmemory", "100mb")
    (remark,) = check(url_of(port))
    assert "allkeys-lru" in remark
    client.config_set("maxmemory", "0")
    client.config_set("maxmemory-policy", "noeviction")


def test_a_replica(check: Any, client: redis.Redis, port: int) -> None:
    """A replica is told before the first request."""
    client.execute_command("REPLICAOF", "127.0.0.1", servers.free_port())
    with pytest.raises(StoreError, match="is a replica"):
        check(url_of(port))
    client.execute_command("REPLICAOF", "NO", "ONE")


def test_the_least_rights(check: Any, client: redis.Redis, port: int) -> None:
    """A user with exactly the documented rights can do everything, and without any one can't."""
    rules: dict[str, Any] = {
        "enabled": True,
        "passwords": ["+secret"],
        "keys": ["ratelimit:*"],
        "reset": True,
    }
    url = url_of(port, "limits:secret@")
    client.acl_setuser("limits", **rules, commands=[f"+{right}" for right in RIGHTS])
    assert check(url) == []
    with RedisStore(url, deadline=PATIENT) as store:
        limiter = Limiter({kind.kind: kind("5/minute") for kind in ALGORITHMS}, store=store)
        first = limiter.hit("k", 2)
        limiter.charge("k", 1)
        limiter.refund(first)
        limiter.reset("k")
    assert len(RIGHTS) == 15
    for missing in set(RIGHTS) - {"evalsha"}:
        client.script_flush()
        rights = [f"+{right}" for right in RIGHTS if right != missing]
        client.acl_setuser("limits", **rules, commands=rights)
        with pytest.raises(StoreError, match="denies this user"):
            check(url)
    client.acl_setuser("limits", **rules, commands=["+@all", "-info"])
    assert check(url) == []
    client.acl_deluser("limits")


def test_a_user_of_other_keys(check: Any, client: redis.Redis, port: int) -> None:
    """A user who may not touch our keys is told so."""
    rules: dict[str, Any] = {
        "enabled": True,
        "passwords": ["+secret"],
        "keys": ["other:*"],
        "reset": True,
    }
    client.acl_setuser("stranger", **rules, commands=["+@all"])
    with pytest.raises(StoreError, match="denies this user"):
        check(url_of(port, "stranger:secret@"))
    client.acl_deluser("stranger")


@pytest.mark.parametrize(
    ("info", "old"),
    [
        (b"", False),
        (b"redis_version:6.0.16\r\n", True),
        (b"redis_version:5.0.7\r\n", True),
        (b"redis_version:6.2.14\r\n", False),
        (b"redis_version:255.255.255\r\n", False),
        (b"redis_version:unstable\r\n", False),
    ],
)
def test_old_servers_are_refused(info: bytes, old: bool) -> None:
    """A server of before 6.2 is a mistake; one that doesn't say its version is let be."""
    if not old:
        assert remarks_on(info) == []
        return
    with pytest.raises(StoreError, match="too old") as caught:
        remarks_on(info)
    assert caught.value.kind == "version"


@pytest.mark.parametrize("trouble", ["deaf", "reset"])
def test_a_server_that_goes_away_meanwhile(
    check: Any, port: int, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is lost after the script has run is an outage, and ends in time."""
    with proxies.before(port) as proxy:
        proxy.later = trouble
        with pytest.raises(StoreUnavailable):
            check(url_of(proxy.port), 1)


def works(url: str, **options: Any) -> None:
    """Expect decisions in both colours."""
    source = redis.Redis.from_url(url, **options)
    with RedisStore(source, deadline=PATIENT) as store:
        assert Limiter(FixedWindow("9/hour"), store=store).hit("k").remaining == 8
    source.close()

    async def scenario() -> None:
        awaited = redis.asyncio.Redis.from_url(url, **options)
        async with AsyncRedisStore(awaited, deadline=PATIENT) as store:
            assert (await AsyncLimiter(FixedWindow("9/hour"), store=store).hit("k")).remaining == 7

    asyncio.run(scenario())


def test_another_database(client: redis.Redis, port: int) -> None:
    """The number in a URL's path is the database."""
    works(f"{url_of(port)}/3")
    assert client.info("keyspace").keys() == {"db3"}


def test_a_unix_socket(tmp_path: Path) -> None:
    """A server is reached by a Unix socket."""
    path = tmp_path / "socket"
    with servers.running("redis-7.0", "--unixsocket", str(path), "--requirepass", "secret"):
        works(f"unix://:secret@{path}?db=2")


def test_tls(tmp_path: Path) -> None:
    """A server is reached over TLS, and one whose certificate isn't trusted is not."""
    servers.sign(tmp_path)
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    port = servers.free_port()
    options = ("--tls-port", str(port), "--tls-key-file", key, "--tls-cert-file", certificate)
    with servers.running("redis-7.0", *options, "--tls-auth-clients", "no"):
        works(f"rediss://127.0.0.1:{port}", ssl_ca_certs=certificate)
        for check in (sync_check, async_check):
            with pytest.raises(StoreUnavailable, match="certificate"):
                check(f"rediss://127.0.0.1:{port}")

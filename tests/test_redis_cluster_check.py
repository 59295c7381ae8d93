"""A cluster is reached by every way there is, and looked at before it is used."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis
import redis.asyncio
import redis.cluster

from ratelimit.algorithms import FixedWindow
from ratelimit.async_limiter import AsyncLimiter
from ratelimit.errors import StoreError, StoreUnavailable
from ratelimit.limiter import Limiter
from ratelimit.stores.redis import AsyncRedisStore, RedisStore
from tests import clusters, servers
from tests.conftest import ALGORITHMS, PATIENT, check, maker, wrong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.clusters import Cluster

PAGE = Path(__file__).parent.parent / "docs/how-to/run-on-redis.md"


@pytest.fixture(autouse=True)
def _whole(cluster: Cluster) -> Iterator[None]:
    """Begin without keys, and leave none that doesn't expire."""
    cluster.flush()
    yield
    cluster.assert_that_all_keys_expire()


@pytest.fixture(params=["sync", "async"])
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Return a function that makes a limiter in each colour."""
    with maker(request.param) as make:
        yield make


def test_a_client_of_a_cluster(cluster: Cluster) -> None:
    """A client serves as well as a URL, whatever it decodes, and is left open."""
    port = cluster.ports[0]
    for options in ({}, {"decode_responses": True, "protocol": 3}):
        client = redis.cluster.RedisCluster(host="127.0.0.1", port=port, **wrong(options))
        with RedisStore(client, deadline=PATIENT) as store:
            limiter = Limiter(FixedWindow("9/day"), store=store)
            assert all(limiter.hit(key) for key in cluster.one_key_each())
        assert client.ping()
        client.close()

    async def scenario() -> None:
        for options in ({}, {"decode_responses": True, "protocol": 3}):
            client = redis.asyncio.RedisCluster(host="127.0.0.1", port=port, **wrong(options))
            async with AsyncRedisStore(client, deadline=PATIENT) as store:
                limiter = AsyncLimiter(FixedWindow("9/day"), store=store)
                for key in cluster.one_key_each():
                    assert await limiter.hit(key)
                await client.initialize()
            async with AsyncRedisStore(client, deadline=PATIENT) as store:
                assert await AsyncLimiter(FixedWindow("9/day"), store=store).hit("k")
            await client.aclose()

    asyncio.run(scenario())


def test_a_client_that_reaches_nodes_elsewhere(cluster: Cluster) -> None:
    """Addresses that nodes tell are turned into others as the client says."""
    seen: list[tuple[str, int]] = []

    def remap(address: tuple[str, int]) -> tuple[str, int]:
        seen.append(address)
        return "localhost", address[1]

    host = {"host": "127.0.0.1", "port": cluster.ports[0], "address_remap": remap}
    client = redis.cluster.RedisCluster(**wrong(host))
    with RedisStore(client, deadline=PATIENT) as store:
        seen.clear()
        assert all(map(Limiter(FixedWindow("9/day"), store=store).hit, cluster.one_key_each()))
        assert {port for _, port in seen} == set(cluster.ports)
        assert {host for host, _ in wrong(store._calls)._nodes._nodes} == {"localhost"}
    client.close()


def test_a_client_of_the_other_colour_is_refused(cluster: Cluster) -> None:
    """A client that would block the event loop, or has to be awaited, is refused."""
    client = redis.cluster.RedisCluster(host="127.0.0.1", port=cluster.ports[0])
    with pytest.raises(TypeError, match="a RedisStore takes those that block"):
        AsyncRedisStore(wrong(client))
    client.close()

    async def scenario() -> None:
        other = redis.asyncio.RedisCluster(host="127.0.0.1", port=cluster.ports[0])
        with pytest.raises(TypeError, match=r"takes those of redis\.asyncio"):
            RedisStore(wrong(other))

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis+cluster://one:7000/1", "a cluster has database 0 alone, not 1"),
        ("redis+cluster://one:7000?db=2", "a cluster has database 0 alone, not 2"),
        ("redis+cluster://one:port", "a port behind each host"),
        ("rediss+cluster://one,,two", "names hosts as host:port"),
    ],
)
def test_a_url_that_is_wrong(url: str, said: str) -> None:
    """A URL that names no host, or a database, is told at construction."""
    for store in (RedisStore, AsyncRedisStore):
        with pytest.raises(ValueError, match=said):
            store(url)


def test_a_cluster_over_tls(tmp_path: Path, make: Any) -> None:
    """Nodes are found and asked over TLS, and one whose certificate isn't trusted is not."""
    servers.sign(tmp_path)
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    port = servers.free_port()
    options = ["--tls-port", str(port), "--tls-key-file", key, "--tls-cert-file", certificate]
    options += ["--tls-ca-cert-file", certificate, "--tls-cluster", "yes"]
    with clusters.built(1, 0, *options, "--tls-auth-clients", "no"):
        url = f"rediss+cluster://127.0.0.1:{port}"
        limiter = make(f"{url}?ssl_ca_certs={certificate}", FixedWindow("9/day"))
        assert limiter.hit("tls").remaining == 8
        with pytest.raises(StoreUnavailable, match="certificate"):
            make(url, FixedWindow("9/day")).hit("tls")


def test_a_url_over_tls() -> None:
    """All nodes are asked over TLS."""
    with RedisStore("rediss+cluster://user:pass%2Fword@one,[::1]:7/0?ssl_cert_reqs=none") as store:
        nodes = wrong(store._calls)._nodes
        template = nodes._cluster.at(("two", 7_001))
        assert nodes._cluster.seeds == [("one", 6_379), ("::1", 7)]
        assert issubclass(template.kind, redis.SSLConnection)
        assert template.options["password"] == "pass/word"
        assert (template.options["host"], template.options["port"]) == ("two", 7_001)


def test_a_cluster_that_suits(cluster: Cluster, make: Any) -> None:
    """There is nothing to say, and nothing is left behind."""
    assert check(make(cluster.url, FixedWindow("9/day"))) == []
    assert [cluster.node(port).dbsize() for port in cluster.ports] == [0, 0, 0]


def test_a_node_that_evicts(cluster: Cluster, make: Any) -> None:
    """Of each primary it is told if it drops keys when it is full."""
    node = cluster.node(cluster.primaries()[1])
    node.config_set("maxmemory-policy", "allkeys-lru")
    node.config_set("maxmemory", "100mb")
    (remark,) = check(make(cluster.url, FixedWindow("9/day")))
    assert remark.startswith(f"127.0.0.1:{cluster.primaries()[1]}: Redis evicts keys")
    node.config_set("maxmemory", "0")
    node.config_set("maxmemory-policy", "noeviction")


def rights() -> list[str]:
    """Return what the documentation says that a user of a cluster needs."""
    blocks = re.findall(r"```\nACL SETUSER(.*?)```", PAGE.read_text(), re.DOTALL)
    return [right for block in blocks for right in re.findall(r"\+([\w|]+)", block)]


def test_the_least_rights(cluster: Cluster, make: Any) -> None:
    """A user with exactly the documented rights can do everything, and without any one can't."""
    rules: dict[str, Any] = {
        "enabled": True,
        "passwords": ["+secret"],
        "keys": ["ratelimit:*"],
        "reset": True,
    }

    def give(given: list[str]) -> None:
        for port in cluster.ports:
            cluster.node(port).acl_setuser(
                "limits", **rules, commands=[f"+{right}" for right in given]
            )
            cluster.node(port).script_flush()

    give(rights())
    url = cluster.url.replace("://", "://limits:secret@")
    limits = {kind.kind: kind("5/minute") for kind in ALGORITHMS}
    limiter = make(url, limits)
    assert check(limiter) == []
    key = dict(zip(limits, [*cluster.one_key_each(), "k", "k"], strict=True))
    first = limiter.hit(key, 2)
    limiter.charge(key, 1)
    limiter.refund(first)
    limiter.reset(key)
    assert {"cluster|slots", "asking"} < set(rights())
    for missing in set(rights()) - {"evalsha"}:
        give([right for right in rights() if right != missing])
        with pytest.raises(StoreError, match="denies this user") as caught:
            check(make(url, limits))
        assert caught.value.kind == "permission"
    for port in cluster.ports:
        cluster.node(port).acl_deluser("limits")


def test_a_wrong_password(cluster: Cluster, make: Any) -> None:
    """A wrong password is a mistake, and told as one."""
    limiter = make(cluster.url.replace("://", "://nobody:wrong@"), FixedWindow("9/day"))
    for ask in (lambda: limiter.hit("k"), lambda: check(limiter)):
        with pytest.raises(StoreError, match="needs a password, or another one") as caught:
            ask()
        assert caught.type is StoreError


def test_a_url_of_no_cluster(make: Any, ports: Callable[[str], int]) -> None:
    """A server that is no node of a cluster is told, with what to write."""
    limiter = make(f"redis+cluster://127.0.0.1:{ports('redis-7.0')}", FixedWindow("9/day"))
    for ask in (lambda: limiter.hit("k"), lambda: check(limiter)):
        with pytest.raises(StoreError, match="is no node of a cluster: name it by redis://"):
            ask()


def test_a_url_of_one_node(cluster: Cluster, make: Any) -> None:
    """A node that is taken for a server is told, with what to write."""
    limiter = make(f"redis://127.0.0.1:{cluster.ports[0]}", FixedWindow("9/day"))
    with pytest.raises(StoreError, match=r"name the cluster, by redis\+cluster://") as caught:
        list(map(limiter.hit, cluster.one_key_each()))
    assert (caught.type, caught.value.kind) == (StoreError, "topology")

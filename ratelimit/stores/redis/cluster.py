"""Name a cluster: by a URL of some of its nodes, or by a client."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import redis
import redis.asyncio.cluster
import redis.cluster

from ratelimit.stores.redis.connections import (
    Template,
    async_template,
    async_template_of,
    template_of,
)
from ratelimit.stores.redis.urls import place_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ratelimit.stores.redis.urls import Address

PORT = 6_379
parse_url: Any = redis.connection.parse_url
SCHEMES = ("redis+cluster://", "rediss+cluster://")


class Cluster(NamedTuple):
    """How the nodes of a cluster are reached."""

    seeds: list[Address]
    """Those that are asked first where the slots are."""
    template: Template
    """How a connection is made to one of them, and so to any."""
    remap: Callable[[Address], Address] | None
    """What turns an address that nodes tell into one that can be reached from here."""

    def at(self, address: Address) -> Template:
        """Return how connections to a node are made."""
        host, port = address
        options = self.template.options | {"host": host, "port": port}
        return replace(self.template, options=options)


def cluster_of(client: object, deadline: float) -> Cluster | None:
    """Return the cluster of a client or a URL, or None if it is none's.

    Raises:
        ValueError: The URL can't be used.

    """
    if isinstance(client, str) and client.startswith(SCHEMES):
        seeds, url = nodes_of(client)
        return Cluster(seeds, template_of(url, deadline), None)
    if not isinstance(client, redis.cluster.RedisCluster):
        return None
    manager: Any = client.nodes_manager
    node = next(iter(manager.nodes_cache.values()))
    template = template_of(client.get_redis_connection(node), deadline)
    return Cluster(_seeds(manager), template, manager.address_remap)


def async_cluster_of(client: object, deadline: float) -> Cluster | None:
    """Return the cluster of a client for code that awaits or a URL, or None if it is none's.

    Raises:
        ValueError: The URL can't be used.

    """
    if isinstance(client, str) and client.startswith(SCHEMES):
        seeds, url = nodes_of(client)
        return Cluster(seeds, async_template_of(url, deadline), None)
    if not isinstance(client, redis.asyncio.cluster.RedisCluster):
        return None
    manager = client.nodes_manager
    node = next(iter(manager.startup_nodes.values()))
    template = async_template(node.connection_class, node.connection_kwargs, deadline, client)
    return Cluster(_seeds(manager), template, manager.address_remap)


def nodes_of(url: str) -> tuple[list[Address], str]:
    """Return the nodes that a URL names, and the URL of the first one alone.

    Raises:
        ValueError: It names no host, or a database.

    """
    place = place_of(url, PORT)
    plain = place.plain()
    db = "/".join(place.path) or str(parse_url(plain).get("db", 0))
    if db != "0":
        raise ValueError(f"a cluster has database 0 alone, not {db}")
    return place.addresses, plain


def _seeds(manager: Any) -> list[Address]:
    """Return all nodes that a client knows."""
    nodes = [*manager.nodes_cache.values(), *manager.startup_nodes.values()]
    return [(node.host, int(node.port)) for node in nodes]

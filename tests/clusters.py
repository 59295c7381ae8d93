"""A real cluster, built and taken apart by the tests that need it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import redis

from ratelimit.stores.redis.slots import SLOTS, slot_of
from tests import servers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KIND = "redis-7.0"
_OPTIONS = (
    *("--cluster-enabled", "yes"),
    *("--cluster-allow-replica-migration", "no"),
    *("--repl-diskless-sync-delay", "0"),
)


def until(done: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if done():
            return
        time.sleep(0.02)
    raise AssertionError("it never came to be")


class Cluster:
    """Some primaries, and a replica for each."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = (*_OPTIONS, *options)
        self._running: dict[int, ExitStack] = {}
        self._clients: dict[int, redis.Redis] = {}
        self.ports: list[int] = []

    def start(self, port: int | None = None) -> int:
        """Start a node, anew if it has run before."""
        port = servers.free_port() if port is None else port
        here = self._folder / str(port)
        here.mkdir(exist_ok=True)
        stack = self._running[port] = ExitStack()
        options = ["--dir", str(here), "--cluster-port", str(servers.free_port())]
        options += self._options
        stack.enter_context(servers.running(KIND, *options, port=port))
        if port not in self.ports:
            self.ports.append(port)
        return port

    def stop(self) -> None:
        """Stop all nodes."""
        for client in self._clients.values():
            client.close()
        for stack in self._running.values():
            stack.close()

    def kill(self, port: int) -> None:
        """Kill a node at once."""
        os.kill(self.process(port), signal.SIGKILL)
        self._running.pop(port).close()

    @contextmanager
    def paused(self, port: int) -> Iterator[None]:
        """Stop a node's process for as long as the block lasts."""
        process = self.process(port)
        os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(process, signal.SIGCONT)

    def process(self, port: int) -> int:
        """Return a node's process."""
        return int(self.node(port).info("server")["process_id"])

    def node(self, port: int) -> redis.Redis:
        """Return a client of one node."""
        if port not in self._clients:
            self._clients[port] = redis.Redis(port=port, decode_responses=True)
        return self._clients[port]

    def ask(self, port: int, *words: object) -> Any:
        """Return what a node says to a command."""
        return self.node(port).execute_command(*words)

    @property
    def url(self) -> str:
        """The cluster's URL, with a node before the others that nobody listens at."""
        nodes = ",".join(f"127.0.0.1:{port}" for port in [servers.free_port(), *self.ports])
        return f"redis+cluster://{nodes}"

    def flush(self) -> None:
        """Forget all keys."""
        for port in self.primaries():
            self.node(port).flushall()

    def build(self, primaries: int, replicas: int = 0) -> None:
        """Give each primary its share of the slots, and replicas to some of them."""
        ports = [self.start() for _ in range(primaries + replicas)]
        share = -(-SLOTS // primaries)
        for index, port in enumerate(ports):
            self.ask(port, "CLUSTER", "SET-CONFIG-EPOCH", index + 1)
            if index < primaries:
                first, last = index * share, min((index + 1) * share, SLOTS) - 1
                self.ask(port, "CLUSTER", "ADDSLOTSRANGE", first, last)
        self.meet(*ports)
        for index, port in enumerate(ports[primaries:]):
            self.ask(port, "CLUSTER", "REPLICATE", self.name(ports[index % primaries]))
        until(lambda: all(self.replicas_known_to(port) == replicas for port in ports))
        until(self.is_whole)

    def meet(self, *ports: int) -> None:
        """Introduce nodes to the first node, and wait until all know each other."""
        first = self.ports[0]
        bus = self.node(first).config_get("cluster-port")["cluster-port"]
        for port in ports:
            self.ask(port, "CLUSTER", "MEET", "127.0.0.1", first, bus)
        count = len(self.ports)
        until(lambda: all(self.knows(port) == count for port in self.ports))

    def knows(self, port: int) -> int:
        """Return how many nodes a node is in touch with."""
        return sum(" connected" in node and "handshake" not in node for node in self._nodes(port))

    def replicas_known_to(self, port: int) -> int:
        """Return how many nodes a node takes for replicas: it votes for no other to take over."""
        return sum("slave" in node.split()[2] for node in self._nodes(port))

    def _nodes(self, port: int) -> list[str]:
        nodes: list[str] = self.ask(port, "CLUSTER", "NODES").splitlines()
        return nodes

    def name(self, port: int) -> str:
        """Return the name that nodes call a node by."""
        return str(self.ask(port, "CLUSTER", "MYID"))

    def is_whole(self) -> bool:
        """Say whether all nodes find the cluster in order, and replicas have caught up."""
        return all(self.is_well(port) for port in self._running)

    def is_well(self, port: int) -> bool:
        """Say whether a node finds the cluster in order, and has caught up if it is a replica."""
        try:
            is_ok = "cluster_state:ok" in self.ask(port, "CLUSTER", "INFO")
            link = self.node(port).info("replication").get("master_link_status", "up")
        except redis.RedisError:
            return False
        return is_ok and link == "up"

    def primaries(self) -> list[int]:
        """Return the ports of those that have slots, in the order of their first slots."""
        return list(dict.fromkeys(self._owners()))

    def replica_of(self, port: int) -> int:
        """Return the port of a primary's replica, as soon as it is known."""
        name = self.name(port)
        until(lambda: len(self.ask(port, "CLUSTER", "REPLICAS", name)) == 1)
        (replica,) = self.ask(port, "CLUSTER", "REPLICAS", name)
        return int(replica.split()[1].partition("@")[0].rpartition(":")[2])

    def set_all(self, name: str, value: str) -> None:
        """Change a setting of all nodes that run."""
        for port in self._running:
            self.node(port).config_set(name, value)

    def leave(self, port: int) -> None:
        """Stop a node that has no slots, and have the others forget it."""
        name = self.name(port)
        self._running.pop(port).close()
        self.ports.remove(port)
        for other in self.ports:
            self.ask(other, "CLUSTER", "FORGET", name)

    def owner(self, slot: int) -> int:
        """Return the port of the node that has a slot."""
        return self._owners()[slot]

    def _owners(self) -> list[int]:
        port = next(iter(self._running))
        owners = [0] * SLOTS
        for first, last, primary, *_ in sorted(self.ask(port, "CLUSTER", "SLOTS")):
            owners[first : last + 1] = [primary[1]] * (last + 1 - first)
        return owners

    def keys_at(self, port: int) -> Iterator[str]:
        """Return keys that a node has."""
        owners = self._owners()
        keys = map("k{}".format, count())
        return (key for key in keys if owners[slot_of(f"{{{key}}}")] == port)

    def one_key_each(self) -> list[str]:
        """Return a key of each primary, in the order of their slots."""
        return [next(self.keys_at(port)) for port in self.primaries()]

    def begin_to_move(self, slot: int, target: int) -> None:
        """Have a slot's node give it to another one."""
        source = self.owner(slot)
        self.ask(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", self.name(source))
        self.ask(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", self.name(target))

    def move_keys(self, slot: int, target: int, most: int = 1_000) -> None:
        """Move some of the keys of a slot that is being moved."""
        source = self.owner(slot)
        keys = self.ask(source, "CLUSTER", "GETKEYSINSLOT", slot, most)
        if keys:
            self.ask(source, "MIGRATE", "127.0.0.1", target, "", 0, 5_000, "KEYS", *keys)

    def end_to_move(self, slot: int, target: int) -> None:
        """Give a slot whose keys have been moved to its new node."""
        for port in (target, *self.primaries()):
            self.ask(port, "CLUSTER", "SETSLOT", slot, "NODE", self.name(target))

    def move(self, slot: int, target: int) -> None:
        """Move a slot with its keys."""
        self.begin_to_move(slot, target)
        self.move_keys(slot, target)
        self.end_to_move(slot, target)

    def assert_that_all_keys_expire(self) -> None:
        """Look at each key that there is."""
        for port in self.primaries():
            node = self.node(port)
            assert all(node.pttl(key) > 0 for key in node.scan_iter())


@contextmanager
def built(primaries: int, replicas: int = 0, *options: str) -> Iterator[Cluster]:
    """Run a cluster for as long as the block lasts; without primaries, a node that has no slots."""
    with TemporaryDirectory() as folder:
        cluster = Cluster(Path(folder), *options)
        try:
            if primaries:
                cluster.build(primaries, replicas)
            else:
                cluster.start()
            yield cluster
        finally:
            cluster.stop()

"""Make calls that block to the nodes of a cluster."""

from __future__ import annotations

import os
from functools import partial
from queue import Empty
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError, ResponseError

from ratelimit.errors import StoreError
from ratelimit.stores.redis.calls import Calls
from ratelimit.stores.redis.cluster import cluster_of
from ratelimit.stores.redis.connections import CLUSTER_SLOTS, INFO, run, template_of
from ratelimit.stores.redis.joint import KEPT, Joint
from ratelimit.stores.redis.loops import Turn
from ratelimit.stores.redis.pipeline import ASKING, Pipeline, Question
from ratelimit.stores.redis.slots import Route, Slots, slot_of
from ratelimit.stores.redis.suitability import remarks_on
from ratelimit.stores.redis.troubles import Unsent, store_error, too_late
from ratelimit.stores.redis.wire import numbers_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ratelimit.decision import Decision
    from ratelimit.stores.redis.calls import Pool
    from ratelimit.stores.redis.cluster import Cluster
    from ratelimit.stores.redis.denials import Denials
    from ratelimit.stores.redis.joint import Heard
    from ratelimit.stores.redis.pipeline import Outcome
    from ratelimit.stores.redis.urls import Address
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire


class Node(Calls):
    """One node, on connections that threads share."""

    def ask(self, question: Question, end: float) -> Outcome:
        """Return what becomes of a question."""
        pool = self._own_pool()
        try:
            pool.permits.get(timeout=max(0.0, end - monotonic()))
        except Empty:
            return self._overloaded()
        try:
            return self._outcome(pool, question, end)
        finally:
            pool.permits.put(None)

    def _outcome(self, pool: Pool, question: Question, end: float) -> Outcome:
        try:
            connection = self._connection(pool, end)
        except RedisError as error:
            return Unsent(error)
        pipeline = Pipeline(self._wire, [question])
        try:
            run(connection, pipeline)
        except RedisError as error:
            connection.disconnect()
            pool.clear()  # the others may have been cut off with it
            return error
        except BaseException:
            connection.disconnect()
            raise
        pool.idle.append(connection)
        return pipeline.outcomes[0]


class Nodes:
    """The nodes of a cluster, and how what is asked finds its way to them."""

    def __init__(self, wire: Wire, cluster: Cluster, deadline: float, denials: Denials) -> None:
        self._wire = wire
        self._cluster = cluster
        self._slots = Slots(cluster.seeds, cluster.remap)
        self._deadline = deadline
        self._denials = denials
        self._turn = Turn()
        self._nodes: dict[Address, Node] = {}

    def call(self, transaction: Transaction) -> Answer:
        """Return what is said of one limit's hit."""
        question = Question((transaction,), slot_of(transaction.keys))
        return (self._answers(question, monotonic() + self._deadline))[0]

    def follow(self, request: Transaction) -> Joint:
        """Ask all that there is to ask for a request."""
        joint = Joint(self._wire, request, self._denials)
        end = monotonic() + self._deadline
        asked = joint.go_on(None)
        while asked:
            until = end - self._deadline * KEPT if asked.in_part else end
            asked = joint.go_on(self._hear(asked.questions, until))
        return joint

    def check(self) -> list[str]:
        """Try every command on each primary, and return what is worth knowing."""
        self._slots.expire()
        self._learn(monotonic() + self._deadline)
        failure = self._slots.failure()
        if failure:
            raise failure
        remarks = self._slots.remarks()
        for address, key in self._slots.samples().items():
            remarks += self._examine(address, key)
        return remarks

    def close(self) -> None:
        """Close the connections."""
        for node in list(self._nodes.values()):
            node.close()

    def _examine(self, address: Address, key: str) -> list[str]:
        end = monotonic() + self._deadline
        trial = self._wire.trial(key)
        answers = self._answers(Question((trial,), slot_of(trial.keys)), end)
        numbers_of(trial, answers[0])
        try:
            self._once(address, ASKING, end)
            info = self._info(address, end)
        except RedisError as error:
            raise store_error(error) from error
        host, port = address
        return [f"{host}:{port}: {remark}" for remark in remarks_on(info)]

    def _info(self, address: Address, end: float) -> bytes:
        """Return what a node says of itself; nothing if this user may not ask."""
        try:
            info: bytes = self._once(address, INFO, end)
        except ResponseError:
            return b""
        return info

    def _hear(self, questions: Sequence[Question], end: float) -> list[Heard]:
        return [self._heard(question, end) for question in questions]

    def _heard(self, question: Question, end: float) -> Heard:
        try:
            return self._answers(question, end)
        except StoreError as error:
            return error

    def _answers(self, question: Question, end: float) -> list[Answer]:
        """Return what is said of a question, by whichever node has its slot.

        Raises:
            StoreError: None can say, or not before the deadline.

        """
        route = Route(self._slots, question)
        while True:
            if route.is_lost or self._has_to_learn():
                self._learn(end)
            address = route.find()
            outcome = self._node(address).ask(route.question, end)
            if isinstance(outcome, list):
                return outcome
            route.heard(outcome, address)
            left = end - monotonic()
            if left <= route.rest:
                raise too_late(self._deadline)
            sleep(route.rest)

    def _has_to_learn(self) -> bool:
        """Say whether the nodes are to be asked where the slots are, and nobody does so."""
        return self._slots.wants(monotonic()) and not self._turn.is_taken

    def _learn(self, end: float) -> None:
        """Ask where the slots are, or wait for somebody who does so just now."""
        while self._slots.wants(monotonic()) or self._turn.is_taken:
            try:
                is_ours = self._turn.take(end - monotonic())
            except TimeoutError as error:
                raise too_late(self._deadline) from error
            if is_ours:
                self._learn_alone(end)

    def _learn_alone(self, end: float) -> None:
        try:
            if self._slots.wants(monotonic()):
                self._ask_around(end)
        except BaseException:
            self._slots.expire()  # somebody else will
            raise
        finally:
            self._turn.end()

    def _ask_around(self, end: float) -> None:
        """Ask one node after another where the slots are, until one says."""
        errors = []
        for source in self._slots.sources(monotonic()):
            patience = min((end - monotonic()) / 2, self._deadline / 4)
            try:
                reply = self._once(source, CLUSTER_SLOTS, monotonic() + patience)
                if self._slots.learn(reply, source):
                    self._forget_others()
                    return
            except RedisError as error:
                self._slots.suspect(source)
                errors.append(error)
        self._slots.fail(errors)

    def _forget_others(self) -> None:
        """Close what leads to nodes that have left."""
        for address in set(self._nodes).difference(self._slots.nodes):
            self._nodes.pop(address).close()

    def _once(self, address: Address, packed: bytes, end: float) -> Any:
        """Return a node's reply to a command.

        Raises:
            redis.RedisError: There is none in time, or it is an error.

        """
        return self._node(address).once(packed, end)

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            made = Node(self._wire, self._cluster.at(address), self._deadline)
            node = self._nodes.setdefault(address, made)
        return node


class ClusterCalls:
    """Calls of the script to the nodes of a cluster, each over before its deadline."""

    def __init__(self, wire: Wire, cluster: Cluster, deadline: float, denials: Denials) -> None:
        self._make = partial(Nodes, wire, cluster, deadline, denials)
        self._start()

    def _start(self) -> None:
        """Begin without connections: those of a parent process are its own."""
        self._nodes = self._make()
        self._process = os.getpid()

    def call(self, transaction: Transaction) -> Answer:
        """Return what is said of a transaction whose keys have one slot.

        Raises:
            StoreError: Nobody can say, or not before the deadline.

        """
        return self._here().call(transaction)

    def decisions(self, request: Transaction) -> list[Decision]:
        """Return what a hit, a peek or a charge is answered."""
        return self._here().follow(request).decisions

    def numbers(self, request: Transaction) -> Sequence[int]:
        """Return what a refund or a reset is answered, for each limit."""
        return self._here().follow(request).numbers

    def check(self) -> list[str]:
        """Try every command on each primary, and return what is worth knowing about them."""
        return self._here().check()

    def close(self) -> None:
        """Close the connections; it can be called twice, and calls be made again."""
        self._here().close()

    def _here(self) -> Nodes:
        """Return the nodes as this process reaches them."""
        if self._process != os.getpid():
            self._start()
        return self._nodes


def calls_to(client: object, wire: Wire, deadline: float, denials: Denials) -> Calls | ClusterCalls:
    """Return how to call the server or the cluster that a client or a URL names.

    Raises:
        TypeError: It is no client and no URL, or one for code that awaits.
        ValueError: The URL can't be used.

    """
    cluster = cluster_of(client, deadline)
    if cluster is None:
        return Calls(wire, template_of(client, deadline), deadline)
    return ClusterCalls(wire, cluster, deadline, denials)

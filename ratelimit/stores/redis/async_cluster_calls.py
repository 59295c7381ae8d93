"""Make calls that are awaited to the nodes of a cluster."""

from __future__ import annotations

import asyncio
from asyncio import sleep
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from redis import exceptions
from redis.exceptions import RedisError, ResponseError

from ratelimit.errors import StoreError
from ratelimit.stores.redis.async_calls import LANES, AsyncCalls, Connected
from ratelimit.stores.redis.cluster import async_cluster_of
from ratelimit.stores.redis.connections import (
    CLUSTER_SLOTS,
    INFO,
    async_ask,
    async_template_of,
)
from ratelimit.stores.redis.dispatcher import Dispatcher
from ratelimit.stores.redis.joint import KEPT, Joint
from ratelimit.stores.redis.loops import AsyncTurn, PerLoop
from ratelimit.stores.redis.pipeline import ASKING, Outcome, Pipeline, Question
from ratelimit.stores.redis.slots import Route, Slots, slot_of
from ratelimit.stores.redis.suitability import remarks_on
from ratelimit.stores.redis.troubles import Unsent, store_error, too_late
from ratelimit.stores.redis.wire import numbers_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ratelimit.decision import Decision
    from ratelimit.stores.redis.async_channel import Channel
    from ratelimit.stores.redis.cluster import Cluster
    from ratelimit.stores.redis.connections import Template
    from ratelimit.stores.redis.denials import Denials
    from ratelimit.stores.redis.joint import Heard
    from ratelimit.stores.redis.replies import Reply
    from ratelimit.stores.redis.urls import Address
    from ratelimit.stores.redis.wire import Answer, Transaction, Wire


_SOON = 0.001
"""How much later than asked a deadline of the line's own may be, in seconds."""


class NodeLane(Connected[Question, Outcome]):
    """One connection of one event loop to one node: makes a call for each slot, all at once."""

    def __init__(self, wire: Wire, template: Template) -> None:
        super().__init__(wire, template)
        self._pipeline = Pipeline(wire, ())
        self._has_left = False

    def heard(self, replies: Sequence[Reply]) -> None:
        """Take what the node says, and tell those who wait when all has been said."""
        for reply in replies:
            self._pipeline.take(reply)
        self._send()

    def _begin(self, channel: Channel) -> None:
        self._pipeline = Pipeline(self._wire, [waiting.question for waiting in self._batch])
        self._send()

    def _send(self) -> None:
        try:
            packed = self._pipeline.packed()
        except Exception as error:  # noqa: BLE001  # the store's clock may raise anything
            self.failed(error)
            return
        if packed and self._channel is not None:
            self._has_left = True
            self._channel.send(packed, self._pipeline.replies)
        else:
            self._tell(self._pipeline.outcomes)
            self._finish()

    def _tell(self, outcomes: Sequence[Outcome]) -> None:
        for waiting, outcome in zip(self._batch, outcomes, strict=True):
            waiting.succeed(outcome)

    def _tell_all(self, error: Exception) -> None:
        if not isinstance(error, RedisError):
            for waiting in self._batch:
                waiting.fail(error)
        elif self._has_left:
            self._pipeline.fail(error)
            self._tell(self._pipeline.outcomes)
        else:
            self._tell([Unsent(error)] * len(self._batch))

    def _finish(self) -> None:
        self._has_left = False
        super()._finish()


class AsyncNode:
    """One node: what is asked of it while calls are in flight leaves together."""

    def __init__(
        self, wire: Wire, template: Template, deadline: float, late: Callable[[], StoreError]
    ) -> None:
        self._deadline = deadline
        self._late = late
        self._lanes = [NodeLane(wire, template) for _ in range(LANES)]
        self._dispatcher: Dispatcher[Question, Outcome] = Dispatcher(self._lanes, deadline, late)

    def ask(self, question: Question, end: float) -> Awaitable[Outcome]:
        """Return what becomes of a question, to be awaited at once.

        Raises:
            StoreError: It took too long.

        """
        if end - monotonic() > self._deadline - _SOON:
            return self._dispatcher.ask(question)
        return self._ask_before(end, question)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is in flight, and nobody waits."""
        return len(self._dispatcher._free) == len(self._lanes)

    async def aclose(self) -> None:
        """Answer who waits, and close the connections."""
        await self._dispatcher.finish()
        for lane in self._lanes:
            await lane.aclose()

    async def _ask_before(self, end: float, question: Question) -> Outcome:
        try:
            async with asyncio.timeout(end - monotonic()):
                return await self._dispatcher.ask(question)
        except TimeoutError as error:
            raise self._late() from error


class AsyncNodes:
    """The nodes of a cluster, and how what is asked finds its way to them, on one event loop."""

    def __init__(self, wire: Wire, cluster: Cluster, deadline: float, denials: Denials) -> None:
        self._wire = wire
        self._cluster = cluster
        self._slots = Slots(cluster.seeds, cluster.remap)
        self._deadline = deadline
        self._denials = denials
        self._turn = AsyncTurn()
        self._nodes: dict[Address, AsyncNode] = {}
        self.in_flight = InFlight()

    async def call(self, transaction: Transaction) -> Answer:
        """Return what is said of one limit's hit."""
        question = Question((transaction,), slot_of(transaction.keys))
        return (await self._answers(question, monotonic() + self._deadline))[0]

    async def follow(self, request: Transaction) -> Joint:
        """Ask all that there is to ask for a request."""
        joint = Joint(self._wire, request, self._denials)
        end = monotonic() + self._deadline
        asked = joint.go_on(None)
        while asked:
            until = end - self._deadline * KEPT if asked.in_part else end
            asked = joint.go_on(await self._hear(asked.questions, until))
        return joint

    async def check(self) -> list[str]:
        """Try every command on each primary, and return what is worth knowing."""
        self._slots.expire()
        await self._learn(monotonic() + self._deadline)
        failure = self._slots.failure()
        if failure:
            raise failure
        remarks = self._slots.remarks()
        for address, key in self._slots.samples().items():
            remarks += await self._examine(address, key)
        return remarks

    async def aclose(self) -> None:
        """Answer who waits, and close the connections."""
        await self.in_flight.finish()
        for node in self._nodes.values():
            await node.aclose()

    async def _examine(self, address: Address, key: str) -> list[str]:
        end = monotonic() + self._deadline
        trial = self._wire.trial(key)
        answers = await self._answers(Question((trial,), slot_of(trial.keys)), end)
        numbers_of(trial, answers[0])
        try:
            await self._once(address, ASKING, end)
            info = await self._info(address, end)
        except RedisError as error:
            raise store_error(error) from error
        host, port = address
        return [f"{host}:{port}: {remark}" for remark in remarks_on(info)]

    async def _info(self, address: Address, end: float) -> bytes:
        """Return what a node says of itself; nothing if this user may not ask."""
        try:
            info: bytes = await self._once(address, INFO, end)
        except ResponseError:
            return b""
        return info

    async def _hear(self, questions: Sequence[Question], end: float) -> list[Heard]:
        if len(questions) == 1:
            return [await self._heard(questions[0], end)]
        return await asyncio.gather(*(self._heard(question, end) for question in questions))

    async def _heard(self, question: Question, end: float) -> Heard:
        try:
            return await self._answers(question, end)
        except StoreError as error:
            return error

    async def _answers(self, question: Question, end: float) -> list[Answer]:
        """Return what is said of a question, by whichever node has its slot.

        Raises:
            StoreError: None can say, or not before the deadline.

        """
        route = Route(self._slots, question)
        while True:
            if route.is_lost or self._has_to_learn():
                await self._learn(end)
            address = route.find()
            outcome = await self._node(address).ask(route.question, end)
            if isinstance(outcome, list):
                return outcome
            route.heard(outcome, address)
            left = end - monotonic()
            if left <= route.rest:
                raise too_late(self._deadline)
            await sleep(route.rest)

    def _has_to_learn(self) -> bool:
        """Say whether the nodes are to be asked where the slots are, and nobody does so."""
        return self._slots.wants(monotonic()) and not self._turn.is_taken

    async def _learn(self, end: float) -> None:
        """Ask where the slots are, or wait for somebody who does so just now."""
        while self._slots.wants(monotonic()) or self._turn.is_taken:
            try:
                is_ours = await self._turn.take(end - monotonic())
            except TimeoutError as error:
                raise too_late(self._deadline) from error
            if is_ours:
                await self._learn_alone(end)

    async def _learn_alone(self, end: float) -> None:
        try:
            if self._slots.wants(monotonic()):
                await self._ask_around(end)
        except BaseException:
            self._slots.expire()  # somebody else will
            raise
        finally:
            self._turn.end()

    async def _ask_around(self, end: float) -> None:
        """Ask one node after another where the slots are, until one says."""
        errors = []
        for source in self._slots.sources(monotonic()):
            patience = min((end - monotonic()) / 2, self._deadline / 4)
            try:
                reply = await self._once(source, CLUSTER_SLOTS, monotonic() + patience)
                if self._slots.learn(reply, source):
                    await self._forget_others()
                    return
            except RedisError as error:
                self._slots.suspect(source)
                errors.append(error)
        self._slots.fail(errors)

    async def _forget_others(self) -> None:
        """Close what leads to nodes that have left; who still waits there is answered first."""
        for address in set(self._nodes).difference(self._slots.nodes):
            if self._nodes[address].is_idle:
                await self._nodes.pop(address).aclose()

    async def _once(self, address: Address, packed: bytes, end: float) -> Any:
        """Return a node's reply to a command.

        Raises:
            redis.RedisError: There is none in time, or it is an error.

        """
        connection = self._cluster.at(address).connection()
        try:
            async with asyncio.timeout(end - monotonic()):
                await connection.connect()
                return await async_ask(connection, packed)
        except TimeoutError as error:
            host, port = address
            raise exceptions.TimeoutError(f"no answer from {host}:{port}") from error
        finally:
            await connection.disconnect(nowait=True)

    def _node(self, address: Address) -> AsyncNode:
        node = self._nodes.get(address)
        if node is None:
            template = self._cluster.at(address)
            node = AsyncNode(self._wire, template, self._deadline, partial(self._late, address))
            self._nodes[address] = node
        return node

    def _late(self, address: Address) -> StoreError:
        self._slots.doubt(address)
        return too_late(self._deadline)


class InFlight:
    """How many are being answered."""

    def __init__(self) -> None:
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def __enter__(self) -> None:
        """Begin."""
        self._count += 1
        self._idle.clear()

    def __exit__(self, *error: object) -> None:
        """End."""
        self._count -= 1
        if not self._count:
            self._idle.set()

    async def finish(self) -> None:
        """Wait until all are answered."""
        await self._idle.wait()


class AsyncClusterCalls:
    """Calls of the script to the nodes of a cluster, each over before its deadline."""

    def __init__(self, wire: Wire, cluster: Cluster, deadline: float, denials: Denials) -> None:
        self._loops = PerLoop(partial(AsyncNodes, wire, cluster, deadline, denials))

    async def call(self, transaction: Transaction) -> Answer:
        """Return what is said of a transaction whose keys have one slot.

        Raises:
            StoreError: Nobody can say, or not before the deadline.

        """
        nodes = self._here()
        with nodes.in_flight:
            return await nodes.call(transaction)

    async def decisions(self, request: Transaction) -> list[Decision]:
        """Return what a hit, a peek or a charge is answered."""
        nodes = self._here()
        with nodes.in_flight:
            return (await nodes.follow(request)).decisions

    async def numbers(self, request: Transaction) -> Sequence[int]:
        """Return what a refund or a reset is answered, for each limit."""
        nodes = self._here()
        with nodes.in_flight:
            return (await nodes.follow(request)).numbers

    async def check(self) -> list[str]:
        """Try every command on each primary, and return what is worth knowing about them."""
        nodes = self._here()
        with nodes.in_flight:
            return await nodes.check()

    async def aclose(self) -> None:
        """Close this loop's connections; it can be called twice, and calls be made again."""
        nodes = self._loops.pop(asyncio.get_running_loop(), None)
        if nodes is not None:
            await nodes.aclose()

    def _here(self) -> AsyncNodes:
        return self._loops[asyncio.get_running_loop()]


def async_calls_to(
    client: object, wire: Wire, deadline: float, denials: Denials
) -> AsyncCalls | AsyncClusterCalls:
    """Return how to call the server or the cluster that a client or a URL names.

    Raises:
        TypeError: It is no client and no URL, or one that blocks.
        ValueError: The URL can't be used.

    """
    cluster = async_cluster_of(client, deadline)
    if cluster is None:
        return AsyncCalls(wire, async_template_of(client, deadline), deadline)
    return AsyncClusterCalls(wire, cluster, deadline, denials)

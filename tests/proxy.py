"""A TCP proxy that makes trouble when it is told to."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TROUBLES = ("silence", "dribble", "cut", "reset", "half-close", "late", "deaf")


class Proxy:
    """What stands between a client and a server; `trouble` says how it treats the next reply."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.trouble: str | None = None
        self.later: str | None = None
        """The trouble of all connections after the first one."""
        self.port = 0
        self.connections = 0
        """How many were ever made."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on what a client sends, and what it is answered, until either has enough."""
        if self.connections and self.later:
            self.trouble = self.later
        self.connections += 1
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(reader, downstream))
                both.create_task(self._answer(upstream, writer))
        except* OSError:
            pass
        finally:
            downstream.transport.abort()
            writer.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            if self.trouble != "deaf":
                writer.write(data)
        raise ConnectionAbortedError

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            match self.trouble:
                case "silence":
                    continue
                case "late":
                    await asyncio.sleep(1)
                case "dribble":
                    await self._dribble(data, writer)
                    continue
                case "cut":
                    writer.write(data[: len(data) // 2])
                    break
                case "half-close":
                    writer.write_eof()
                    return
                case "reset":
                    raw = writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    writer.transport.abort()
                    break
            writer.write(data)
        raise ConnectionAbortedError

    async def _dribble(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        for byte in data:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.03)


@contextmanager
def before(port: int) -> Iterator[Proxy]:
    """Run a proxy before a server, on a thread of its own."""
    proxy = Proxy(port)
    ready = threading.Event()
    stop: list[Callable[[], object]] = []

    async def main() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        stop.append(lambda: loop.call_soon_threadsafe(stopped.set))
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        ready.set()
        await stopped.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=[main()])
    thread.start()
    ready.wait()
    try:
        yield proxy
    finally:
        stop[0]()
        thread.join()

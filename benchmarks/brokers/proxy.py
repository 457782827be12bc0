"""A TCP proxy before brokers, that can behave as a bad network does; a process of its own.

TCP loses no byte of a living connection, so a partition is bytes that do not arrive: `hold` keeps them, and
`passing` lets them go on, as retransmission would once the network heals; after `reset` they are lost
together with their connection. One thing a proxy cannot do: a connection made while a route is held is
accepted (by the kernel), and nothing answers on it; a partitioned network would not accept it either.

Run as a program (`python -m benchmarks.brokers.proxy NAME:LISTEN:TARGET...`) it obeys
:mod:`benchmarks.brokers.orders`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import struct
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

from benchmarks.brokers.node import HOST
from benchmarks.brokers.orders import Subordinate, answer, refuse

__all__ = ["Direction", "Proxy"]

Direction: TypeAlias = Literal["both", "to_broker", "from_broker"]
CHUNK_BYTES = 65536
#: A reset closes with RST: no byte that is still under way arrives.
ABRUPT = struct.pack("ii", 1, 0)


class Proxy(Subordinate):
    """Listens before each of several ports, and passes on what comes until told otherwise.

    Parameters
    ----------
    routes : mapping of int to (int, int)
        Name of a route, such as the node's number -> the port to listen on, and the port behind it.
    """

    def __init__(self, routes: Mapping[int, tuple[int, int]]) -> None:
        self.routes = dict(routes)
        ports = [f"{name}:{listen}:{target}" for name, (listen, target) in self.routes.items()]
        super().__init__("benchmarks.brokers.proxy", ports)

    def passing(self, *names: int) -> None:
        """Everything goes through at once; what was held goes on. Of all routes, where none is named."""
        for name in names or self.routes:
            self.order(name=name, weather={})

    def delay(self, name: int, seconds: float, jitter: float = 0.0) -> None:
        """Every piece of data takes ``seconds`` and up to ``jitter`` more each way; order is kept."""
        self.order(name=name, weather={"delay": seconds, "jitter": jitter})

    def throttle(self, name: int, bytes_per_second: float) -> None:
        """Each connection carries no more than this each way."""
        self.order(name=name, weather={"bytes_per_second": bytes_per_second})

    def hold(self, name: int, direction: Direction = "both") -> None:
        """Nothing arrives any more, both ways or one; connections stay open."""
        self.order(name=name, weather={"held": direction})

    def refuse(self, name: int) -> None:
        """Reset what is open and refuse what is new, as a host does where nobody listens."""
        self.order(name=name, verb="refuse")

    def reset(self, *names: int) -> None:
        """Reset what is open, in the middle of a message perhaps; new connections are as before."""
        for name in names or self.routes:
            self.order(name=name, verb="reset")

    def connections(self, name: int) -> int:
        """How many are open now."""
        return int(self.order(name=name, verb="count"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Weather:
    """How a route treats the data on it; seconds, and bytes a second."""

    delay: float = 0.0
    jitter: float = 0.0
    bytes_per_second: float | None = None
    held: Direction | None = None


class Route:
    """One listening port, and the connections made through it."""

    def __init__(self, listen: int, target: int) -> None:
        self.weather = Weather()
        self._listen, self._target = listen, target
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self._open)

    async def listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, HOST, self._listen, backlog=128)

    async def change(self, weather: Weather) -> None:
        self.weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        await self.listen()

    async def refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self.weather = Weather()
        self.reset()

    def reset(self) -> None:
        for task in tuple(self._tasks):
            task.cancel()
        for writer in tuple(self._open):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABRUPT)
            writer.transport.abort()
        self._open.clear()

    async def _connected(self, near: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        self._open.add(back)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        far: asyncio.StreamWriter | None = None
        try:
            await self._until_released("to_broker")
            there, far = await asyncio.open_connection(HOST, self._target)
            self._open.add(far)
            ways = [self._carry(near, far, "to_broker"), self._carry(there, back, "from_broker")]
            await _first_to_end(ways)
        except (OSError, asyncio.CancelledError):
            pass  # the other end is gone, or a reset came
        finally:
            self._tasks.discard(task)
            for writer in (back, far):
                if writer is not None:
                    self._open.discard(writer)
                    writer.close()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Direction) -> None:
        """One way of a connection. What is under way is bounded, so a slow route pushes back as TCP does."""
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        await _first_to_end([self._take(source, under_way), self._give(under_way, sink, way)])

    async def _take(
        self, source: asyncio.StreamReader, under_way: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        clock, due = asyncio.get_running_loop().time, 0.0
        while chunk := await source.read(CHUNK_BYTES):
            weather = self.weather
            due = max(due, clock() + weather.delay + random.uniform(0, weather.jitter))
            if weather.bytes_per_second:
                due += len(chunk) / weather.bytes_per_second
            await under_way.put((due, chunk))
        await under_way.put((due, b""))
        await under_way.join()

    async def _give(
        self, under_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter, way: Direction
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, chunk = await under_way.get()
            while (wait := due - clock()) > 0 and self.weather != Weather():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), wait)
            await self._until_released(way)
            if not chunk:
                return
            sink.write(chunk)
            await sink.drain()
            under_way.task_done()

    async def _until_released(self, way: Direction) -> None:
        while self.weather.held in ("both", way):
            await self._changed.wait()


async def _first_to_end(ways: list[Coroutine[None, None, None]]) -> None:
    """Run until one ends; its error is raised, the others are cancelled."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def serve(routes: Mapping[int, tuple[int, int]]) -> None:
    """Obey the orders on standard input until it ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    ways = {name: Route(*ports) for name, ports in routes.items()}
    try:
        for route in ways.values():
            await route.listen()
        answer()
        while line := await orders.readline():
            order = json.loads(line)
            answer(await _obey(ways[order["name"]], order))
    except OSError as error:
        refuse(error)


async def _obey(route: Route, order: Mapping[str, Any]) -> int:
    """Carry out one order; how many connections the route has then."""
    if "weather" in order:
        await route.change(Weather(**order["weather"]))
    elif order["verb"] == "refuse":
        await route.refuse()
    elif order["verb"] == "reset":
        route.reset()
        await asyncio.sleep(0)
    return route.connections


def _routes(arguments: list[str]) -> dict[int, tuple[int, int]]:
    numbers = [[int(number) for number in argument.split(":")] for argument in arguments]
    return {name: (listen, target) for name, listen, target in numbers}


if __name__ == "__main__":
    asyncio.run(serve(_routes(sys.argv[1:])))

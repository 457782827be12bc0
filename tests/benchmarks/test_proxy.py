"""The proxy passes on every byte, and is as bad a network as it is told to be."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from benchmarks.brokers.node import HOST, free_ports
from benchmarks.brokers.proxy import Proxy

QUIET = 0.25


class Echo:
    """Answers every byte with itself; counts what arrived."""

    def __init__(self, port: int) -> None:
        self._server = socket.create_server((HOST, port))
        self.arrived = 0
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        try:
            while some := connection.recv(65536):
                self.arrived += len(some)
                connection.sendall(some)
        except OSError:
            pass

    def close(self) -> None:
        self._server.close()


class Line:
    """A client on the other side of the proxy."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HOST, port), timeout=10)

    def send(self, some: bytes) -> None:
        self._socket.sendall(some)

    def receive(self, count: int, timeout: float = 10) -> bytes:
        self._socket.settimeout(timeout)
        got = b""
        while len(got) < count:
            try:
                piece = self._socket.recv(count - len(got))
            except TimeoutError:
                return got
            if not piece:
                raise ConnectionError("closed")
            got += piece
        return got


@pytest.fixture(scope="module")
def route() -> Iterator[tuple[Proxy, int, Echo]]:
    listen, target = free_ports(2)
    echo = Echo(target)
    with Proxy({1: (listen, target)}) as proxy:
        yield proxy, listen, echo
    echo.close()


@pytest.fixture
def proxy(route: tuple[Proxy, int, Echo]) -> Iterator[Proxy]:
    yield route[0]
    route[0].passing()
    route[0].reset()


@pytest.fixture
def line(proxy: Proxy, route: tuple[Proxy, int, Echo]) -> Line:
    line = Line(route[1])
    line.send(b"!")
    assert line.receive(1) == b"!"
    return line


def test_it_passes_on_every_byte_in_order(line: Line) -> None:
    sent = bytes(range(256)) * 4096
    threading.Thread(target=line.send, args=(sent,), daemon=True).start()
    assert line.receive(len(sent)) == sent


def test_a_delay_holds_for_each_way_and_keeps_the_order(proxy: Proxy, line: Line) -> None:
    proxy.delay(1, 0.1, jitter=0.05)
    started = time.monotonic()
    for i in range(10):
        line.send(bytes([i]))
        time.sleep(0.01)
    assert line.receive(10) == bytes(range(10))
    assert time.monotonic() - started >= 0.2


@pytest.mark.parametrize(("direction", "reaches"), [("both", 0), ("to_broker", 0), ("from_broker", 3)])
def test_what_is_held_arrives_once_the_network_heals(
    proxy: Proxy, line: Line, route: tuple[Proxy, int, Echo], direction: str, reaches: int
) -> None:
    before = route[2].arrived
    proxy.hold(1, direction)  # type: ignore[arg-type]
    line.send(b"abc")
    assert line.receive(3, QUIET) == b""
    assert route[2].arrived - before == reaches
    proxy.passing()
    assert line.receive(3) == b"abc"


def test_what_is_held_is_lost_with_its_connection(
    proxy: Proxy, line: Line, route: tuple[Proxy, int, Echo]
) -> None:
    before = route[2].arrived
    proxy.hold(1)
    line.send(b"abc")
    time.sleep(QUIET)
    proxy.reset(1)
    proxy.passing()
    with pytest.raises(ConnectionError):
        line.receive(1)
    assert route[2].arrived == before


def test_a_connection_made_while_the_route_is_held_reaches_the_broker_later(
    proxy: Proxy, line: Line, route: tuple[Proxy, int, Echo]
) -> None:
    before = route[2].connections
    proxy.hold(1)
    late = Line(route[1])
    late.send(b"late")
    assert late.receive(4, QUIET) == b""
    assert route[2].connections == before
    proxy.passing()
    assert late.receive(4) == b"late"


def test_a_refused_route_takes_no_connection_until_it_passes_again(
    proxy: Proxy, line: Line, route: tuple[Proxy, int, Echo]
) -> None:
    proxy.refuse(1)
    with pytest.raises(ConnectionError):
        line.receive(1)
    with pytest.raises(ConnectionRefusedError):
        Line(route[1])
    assert proxy.connections(1) == 0
    proxy.passing()
    again = Line(route[1])
    again.send(b"again")
    assert again.receive(5) == b"again"


def test_a_throttled_route_carries_no_more_than_it_is_told(proxy: Proxy, line: Line) -> None:
    proxy.throttle(1, 100_000)
    started = time.monotonic()
    threading.Thread(target=line.send, args=(bytes(50_000),), daemon=True).start()
    assert len(line.receive(50_000)) == 50_000
    assert time.monotonic() - started > 0.4


def test_it_ends_with_its_owner(route: tuple[Proxy, int, Echo]) -> None:
    listen, target = free_ports(2)
    proxy = Proxy({1: (listen, target)})
    proxy.close()
    with pytest.raises(ConnectionRefusedError):
        Line(listen)

"""Starts contestants, each in a process of its own, and ends them.

Ours and the raw loop are forked from a server that has imported and compiled everything and holds no client
of librdkafka; peers are started by the interpreter of their own environment.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from benchmarks.stream.job import Job

__all__ = ["PEERS", "Running", "answer", "fork", "missing_peers", "peer", "prepare"]

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "build" / "peers" / "bin" / "python"
HOW = "make stream-peers installs them in build/peers"

_context = multiprocessing.get_context("forkserver")


class Running(Protocol):
    """A process under way."""

    def alive(self) -> bool: ...
    def last_words(self) -> str: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...


class Forked:
    """A child of the fork server."""

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        self._process = _context.Process(target=target, args=arguments, daemon=True)
        self._process.start()

    def alive(self) -> bool:
        return self._process.is_alive()

    def last_words(self) -> str:
        return "see standard error"

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()


class Spawned:
    """A program of its own."""

    def __init__(self, command: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log
            )

    def last_words(self) -> str:
        return self._log.read_text(errors="replace")[-6000:]

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()


def prepare() -> None:
    """Start the fork server: it imports and compiles before anything is measured."""
    _context.set_forkserver_preload(["benchmarks.stream.warm"])
    done = _context.Process(target=_nothing)
    done.start()
    done.join()


def _nothing() -> None:
    pass


def fork(target: Callable[..., None], *arguments: object) -> Running:
    """Call a function of a module in a process of its own."""
    return Forked(target, *arguments)


def answer(target: Callable[..., None], *arguments: object) -> Any:
    """What a function in a process of its own sends to the connection that is its first argument."""
    here, there = _context.Pipe(duplex=False)
    running = Forked(target, there, *arguments)
    there.close()
    try:
        return here.recv()
    finally:
        running.kill()


def peer(module: str, job: Job) -> Running:
    """Start one of :mod:`benchmarks.stream.peers`."""
    command = [str(PEERS), "-m", f"benchmarks.stream.peers.{module}", job.to_json()]
    return Spawned(command, Path(job.folder))


def missing_peers() -> str | None:
    """What to say where the peers are not installed."""
    if PEERS.exists():
        return None
    print(f"Quix Streams and Faust are not installed: {HOW}", file=sys.stderr)
    return HOW

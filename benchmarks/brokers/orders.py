"""A process that obeys orders: JSON objects, one a line, on standard input; an answer to each on its output.

It ends when its input does, so it never outlives its owner.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["OrderFailed", "Subordinate", "answer", "refuse"]


class OrderFailed(RuntimeError):
    """An order was not carried out; the message has the words of the process that got it."""


class Subordinate:
    """The owner's end.

    Parameters
    ----------
    module
        What runs, by `python -m`; it must answer once when it is ready.
    arguments
        Of its command line.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        self._module = module
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        self._answer()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def order(self, **words: Any) -> Any:
        """Give an order and wait until it is carried out; its answer.

        Raises
        ------
        OrderFailed
            When it could not be.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.communicate(timeout=15)

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise OrderFailed(f"{self._module} has ended")
        told = json.loads(line)
        if "failed" in told:
            raise OrderFailed(f"{self._module}: {told['failed']}")
        return told["done"]


def answer(value: Any = None) -> None:
    """Say that the order is carried out."""
    print(json.dumps({"done": value}), flush=True)


def refuse(reason: object) -> None:
    """Say that it cannot be."""
    print(json.dumps({"failed": str(reason)}), flush=True)

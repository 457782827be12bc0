"""A broker by hand: pull or build its image, fetch its jars, or serve until interrupted."""

from __future__ import annotations

import contextlib
import signal
import sys

from benchmarks.brokers import running_broker
from benchmarks.brokers.container import kafka_image
from benchmarks.brokers.local import kafka_jars


def main(command: str) -> None:
    if command == "image":
        print(kafka_image())
    elif command == "jars":
        print(kafka_jars())
    elif command == "serve":
        with running_broker() as broker, contextlib.suppress(KeyboardInterrupt):
            print(broker.description, flush=True)
            signal.pause()
    else:
        sys.exit("usage: python -m benchmarks.brokers image|jars|serve")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) == 2 else "")

"""The work in Quix Streams: exactly once, state in RocksDB with a changelog topic.

Run by the interpreter of build/peers: ``python -m benchmarks.stream.peers.quix_app JOB``, JOB as JSON.
"""

from __future__ import annotations

import sys

from quixstreams import Application, State

from benchmarks.stream.job import Job
from benchmarks.stream.peers.universe_state import START, advance


def main(job: Job) -> None:
    application = Application(
        broker_address=job.bootstrap,
        consumer_group=job.tag,
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_interval=job.commit_seconds,
        commit_every=job.commit_records,
        state_dir=job.folder,
        loglevel="ERROR",
        consumer_extra_config={
            "queued.min.messages": 100_000,
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 1,
        },
        producer_extra_config={
            "linger.ms": job.linger_milliseconds,
            "compression.type": "lz4",
            "retry.backoff.ms": 1,
            "retry.backoff.max.ms": 1,
        },
    )
    inputs = application.topic(job.inputs, value_deserializer="bytes", key_deserializer="bytes")
    outputs = application.topic(job.outputs, value_serializer="bytes", key_serializer="bytes")

    def apply(record: bytes, state: State) -> bytes | None:
        after, update = advance(record, state.get_bytes("universe", START), job.turns)
        state.set_bytes("universe", after)
        return update

    frame = application.dataframe(inputs).apply(apply, stateful=True)
    frame = frame.filter(lambda update: update is not None)
    frame.to_topic(outputs)
    application.run()


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))

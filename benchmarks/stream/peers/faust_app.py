"""The work in Faust (faust-streaming): exactly once, a table in RocksDB with its changelog topic.

Run by the interpreter of build/peers: ``python -m benchmarks.stream.peers.faust_app JOB``, JOB as JSON.
"""

from __future__ import annotations

import sys

import faust

from benchmarks.stream.job import Job
from benchmarks.stream.peers.universe_state import START, advance


def main(job: Job) -> None:
    app = faust.App(
        job.tag,
        broker=f"kafka://{job.bootstrap}",
        store="rocksdb://",
        datadir=job.folder,
        processing_guarantee="exactly_once",
        broker_commit_every=job.commit_records,
        broker_commit_interval=job.commit_seconds,
        consumer_auto_offset_reset="earliest",
        topic_partitions=1,
        topic_replication_factor=1,
        topic_allow_declare=True,
        topic_disable_leader=True,
        web_enabled=False,
        producer_compression_type="lz4",
        producer_linger=job.linger_milliseconds / 1000,
        broker_max_poll_records=1000,
        stream_wait_empty=False,
    )
    inputs = app.topic(
        job.inputs, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    outputs = app.topic(
        job.outputs, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    table = app.Table("universe", key_type=bytes, value_type=bytes, partitions=1)

    @app.agent(inputs)
    async def work(stream: faust.StreamT) -> None:
        async for key, record in stream.items():
            after, update = advance(record, table.get(key) or START, job.turns)
            table[key] = after
            if update is not None:
                await outputs.send(key=key, value=update)

    worker = faust.Worker(app, loglevel="warning", workdir=job.folder)
    worker.execute_from_commandline()


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))

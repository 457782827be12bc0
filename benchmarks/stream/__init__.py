"""Throughput, latency and restore of the exactly-once stream on real Kafka, beside a raw loop and peers.

What the environment of the peers imports (`kernel`, `wire`, `job`, `peers`) needs NumPy, Numba and
fastavro only.
"""

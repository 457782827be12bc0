"""Campaigns against exactly once: what may die dies, and no decision is lost, doubled or different.

`python -m benchmarks.chaos` runs them on real Kafka. `world` says what is fed, `worker` who is struck
and where, `reader` is the concurrent read_committed reader, and `verdict` compares all that is on the topics
with an uninterrupted run of the same log.
"""

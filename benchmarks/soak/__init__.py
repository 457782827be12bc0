"""Half an hour at half of the maximum rate, with a fault each minute: what grows, and what does not.

`python -m benchmarks.soak` runs it on real Kafka: `fleet` holds the workers, `feeder` the steady rate,
`observer` the latency that a read_committed reader sees, `faults` what is done to them each minute,
`samples` what is written down each second, `trend` the slopes, `picture` the plot of docs/soak.svg.
"""

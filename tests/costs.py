"""Costs of a made-up machine, for plans whose numbers can be checked by hand."""

from benchmarks.scale.capacity import Costs
from benchmarks.scale.growth import Growth

COSTS = Costs(
    bar=Growth(1e-4, 4e-6, 3e-8),
    decision=Growth(2e-3, 2e-5, 0.0),
    snapshot=Growth(1e-3, 1e-4, 0.0),
    restore=Growth(1e-3, 1e-4, 0.0),
    bus=Growth(2e-5, 1e-7, 0.0),
    broker=Growth(2e-5, 2e-8),
    resident=Growth(3e5, 2e4, 32.0),
    state=Growth(1e4, 2e4, 32.0),
    returns=Growth(60.0, 8.0, 0.0),
    outputs=Growth(250.0, 0.0, 0.0),
    decisions=Growth(1000.0, 250.0, 0.0),
    process=2e8,
)

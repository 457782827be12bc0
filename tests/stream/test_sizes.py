"""What the largest records may have is an upper bound, and not a wild one."""

import pytest
import worlds

from stream_allocator.codec import encode
from stream_allocator.events import Evidence
from stream_allocator.stream.clients import producer_settings
from stream_allocator.stream.sizes import DEFAULT_BYTES, MARGIN, evidence_bytes, largest_records
from stream_allocator.topology import Portfolio, Topology, Universe, Worker

ASSETS = tuple(f"ASSET-{i:03d}" for i in range(120))


@pytest.mark.parametrize(
    "sections",
    [
        {"limits": {"upper": 0.5}},
        {
            "allocator": "growth",
            "growth": {"window": 60, "minimum_bars": 20},
            "limits": {"upper": 0.5, "gross": 1.5},
        },
    ],
)
def test_evidence_stays_below_the_bound_that_its_universe_has(sections):
    policy = worlds.policy(**sections)
    universe = Universe(
        name="u",
        assets=ASSETS,
        groups={"some": ASSETS[:60], "others": ASSETS[30:]},
        portfolios=(Portfolio(name="core", policy="unused.yaml"),),
    )
    engine = worlds.Engine(universe, {"core": policy})
    sizes = []
    for i, x in enumerate(worlds.returns(70, n=len(ASSETS))):
        event = worlds.tick(i, x, assets=ASSETS)
        sizes += [len(encode(o)) for o in engine.apply(event, i) if isinstance(o, Evidence)]
    assert sizes
    assert max(sizes) < evidence_bytes(universe, policy) < 3 * max(sizes) + 2 * MARGIN


def test_the_producer_may_send_what_the_topics_are_made_for():
    universe = Universe(name="u", assets=("A",), portfolios=({"name": "p", "policy": "p.yaml"},))
    small = Topology(name="t", universes=(universe,))
    large = Topology(name="t", universes=(universe,), worker=Worker(chunk_bytes=5_000_000))
    assert largest_records(small)["snapshots"] == DEFAULT_BYTES
    assert producer_settings(large)["message.max.bytes"] == largest_records(large)["snapshots"] > 5_000_000

"""Snapshots of earlier releases: they are read, they go on, and what is unknown is refused."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import worlds

from stream_allocator.engine import SNAPSHOT_VERSION, Engine
from stream_allocator.errors import SnapshotError
from stream_allocator.moments import CovarianceMixture
from stream_allocator.state import pack, unpack
from stream_allocator.upgrade import UPGRADES, upgraded

# Taken by the release that wrote each version after 100 bars of the stream below.
SNAPSHOTS = Path(__file__).parent / "snapshots"
#: What the release of version 1 decided at bars 110, 120, 130 and 140.
DECIDED = (
    (0.12947, 0.14827, 0.05085, 0.09327),
    (0.12905, 0.14657, 0.05072, 0.09185),
    (0.12970, 0.14487, 0.05088, 0.09250),
    (0.13262, 0.14666, 0.05121, 0.09583),
)


def stream():
    rows = worlds.returns(140, seed=6)
    rows[30:33, 1] = np.nan
    return [worlds.tick(bar, x) for bar, x in enumerate(rows)]


def blob(version):
    return gzip.decompress((SNAPSHOTS / f"version-{version}.gz").read_bytes())


def restored(data):
    policies = {"core": worlds.policy()}
    return Engine.restore(worlds.universe(), policies, data)


def test_every_version_before_this_one_has_an_upgrade_and_a_snapshot_to_prove_it():
    assert sorted(UPGRADES) == list(range(1, SNAPSHOT_VERSION))
    for version in UPGRADES:
        assert unpack(blob(version))["version"] == version


@pytest.mark.parametrize("version", UPGRADES)
def test_an_upgraded_engine_decides_what_the_earlier_release_did_but_for_its_estimates(version):
    machine = restored(blob(version))
    outputs = [o for bar, event in enumerate(stream()) if bar >= 100 for o in machine.apply(event, bar)]
    found = [[w.target for w in a.weights] for a in worlds.allocations(outputs)]
    np.testing.assert_allclose(found, DECIDED, atol=2e-3)


@pytest.mark.parametrize("version", UPGRADES)
def test_an_upgraded_engine_writes_the_present_version_and_goes_on_from_it_bit_for_bit(version):
    machine = restored(blob(version))
    data = machine.snapshot()
    assert unpack(data)["version"] == SNAPSHOT_VERSION
    again = restored(data)
    assert again.snapshot() == data
    assert again.chain == machine.chain
    for bar, event in enumerate(stream()):
        if bar >= 100:
            assert worlds.wire(machine.apply(event, bar)) == worlds.wire(again.apply(event, bar))
    assert again.snapshot() == machine.snapshot()


def test_inverse_factors_are_those_of_the_factors_that_version_1_kept():
    old = unpack(blob(1))["market"]["mixture"]
    mixture = CovarianceMixture.from_state(upgraded(unpack(blob(1)))["market"]["mixture"])
    factors = np.tril(old["triangles"].transpose(0, 2, 1), -1)
    for k, diagonal in enumerate(old["factor_diagonals"]):
        factors[k] += np.diag(diagonal)
        np.testing.assert_allclose(np.tril(mixture._whiteners[k]) @ factors[k], np.eye(4), atol=1e-12)


@pytest.mark.parametrize("version", [0, SNAPSHOT_VERSION + 1, None, "1"])
def test_an_unknown_version_is_refused(version):
    state = unpack(worlds.engine().snapshot()) | {"version": version}
    with pytest.raises(SnapshotError, match="reads versions"):
        restored(pack(state))

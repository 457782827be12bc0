"""A small disk fills, takes what is given back, and is gone with its owner."""

from pathlib import Path

import pytest
from absence import skip_unless_ci

from benchmarks.brokers.disk import Disk, DiskUnavailable


@pytest.fixture
def disk(tmp_path: Path):
    try:
        disk = Disk(tmp_path / "disk", 4)
    except DiskUnavailable as reason:
        skip_unless_ci(f"no disk to fill: {reason}")
    with disk:
        yield disk


def test_a_full_disk_takes_nothing_until_it_is_cleared(disk: Disk) -> None:
    assert disk.free_bytes == 4 << 20
    disk.fill()
    assert disk.free_bytes == 0
    with pytest.raises(OSError, match="No space left"):
        (disk.view / "more").write_bytes(b"x")
    disk.clear()
    (disk.view / "more").write_bytes(b"x")


def test_nothing_of_it_is_seen_outside_or_stays(disk: Disk, tmp_path: Path) -> None:
    (disk.view / "inside").write_bytes(b"x")
    assert list((tmp_path / "disk").iterdir()) == []
    disk.close()
    assert not disk.view.exists()
    assert str(tmp_path) not in Path("/proc/mounts").read_text()

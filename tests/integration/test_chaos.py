"""The short campaigns: workers killed at every window, asleep past their time-outs; and brokers' faults."""

import json
import os
import subprocess
import sys
import time

import pytest
from absence import skip_unless_ci

from benchmarks.brokers import BrokerUnavailable
from benchmarks.brokers.disk import Disk, DiskUnavailable
from benchmarks.brokers.local import java, kafka_jars
from benchmarks.chaos.plan import KINDS, RANDOM

pytestmark = pytest.mark.kafka

KEYS = ["kills", "broker_faults", "ticks", "lost", "duplicated", "aborted_visible", "mismatched_bytes"]


@pytest.fixture
def campaign(root, tmp_path):
    try:
        java(), kafka_jars()
    except BrokerUnavailable as reason:
        skip_unless_ci(f"no local broker: {reason}")
    command = [sys.executable, "-m", "benchmarks.chaos", "--quick"]
    command += ["--directory", str(tmp_path / "campaign")]

    def start(*more, stage="kills"):
        more = ["--stages", stage, *more]
        with (tmp_path / "campaign.out").open("ab") as out:
            env = os.environ | {"PYTHONPATH": str(root)}
            return subprocess.Popen([*command, *more], cwd=root, env=env, stdout=out, stderr=out)

    return start, tmp_path


def test_a_campaign_that_is_itself_killed_goes_on_and_nothing_is_lost_doubled_or_different(campaign):
    start, folder = campaign
    progress = folder / "campaign/kills/progress.json"
    first = start()
    deadline = time.monotonic() + 120
    while not (progress.exists() and sum(json.loads(progress.read_text())["kills"].values()) >= 4):
        assert first.poll() is None, (folder / "campaign.out").read_text()
        assert time.monotonic() < deadline, (folder / "campaign.out").read_text()
        time.sleep(0.1)
    first.kill()
    first.wait(10)
    again = start()
    assert again.wait(60) != 0  # a campaign is there: it must be said what to do with it
    assert "--resume goes on with it" in (folder / "campaign.out").read_text()
    second = start("--resume")
    code, said = second.wait(300), (folder / "campaign.out").read_text()
    assert code == 0, said
    figures = json.loads(said.splitlines()[-1])
    assert list(figures) == KEYS
    assert figures["kills"] >= 12
    assert figures["ticks"] == 250 * 36
    assert {figures[key] for key in KEYS[3:]} == {0}
    done = json.loads(progress.read_text())
    # how many come to their windows before they are killed at random is a matter of the machine's speed
    assert set(done["tried"]) >= set(KINDS)
    assert set(done["kills"]) <= {*KINDS, RANDOM}
    assert sum(done["sleeps"].values()) == 2
    assert done["zombies_published"] == 0


def test_a_cluster_whose_brokers_and_network_fail_loses_doubles_and_changes_nothing(campaign):
    start, folder = campaign
    try:
        Disk(folder / "disk", 1).close()
    except DiskUnavailable as reason:
        skip_unless_ci(f"no disk to fill: {reason}")
    code = start(stage="brokers").wait(400)
    said = (folder / "campaign.out").read_text()
    assert code == 0, said
    figures = json.loads(said.splitlines()[-1])
    assert list(figures) == KEYS
    assert figures["broker_faults"] == 4
    assert figures["ticks"] > 0
    assert {figures[key] for key in KEYS[3:]} == {0}
    found = json.loads((folder / "campaign/brokers/round-0/found.json").read_text())
    assert "disk given up" in next(f["detail"] for f in found["faults"] if f["kind"] == "disk full")
    assert found["verdict"]["decisions"] > 0

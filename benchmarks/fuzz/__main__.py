"""A million fuzzed records: each accounted for, the engine unmoved by what is refused, memory flat.

Through a real broker and a worker as a process; ``--direct`` drives a shard in this process instead.
"""

from __future__ import annotations

import argparse
import math
import os
import time
import uuid
from collections import Counter

from benchmarks import workload
from benchmarks.brokers import running_broker
from benchmarks.fuzz import direct, kafka
from benchmarks.fuzz.account import Verdict
from benchmarks.fuzz.usage import Usage
from benchmarks.harness import last_line, show

RECORDS, QUICK = 1_000_000, 30_000
ASSETS, UNIVERSES = 10, 3


def main() -> None:
    """Run it and print its tables and its last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} records, the same keys")
    parser.add_argument("--records", type=int, help=f"how many (default {RECORDS})")
    parser.add_argument("--direct", action="store_true", help="a shard in this process, no broker")
    parser.add_argument("--seed", type=int, default=20261125, help="of all chance (default %(default)s)")
    chosen = parser.parse_args()
    records = chosen.records or (QUICK if chosen.quick else RECORDS)
    plan = workload.policy(max_run=64)
    tag = uuid.uuid4().hex[:6]
    begun = time.monotonic()
    if chosen.direct:
        topology = workload.topology(ASSETS, UNIVERSES, plan=plan)
        usage = Usage(os.getpid())
        verdict, where = direct.run(topology, records, chosen.seed, usage.look), "a shard, no broker"
        seconds = time.monotonic() - begun
    else:
        with running_broker() as broker:
            topology = workload.topology(
                ASSETS, UNIVERSES, 1, broker.bootstrap_servers, tag=tag, plan=plan, snapshot_bars=1000
            )
            verdict, usage, seconds = kafka.run(topology, records, chosen.seed)
            where = broker.description
    _tables(verdict, usage, records, where, seconds, chosen.seed)
    growth = usage.growth(usage.rss_mb)
    last_line(
        {
            "records": verdict.total("applied", "duplicate") + verdict.total(),
            "applied": verdict.total("applied"),
            "duplicates": verdict.total("duplicate"),
            "dead_letters": verdict.total(),
            "unaccounted": len(verdict.unaccounted),
            "engine_moved": verdict.engine_moved,
            "rss_growth_mb": growth if math.isnan(growth) else round(growth, 1),
        }
    )


def _tables(verdict: Verdict, usage: Usage, records: int, where: str, seconds: float, seed: int) -> None:
    rows: list[list[object]] = []
    for kind, fates in sorted(verdict.fates.items(), key=lambda item: -sum(item[1].values())):
        codes = Counter({f: n for f, n in fates.items() if f not in {"applied", "duplicate"}})
        named = ", ".join(f"{code} {n}" if len(codes) > 1 else code for code, n in codes.most_common(4))
        rows.append(
            [kind, sum(fates.values()), fates["applied"], fates["duplicate"], sum(codes.values()), named]
        )
    rows.append(["all", records, verdict.total("applied"), verdict.total("duplicate"), verdict.total(), ""])
    show(
        f"What became of {records} records ({where}; seed {seed}; {seconds:.0f} s)",
        ["kind", "sent", "applied", "duplicates", "dead letters", "codes"],
        rows,
        f"{verdict.compared} outputs compared with those of the applied records alone: "
        f"{verdict.engine_moved} differ",
    )
    show(
        "The process over the run",
        ["of the run", "RSS, MB", "descriptors"],
        usage.rows(),
        f"growth of RSS {usage.growth(usage.rss_mb):.1f} MB, of descriptors "
        f"{usage.growth(usage.descriptors):.0f} (last fifth against the fifth after three tenths)",
    )
    for problem in [*verdict.unaccounted[:20], *(f"moved: {what}" for what in verdict.moved)]:
        print(problem)


if __name__ == "__main__":
    main()

"""What the fork server imports: everything that workers need, compiled, and no client of librdkafka."""

import benchmarks.stream.latency
import benchmarks.stream.ours
import benchmarks.stream.raw_loop
import benchmarks.stream.stages  # noqa: F401
from benchmarks import workload
from benchmarks.stream.kernel import calibrate
from stream_allocator.codec import Codec
from stream_allocator.engine import Engine

BARS = 90


def warm() -> None:
    """Take an engine past its first decisions, encode what comes out, and compile the kernel."""
    made = workload.topology(50)
    engine = Engine(made.universes[0], made.policies("u0"))
    codec = Codec()
    for i, event in enumerate(workload.cross_sections(made.universes[0], BARS, 0)):
        for output in engine.apply(event, i):
            codec.frame(output)
    calibrate()


warm()

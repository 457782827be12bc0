"""A process that begins again: what hangs inside the client library ends with the process alone.

A session that is left behind (see :mod:`stream_allocator.stream.watch`) keeps its thread, its client's
threads and sockets, and the memory of its engines. A worker that met many would fill up with them.
"""

import contextlib
import os
import sys

__all__ = ["begin_again"]


def begin_again() -> None:
    """Replace this process by a new run of the same command, under the same process id.

    Nothing that is open is inherited but the standard streams: a client's pipes would be, left to themselves.
    Only a process that has nothing else to do may call this; it does not return.
    """
    for name in os.listdir("/dev/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):  # the folder's own descriptor is closed by now
                os.set_inheritable(int(name), False)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

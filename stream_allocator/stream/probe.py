"""Named moments of a session, at which a campaign may look in or strike.

A worker in service passes :func:`nothing`. A campaign passes a function that kills the process at the
k-th passage of a window: so every window between consuming and committing is hit, not only likely ones.
"""

from collections.abc import Callable
from typing import Literal, TypeAlias

__all__ = ["WINDOWS", "Probe", "Window", "nothing"]

#: In the order in which a batch passes them; ``snapshotting`` and ``restoring`` only where they happen.
Window: TypeAlias = Literal[
    "restoring",  # at each record of a restore
    "consumed",  # a batch was fetched, nothing was done with it
    "stepping",  # before each record of a batch goes to its engine
    "snapshotting",  # before each chunk of a snapshot is produced
    "produced",  # every output was handed to the producer
    "sending_offsets",  # before the offsets join the transaction
    "committing",  # before the transaction is asked to commit
    "committed",  # it has
]
WINDOWS: tuple[Window, ...] = (
    "restoring",
    "consumed",
    "stepping",
    "snapshotting",
    "produced",
    "sending_offsets",
    "committing",
    "committed",
)

Probe: TypeAlias = Callable[[Window], None]


def nothing(window: Window) -> None:
    """What a worker in service does at every window."""

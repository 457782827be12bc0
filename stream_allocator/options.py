"""Options that many commands share, and the topology that they name."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["AsJson", "Bootstrap", "TopologyFile", "open_topology"]

TopologyFile = Annotated[Path, typer.Option("--topology", "-t", help="topology file (YAML)")]
Bootstrap = Annotated[
    str | None,
    typer.Option(help="bootstrap servers; wins over the topology", envvar="STREAM_ALLOCATOR_BOOTSTRAP"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object")]


def open_topology(path: Path, bootstrap: str | None = None) -> Any:
    """The topology of a file, on the broker that the command line names, where it names one."""
    from stream_allocator.topology import load_topology

    topology = load_topology(path)
    if topology.wire.registry is not None:
        from stream_allocator.registry import connected

        topology = connected(topology)
    return topology if bootstrap is None else topology.at(bootstrap)

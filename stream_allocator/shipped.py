"""Files that the package brings, wherever it is installed."""

from importlib.resources import files
from pathlib import Path

__all__ = ["shipped_policy", "shipped_topology"]


def shipped_topology() -> Path:
    """The demo's topology."""
    return _topologies() / "demo.yaml"


def shipped_policy(name: str = "default") -> Path:
    """A policy."""
    return _topologies() / "policies" / f"{name}.yaml"


def _topologies() -> Path:
    return Path(str(files("stream_allocator") / "topologies"))

"""What a contestant is told: where its records are, where its outputs go, and how much work a record is."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

__all__ = ["Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """One drain, or one session at a given rate.

    Attributes
    ----------
    bootstrap : str
    tag : str
        Ends the names of what belongs to this run alone: group, transactional id, topics.
    inputs : str
        Topic of the return events, shared by all contestants.
    outputs : str
        Topic of the regime updates, one a bar.
    state : str
        Compacted topic of the raw loop's state.
    turns : int
        Of the kernel, for one asset.
    packed : bool
        Whether the records are packed.
    commit_seconds, commit_records : float, int
        A transaction of those who let us choose is no longer than either; 0 seconds: one for each batch.
    linger_milliseconds : int
        Of the producers of those who let us choose: 20 lets a drain's outputs gather, and a commit waits for
        none of it; 0 where latency counts.
    folder : str
        For state on disk.
    """

    bootstrap: str
    tag: str
    inputs: str
    outputs: str
    state: str = ""
    turns: int = 0
    packed: bool = False
    commit_seconds: float = 0.1
    commit_records: int = 5000
    linger_milliseconds: int = 20
    folder: str = ""

    def to_json(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Job:
        """The inverse."""
        return cls(**json.loads(text))

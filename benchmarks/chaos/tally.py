"""What a verdict counts."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from benchmarks.harness import show

__all__ = ["FINDINGS", "Verdict"]

FINDINGS = 20
"""So many are told in words; all are counted."""


@dataclass(frozen=True)
class Verdict:
    """What was found; verdicts on several partitions add up.

    Attributes
    ----------
    inputs : int
        Records on the input topics.
    ticks : int
        Asset-ticks among them, each counted once.
    decisions : int
        Allocations on their topic.
    records : int
        Records on all output topics.
    lost : int
        Records that the uninterrupted run has and the topics lack, and positions and control that no
        audit entry speaks of.
    duplicated : int
        Records that are there once more, or that the uninterrupted run does not have at all.
    misordered : int
        Records that stand before one that should come first.
    aborted_visible : int
        Records of aborted transactions that a read_committed reader saw.
    mismatched_bytes : int
        Bytes in which published records differ from the uninterrupted run's.
    chain_breaks : int
        Universes whose audit chain does not hold together.
    disagreements : int
        Partitions of output topics of which the concurrent reader saw another sequence than the final one.
    aborted : int
        Records that were aborted, and that only a read_uncommitted reader sees.
    transactions, aborted_transactions : int
        Summed over output topics and partitions: one that spans several counts in each.
    slowest_commit : float
        Seconds from the first record of a transaction to its commit: the slowest.
    findings : tuple of str
        The first ones in words.
    """

    inputs: int = 0
    ticks: int = 0
    decisions: int = 0
    records: int = 0
    lost: int = 0
    duplicated: int = 0
    misordered: int = 0
    aborted_visible: int = 0
    mismatched_bytes: int = 0
    chain_breaks: int = 0
    disagreements: int = 0
    aborted: int = 0
    transactions: int = 0
    aborted_transactions: int = 0
    slowest_commit: float = 0.0
    findings: tuple[str, ...] = field(default=())

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, doubled, shown too soon, or different."""
        return not any(
            (
                self.lost,
                self.duplicated,
                self.misordered,
                self.aborted_visible,
                self.mismatched_bytes,
                self.chain_breaks,
                self.disagreements,
            )
        )

    def __add__(self, other: Verdict) -> Verdict:
        sums: dict[str, Any] = {
            f.name: getattr(self, f.name) + getattr(other, f.name)
            for f in fields(self)
            if f.name not in ("slowest_commit", "findings")
        }
        return Verdict(
            **sums,
            slowest_commit=max(self.slowest_commit, other.slowest_commit),
            findings=(self.findings + other.findings)[:FINDINGS],
        )

    def show(self, title: str) -> None:
        """Print it for people."""
        words = {
            "inputs": "input records",
            "ticks": "asset-ticks",
            "decisions": "decisions",
            "records": "output records compared",
            "lost": "lost",
            "duplicated": "doubled or invented",
            "misordered": "out of order",
            "aborted_visible": "aborted, yet visible",
            "mismatched_bytes": "bytes that differ",
            "chain_breaks": "broken audit chains",
            "disagreements": "partitions on which the two readers disagree",
            "aborted": "aborted records (read_uncommitted sees them)",
            "transactions": "transactions committed, a partition and topic",
            "aborted_transactions": "transactions aborted, a partition and topic",
            "slowest_commit": "slowest commit after its first record, s",
        }
        rows = [[text, getattr(self, name)] for name, text in words.items()]
        show(title, ("", "count"), rows, note="holds" if self.holds else "DOES NOT HOLD")
        for finding in self.findings:
            print(f"  {finding}")

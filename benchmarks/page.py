"""Tables that a benchmark prints for people and pastes into a page of docs, between two marks of its own.

A page holds ``<!-- NAME -->`` and ``<!-- /NAME -->``; what stands between them is the benchmark's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import show

__all__ = ["Table", "paste"]


@dataclass(frozen=True)
class Table:
    """A title, columns, rows of numbers and words, and what is to be known beside."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def show(self) -> None:
        """Print it."""
        show(self.title, self.columns, self.rows, self.note)

    def markdown(self) -> str:
        """The same as a Markdown table, its title before it."""
        lines = [f"**{self.title}.**" + (f" {self.note}." if self.note else ""), ""]
        lines += [_row(self.columns), "|" + "---|" * len(self.columns)]
        lines += [_row([_cell(value) for value in row]) for row in self.rows]
        return "\n".join(lines)


def paste(page: Path, name: str, tables: Sequence[Table], words: str = "") -> None:
    """Replace what stands between the marks of ``name`` in a page.

    Raises
    ------
    ValueError
        When the page has no such marks.
    """
    text = page.read_text("utf-8")
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not marks.search(text):
        raise ValueError(f"{page} has no marks <!-- {name} --> and <!-- /{name} -->")
    body = "\n\n".join([*([words] if words else []), *(table.markdown() for table in tables)])
    page.write_text(marks.sub(lambda m: f"{m[1]}{body}\n{m[2]}", text), "utf-8")


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

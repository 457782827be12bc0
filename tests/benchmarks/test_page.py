"""Tables stand on a page between marks of their own, and nowhere else."""

import numpy as np
import pytest

from benchmarks.page import Table, paste

TABLE = Table("Costs", ("", "n", "µs"), [["bar", 2000, 3.14159], ["none", 20, np.nan], ["big", 1, 12345.6]])


def test_a_table_in_markdown_has_its_title_and_a_row_for_each():
    assert TABLE.markdown().splitlines() == [
        "**Costs.**",
        "",
        "|  | n | µs |",
        "|---|---|---|",
        "| bar | 2,000 | 3.14 |",
        "| none | 20 | - |",
        "| big | 1 | 12,346 |",
    ]


def test_only_what_stands_between_the_marks_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- x -->\nold\n<!-- /x -->\nafter \\1\n<!-- y -->\n<!-- /y -->\n")
    for _ in range(2):
        paste(page, "x", [TABLE], words="Words \\2.")
    text = page.read_text()
    assert text.startswith("before\n<!-- x -->\nWords \\2.\n\n**Costs.**")
    assert text.endswith("| big | 1 | 12,346 |\n<!-- /x -->\nafter \\1\n<!-- y -->\n<!-- /y -->\n")
    with pytest.raises(ValueError, match="no marks <!-- z -->"):
        paste(page, "z", [TABLE])

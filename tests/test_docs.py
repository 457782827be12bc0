"""The examples of README and docs run."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = [
    pytest.param(block, id=f"{path.name}-{i}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for i, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL))
]


@pytest.mark.parametrize("block", EXAMPLES)
def test_an_example_in_the_docs_runs(block, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(block, "example", "exec"), {})

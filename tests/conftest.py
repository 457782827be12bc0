"""Shared fixtures. Modules beside this file are importable by their own name."""

from pathlib import Path

import pytest
from absence import skip_unless_ci
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real series beside the repository; absent outside CI the test is skipped."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        skip_unless_ci("../shared is absent")
    return folder

"""What a test does where the machine lacks something: skip with one line, and fail under CI."""

import os
from typing import NoReturn

import pytest


def skip_unless_ci(reason: str) -> NoReturn:
    """Skip the test, or fail it under ``CI=true``, where nothing may be lacking."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and under CI it must be there", pytrace=False)
    pytest.skip(reason)

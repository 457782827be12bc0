"""Tests of peers are left out where the extra ``benchmark`` is not installed."""

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what is marked ``peer`` with a module that is not there."""
    absent = [x for x in items if (peer := x.get_closest_marker("peer")) and find_spec(peer.args[0]) is None]
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [x for x in items if x not in absent]

"""Hypothesis strategies that build any event from its class's type hints."""

import dataclasses
import types
import typing
from typing import Any

from hypothesis import strategies as st

LONG = st.integers(-(2**63), 2**63 - 1)
INT = st.integers(-(2**31), 2**31 - 1)
DOUBLE = st.floats(width=64, allow_nan=False)
TEXT = st.text(max_size=12)


def _values(hint: Any, name: str) -> st.SearchStrategy[Any]:
    if dataclasses.is_dataclass(hint):
        return events(hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is tuple:
        return st.lists(_values(args[0], name), max_size=3).map(tuple)
    if origin is typing.Literal:
        return st.sampled_from(args)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([st.none() if a is type(None) else _values(a, name) for a in args])
    if hint is int:
        narrow = name in {"version", "chunk", "chunks", "partition", "members"}
        return INT if narrow else LONG
    return {float: DOUBLE, str: TEXT, bytes: st.binary(max_size=20), bool: st.booleans()}[hint]


def events(cls: Any) -> st.SearchStrategy[Any]:
    """Any instance of an event class."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{f.name: _values(hints[f.name], f.name) for f in dataclasses.fields(cls)})

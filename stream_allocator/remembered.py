"""What pure functions gave the last times they were asked, by the identity of their arguments."""

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import TypeVar, TypeVarTuple

__all__ = ["remembered"]

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


def remembered(
    most: int,
) -> Callable[[Callable[[*Arguments], Result]], Callable[[*Arguments], Result]]:
    """Remember the last results of a function of positional arguments that never change.

    Records, policies, programmes and read-only arrays take long to compare, or cannot be hashed: they are
    told apart by identity.  They are kept alive beside what came of them, so that no other object takes
    their identity meanwhile.

    Parameters
    ----------
    most : int
        Results to keep; of more the oldest is forgotten.
    """

    def decorate(function: Callable[[*Arguments], Result]) -> Callable[[*Arguments], Result]:
        kept: OrderedDict[tuple[int, ...], tuple[tuple[*Arguments], Result]] = OrderedDict()

        @wraps(function)
        def call(*arguments: *Arguments) -> Result:
            identity = tuple(map(id, arguments))
            known = kept.get(identity)
            if known is None:
                known = kept[identity] = arguments, function(*arguments)
                if len(kept) > most:
                    kept.popitem(last=False)
            return known[1]

        return call

    return decorate

"""How well change points agree with several annotators': the two metrics of the Turing benchmark.

A change point is the index of the first observation of a new segment, counted from 0.  Annotators differ, and
one of them may have marked nothing.

References
----------
G. J. J. van den Burg, C. K. I. Williams, An Evaluation of Change Point Detection Algorithms, 2020, section 4,
arXiv 2003.06222.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise


def f1(annotations: Mapping[str, Collection[int]], changes: Collection[int], *, margin: int = 5) -> float:
    """F1 of change points against several annotators: F = 2 P R / (P + R).

    With X the change points, T_k those of annotator k (the trivial change point 0 belongs to all of them)
    and TP(T, X) the points of T that have a partner of their own in X,

        P = |TP(T_1 u ... u T_K, X)| / |X|,   R = (1/K) sum_k |TP(T_k, X)| / |T_k|.

    So a change point counts as right if anybody marked it, and each annotator has the same say in what was
    missed.

    Parameters
    ----------
    annotations : mapping of str to collection of int
        Each annotator's change points.
    changes : collection of int
        The change points to judge; the order and repetitions do not matter.
    margin : int, default 5
        Greatest distance between partners.  A point has one partner at most: marked points choose in the
        order of time, each the nearest that is left, and of two the earlier.  (The benchmark's own code lets
        them choose in the order of a hash set, which matters only where they compete for a partner.)

    Returns
    -------
    float
        Between 0 and 1; above 0, because 0 is always found.

    Raises
    ------
    ValueError
        If there is no annotator, an index is negative or the margin is.
    """
    marked = {name: _points(points) | {0} for name, points in _some(annotations).items()}
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    found = _points(changes) | {0}
    precision = _matches(set().union(*marked.values()), found, margin) / len(found)
    recall = sum(_matches(points, found, margin) / len(points) for points in marked.values()) / len(marked)
    return 2.0 * precision * recall / (precision + recall)


def covering(annotations: Mapping[str, Collection[int]], changes: Collection[int], *, length: int) -> float:
    """Covering of the annotators' segments by the segments between change points.

    For each annotator the mean over the observations of the best Jaccard index of the segment they lie in,

        C_k = (1/T) sum_A |A| max_B |A n B| / |A u B|,

    where A runs over the annotator's segments and B over the ones to judge; then the mean over annotators.

    Parameters
    ----------
    annotations : mapping of str to collection of int
        Each annotator's change points.
    changes : collection of int
        The change points to judge; the order and repetitions do not matter.
    length : int
        Number of observations T, at least 1.

    Returns
    -------
    float
        In (0, 1]; 1 if all annotators made just these segments.

    Raises
    ------
    ValueError
        If there is no annotator, or an index is outside 0..length - 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    segments = _segments(changes, length)
    total = 0.0
    for points in _some(annotations).values():
        total += sum(
            (a.stop - a.start) * max(_jaccard(a, b) for b in segments) for a in _segments(points, length)
        )
    return total / (length * len(annotations))


def _some(annotations: Mapping[str, Collection[int]]) -> Mapping[str, Collection[int]]:
    if not annotations:
        raise ValueError("annotations must have at least one annotator")
    return annotations


def _points(points: Iterable[int]) -> set[int]:
    indices = {int(point) for point in points}
    if indices and min(indices) < 0:
        raise ValueError(f"a change point is an index from 0, got {min(indices)}")
    return indices


def _matches(marked: set[int], found: set[int], margin: int) -> int:
    """Number of marked points that get a partner of their own among the found."""
    left, matches = set(found), 0
    for point in sorted(marked):
        near = [(abs(point - other), other) for other in left if abs(point - other) <= margin]
        if near:
            left.remove(min(near)[1])
            matches += 1
    return matches


def _segments(points: Iterable[int], length: int) -> list[range]:
    indices = _points(points)
    if indices and max(indices) >= length:
        raise ValueError(f"a change point is an index below {length}, got {max(indices)}")
    return [range(start, end) for start, end in pairwise([*sorted(indices | {0}), length])]


def _jaccard(a: range, b: range) -> float:
    shared = max(0, min(a.stop, b.stop) - max(a.start, b.start))
    return shared / (len(a) + len(b) - shared)

"""Means, covariances and what is known about them: arrays in, arrays out, online, semi-definite always."""

from stream_allocator.moments.covariance import LongRunCovariance
from stream_allocator.moments.factors import factor_form
from stream_allocator.moments.mean import shrunk_mean
from stream_allocator.moments.segment import SegmentWindow, blend
from stream_allocator.moments.uncertainty import certainty, confidence, radius

__all__ = [
    "LongRunCovariance",
    "SegmentWindow",
    "blend",
    "certainty",
    "confidence",
    "factor_form",
    "radius",
    "shrunk_mean",
]

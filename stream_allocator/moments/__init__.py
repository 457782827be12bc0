"""Means, covariances and what is known about them: arrays in, arrays out, online, semi-definite always."""

from stream_allocator.moments.factor_analysis import likely_factor_form
from stream_allocator.moments.mean import shrunk_mean
from stream_allocator.moments.mixture import CovarianceMixture
from stream_allocator.moments.segment import SegmentWindow
from stream_allocator.moments.uncertainty import certainty, confidence, radius

__all__ = [
    "CovarianceMixture",
    "SegmentWindow",
    "certainty",
    "confidence",
    "likely_factor_form",
    "radius",
    "shrunk_mean",
]

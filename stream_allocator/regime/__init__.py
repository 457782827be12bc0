"""How long the present regime has lasted, and what it is called: run-length posteriors and segmentation."""

from stream_allocator.regime.annotations import covering, f1
from stream_allocator.regime.bocpd import RunLengthPanel
from stream_allocator.regime.loggrid import RunLengthGrid
from stream_allocator.regime.multivariate import MultivariateRunLength
from stream_allocator.regime.offline import RecordedSegments, map_segmentation
from stream_allocator.regime.segmentation import Label, Segment, Segmentation, SegmentationRule
from stream_allocator.regime.universe import UniverseRegime

__all__ = [
    "Label",
    "MultivariateRunLength",
    "RecordedSegments",
    "RunLengthGrid",
    "RunLengthPanel",
    "Segment",
    "Segmentation",
    "SegmentationRule",
    "UniverseRegime",
    "covering",
    "f1",
    "map_segmentation",
]

"""How long the present regime has lasted, and what it is called: run-length posteriors and segmentation."""

from stream_allocator.regime.bocpd import RunLengthPanel
from stream_allocator.regime.segmentation import Label, Segment, Segmentation, SegmentationRule

__all__ = ["Label", "RunLengthPanel", "Segment", "Segmentation", "SegmentationRule"]

"""A streaming, event-driven portfolio allocator: every message a proof, every decision repeatable."""

__version__ = "0.1.0"

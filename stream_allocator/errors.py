"""The errors that a user can meet. Each says what was wrong, where, and what to do."""


class StreamAllocatorError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigurationError(StreamAllocatorError):
    """A policy, topology or command line that cannot be used; names the file and the key."""


class CodecError(StreamAllocatorError):
    """Bytes that are not the record they should be.

    Attributes
    ----------
    code : str
        Reason code for the dead letter: ``malformed`` or ``unknown_schema``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class SnapshotError(StreamAllocatorError):
    """A snapshot that cannot be restored: truncated, corrupt, of another version or of another policy."""


class RestoreError(StreamAllocatorError):
    """The regenerated state differs from the committed one; the worker must not go on."""


class OffsetsBehind(RestoreError):
    """The committed offsets are older than what is published, or gone: a coordinator may soon know better."""


class DataError(StreamAllocatorError):
    """Prices or recorded topics that cannot be read; names the file, the line or the offset."""


class BusError(StreamAllocatorError):
    """Kafka could not be reached, or its topics do not fit the topology."""


class BrokerAway(BusError):
    """Kafka does not answer for now. Whoever can wait tries again."""

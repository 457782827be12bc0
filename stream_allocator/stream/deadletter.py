"""A record that cannot be used becomes a dead letter, whatever it is. Pure: it imports no Kafka.

A letter holds its record whole where it fits. A record that is itself about as large as the broker allows
does not fit with the reason beside it: then key, headers and value are cut, and ``cut`` says what they were.
Nothing is lost by that, since the record stands at its origin, and input topics are kept.
"""

from stream_allocator.codec import digest
from stream_allocator.events import Cut, DeadLetter, Header, Rejection
from stream_allocator.stream.record import Record

__all__ = ["LONGEST_REASON", "dead_letter"]

#: Characters of a reason: it quotes what the record holds, and a name there may be megabytes long.
LONGEST_REASON = 1000
#: Of a letter, whatever ``limit`` says: topic, reason and what frames them need a few thousand.
SMALLEST_LIMIT = 32_768
#: What each header costs beside its name and value, at most.
FRAME_BYTES = 20


def dead_letter(topic: str, record: Record, rejection: Rejection, limit: int) -> DeadLetter:
    """The letter of a record.

    Parameters
    ----------
    topic : str
        The record's.
    record : Record
    rejection : Rejection
        Its reason is shortened to 1,000 characters.
    limit : int
        Bytes that the letter's record may take, its own key and the letter's copy of it included; at least
        32,768 are used.

    Returns
    -------
    DeadLetter
        With ``cut`` where key, value or headers had to be shortened: the value to the half of ``limit``, the
        key to the sixteenth, and headers dropped from the first on that does not fit into the eighth.
    """
    limit = max(limit, SMALLEST_LIMIT)
    key, value, headers = record.key, record.value, record.headers
    header_bytes = sum(len(name.encode()) + len(content) + FRAME_BYTES for name, content in headers)
    # 4 KiB are enough for the reason, the topic and the frame
    whole = 2 * len(key or b"") + len(value or b"") + header_bytes + 4 * LONGEST_REASON + 4096 <= limit
    cut = None
    if not whole:
        cut = Cut(
            key_bytes=-1 if key is None else len(key),
            value_bytes=-1 if value is None else len(value),
            value_digest="" if value is None else digest(value),
            headers=len(headers),
            header_bytes=header_bytes - FRAME_BYTES * len(headers),
        )
        key = None if key is None else key[: limit // 16]
        value = None if value is None else value[: limit // 2]
        headers = _first(headers, limit // 8)
    return DeadLetter(
        topic=topic,
        partition=record.partition,
        offset=record.offset,
        code=rejection.code,
        reason=_shortened(rejection.reason),
        key=key,
        value=value,
        headers=tuple(Header(name, content) for name, content in headers),
        cut=cut,
    )


def _first(headers: tuple[tuple[str, bytes], ...], room: int) -> tuple[tuple[str, bytes], ...]:
    """The headers up to the first that does not fit any more."""
    for count, (name, content) in enumerate(headers):
        room -= len(name.encode()) + len(content) + FRAME_BYTES
        if room < 0:
            return headers[:count]
    return headers


def _shortened(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 4] + " ..."

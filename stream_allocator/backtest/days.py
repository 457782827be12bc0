"""Event times as days, and days as event times: microseconds since the epoch, UTC."""

from datetime import UTC, datetime, timedelta

__all__ = ["day", "microseconds"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(moment: datetime) -> int:
    """The event time of a moment; UTC where it names no zone."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def day(time: int) -> str:
    """The day of an event time."""
    return (_EPOCH + int(time) * _MICROSECOND).strftime("%Y-%m-%d")

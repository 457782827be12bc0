"""What the client's errors mean for a session."""

from confluent_kafka import KafkaError

__all__ = ["CHECK", "FENCED", "GENERATION_LOST", "REFUSED", "Fenced", "SessionLost"]

#: The partitions may be another worker's by now.
GENERATION_LOST = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
}
#: A fatal consumer error hides its cause in its words.
FENCED = KafkaError(KafkaError.FENCED_INSTANCE_ID).str()
#: Trying again would not help.
REFUSED = {
    KafkaError.MSG_SIZE_TOO_LARGE,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.INVALID_TRANSACTION_TIMEOUT,
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError._INVALID_ARG,
}
#: What to do about it.
CHECK = "run stream-allocator topics check --role worker"


class SessionLost(Exception):
    """The session cannot go on; the next one restores from the committed state."""


class Fenced(SessionLost):
    """The group took this static member for an earlier life of its own, or of another worker.

    A worker fences itself where the answer to its request to join is lost: it asks again, and is told of
    the member that it became unawares. So the first time says nothing about other workers.
    """

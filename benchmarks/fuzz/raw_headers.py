"""A record whose header names are any bytes: the Python client sends text only, other clients do not.

It calls the librdkafka inside the confluent-kafka wheel, since a protocol client of its own for one record
would be longer than everything that it tests.
"""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import confluent_kafka

__all__ = ["produce"]

PRODUCER = 0
VTYPE_END, VTYPE_TOPIC, VTYPE_PARTITION, VTYPE_VALUE, VTYPE_KEY, VTYPE_HEADERS = 0, 1, 3, 4, 5, 10
POINTER, SIZE, TEXT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p
FLUSH_MS = 20_000


def _library() -> ctypes.CDLL:
    package = Path(confluent_kafka.__file__).parent
    (found,) = (package.parent / "confluent_kafka.libs").glob("librdkafka*.so*")
    lib = ctypes.CDLL(str(found))
    for name, result, arguments in (
        ("conf_new", POINTER, []),
        ("conf_set", ctypes.c_int, [POINTER, TEXT, TEXT, TEXT, SIZE]),
        ("new", POINTER, [ctypes.c_int, POINTER, TEXT, SIZE]),
        ("headers_new", POINTER, [SIZE]),
        ("header_add", ctypes.c_int, [POINTER, TEXT, ctypes.c_ssize_t, TEXT, ctypes.c_ssize_t]),
        ("flush", ctypes.c_int, [POINTER, ctypes.c_int]),
        ("destroy", None, [POINTER]),
    ):
        function = getattr(lib, f"rd_kafka_{name}")
        function.restype, function.argtypes = result, arguments
    return lib


def produce(
    bootstrap: str,
    topic: str,
    partition: int,
    key: bytes,
    value: bytes,
    headers: Sequence[tuple[bytes, bytes]],
) -> None:
    """Produce one record and wait until the broker has it.

    Raises
    ------
    RuntimeError
        When the client or the broker refuses it.
    """
    lib, words = _library(), ctypes.create_string_buffer(512)
    settings = lib.rd_kafka_conf_new()
    lib.rd_kafka_conf_set(settings, b"bootstrap.servers", bootstrap.encode(), words, SIZE(512))
    client = lib.rd_kafka_new(PRODUCER, settings, words, SIZE(512))
    if not client:
        raise RuntimeError(words.value.decode())
    listed = lib.rd_kafka_headers_new(len(headers))
    for name, content in headers:
        lib.rd_kafka_header_add(listed, name, len(name), content, len(content))
    failed = lib.rd_kafka_producev(
        *(POINTER(client), VTYPE_TOPIC, TEXT(topic.encode()), VTYPE_PARTITION, ctypes.c_int32(partition)),
        *(VTYPE_KEY, TEXT(key), SIZE(len(key)), VTYPE_VALUE, TEXT(value), SIZE(len(value))),
        *(VTYPE_HEADERS, POINTER(listed), VTYPE_END),
    )
    late = lib.rd_kafka_flush(client, FLUSH_MS)
    lib.rd_kafka_destroy(client)
    if failed or late:
        raise RuntimeError(f"the record was not taken: error {failed or late}")

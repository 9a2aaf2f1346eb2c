"""One span in OTLP's protobuf encoding, which is the only one that MLflow takes up to 3.10.

The numbers of the fields are those of OpenTelemetry's trace.proto and trace_service.proto.
"""

import secrets
import time


def encode_span(name: str, trace_id: str) -> bytes:
    """An export request with one root span of that name and trace id (32 hexadecimal digits)."""
    now = time.time_ns()
    span = _field(1, bytes.fromhex(trace_id)) + _field(2, secrets.token_bytes(8)) + _field(5, name.encode())
    span += _fixed64(7, now) + _fixed64(8, now + 1_000_000)
    scope_spans = _field(2, span)
    return _field(1, _field(2, scope_spans))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _fixed64(number: int, value: int) -> bytes:
    return _varint(number << 3 | 1) + value.to_bytes(8, "little")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])

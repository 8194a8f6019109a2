"""containerd's light RPC: frames and messages, without any I/O.

A frame is a big-endian header (length u32, stream u32, type u8, flags u8) and a
protobuf message (containerd/ttrpc PROTOCOL.md). The few protobuf fields that are
needed are read and written here, so that the gate starts without any library.
"""

import struct

MAX_MESSAGE_BYTES = 64 * 1024  # a question or an answer; the protocol would allow 4 MiB
MAX_FIELDS = 64  # in one message; ours have at most nine
REQUEST, RESPONSE = 1, 2

_HEADER = struct.Struct(">IIBB")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ProtocolError(Exception):
    """The peer does not speak ttrpc, or more of it than is taken here."""


class Frame:
    """One message on one stream. No NamedTuple: `typing` costs the gate 7 ms."""

    __slots__ = ("kind", "payload", "stream")

    def __init__(self, stream: int, kind: int, payload: bytes) -> None:
        self.stream = stream
        self.kind = kind
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Frame) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[int, int, bytes]:
        return (self.stream, self.kind, self.payload)


class FrameReader:
    """Turns received bytes into frames; keeps what is not complete yet."""

    def __init__(self, max_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, received: bytes) -> list[Frame]:
        """Take bytes as they come; return the frames they complete.

        Raises:
            ProtocolError: A frame larger than `max_bytes`.
        """
        self._buffer += received
        frames = []
        while len(self._buffer) >= _HEADER.size:
            length, stream, kind, _ = _HEADER.unpack_from(self._buffer)
            if length > self._max_bytes:
                raise ProtocolError(f"frame of {length} bytes")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            frames.append(Frame(stream, kind, bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return frames


class Request:
    """A call: `payload` is the method's own protobuf message."""

    __slots__ = ("method", "payload", "service")

    def __init__(self, service: str, method: str, payload: bytes) -> None:
        self.service = service
        self.method = method
        self.payload = payload

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Request) and self._values() == other._values()

    def __hash__(self) -> int:
        return hash(self._values())

    def _values(self) -> tuple[str, str, bytes]:
        return (self.service, self.method, self.payload)


def encode_frame(frame: Frame) -> bytes:
    """Write one frame."""
    header = _HEADER.pack(len(frame.payload), frame.stream, frame.kind, 0)
    return header + frame.payload


def encode_request(request: Request, *, timeout_ns: int) -> bytes:
    """Write ttrpc's Request message."""
    return encode_fields(
        (1, request.service), (2, request.method), (3, request.payload), (4, timeout_ns)
    )


def decode_request(message: bytes) -> Request:
    """Read ttrpc's Request message, or raise ProtocolError."""
    fields = decode_fields(message)
    return Request(text(fields, 1), text(fields, 2), octets(fields, 3))


def encode_response(payload: bytes) -> bytes:
    """Write ttrpc's Response message for a call that was answered."""
    return encode_fields((2, payload))


def encode_failure(code: int, message: str) -> bytes:
    """Write ttrpc's Response message for a call that failed (google.rpc.Status)."""
    return encode_fields((1, encode_fields((1, code), (2, message))))


def decode_response(message: bytes) -> bytes:
    """Return the method's own message, or raise ProtocolError on any failure."""
    fields = decode_fields(message)
    status = decode_fields(octets(fields, 1))
    if number(status, 1):
        raise ProtocolError(f"call failed with status {number(status, 1)}")
    return octets(fields, 2)


Fields = dict[int, int | bytes]


def encode_fields(*fields: tuple[int, int | str | bytes]) -> bytes:
    """Write a protobuf message of varint and length-delimited fields."""
    out = bytearray()
    for index, value in fields:
        if isinstance(value, int):
            out += _varint(index << 3 | _VARINT) + _varint(value)
        else:
            raw = value.encode() if isinstance(value, str) else value
            out += _varint(index << 3 | _BYTES) + _varint(len(raw)) + raw
    return bytes(out)


def decode_fields(message: bytes) -> Fields:
    """Read a protobuf message as `list_fields`; of a repeated field the last stays."""
    return dict(list_fields(message, MAX_FIELDS))


def list_fields(message: bytes, most: int) -> list[tuple[int, int | bytes]]:
    """Read a protobuf message: number and value of each field, in order.

    Raises:
        ProtocolError: Truncated, an unknown wire type, or `most` fields or more.
    """
    fields: list[tuple[int, int | bytes]] = []
    at = 0
    for _ in range(most):
        if at == len(message):
            return fields
        key, at = _read_varint(message, at)
        wire = key & 7
        if wire == _VARINT:
            value, at = _read_varint(message, at)
            fields.append((key >> 3, value))
            continue
        if wire == _BYTES:
            length, at = _read_varint(message, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}.get(wire, len(message) + 1)
        if at + length > len(message):
            raise ProtocolError("message is cut short or no protobuf")
        fields.append((key >> 3, message[at : at + length]))
        at += length
    raise ProtocolError("message has too many fields")


def text(fields: Fields, index: int) -> str:
    """Return a text field; "" where it is absent. Raises ProtocolError."""
    try:
        return octets(fields, index).decode()
    except UnicodeDecodeError as error:
        raise ProtocolError("text is not UTF-8") from error


def octets(fields: Fields, index: int) -> bytes:
    """Return a bytes field; b"" where it is absent. Raises ProtocolError."""
    value = fields.get(index, b"")
    if not isinstance(value, bytes):
        raise ProtocolError("number where bytes were expected")
    return value


def number(fields: Fields, index: int) -> int:
    """Return a varint field; 0 where it is absent. Raises ProtocolError."""
    value = fields.get(index, 0)
    if not isinstance(value, int):
        raise ProtocolError("bytes where a number was expected")
    return value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):  # ten bytes hold 64 bits
        if at >= len(message):
            break
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ProtocolError("number is cut short or too long")

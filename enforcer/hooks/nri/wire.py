"""NRI's trunk and messages, bytes to values and back, without any I/O.

One socket carries two connections of ttrpc, in frames of connection u32, length u32 and
bytes (nri's pkg/net/multiplex): on PLUGIN the runtime calls us, on RUNTIME we call it.
Field numbers are those of nri's pkg/api/api.proto, v1alpha1; only what we read is here.
"""

import re
import struct
from dataclasses import dataclass

from enforcer import ttrpc

PLUGIN, RUNTIME = 1, 2
PLUGIN_SERVICE = "nri.pkg.api.v1alpha1.Plugin"
RUNTIME_SERVICE = "nri.pkg.api.v1alpha1.Runtime"
POST_CREATE, START, VALIDATE = 5, 6, 14  # of enum Event
MAX_RECEIVED_BYTES = 4 * 1024 * 1024  # ttrpc's own limit: a Synchronize has all pods
MAX_SENT_BYTES = 4096  # Go's side reads by that much, and calls more ENOMEM
MAX_ITEMS = 64 * 1024  # fields of one message: a container has its environment in it
DEFAULT_TIMEOUT_SECONDS = 2.0  # plugin_request_timeout, where nobody changes it
TELLS_IMAGES = (
    2,
    4,
)  # containerd: before, a name that anybody may claim is all there is
IMAGE_NAME = b"io.kubernetes.cri.image-name"  # what the user typed (facts, 0.3)

_HEADER = struct.Struct(">II")
_TTRPC_HEADER_BYTES = 10


@dataclass(frozen=True, slots=True)
class Runtime:
    """Whom we are connected to."""

    name: str
    version: str
    timeout_seconds: float

    @property
    def validates(self) -> bool:
        """Whether it asks plug-ins about a container, and says what image that has."""
        numbers = re.match(r"v?(\d{1,4})\.(\d{1,4})\.", self.version)
        if self.name != "containerd" or not numbers:
            return False
        return (int(numbers[1]), int(numbers[2])) >= TELLS_IMAGES


@dataclass(frozen=True, slots=True)
class Container:
    """A container as the runtime shows it.

    `untrusted_name` is for people; `config` is the digest of what the image runs, ""
    where the runtime does not tell.
    """

    id: str
    pod: str
    untrusted_name: str
    config: str


class Trunk:
    """Turns received bytes into frames of either connection."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._readers = {
            number: ttrpc.FrameReader(MAX_RECEIVED_BYTES)
            for number in (PLUGIN, RUNTIME)
        }

    def feed(self, received: bytes) -> list[tuple[int, ttrpc.Frame]]:
        """Take bytes as they come; return connection and frame of what they complete.

        Raises:
            ProtocolError: No such connection, or a frame that is too large.
        """
        self._buffer += received
        frames: list[tuple[int, ttrpc.Frame]] = []
        while len(self._buffer) >= _HEADER.size:
            number, length = _HEADER.unpack_from(self._buffer)
            if number not in self._readers:
                raise ttrpc.ProtocolError(f"connection {number} on the trunk")
            if length > MAX_RECEIVED_BYTES + _TTRPC_HEADER_BYTES:
                raise ttrpc.ProtocolError(f"{length} bytes on the trunk")
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            piece = bytes(self._buffer[_HEADER.size : end])
            del self._buffer[:end]
            frames += [(number, found) for found in self._readers[number].feed(piece)]
        return frames


def encode(number: int, frame: ttrpc.Frame) -> bytes:
    """Write a frame for one of the connections, in pieces that the other side reads."""
    whole = ttrpc.encode_frame(frame)
    pieces = (
        whole[n : n + MAX_SENT_BYTES] for n in range(0, len(whole), MAX_SENT_BYTES)
    )
    return b"".join(_HEADER.pack(number, len(piece)) + piece for piece in pieces)


def registration(name: str, index: str) -> ttrpc.Frame:
    """Write the call a plug-in begins with."""
    asked = ttrpc.encode_fields((1, name), (2, index))
    call = ttrpc.Request(RUNTIME_SERVICE, "RegisterPlugin", asked)
    timeout_ns = int(DEFAULT_TIMEOUT_SECONDS * 1e9)
    return ttrpc.Frame(
        1, ttrpc.REQUEST, ttrpc.encode_request(call, timeout_ns=timeout_ns)
    )


def subscription(*events: int) -> bytes:
    """Write a ConfigureResponse that asks for these events and no others."""
    return ttrpc.encode_fields((2, sum(1 << (event - 1) for event in events)))


def parse_runtime(message: bytes) -> Runtime:
    """Read a ConfigureRequest, or raise ProtocolError."""
    fields = ttrpc.decode_fields(message)
    timeout = ttrpc.number(fields, 5) / 1000 or DEFAULT_TIMEOUT_SECONDS
    return Runtime(ttrpc.text(fields, 2), ttrpc.text(fields, 3), timeout)


def parse_more(message: bytes) -> bool:
    """Return whether more is to come after this SynchronizeRequest."""
    return bool(ttrpc.number(dict(ttrpc.list_fields(message, MAX_ITEMS)), 3))


def parse_event(message: bytes) -> tuple[int, Container]:
    """Read a StateChangeEvent about a container, or raise ProtocolError."""
    fields = ttrpc.decode_fields(message)
    return ttrpc.number(fields, 1), _container(ttrpc.octets(fields, 3))


def parse_validation(message: bytes) -> Container:
    """Read a ValidateContainerAdjustmentRequest, or raise ProtocolError."""
    fields = dict(ttrpc.list_fields(message, MAX_ITEMS))
    return _container(ttrpc.octets(fields, 2))


def _container(message: bytes) -> Container:
    listed = ttrpc.list_fields(message, MAX_ITEMS)
    fields = dict(listed)
    notes = (value for number, value in listed if number == 6)
    pairs = (ttrpc.decode_fields(note) for note in notes if isinstance(note, bytes))
    named = {ttrpc.octets(pair, 1): ttrpc.text(pair, 2) for pair in pairs}
    image = ttrpc.decode_fields(ttrpc.octets(fields, 22))
    return Container(
        id=ttrpc.text(fields, 1),
        pod=ttrpc.text(fields, 2),
        untrusted_name=ttrpc.text(image, 1) or named.get(IMAGE_NAME, ""),
        config=ttrpc.text(image, 3),
    )

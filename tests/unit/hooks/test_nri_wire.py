"""NRI's bytes: what we write it reads, what it writes we read, garbage is an error."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import ttrpc
from enforcer.hooks.nri import wire

VECTORS = Path(__file__).resolve().parents[2] / "vectors/nri"
frames = st.tuples(
    st.sampled_from([wire.PLUGIN, wire.RUNTIME]),
    st.builds(
        ttrpc.Frame,
        st.integers(0, 2**32 - 1),
        st.sampled_from([ttrpc.REQUEST, ttrpc.RESPONSE]),
        st.binary(max_size=9000),
    ),
)


def recorded(name: str) -> bytes:
    """What a real runtime sent, until a container started."""
    return bytes.fromhex((VECTORS / f"{name}.hex").read_text())


def _calls(name: str) -> dict[str, bytes]:
    calls = (
        ttrpc.decode_request(frame.payload)
        for number, frame in wire.Trunk().feed(recorded(name))
        if number == wire.PLUGIN
    )
    return {call.method: call.payload for call in calls}


@given(st.lists(frames, max_size=4), st.integers(1, 3000))
def test_frames_survive_any_fragmentation(
    sent: list[tuple[int, ttrpc.Frame]], piece: int
) -> None:
    """Two connections share the trunk, and it has no message borders."""
    stream = b"".join(wire.encode(number, frame) for number, frame in sent)
    trunk = wire.Trunk()

    received = [
        found
        for start in range(0, len(stream), piece)
        for found in trunk.feed(stream[start : start + piece])
    ]

    assert received == sent


@given(st.binary(max_size=20_000))
def test_no_piece_is_larger_than_the_other_side_reads(payload: bytes) -> None:
    """Go's ttrpc takes a larger one for an error and drops the plug-in."""
    stream = wire.encode(wire.PLUGIN, ttrpc.Frame(7, ttrpc.RESPONSE, payload))

    while stream:
        length = int.from_bytes(stream[4:8])
        assert 0 < length <= wire.MAX_SENT_BYTES
        stream = stream[8 + length :]


@pytest.mark.parametrize(
    "stream",
    [
        bytes(8),
        b"\0\0\0\3" + bytes(4),
        b"\0\0\0\1\xff\xff\xff\xff",
        b"\0\0\0\1\0\0\0\x0a\xff\xff\xff\xff" + bytes(6),
        b"HTTP/1.1 400 Bad Request\r\n",
    ],
    ids=["connection 0", "connection 3", "4 GiB", "4 GiB inside", "HTTP"],
)
def test_what_is_no_trunk_is_a_protocol_error(stream: bytes) -> None:
    """Before any of it is waited for or kept."""
    with pytest.raises(ttrpc.ProtocolError):
        wire.Trunk().feed(stream)


@given(st.binary(max_size=300))
def test_garbage_is_a_protocol_error_and_nothing_else(garbage: bytes) -> None:
    """Whoever starts a container chooses most of these bytes."""
    for parse in (
        wire.Trunk().feed,
        wire.parse_runtime,
        wire.parse_more,
        wire.parse_event,
        wire.parse_validation,
    ):
        with contextlib.suppress(ttrpc.ProtocolError):
            parse(garbage)


@pytest.mark.parametrize("name", ["containerd-2.1", "containerd-2.4"])
@given(data=st.data())
def test_one_wrong_byte_is_read_or_a_protocol_error(
    name: str, data: st.DataObject
) -> None:
    """Near misses of what a real runtime sends."""
    stream = bytearray(recorded(name))
    at = data.draw(st.integers(0, len(stream) - 1))
    stream[at] = data.draw(st.integers(0, 255))

    with contextlib.suppress(ttrpc.ProtocolError):
        for _, frame in wire.Trunk().feed(bytes(stream)):
            call = ttrpc.decode_request(frame.payload)
            for parse in (wire.parse_runtime, wire.parse_event, wire.parse_validation):
                with contextlib.suppress(ttrpc.ProtocolError):
                    parse(call.payload)


def test_reads_what_containerd_2_1_tells() -> None:
    """A name, and no digest."""
    calls = _calls("containerd-2.1")

    runtime = wire.parse_runtime(calls["Configure"])
    event, container = wire.parse_event(calls["StateChange"])

    assert (runtime.name, runtime.version[:4]) == ("containerd", "2.1.")
    assert (runtime.timeout_seconds, runtime.validates) == (2.0, False)
    assert event == wire.START
    assert container.untrusted_name == "docker.io/library/app-4:1"
    assert (len(container.id), len(container.pod), container.config) == (64, 64, "")


def test_reads_what_containerd_2_4_tells() -> None:
    """The image by its configuration, before the container is made."""
    calls = _calls("containerd-2.4")

    runtime = wire.parse_runtime(calls["Configure"])
    container = wire.parse_validation(calls["ValidateContainerAdjustment"])

    assert runtime.validates
    assert container.untrusted_name == "docker.io/library/app-4:1"
    assert container.config.startswith("sha256:")
    assert len(container.config) == len("sha256:") + 64


@pytest.mark.parametrize(
    ("name", "version", "validates"),
    [
        ("containerd", "2.1.9+ds1-5", False),
        ("containerd", "v2.3.99", False),
        ("containerd", "v2.4.0-beta.1", True),
        ("containerd", "2.10.0", True),
        ("containerd", "v3.0.0", True),
        ("containerd", "2.4", False),
        ("containerd", "", False),
        ("containerd", "v99999.1.0", False),
        ("containerd", "x2.4.0", False),
        ("cri-o", "2.4.0", False),
    ],
)
def test_only_a_runtime_that_tells_images_is_asked_to_ask(
    name: str, version: str, *, validates: bool
) -> None:
    """An older one drops a plug-in that wants to be asked (facts, (b))."""
    assert wire.Runtime(name, version, 2.0).validates is validates


def test_a_container_with_more_than_anybody_reads_is_refused() -> None:
    """A message is bounded in fields, too."""
    crowd = ttrpc.encode_fields(*((7, "") for _ in range(wire.MAX_ITEMS)))

    with pytest.raises(ttrpc.ProtocolError, match="too many fields"):
        wire.parse_validation(ttrpc.encode_fields((2, crowd)))

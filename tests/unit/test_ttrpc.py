"""The light RPC: what it writes it can read, and garbage is a ProtocolError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer import ttrpc
from enforcer.api.v1 import enforcer_pb2 as pb

frames = st.builds(
    ttrpc.Frame,
    st.integers(0, 2**32 - 1),
    st.sampled_from([ttrpc.REQUEST, ttrpc.RESPONSE]),
    st.binary(max_size=300),
)


@given(st.lists(frames, max_size=5), st.integers(1, 50))
def test_frames_survive_any_fragmentation(sent: list[ttrpc.Frame], piece: int) -> None:
    """A stream has no message borders; a slow or chopped peer changes nothing."""
    stream = b"".join(ttrpc.encode_frame(frame) for frame in sent)
    reader = ttrpc.FrameReader()

    received = [
        frame
        for start in range(0, len(stream), piece)
        for frame in reader.feed(stream[start : start + piece])
    ]

    assert received == sent


@given(st.binary(max_size=200))
def test_garbage_is_a_protocol_error_and_nothing_else(garbage: bytes) -> None:
    """The gate turns a ProtocolError into a refusal; anything else is a crash."""
    for read in (ttrpc.decode_request, ttrpc.decode_response):
        try:
            read(garbage)
        except ttrpc.ProtocolError:
            continue


def test_a_frame_beyond_the_bound_is_refused_before_it_is_read() -> None:
    """Four bytes of length must not make us buffer four gigabytes."""
    header = b"\xff\xff\xff\xff" + bytes(6)

    with pytest.raises(ttrpc.ProtocolError, match="4294967295"):
        ttrpc.FrameReader().feed(header)


@given(st.text(max_size=50), st.text(max_size=50), st.sampled_from([0, 1]))
def test_fields_are_what_protobuf_itself_writes(
    code: str, message: str, allowed: int
) -> None:
    """The gate reads by hand what the daemon writes with the library."""
    raw = pb.VerifyResponse(
        allowed=bool(allowed), code=code, message=message
    ).SerializeToString()

    fields = ttrpc.decode_fields(raw)

    assert ttrpc.number(fields, 1) == allowed
    assert (ttrpc.text(fields, 2), ttrpc.text(fields, 3)) == (code, message)


@given(st.text(max_size=50), st.text(max_size=50))
def test_the_library_reads_what_we_write(bundle: str, identifier: str) -> None:
    """And the other way round."""
    raw = ttrpc.encode_fields((1, identifier), (2, bundle))

    container = pb.Container.FromString(raw)

    assert (container.id, container.bundle) == (identifier, bundle)


def test_a_failed_call_is_an_error_and_never_an_empty_answer() -> None:
    """An empty VerifyResponse would read as a denial without a reason."""
    with pytest.raises(ttrpc.ProtocolError, match="status 12"):
        ttrpc.decode_response(ttrpc.encode_failure(12, "no such method"))

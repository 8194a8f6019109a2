"""Which parser reads which envelope: the one place that lists the formats."""

from collections.abc import Callable

from enforcer.core.envelope.cose import parse_cose
from enforcer.core.envelope.jws import parse_jws
from enforcer.core.envelope.untrusted import EnvelopeFormat, UntrustedEnvelope
from enforcer.core.errors import EnforcerError

_PARSERS: dict[EnvelopeFormat, Callable[[bytes], UntrustedEnvelope]] = {
    EnvelopeFormat.JWS: parse_jws,
    EnvelopeFormat.COSE: parse_cose,
}


def parse_envelope(format_: EnvelopeFormat, raw: bytes) -> UntrustedEnvelope:
    """Read an envelope of a known format.

    Raises:
        MalformedError: Anything the specification does not allow (SIGNATURE_INVALID).
        TooLargeError: More than MAX_ENVELOPE_BYTES.
    """
    return _PARSERS[format_](raw)


def untrusted_chain(media_type: str, raw: bytes) -> tuple[bytes, ...]:
    """Return the certificates an envelope carries, or () where it cannot be read.

    Only good for guessing which signature to try first.
    """
    format_ = EnvelopeFormat.of(media_type)
    if format_ is None:
        return ()
    try:
        return parse_envelope(format_, raw).x5c
    except EnforcerError:
        return ()

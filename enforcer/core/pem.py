"""PEM files of certificates (RFC 7468), read so that nothing in them goes unseen."""

import base64
import binascii
import re

from enforcer.core.errors import MalformedError

_BLOCK = re.compile(
    rb"-----BEGIN CERTIFICATE-----[ \t]*\r?\n"
    rb"([A-Za-z0-9+/=\r\n]*)"
    rb"-----END CERTIFICATE-----[ \t]*(?=\r?\n|\Z)"
)


def parse_pem_certificates(
    raw: bytes, *, what: str, max_count: int
) -> tuple[bytes, ...]:
    """Return the DER of every certificate in a PEM file, in its order.

    Text around the blocks is passed over (RFC 7468 section 2, and `openssl x509
    -text` writes it), but a boundary line that belongs to no certificate is not: a
    damaged certificate or a private key is an error, not a comment.

    Raises:
        MalformedError: No certificate, too many, a damaged one, or something else.
    """
    blocks = [match.group(1) for match in _BLOCK.finditer(raw)]
    if b"-----" in _BLOCK.sub(b"", raw) or not blocks:
        raise MalformedError(
            f"{what} holds something else than whole PEM certificates",
            remedy='Every block must be a "-----BEGIN CERTIFICATE-----" one, '
            "with nothing cut off.",
        )
    if len(blocks) > max_count:
        raise MalformedError(
            f"{what} holds {len(blocks)} certificates, more than {max_count}",
            remedy="Keep only those that are needed.",
        )
    return tuple(_decode(block, what) for block in blocks)


def _decode(block: bytes, what: str) -> bytes:
    try:
        return base64.b64decode(b"".join(block.split()), validate=True)
    except binascii.Error as error:
        raise MalformedError(
            f"{what} holds a PEM block that is not base64",
            remedy="Export the certificate again.",
        ) from error

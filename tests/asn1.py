"""ASN.1 for tests: a DER encoder of its own, and the BER that is refused or taken."""

from datetime import UTC, datetime

OIDS = {
    "signed-data": "1.2.840.113549.1.7.2",
    "data": "1.2.840.113549.1.7.1",
    "tst-info": "1.2.840.113549.1.9.16.1.4",
    "content-type": "1.2.840.113549.1.9.3",
    "message-digest": "1.2.840.113549.1.9.4",
    "signing-time": "1.2.840.113549.1.9.5",
    "signing-certificate-v2": "1.2.840.113549.1.9.16.2.47",
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
    "rsa": "1.2.840.113549.1.1.1",
    "rsa-pss": "1.2.840.113549.1.1.10",
    "rsa-sha256": "1.2.840.113549.1.1.11",
    "rsa-sha512": "1.2.840.113549.1.1.13",
    "ecdsa-sha256": "1.2.840.10045.4.3.2",
    "ecdsa-sha384": "1.2.840.10045.4.3.3",
    "ecdsa-sha512": "1.2.840.10045.4.3.4",
    "baseline": "0.4.0.2023.1.1",
    "policy": "1.3.6.1.4.1.99999.1",
}


def tlv(tag: int, *parts: bytes) -> bytes:
    """One element in DER."""
    contents = b"".join(parts)
    if len(contents) < 128:
        return bytes([tag, len(contents)]) + contents
    octets = (len(contents).bit_length() + 7) // 8
    return (
        bytes([tag, 0x80 + octets]) + len(contents).to_bytes(octets, "big") + contents
    )


def long_form(element: bytes) -> bytes:
    """The same element with a length of four octets: BER, and not DER."""
    skip = 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)
    contents = element[skip:]
    return element[:1] + b"\x84" + len(contents).to_bytes(4, "big") + contents


def indefinite(element: bytes) -> bytes:
    """The same element with an indefinite length."""
    skip = 2 + (element[1] & 0x7F if element[1] & 0x80 else 0)
    return element[:1] + b"\x80" + element[skip:] + b"\x00\x00"


def seq(*parts: bytes) -> bytes:
    return tlv(0x30, *parts)


def set_of(*parts: bytes) -> bytes:
    return tlv(0x31, *sorted(parts))


def integer(value: int, tag: int = 0x02) -> bytes:
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(raw: bytes) -> bytes:
    return tlv(0x04, raw)


def oid(dotted: str) -> bytes:
    arcs = [int(arc) for arc in OIDS.get(dotted, dotted).split(".")]
    out = b""
    for arc in (40 * arcs[0] + arcs[1], *arcs[2:]):
        groups = [arc & 0x7F]
        while arc := arc >> 7:
            groups.insert(0, arc & 0x7F | 0x80)
        out += bytes(groups)
    return tlv(0x06, out)


def algorithm(hash_name: str) -> bytes:
    return seq(oid(hash_name), tlv(0x05))


def generalized(at: datetime) -> bytes:
    text = f"{at.astimezone(UTC):%Y%m%d%H%M%S}"
    if at.microsecond:
        text += f".{at.microsecond:06d}".rstrip("0")
    return tlv(0x18, text.encode() + b"Z")


def utc_time(at: datetime) -> bytes:
    return tlv(0x17, f"{at.astimezone(UTC):%y%m%d%H%M%S}Z".encode())


def attribute(kind: str, *values: bytes) -> bytes:
    return seq(oid(kind), set_of(*values))

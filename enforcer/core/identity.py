"""Trusted identities: whom, of those a trust store vouches for, a statement means.

Follows trust-store-trust-policy.md, "Trusted Identities". A certificate that notation
cannot match is not matched here either, but the reason is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509
from cryptography.x509.oid import NameOID

from enforcer.core.errors import MalformedError, clip

MAX_SUBJECT_TEXT = 1024  # shown characters; a subject of all nine attributes has 300

SUBJECT_PREFIX = "x509.subject"

# The attributes Go, and so notation, knows by name. Others are dotted numbers there.
_STANDARD = {
    NameOID.COMMON_NAME: "CN",
    NameOID.SERIAL_NUMBER: "SERIALNUMBER",
    NameOID.COUNTRY_NAME: "C",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.STREET_ADDRESS: "STREET",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "OU",
    NameOID.POSTAL_CODE: "POSTALCODE",
}
_MANDATORY = ("C", "ST", "O")  # TP445-447; S is another spelling of ST
_ESCAPABLE = ' "#+,;<=>\\'  # RFC 4514 section 3, "special"
_SEPARATORS = ",;"  # the second one is RFC 1779's


class IdentityKind(StrEnum):
    """What an identity names."""

    ANY = "any"
    SUBJECT = "subject"
    OTHER = "other"  # of a kind we do not know: allowed in a policy, matches nobody


@dataclass(frozen=True, slots=True)
class Identity:
    """One trusted identity. `text` is as the policy wrote it."""

    kind: IdentityKind
    text: str
    attributes: frozenset[tuple[str, str]] = frozenset()

    def __post_init__(self) -> None:
        if (self.kind is IdentityKind.SUBJECT) != bool(self.attributes):
            raise ValueError("a subject has attributes, and nothing else has")

    @property
    def unmatchable(self) -> bool:
        """Whether no certificate can ever match."""
        names = {name for name, _ in self.attributes}
        return self.kind is IdentityKind.OTHER or not names <= set(_STANDARD.values())

    def overlaps(self, other: "Identity") -> bool:
        """Whether one of two subjects covers the other (TP448 as notation reads it)."""
        both = {self.kind, other.kind}
        covers = self.attributes <= other.attributes
        return both == {IdentityKind.SUBJECT} and (
            covers or other.attributes <= self.attributes
        )


def parse_identity(text: str) -> Identity:
    """Read one entry of `trustedIdentities`.

    Raises:
        MalformedError: Not `*` nor `prefix:value`, or a subject that is not a
            distinguished name with C, ST (or S) and O, each attribute once.
    """
    if text == "*":
        return Identity(IdentityKind.ANY, text)
    prefix, separator, value = text.partition(":")
    if not separator or not prefix:
        raise _malformed(text, f'expected "*" or "{SUBJECT_PREFIX}: C=, ST=, O="')
    if prefix != SUBJECT_PREFIX:
        return Identity(IdentityKind.OTHER, text)
    attributes = _parse_name(value, text)
    for name in _MANDATORY:
        if not attributes.get(name):
            raise _malformed(
                text, f"{name} is missing; C, ST (or S) and O must be there"
            )
    return Identity(IdentityKind.SUBJECT, text, frozenset(attributes.items()))


def identity_problem(identities: Sequence[Identity], subject: x509.Name) -> str | None:
    """Say why none of these identities is this subject, or None if one is."""
    if any(i.kind is IdentityKind.ANY for i in identities):
        return None
    found, problem = _matchable_attributes(subject)
    if problem:
        return problem
    for identity in identities:
        if identity.kind is IdentityKind.SUBJECT and identity.attributes <= found:
            return None
    wanted = ", ".join(f'"{clip(identity.text)}"' for identity in identities)
    return f"which is not an identity the statement trusts ({wanted})"


def subject_text(name: x509.Name) -> str:
    """Return a name for people: RFC 4514, last attribute first, printable, bounded.

    That is the order notation prints: `CN=x,O=acme,ST=WA,C=US`.
    """
    parts = [
        "+".join(_shown_attribute(attribute) for attribute in rdn)
        for rdn in reversed(name.rdns)
    ]
    return clip(",".join(parts), limit=MAX_SUBJECT_TEXT)


def _matchable_attributes(
    subject: x509.Name,
) -> tuple[frozenset[tuple[str, str]], str | None]:
    """Return the attributes to compare, or why notation could not read this name.

    notation prints the name and parses the print, which fails for any attribute Go
    has no name for, any that repeats, and "=#" anywhere (facts 1.8, I7).
    """
    found: dict[str, str] = {}
    for attribute in subject:
        name, value = _STANDARD.get(attribute.oid), attribute.value
        if name is None or not isinstance(value, str):
            oid = attribute.oid.dotted_string
            return frozenset(), f"whose attribute {oid} no trusted identity can match"
        if name in found:
            return frozenset(), f"which has {name} twice, so no identity can match it"
        if "=#" in value or value.strip() != value.strip(" "):
            return frozenset(), f"whose {name} has characters no identity can match"
        found[name] = value
    return frozenset(found.items()), None


def _parse_name(text: str, whole: str) -> dict[str, str]:
    """Read an RFC 4514 name as far as notation takes it (I5, I6)."""
    attributes: dict[str, str] = {}
    for part in _split(text, whole):
        name, separator, value = part.partition("=")
        name, value = name.strip(" "), _unescape(value, whole)
        name = "ST" if name == "S" else name
        if not separator or not name or not value:
            raise _malformed(whole, f'"{clip(part, limit=40)}" is not NAME=value')
        if name in attributes:
            raise _malformed(whole, f"{clip(name, limit=40)} is there twice")
        attributes[name] = value
    return attributes


def _split(text: str, whole: str) -> list[str]:
    """Cut at separators that are not escaped; escapes stay as they are."""
    parts, start, index = [], 0, 0
    while index < len(text):  # bounded by the text itself
        character = text[index]
        if character == "+":
            raise _malformed(whole, "several attributes joined by + are not allowed")
        if character in _SEPARATORS:
            parts.append(text[start:index])
            start = index + 1
        index += 2 if character == "\\" else 1
    return [*parts, text[start:]]


def _unescape(value: str, whole: str) -> str:
    r"""Undo `\,` and `\2C`; trim spaces that are not escaped."""
    value = value.lstrip(" ")
    if value.startswith("#") or "=#" in value:
        raise _malformed(whole, "values in hexadecimal (=#) are not allowed")
    out, index, kept = bytearray(), 0, 0
    while index < len(value):  # bounded by the text itself
        length = _escape_length(value, index, whole)
        out += _unescaped(value[index : index + length])
        if value[index] != " ":
            kept = len(out)
        index += length
    if kept < len(out) and out[:kept].endswith(b"\\"):
        # notation's parser takes that space for an escaped one
        raise _malformed(whole, "a value ends in a backslash and a space")
    try:
        return out[:kept].decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(whole, "an escaped value is not UTF-8") from error


def _escape_length(value: str, index: int, whole: str) -> int:
    if value[index] != "\\":
        return 1
    if value[index + 1 : index + 2] and value[index + 1] in _ESCAPABLE:
        return 2
    digits = value[index + 1 : index + 3]
    if len(digits) == 2 and all(d in "0123456789abcdefABCDEF" for d in digits):
        return 3
    raise _malformed(whole, "a backslash escapes nothing that needs it")


def _unescaped(token: str) -> bytes:
    if len(token) == 3:
        return bytes.fromhex(token[1:])
    return token[-1].encode("utf-8")


def _shown_attribute(attribute: x509.NameAttribute[str | bytes]) -> str:
    name = _STANDARD.get(attribute.oid, attribute.oid.dotted_string)
    if isinstance(attribute.value, bytes):
        return f"{name}=#{attribute.value.hex()}"
    return f"{name}={_escape(attribute.value)}"


def _escape(value: str) -> str:
    shown = "".join(f"\\{c}" if c in '"+,;<>\\' else c for c in value)
    if shown[:1] in (" ", "#"):
        shown = f"\\{shown}"
    if len(value) > 1 and value.endswith(" "):
        shown = f"{shown[:-1]}\\ "
    return shown


def _malformed(text: str, why: str) -> MalformedError:
    return MalformedError(
        f'trusted identity "{clip(text)}": {why}',
        remedy=f'Expected "{SUBJECT_PREFIX}: C=US, ST=WA, O=acme".',
    )

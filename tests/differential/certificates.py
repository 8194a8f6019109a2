"""Chains with something wrong: odd templates, and DER edited and signed again."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.differential.envelopes import draft, media_type
from tests.differential.world import Case, World
from tests.pki import (
    USAGES,
    Party,
    Template,
    ca_template,
    issue,
    leaf_template,
    name,
)

_PURPOSES = (
    ExtendedKeyUsageOID.CODE_SIGNING,
    ExtendedKeyUsageOID.SERVER_AUTH,
    ExtendedKeyUsageOID.CLIENT_AUTH,
    ExtendedKeyUsageOID.EMAIL_PROTECTION,
    ExtendedKeyUsageOID.TIME_STAMPING,
    ExtendedKeyUsageOID.OCSP_SIGNING,
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    x509.ObjectIdentifier("1.3.6.1.5.5.7.3.99"),
)
_SEQUENCE, _INTEGER, _BITS, _OCTETS = 0x30, 0x02, 0x03, 0x04
_TAGS = (
    0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0C, 0x13, 0x14, 0x16, 0x17, 0x18, 0x1E, 0x30,
    0x31, 0x80, 0x81, 0xA0, 0xA1, 0xA3,
)  # fmt: skip


@dataclass
class Element:
    """One DER element; `parts` where it holds others, else `content`."""

    tag: int
    content: bytes
    parts: list["Element"] | None = None
    prefix: bytes = b""  # a BIT STRING's count of unused bits

    def encode(self) -> bytes:
        inner = self.content
        if self.parts is not None:
            inner = self.prefix + b"".join(part.encode() for part in self.parts)
        return bytes([self.tag]) + _length(len(inner)) + inner


def read(raw: bytes) -> list[Element]:
    """Read elements as deep as they go; ValueError where it is not DER."""
    found, at = [], 0
    while at < len(raw):
        tag, first, start = raw[at], raw[at + 1], at + 2
        if tag & 0x1F == 0x1F or first == 0x80:
            raise ValueError
        if first > 0x80:
            start += first & 0x7F
            first = int.from_bytes(raw[at + 2 : start], "big")
        content = raw[start : start + first]
        if len(content) != first:
            raise ValueError
        found.append(_element(tag, content))
        at = start + first
    return found


def _element(tag: int, content: bytes) -> Element:
    if tag & 0x20:
        return Element(tag, content, read(content))
    prefix = content[:1] if tag == _BITS else b""
    if tag in (_OCTETS, _BITS) and len(content) > 2:
        try:
            return Element(tag, content, read(content[len(prefix) :]), prefix)
        except (ValueError, IndexError):
            pass
    return Element(tag, content)


def edit(root: Element, rng: random.Random) -> str:
    """Do one thing to one element somewhere below, in place."""
    places = list(_places(root))
    parts, index = rng.choice(places)
    chosen = parts[index]
    how = rng.choice(["tag", "content", "content", "delete", "double", "swap", "empty"])
    if how == "tag":
        chosen.tag = rng.choice(_TAGS)
    elif how == "delete":
        del parts[index]
    elif how == "double":
        parts.insert(index, chosen)
    elif how == "swap":
        other = rng.randrange(len(parts))
        parts[index], parts[other] = parts[other], parts[index]
    elif how == "empty":
        chosen.parts, chosen.content = None, b""
    else:
        chosen.content, chosen.parts = _changed(chosen, rng), None
    return f"{how} of {chosen.tag:#04x} {chosen.content[:24].hex()}"


def _changed(element: Element, rng: random.Random) -> bytes:
    raw = element.encode()[2 if len(element.content) < 128 else 4 :] or b"\0"
    at = rng.randrange(len(raw))
    return rng.choice(
        [
            raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :],
            raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :],
            b"\0" + raw,
            b"\xff" + raw,
            raw + b"\0",
            raw[:-1],
            raw[1:],
        ]
    )


def _places(element: Element) -> list[tuple[list[Element], int]]:
    found: list[tuple[list[Element], int]] = []
    for index, part in enumerate(element.parts or ()):
        assert element.parts is not None
        found.append((element.parts, index))
        found += _places(part)
    return found


def resigned(
    party: Party, issuer: Party, change: Callable[[list[Element]], None]
) -> bytes:
    """Change the parts of what a certificate says, and have its issuer sign that.

    The parts: version, serial number, algorithm, issuer, validity, subject, key and
    extensions.
    """
    whole = read(party.der)[0]
    assert whole.parts is not None
    tbs, algorithm, value = whole.parts
    assert tbs.parts is not None
    change(tbs.parts)
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(tbs.encode(), ec.ECDSA(hashes.SHA256()))
    parts = [tbs, algorithm, Element(value.tag, b"\0" + signature)]
    return Element(_SEQUENCE, b"", parts).encode()


def signed_again(der: bytes, issuer: Party, rng: random.Random) -> tuple[bytes, str]:
    """Edit what a certificate says, and have its issuer sign that."""
    whole = read(der)[0]
    assert whole.parts is not None
    tbs, algorithm, value = whole.parts
    done = [edit(tbs, rng) for _ in range(rng.choice([1, 1, 2]))]
    assert isinstance(issuer.key, ec.EllipticCurvePrivateKey)
    signature = issuer.key.sign(tbs.encode(), ec.ECDSA(hashes.SHA256()))
    if rng.random() < 0.05:
        done.append("outer " + edit(whole, rng))
    parts = [tbs, algorithm, Element(value.tag, b"\0" + signature)]
    return Element(_SEQUENCE, b"", parts).encode(), "; ".join(done)


def recertified(world: World, rng: random.Random) -> Case:
    """A right envelope under a chain one of whose certificates is odd."""
    format_ = rng.choice(["jws", "cose"])
    if rng.random() < 0.5:
        chain, done = _templated(world, rng)
        kind = "templated"
    else:
        right = rng.choice([world.chains["ES256"], world.rich, world.rich])
        place = rng.choice([0, 0, 1, 2])
        issuer = right[min(place + 1, 2)]
        der, done = signed_again(right[place].der, issuer, rng)
        parties: list[Party] = list(right)
        parties[place] = _Bytes(right[place].key, right[place].certificate, der)
        chain, kind, done = parties, "DER", f"#{place + 1}: {done}"
    envelope = draft(world, format_, "ES256", chain, rng).write()
    return world.case(f"{format_} {kind}", done, envelope, media_type(format_))


@dataclass(frozen=True)
class _Bytes(Party):
    """A party whose certificate is other bytes than the library would write."""

    raw: bytes = b""

    @property
    def der(self) -> bytes:
        return self.raw


def _templated(world: World, rng: random.Random) -> tuple[Sequence[Party], str]:
    """Issue a leaf, and perhaps an intermediate, of chance below a trusted root."""
    _, middle, root = world.chains["ES256"]
    said = []
    issuers = [middle, root]
    if rng.random() < 0.3:
        template, what = _odd(world, ca_template("C=US,ST=WA,O=acme,CN=odd"), rng)
        issuers = [issue(template, root), root]
        said.append(f"CA: {what}")
    template, what = world.dated(leaf_template()), "right"
    if not said or rng.random() < 0.5:
        template, what = _odd(world, leaf_template(), rng)
    said.append(f"leaf: {what}")
    key = world.chains["ES256"][0].key
    return [issue(template, issuers[0], key=key), *issuers], "; ".join(said)


def _odd(world: World, template: Template, rng: random.Random) -> tuple[Template, str]:
    hour = timedelta(hours=1)
    url = x509.UniformResourceIdentifier("https://example.com")
    usages = tuple(u for u in USAGES[:7] if rng.random() < 0.2)
    changes: dict[str, Any] = {
        "ca": rng.choice([None, True, False]),
        "ca_critical": False,
        "path_length": rng.choice([0, 1]) if template.ca else None,
        "usages": rng.choice([None, usages, ("digital_signature", *usages)]),
        "usages_critical": False,
        "purposes": tuple(rng.sample(_PURPOSES, rng.choice([0, 1, 1, 2]))),
        "starts": world.now + rng.choice([hour, -hour, -hour * 24 * 365 * 30]),
        "ends": world.now + rng.choice([-hour / 2, hour, hour * 24 * 365 * 30]),
        "subject": name(rng.choice(["C=US,ST=WA,O=acme,OU=a,OU=b", "CN=x", "O=acme"])),
        "hash": rng.choice([hashes.SHA384, hashes.SHA224]),
        "extra": tuple(
            rng.sample(
                [
                    (x509.SubjectAlternativeName([url]), rng.random() < 0.5),
                    (x509.NameConstraints([x509.DNSName("a.b")], None), True),
                    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"x"),
                     rng.random() < 0.5),
                    (x509.PrecertPoison(), True),
                    (x509.InhibitAnyPolicy(0), True),
                    (x509.PolicyConstraints(0, None), True),
                    (x509.OCSPNoCheck(), False),
                    (x509.SubjectKeyIdentifier(b"\1\2"), rng.random() < 0.5),
                    (x509.AuthorityKeyIdentifier(b"\1\2", None, None), False),
                ],
                rng.choice([1, 2]),
            )
        ),
    }  # fmt: skip
    chosen = rng.sample(sorted(changes), rng.choice([1, 1, 2]))
    odd = replace(world.dated(template), **{key: changes[key] for key in chosen})
    if odd.starts >= odd.ends:
        odd = replace(odd, starts=odd.ends - hour)
    if not odd.ca and odd.path_length is not None:
        odd = replace(odd, path_length=None)
    if odd.usages is not None and not odd.usages:
        odd = replace(odd, usages=("content_commitment",))
    return odd, ", ".join(f"{key}={changes[key]!r:.80}" for key in chosen)


def _length(number: int) -> bytes:
    if number < 128:
        return bytes([number])
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(raw)]) + raw

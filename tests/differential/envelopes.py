"""Envelopes with something wrong: edited, re-signed, spliced, or signed oddly."""

import base64
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from tests.differential.tree import Node, Pairs, Raw, Tagged, mutate, to_cbor, to_json
from tests.differential.world import COSE, JWS, Case, World
from tests.pki import NOTARY, PAYLOAD_TYPE, Key, Party, base64url, ders, sign

COSE_ALGORITHMS = {
    "PS256": -37, "PS384": -38, "PS512": -39, "ES256": -7, "ES384": -35, "ES512": -36,
}  # fmt: skip
SCHEME, SIGNED_AT = f"{NOTARY}signingScheme", f"{NOTARY}signingTime"
AUTHENTIC, EXPIRY = f"{NOTARY}authenticSigningTime", f"{NOTARY}expiry"
AGENT, TIMESTAMP = f"{NOTARY}signingAgent", f"{NOTARY}timestampSignature"
AUTHORITY = "notary.x509.signingAuthority"

# What a mutation puts in: names and values that mean something somewhere.
WORDS: tuple[Node, ...] = (
    SCHEME, SIGNED_AT, AUTHENTIC, EXPIRY, AGENT, TIMESTAMP, AUTHORITY, "notary.x509",
    PAYLOAD_TYPE, "alg", "cty", "crit", "x5c", "kid", "b64", "typ", "jwk", "com.x.y",
    *COSE_ALGORITHMS, *COSE_ALGORITHMS.values(), "none", "HS256", "RS256",
    1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 15, 16, 33, 258, 0, -1, 2.0, True, False, None,
    [], Pairs(), "", b"", b"x", "annotations", "digest", "size", "mediaType",
    "targetArtifact", "artifactType", "urls", "data", "platform", "a", "b",
    [SCHEME], [SCHEME, EXPIRY], [SCHEME, AUTHENTIC], [1], [33],
    "2026-01-01T00:00:00Z", "2099-01-01T00:00:00Z", "2099-01-01T00:00:00.5+02:00",
    "0001-01-01T00:00:00Z", Tagged(1, 4070908800), Tagged(1, 4070908800.5),
    Tagged(1, -62135596800), Tagged(1, 0), Tagged(0, "2099-01-01T00:00:00Z"),
    Tagged(2, b"\1"), Tagged(18, []), Tagged(37, b"0123456789abcdef"),
)  # fmt: skip


@dataclass(frozen=True)
class Draft:
    """An envelope before it is written: trees to edit, a key to sign with."""

    format: str
    protected: Node
    payload: Node
    header: Node
    top: Node
    signs: Callable[[bytes], bytes]

    def message(self) -> bytes:
        """What a signature over this is over."""
        if self.format == "jws":
            parts = (to_json(self.protected), to_json(self.payload))
            return ".".join(base64url(part) for part in parts).encode()
        protected, payload = to_cbor(self.protected), to_json(self.payload)
        return to_cbor(["Signature1", protected, b"", payload])

    def write(self, *, parts: "Draft | None" = None) -> bytes:
        """Sign what it says now, or with `parts` what that said before."""
        signature = self.signs((parts or self).message())
        if self.format == "jws":
            values: dict[str, Node] = {
                "payload": base64url(to_json(self.payload)),
                "protected": base64url(to_json(self.protected)),
                "header": self.header,
                "signature": base64url(signature),
            }
            return to_json(
                Pairs((key, values.get(str(value), value)) for key, value in self.top)
            )
        values = {
            "payload": to_json(self.payload),
            "protected": Raw(to_cbor(to_cbor(self.protected))),
            "header": self.header,
            "signature": signature,
        }
        return b"\xd2" + to_cbor([values.get(str(x), x) for x in self.top])


def draft(
    world: World,
    format_: str,
    name: str,
    chain: Sequence[Party],
    rng: random.Random,
    *,
    plain: bool = False,
) -> Draft:
    """A right envelope: either scheme, with and without expiry and metadata.

    A `plain` one is of the usual scheme and has neither.
    """
    authority = rng.random() < 0.3 and not plain
    expires = rng.random() < 0.5 and not plain
    critical = [SCHEME]
    at = int(world.now.timestamp()) - 60
    time = _time(format_, at)
    said = Pairs(_algorithm(format_, name))
    said.append((SCHEME, AUTHORITY if authority else "notary.x509"))
    said.append((AUTHENTIC if authority else SIGNED_AT, time))
    if authority:
        critical.append(AUTHENTIC)
    if expires:
        critical.append(EXPIRY)
        said.append((EXPIRY, _time(format_, at + 86400)))
    said.append((2 if format_ == "cose" else "crit", critical))
    target = Pairs(
        [
            ("mediaType", world.target.media_type),
            ("digest", str(world.target.digest)),
            ("size", world.target.size),
        ]
    )
    if rng.random() < 0.5:
        target.append(("annotations", Pairs([("a", "1")])))
    x5c = [
        der if format_ == "cose" else base64.b64encode(der).decode()
        for der in ders(chain)
    ]
    header = Pairs([(33 if format_ == "cose" else "x5c", x5c), (AGENT, "test/1")])
    names = ["protected", "header", "payload", "signature"]
    return Draft(
        format_,
        said,
        Pairs([("targetArtifact", target)]),
        header,
        names if format_ == "cose" else Pairs((n, n) for n in names),
        lambda message: sign(chain[0].key, message),
    )


def any_draft(world: World, rng: random.Random) -> Draft:
    """A right envelope of any format by any signer; the cheap keys more often."""
    name = rng.choice([*world.chains, "ES256", "ES256", "PS256"])
    format_ = rng.choice(["jws", "cose"])
    return draft(world, format_, name, world.chains[name], rng)


def media_type(format_: str) -> str:
    return JWS if format_ == "jws" else COSE


def edited(world: World, rng: random.Random) -> Case:
    """One to three edits anywhere; signed again, or left with the old signature."""
    right = any_draft(world, rng)
    wrong, done = right, []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        part = rng.choice(["protected"] * 4 + ["payload", "payload", "header", "top"])
        tree, what = mutate(getattr(wrong, part), rng, WORDS)
        done.append(f"{part}: {what}")
        wrong = replace(wrong, **{part: tree})
    again = rng.random() < 0.85
    raw = wrong.write(parts=None if again else right)
    kind = f"{right.format} {'signed again' if again else 'edited'}"
    return world.case(kind, "; ".join(done), raw, media_type(right.format))


def damaged(world: World, rng: random.Random) -> Case:
    """Bytes flipped, put in, taken out, doubled."""
    right = any_draft(world, rng)
    raw = right.write()
    at, length = rng.randrange(len(raw)), rng.choice([1, 1, 2, 8])
    how = rng.choice(["flip", "insert", "delete", "double", "truncate"])
    changed = {
        "flip": raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :],
        "insert": raw[:at] + rng.randbytes(length) + raw[at:],
        "delete": raw[:at] + raw[at + length :],
        "double": raw[:at] + raw[at : at + length] + raw[at:],
        "truncate": raw[:at],
    }[how]
    kind = f"{right.format} damaged"
    return world.case(
        kind, f"{how} {length} at {at}", changed, media_type(right.format)
    )


def spliced(world: World, rng: random.Random) -> Case:
    """Parts of two right envelopes, one of them perhaps a stranger's."""
    format_ = rng.choice(["jws", "cose"])
    names = [rng.choice(["ES256", "ES384", "PS256"]) for _ in range(2)]
    one, other = (draft(world, format_, n, world.chains[n], rng) for n in names)
    stranger = rng.random() < 0.5
    if stranger:
        other = draft(world, format_, "ES256", world.stranger, rng)
    parts = [p for p in ("protected", "payload", "header") if rng.random() < 0.4]
    mixed = replace(one, **{part: getattr(other, part) for part in parts})
    signs = rng.choice([one, other])
    signed = rng.choice([one, other, mixed])
    raw = replace(mixed, signs=signs.signs).write(parts=signed)
    done = (
        f"{names}{' stranger' if stranger else ''}: {parts} of the other, signed by "
        f"{'one' if signs is one else 'other'} over "
        f"{'one' if signed is one else 'other' if signed is other else 'the mix'}"
    )
    return world.case(f"{format_} spliced", done, raw, media_type(format_))


def oddly_signed(world: World, rng: random.Random) -> Case:
    """A right envelope whose primitive signature is not quite one."""
    right = any_draft(world, rng)
    algorithm = next(v for k, v in right.protected if k in ("alg", 1))
    name = next(n for n, v in COSE_ALGORITHMS.items() if algorithm in (n, v))
    key = world.chains[name][0].key
    how = rng.choice(list(RSA_WAYS if isinstance(key, rsa.RSAPrivateKey) else EC_WAYS))
    raw = replace(right, signs=lambda message: odd_signature(key, message, how)).write()
    return world.case(
        f"{right.format} oddly signed", f"{name} {how}", raw, media_type(right.format)
    )


RSA_WAYS = (
    "salt 0", "salt 20", "salt max", "other hash", "other mgf", "pkcs1", "leading zero",
    "chopped zero", "plus modulus", "zero", "one", "modulus",
)  # fmt: skip
EC_WAYS = (
    "der", "negated s", "r zero", "s zero", "r order", "s order", "longer", "shorter",
    "swapped", "other hash", "r plus order",
)  # fmt: skip
_ORDERS = {
    "secp256r1": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "secp384r1": int(
        "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf"
        "581a0db248b0a77aecec196accc52973",
        16,
    ),
    "secp521r1": int(
        "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa"
        "51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
        16,
    ),
}


def odd_signature(key: Key, message: bytes, how: str) -> bytes:
    """Sign in one of the ways above."""
    if isinstance(key, rsa.RSAPrivateKey):
        return _odd_rsa(key, message, how)
    size, order = (key.key_size + 7) // 8, _ORDERS[key.curve.name]
    hash_ = {256: hashes.SHA256(), 384: hashes.SHA384()}.get(
        key.key_size, hashes.SHA512()
    )
    if how == "other hash":
        hash_ = hashes.SHA384() if hash_.name == "sha256" else hashes.SHA256()
    der = key.sign(message, ec.ECDSA(hash_))
    r, s = decode_dss_signature(der)
    odd = {
        "der": None,
        "negated s": (r, order - s),
        "r zero": (0, s),
        "s zero": (r, 0),
        "r order": (order, s),
        "s order": (r, order),
        "swapped": (s, r),
        "r plus order": (r + order, s),
    }.get(how, (r, s))
    if odd is None:
        return der
    width = size + {"longer": 1, "shorter": -1}.get(how, 0)
    room = 1 << 8 * width
    return b"".join((n % room).to_bytes(width, "big") for n in odd)


def _odd_rsa(key: rsa.RSAPrivateKey, message: bytes, how: str) -> bytes:
    bits = {2048: hashes.SHA256(), 3072: hashes.SHA384()}
    hash_: hashes.HashAlgorithm = bits.get(key.key_size, hashes.SHA512())
    other = hashes.SHA384() if hash_.name == "sha256" else hashes.SHA256()
    size, n = key.key_size // 8, key.public_key().public_numbers().n
    salts = {"salt 0": 0, "salt 20": 20, "salt max": size - 2 - hash_.digest_size}
    pss = padding.PSS(
        padding.MGF1(other if how == "other mgf" else hash_),
        salts.get(how, hash_.digest_size),
    )
    if how == "pkcs1":
        return key.sign(message, padding.PKCS1v15(), hash_)
    signature = key.sign(message, pss, other if how == "other hash" else hash_)
    if how == "chopped zero":
        while signature[0]:
            signature = key.sign(message, pss, hash_)
        return signature[1:]
    number = int.from_bytes(signature, "big")
    odd = {"plus modulus": number + n, "zero": 0, "one": 1, "modulus": n}
    changed = odd.get(how, number)
    width = size + (how == "leading zero") + (changed >= 1 << 8 * size)
    return changed.to_bytes(width, "big")


def _algorithm(format_: str, name: str) -> list[tuple[Node, Node]]:
    if format_ == "cose":
        return [(1, COSE_ALGORITHMS[name]), (3, PAYLOAD_TYPE)]
    return [("alg", name), ("cty", PAYLOAD_TYPE)]


def _time(format_: str, seconds: int) -> Node:
    if format_ == "cose":
        return Tagged(1, seconds)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

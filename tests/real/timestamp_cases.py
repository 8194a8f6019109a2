"""Tokens to countersign with, and what enforcer and notation say to each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from tests.asn1 import (
    attribute,
    generalized,
    indefinite,
    integer,
    long_form,
    octets,
    oid,
    seq,
    tlv,
    utc_time,
)
from tests.pki import (
    Party,
    Template,
    ca_template,
    issue,
    leaf_template,
    rsa_key,
)
from tests.tsa import Authority, accuracy, timestamping, tsa_chain, tsa_template

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
STAMPED = NOW - 5 * DAY  # when the signer's certificate was still valid


def years(template: Template) -> Template:
    return replace(template, starts=NOW - 900 * DAY, ends=NOW + 900 * DAY)


ROOT = years(ca_template("C=US,ST=WA,O=tsa,CN=tsa root"))
MIDDLE = years(ca_template("C=US,ST=WA,O=tsa,CN=tsa middle"))
CLOCK = years(tsa_template())
TSA = Authority(tsa_chain(CLOCK, root=ROOT))
SIGNER_ROOT = issue(years(ca_template()))


def signer(starts: datetime, ends: datetime) -> tuple[Party, ...]:
    leaf = replace(leaf_template(), starts=starts, ends=ends)
    return issue(leaf, SIGNER_ROOT), SIGNER_ROOT


CURRENT = signer(NOW - 10 * DAY, NOW + 10 * DAY)
EXPIRED = signer(NOW - 10 * DAY, NOW - DAY)


def with_leaf(**changes: Any) -> Authority:
    return Authority(tsa_chain(replace(CLOCK, **changes), root=ROOT))


def with_key(key: Any) -> Authority:
    return Authority(tsa_chain(CLOCK, root=ROOT, key=key))


def with_middle(**changes: Any) -> Authority:
    return Authority(tsa_chain(CLOCK, middle=replace(MIDDLE, **changes), root=ROOT))


@dataclass(frozen=True)
class Case:
    """One token, and what both should say; `None`: notation may say either."""

    id: str
    ours: bool
    notation: bool | None
    changes: Mapping[str, object] = field(default_factory=dict)
    tsa: Authority = TSA
    chain: Sequence[Party] = EXPIRED
    when: str = "always"
    message: bytes | None = None


def right(id_: str, **rest: Any) -> Case:
    return Case(id_, ours=True, notation=True, **rest)


def wrong(id_: str, **rest: Any) -> Case:
    return Case(id_, ours=False, notation=False, **rest)


def stricter(id_: str, *, notation: bool | None = None, **rest: Any) -> Case:
    return Case(id_, ours=False, notation=notation, **rest)


def attributes(**made: bytes) -> dict[str, object]:
    return {"attributes": {name.replace("_", "-"): raw for name, raw in made.items()}}


UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3"), b"\5\0")
LIMITED = x509.NameConstraints([x509.DNSName("example.org")], None)
CASES = [
    right("right"),
    right("right, certificate current", chain=CURRENT),
    right("right, after expiry", when="afterCertExpiry"),
    right("garbage, not looked at", chain=CURRENT, when="afterCertExpiry",
         changes={"signers": 0}),
    wrong("of another signature", message=b"another"),
    right("accuracy", changes={"accuracy": accuracy(1, 2, 3)}),
    right("baseline policy", changes={"policy": "baseline"}),
    right("ends with the certificate", changes={
        "gen_time": generalized(NOW - DAY - timedelta(seconds=1)),
        "accuracy": accuracy(1)}),
    wrong("over the end by a second", changes={
        "gen_time": generalized(NOW - DAY), "accuracy": accuracy(1)}),
    wrong("over the end by a millisecond", changes={
        "gen_time": generalized(NOW - DAY), "accuracy": accuracy(millis=1)}),
    wrong("over the end, baseline policy", changes={
        "gen_time": generalized(NOW - DAY), "policy": "baseline"}),
    wrong("before the certificate", changes={
        "gen_time": generalized(NOW - 11 * DAY)}),
    wrong("after the certificate", changes={"gen_time": generalized(NOW)}),
    right("sha384 imprint", changes={"hash": "sha384"}),
    wrong("sha1 imprint", changes={"hash": "sha1"}),
    right("sha512 digest", changes={"digest": "sha512"}),
    wrong("sha1 digest", changes={
        "digest": "sha1", "signature_algorithm": "ecdsa-sha256"}),
    wrong("signature spoilt", changes={"spoil_signature": True}),
    wrong("TSTInfo version 2", changes={"version": 2}),
    wrong("SignedData version 1", changes={"signed_data_version": 1}),
    wrong("SignerInfo version 3", changes={"signer_version": 3}),
    wrong("no signer", changes={"signers": 0}),
    stricter("two signers (RFC 3161 2.4.2)", notation=True, changes={"signers": 2}),
    wrong("content type data", changes={"content_type": "data"}),
    wrong("no certificates", changes={"certificates": ()}),
    right("all certificates, shuffled", changes={
        "certificates": tuple(p.der for p in reversed(TSA.chain))}),
    right("lengths that could be shorter", changes={"reencode": long_form}),
    wrong("indefinite lengths", changes={"reencode": indefinite}),
    wrong("bytes after it", changes={"after": b"\5\0"}),
    stricter("bytes after the TSTInfo", changes={"after_info": b"\5\0"}),
    stricter("critical extension in the TSTInfo", changes={"extensions": tlv(
        0xA1, seq(oid("1.2.3"), tlv(1, b"\xff"), octets(b"")))}),
    wrong("time of another zone", changes={
        "gen_time": tlv(0x18, f"{STAMPED:%Y%m%d%H%M%S}".encode())}),
    stricter("accuracy below zero", changes={"accuracy": seq(integer(-1))}),
    wrong("no signing certificate attribute", changes=attributes(
        signing_certificate_v2=b"")),
    right("signing certificate by sha512", changes={
        "ess": TSA.ess_certificate("sha512")}),
    wrong("signing certificate by sha1", changes={
        "ess": TSA.ess_certificate("sha1")}),
    right("signing certificate unnamed", changes={
        "ess": TSA.ess_certificate(name_it=False)}),
    wrong("another signing certificate", changes={
        "ess": with_leaf().ess_certificate()}),
    wrong("no message digest", changes=attributes(message_digest=b"")),
    wrong("another message digest", changes=attributes(
        message_digest=attribute("message-digest", octets(bytes(32))))),
    wrong("no content type attribute", changes=attributes(content_type=b"")),
    wrong("attributes out of order", changes={"reorder": True}),
    right("attribute nobody knows", changes=attributes(
        x=attribute("1.2.3", octets(b"")))),
    right("own signing time", changes=attributes(
        t=attribute("signing-time", utc_time(STAMPED)))),
    wrong("own signing time too late", changes=attributes(
        t=attribute("signing-time", utc_time(NOW + 901 * DAY)))),
    right("RSA", tsa=with_key(rsa_key(2048))),
    right("RSA-PSS", tsa=with_key(rsa_key(2048)), changes={
        "signature_algorithm": "rsa-pss"}),
    right("P-384", tsa=with_key(ec.generate_private_key(ec.SECP384R1()))),
    wrong("P-224", tsa=with_key(ec.generate_private_key(ec.SECP224R1()))),
    wrong("another TSA", tsa=Authority(tsa_chain(CLOCK, root=ROOT))),
    right("over an intermediate", tsa=with_middle()),
    wrong("key purpose not critical", tsa=with_leaf(
        extra=((timestamping(), False),))),
    wrong("key purpose missing", tsa=with_leaf(extra=())),
    wrong("one more key purpose", tsa=with_leaf(
        extra=((timestamping(ExtendedKeyUsageOID.CODE_SIGNING), True),))),
    right("key usage not critical", tsa=with_leaf(usages_critical=False)),
    wrong("key usage missing", tsa=with_leaf(usages=None)),
    wrong("a CA as TSA", tsa=with_leaf(ca=True)),
    right("TSA expired since", tsa=with_leaf(ends=STAMPED)),
    wrong("TSA expired then", tsa=with_leaf(ends=STAMPED - DAY)),
    wrong("TSA not valid yet", tsa=with_leaf(starts=STAMPED + DAY)),
    wrong("critical extension nobody knows", tsa=with_leaf(
        extra=((timestamping(), True), (UNKNOWN, True)))),
    wrong("CA for other purposes", tsa=with_middle(
        purposes=(ExtendedKeyUsageOID.CODE_SIGNING,))),
    wrong("CA without keyCertSign", tsa=with_middle(usages=("crl_sign",))),
    stricter("CA with name constraints", tsa=with_middle(
        extra=((LIMITED, False),))),
]  # fmt: skip

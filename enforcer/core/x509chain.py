"""Certificate chains as the Notary Project allows them for signing and time stamps.

Follows signature-specification.md, "Certificate Requirements", and nothing more: no
name constraints, no validity nesting, no trust. Trust is a byte comparison in
`core.verify`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from enforcer.core.certificate import (
    ChainError,
    SignatureAlgorithm,
    as_chain_error,
    has_revocation_pointers,
    is_self_signed,
    parse_certificate,
    signature_algorithm,
    verify_certificate_signature,
)
from enforcer.core.identity import subject_text
from enforcer.core.rfc3339 import format_rfc3339

__all__ = [
    "MAX_CHAIN",
    "Chain",
    "ChainError",
    "SignatureAlgorithm",
    "has_expired",
    "has_revocation_pointers",
    "not_valid_at",
    "parse_chain",
    "signature_algorithm",
    "verify_chain_profile",
    "verify_timestamping_profile",
]

MAX_CHAIN = 32  # the specification has no limit; notation's tests go to 12

_Value = TypeVar("_Value", bound=x509.ExtensionType)

# SS325-329. nonRepudiation may be there.
_FORBIDDEN_LEAF_USAGES = (
    "key_encipherment",
    "data_encipherment",
    "key_agreement",  # without it the two "only" bits cannot be set
    "key_cert_sign",
    "crl_sign",
)

# SS330-331 names the first five. A key that also answers OCSP requests could vouch
# for its own certificate (facts 2.1.2); notation refuses it too.
_FORBIDDEN_LEAF_PURPOSES = {
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
}


@dataclass(frozen=True, slots=True)
class Chain:
    """Parsed certificates, leaf first, and their DER. Readable, not yet checked."""

    certificates: tuple[x509.Certificate, ...]
    der: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not self.certificates or len(self.certificates) != len(self.der):
            raise ValueError("a chain has at least one certificate")

    @property
    def leaf(self) -> x509.Certificate:
        """The signing certificate."""
        return self.certificates[0]


def parse_chain(der: Sequence[bytes]) -> Chain:
    """Read certificates, leaf first. Neither order nor rules are checked.

    Raises:
        ChainError: None, more than MAX_CHAIN, or one that cannot be read.
    """
    if not 1 <= len(der) <= MAX_CHAIN:
        raise ChainError(
            f"the chain has {len(der)} certificates, expected 1 to {MAX_CHAIN}"
        )
    parsed = [
        parse_certificate(raw, what=f"certificate #{number}")
        for number, raw in enumerate(der, start=1)
    ]
    return Chain(tuple(parsed), tuple(der))


def verify_chain_profile(chain: Chain) -> None:
    """Return if the chain is one the specification lets sign images.

    Validity in time is not looked at: nesting MUST NOT be enforced (SS345), and
    which time counts is the timestamp check's business.

    Raises:
        ChainError: The first rule broken; #1 is the leaf.
    """
    _require_leaf(chain.leaf)
    _require_issuers(chain, critical=True)


def verify_timestamping_profile(chain: Chain) -> None:
    """Return if the chain is one the specification lets sign time stamps (X15).

    As for signing images, but keyUsage need not be critical (SS315, SS327), and the
    leaf is for time stamps and nothing else (SS332, RFC 3161 2.3). A chain of one is
    refused: trust is in CA certificates only.

    Raises:
        ChainError: The first rule broken; #1 is the leaf.
    """
    if len(chain.certificates) == 1:
        raise ChainError("certificate #1, the TSA's, is not issued by a CA")
    _require_no_ca(chain.leaf)
    _require_leaf_usage(chain.leaf, critical=False)
    purposes = _extension(chain.leaf, x509.ExtendedKeyUsage)
    only = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
    if purposes is None or not purposes.critical or purposes.value != only:
        raise ChainError(
            "certificate #1, the TSA's, lacks a critical extendedKeyUsage of "
            "timeStamping and nothing else"
        )
    with as_chain_error("certificate #1, the TSA's,"):
        signature_algorithm(chain.leaf.public_key())
    _require_issuers(chain, critical=False)


def not_valid_at(chain: Chain, at: datetime) -> str | None:
    """Say which certificate is not valid at this time and why, or None if all are."""
    for number, certificate in enumerate(chain.certificates, start=1):
        shown = f'certificate #{number} "{subject_text(certificate.subject)}"'
        if at < certificate.not_valid_before_utc:
            begins = format_rfc3339(certificate.not_valid_before_utc)
            return f"{shown} is not valid before {begins}"
        if at > certificate.not_valid_after_utc:
            ended = format_rfc3339(certificate.not_valid_after_utc)
            return f"{shown} expired at {ended}"
    return None


def has_expired(chain: Chain, at: datetime) -> bool:
    """Say whether any certificate's validity is over."""
    return any(at > c.not_valid_after_utc for c in chain.certificates)


def _require_issuers(chain: Chain, *, critical: bool) -> None:
    """Require a chain of CA certificates above the leaf, up to a root."""
    # SS339: a chain of one is self-signed and meets the leaf's rules, not a CA's.
    for index, certificate in enumerate(chain.certificates[1:], start=1):
        _require_ca(certificate, index, critical=critical)
    for index, issuer in enumerate(chain.certificates[1:]):
        _require_issued(chain.certificates[index], issuer, index + 1)
    _require_root(chain.certificates[-1], len(chain.certificates))


def _require_leaf(leaf: x509.Certificate) -> None:
    _require_no_ca(leaf)
    _require_leaf_usage(leaf, critical=True)
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    for purpose in purposes.value if purposes else ():
        if purpose in _FORBIDDEN_LEAF_PURPOSES:
            raise ChainError(
                "certificate #1, the leaf, has the extended key usage "
                f"{_FORBIDDEN_LEAF_PURPOSES[purpose]}, which a signing certificate "
                "must not have"
            )
    with as_chain_error("certificate #1, the leaf,"):
        signature_algorithm(leaf.public_key())


def _require_no_ca(leaf: x509.Certificate) -> None:
    # SS323: "basicConstraints ... is OPTIONAL. If present, cA MUST be set to false"
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.value.ca:
        raise ChainError("certificate #1, the leaf, is a CA certificate")


def _require_leaf_usage(leaf: x509.Certificate, *, critical: bool) -> None:
    # SS325: keyUsage MUST be present and critical, and digitalSignature set.
    usage = _usage(leaf, critical=critical)
    if usage is None or not usage.digital_signature:
        raise ChainError(
            f"certificate #1, the leaf, lacks {_usage_text(critical=critical)} with "
            "digitalSignature"
        )
    for name in _FORBIDDEN_LEAF_USAGES:
        if getattr(usage, name):
            raise ChainError(
                f"certificate #1, the leaf, has the key usage {name}, which a "
                "signing certificate must not have"
            )


def _require_ca(certificate: x509.Certificate, below: int, *, critical: bool) -> None:
    """`below` counts the certificates below this one, leaf included."""
    what = f"certificate #{below + 1}"
    constraints = _extension(certificate, x509.BasicConstraints)
    # SS310 also wants it critical; many private CAs are not: taken all the same.
    if constraints is None or not constraints.value.ca:
        raise ChainError(f"{what} is not a CA certificate, but issued another")
    limit = constraints.value.path_length
    if limit is not None and limit < below - 1:
        raise ChainError(
            f"{what} allows {limit} CA certificates below it, but has {below - 1}"
        )
    usage = _usage(certificate, critical=critical)
    if usage is None or not usage.key_cert_sign:
        raise ChainError(
            f"{what} lacks {_usage_text(critical=critical)} with keyCertSign"
        )


def _require_issued(
    certificate: x509.Certificate, issuer: x509.Certificate, number: int
) -> None:
    """Require an order of leaf to root, each issued by the next (SS339-342)."""
    what = f"certificate #{number}"
    with as_chain_error(what):
        if is_self_signed(certificate):
            raise ChainError(f"{what} is self-signed, but is not the last of the chain")
        if certificate.issuer != issuer.subject:
            raise ChainError(
                f'{what} was issued by "{subject_text(certificate.issuer)}", but '
                f'certificate #{number + 1} is "{subject_text(issuer.subject)}"'
            )
        verify_certificate_signature(certificate, issuer.public_key())
        certificate.verify_directly_issued_by(issuer)  # inner and outer algorithm


def _require_root(root: x509.Certificate, number: int) -> None:
    what = f"certificate #{number}, the last of the chain,"
    with as_chain_error(what):
        if root.issuer != root.subject:
            raise ChainError(
                f'{what} was issued by "{subject_text(root.issuer)}"; the chain must '
                "end in its root"
            )
        verify_certificate_signature(root, root.public_key())
        root.verify_directly_issued_by(root)


def _usage(certificate: x509.Certificate, *, critical: bool) -> x509.KeyUsage | None:
    """Return the key usage; None also where it has to be critical and is not."""
    usage = _extension(certificate, x509.KeyUsage)
    return usage.value if usage and (usage.critical or not critical) else None


def _usage_text(*, critical: bool) -> str:
    return "a critical keyUsage" if critical else "a keyUsage"


def _extension(
    certificate: x509.Certificate, type_: type[_Value]
) -> x509.Extension[_Value] | None:
    try:
        return certificate.extensions.get_extension_for_class(type_)
    except x509.ExtensionNotFound:
        return None

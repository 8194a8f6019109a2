"""Certificate revocation lists: read one, and make sure its issuer stands behind it.

Follows RFC 5280 sections 5 and 6.3.3. Lists that tell of other issuers' certificates
(indirect CRLs) are not supported, and are refused rather than misread.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.x509.oid import CRLEntryExtensionOID, ExtensionOID

from enforcer.core.evidence import MAX_CRL_BYTES, Floor, Item, Revocation
from enforcer.core.revocation_pointers import (
    ALL_REASONS,
    DistributionPoint,
    distribution_points,
)
from enforcer.core.revocation_rules import not_yet
from enforcer.core.revocation_signed import (
    EvidenceError,
    as_evidence_error,
    require_list_signer,
    require_understood,
    verify_signed,
)
from enforcer.core.rfc3339 import format_rfc3339

_KNOWN = {
    ExtensionOID.CRL_NUMBER,
    ExtensionOID.DELTA_CRL_INDICATOR,
    ExtensionOID.ISSUING_DISTRIBUTION_POINT,
    ExtensionOID.FRESHEST_CRL,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
}
_KNOWN_ENTRY = {CRLEntryExtensionOID.CRL_REASON, CRLEntryExtensionOID.INVALIDITY_DATE}

_SEQUENCE, _INTEGER = 0x30, 0x02  # DER tags


@dataclass(frozen=True, slots=True)
class Entry:
    """What a list says of one certificate."""

    at: datetime
    reason: x509.ReasonFlags
    invalid_from: datetime | None

    def revocation(self, source: str) -> Revocation:
        """Return the same in memory's words."""
        return Revocation(self.at, self.reason.value, self.invalid_from, source)


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list whose issuer stands behind it, not from the future, fully understood.

    Only `read_list` makes one. How old it is, and what it covers, is still to ask.

    Attributes:
        base_number: Of the list a delta is about; None for a complete list.
        scope: The issuing distribution point, or None if the list covers everything.
        freshest: Where its deltas are; None if it has none.
    """

    url: str
    this_update: datetime
    next_update: datetime | None
    number: int | None
    base_number: int | None
    scope: x509.IssuingDistributionPoint | None
    freshest: tuple[DistributionPoint, ...] | None
    _crl: x509.CertificateRevocationList

    @property
    def floor(self) -> Floor:
        """How new it is."""
        return Floor(self.this_update, self.number)

    @property
    def shown(self) -> str:
        """The list, for people."""
        kind = "CRL" if self.base_number is None else "delta CRL"
        return f"the {kind} of {format_rfc3339(self.this_update)} from {self.url}"

    def entries(self, serial: int) -> tuple[Entry, ...]:
        """Return what it says of one certificate, usually nothing.

        Raises:
            EvidenceError: It says something critical that is not understood.
        """
        with as_evidence_error(self.shown):
            found = self._crl.get_revoked_certificate_by_serial_number(serial)
            if found is None:
                return ()
            entries: Collection[x509.RevokedCertificate] = (found,)
            if _may_repeat(self._crl, serial):  # the library returns only the first
                entries = [e for e in self._crl if e.serial_number == serial]
            return tuple(_entry(entry, self.shown) for entry in entries)


def read_list(item: Item, issuer: x509.Certificate, at: datetime) -> RevocationList:
    """Read a list, and check that `issuer` signed it, not later than now.

    Raises:
        EvidenceError: It is anything else; the text says what and from where.
    """
    what = f"the CRL from {item.url}"
    crl = _parse(item.untrusted_der, what)
    with as_evidence_error(what):
        if crl.issuer != issuer.subject:
            raise EvidenceError(f"{what} is another issuer's")
        require_list_signer(issuer)
        verify_signed(
            issuer.public_key(),
            crl.signature,
            _signed_part(item.untrusted_der),
            crl.signature_algorithm_oid,
            crl.signature_hash_algorithm,
        )
        if not_yet(crl.last_update_utc, at):
            raise EvidenceError(f"{what} is from the future")
        require_understood(crl.extensions, _KNOWN, what)
        return _understood(crl, item.url, what)


def freshest_urls(untrusted_der: bytes) -> tuple[str, ...]:
    """Return where a list, whoever's it is, says its deltas are.

    Raises:
        EvidenceError: It cannot be read.
    """
    crl = _parse(untrusted_der, "a CRL")
    with as_evidence_error("a CRL"):
        found = _extensions(crl, "a CRL").freshest or ()
    return tuple(url for point in found for url in point.urls)


def coverage(
    found: RevocationList, point: DistributionPoint, certificate: x509.Certificate
) -> frozenset[x509.ReasonFlags]:
    """Return for which reasons this list would have listed this certificate.

    Raises:
        EvidenceError: It is a list of something else (RFC 5280 6.3.3 (b)). Without
            this, whoever is on the network answers with another part's list.
    """
    scope = found.scope
    if scope is None:
        return point.reasons
    if scope.relative_name is not None or scope.only_contains_attribute_certs:
        raise EvidenceError(f"{found.shown} is not about this kind of certificate")
    if scope.full_name is not None and point.names.isdisjoint(scope.full_name):
        raise EvidenceError(f"{found.shown} is the list of another distribution point")
    is_ca = _is_ca(certificate)
    if (scope.only_contains_user_certs and is_ca) or (
        scope.only_contains_ca_certs and not is_ca
    ):
        raise EvidenceError(f"{found.shown} is not about this kind of certificate")
    some = scope.only_some_reasons
    return point.reasons & (ALL_REASONS if some is None else some)


def require_delta_of(delta: RevocationList, base: RevocationList) -> None:
    """Return if a delta continues a complete list of its scope.

    RFC 5280 5.2.4, TP591-598. notation asks for a higher number than the base's, too.

    Raises:
        EvidenceError: It does not.
    """
    if delta.base_number is None or delta.number is None or base.number is None:
        raise EvidenceError(f"{delta.shown} and its base are not both numbered")
    if delta.base_number > base.number:
        raise EvidenceError(
            f"{delta.shown} needs a base numbered {delta.base_number} or more, not "
            f"{base.number}"
        )
    if delta.number <= base.number:
        raise EvidenceError(
            f"{delta.shown} is numbered {delta.number}, not more than its base"
        )


def _parse(untrusted_der: bytes, what: str) -> x509.CertificateRevocationList:
    if len(untrusted_der) >= MAX_CRL_BYTES:
        raise EvidenceError(f"{what} has {MAX_CRL_BYTES} bytes or more")
    with as_evidence_error(what):
        return x509.load_der_x509_crl(untrusted_der)


@dataclass(frozen=True, slots=True)
class _Extensions:
    number: int | None = None
    base_number: int | None = None
    scope: x509.IssuingDistributionPoint | None = None
    freshest: tuple[DistributionPoint, ...] | None = None


def _extensions(crl: x509.CertificateRevocationList, what: str) -> _Extensions:
    number = base_number = None
    scope, freshest = None, None
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.CRLNumber):
            number = value.crl_number
        elif isinstance(value, x509.DeltaCRLIndicator):
            base_number = value.crl_number
        elif isinstance(value, x509.FreshestCRL):
            freshest = distribution_points(value)
        elif isinstance(value, x509.IssuingDistributionPoint):
            scope = value
            if scope.indirect_crl:
                raise EvidenceError(f"{what} tells of several issuers' certificates")
    return _Extensions(number, base_number, scope, freshest)


def _understood(
    crl: x509.CertificateRevocationList, url: str, what: str
) -> RevocationList:
    found = _extensions(crl, what)
    return RevocationList(
        url=url,
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        number=found.number,
        base_number=found.base_number,
        scope=found.scope,
        freshest=found.freshest,
        _crl=crl,
    )


def _entry(entry: x509.RevokedCertificate, what: str) -> Entry:
    reason, invalid_from = x509.ReasonFlags.unspecified, None
    require_understood(entry.extensions, _KNOWN_ENTRY, what)
    for extension in entry.extensions:
        value = extension.value
        if isinstance(value, x509.CRLReason):
            reason = value.reason
        elif isinstance(value, x509.InvalidityDate):
            invalid_from = value.invalidity_date_utc
    return Entry(entry.revocation_date_utc, reason, invalid_from)


def _may_repeat(crl: x509.CertificateRevocationList, serial: int) -> bool:
    """Whether a serial number may be listed twice, without reading a million entries.

    Its DER is looked for in the whole; a chance hit only costs time.
    """
    length = serial.bit_length() // 8 + 1
    if serial < 0 or length > 127:
        return True
    der = bytes([_INTEGER, length]) + serial.to_bytes(length, "big")
    return crl.tbs_certlist_bytes.count(der) > 1


def _signed_part(der: bytes) -> bytes:
    """Return a list's TBSCertList as it was signed, if it is of version 2.

    The library would write all of it anew (45 ms for 100,000 entries), and does not
    tell the version. It has read these bytes as DER, so the headers are plain.
    """
    begins, _ = _contents(der, 0)
    version, ends = _contents(der, begins)
    if der[version] != _INTEGER:  # version 1 leaves it out; Go reads no such list
        raise EvidenceError("the CRL is not of version 2")
    return der[begins:ends]


def _contents(der: bytes, at: int) -> tuple[int, int]:
    """Return where the contents of a sequence begin and end."""
    if der[at] != _SEQUENCE:
        raise EvidenceError("the CRL is no sequence")
    if der[at + 1] < 0x80:
        return at + 2, at + 2 + der[at + 1]
    begins = at + 2 + (der[at + 1] & 0x7F)
    return begins, begins + int.from_bytes(der[at + 2 : begins], "big")


def _is_ca(certificate: x509.Certificate) -> bool:
    return any(
        isinstance(e.value, x509.BasicConstraints) and e.value.ca
        for e in certificate.extensions
    )

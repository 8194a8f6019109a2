"""OCSP responses: read one, and make sure that who answers may.

RFC 6960 section 4.2.2.2: the issuer may, or a responder it authorised for that. No
other certificate of the same CA may answer, least of all one about itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, OCSPExtensionOID

from enforcer.core.certificate import (
    key_digest,
    parse_certificate,
    verify_certificate_signature,
)
from enforcer.core.evidence import MAX_OCSP_BYTES, Floor, Item, Revocation
from enforcer.core.revocation_inquiry import Inquiry
from enforcer.core.revocation_rules import not_yet
from enforcer.core.revocation_signed import (
    EvidenceError,
    as_evidence_error,
    require_understood,
    verify_signed,
)
from enforcer.core.rfc3339 import format_rfc3339

MAX_EMBEDDED = 8  # certificates looked at in one response; real ones hold 0 to 2
MAX_SINGLE = 16  # answers looked at in one response; real ones hold 1

_ID_HASHES = (hashes.SHA1, hashes.SHA256, hashes.SHA384, hashes.SHA512)
_KNOWN = {OCSPExtensionOID.NONCE}


@dataclass(frozen=True, slots=True)
class Said:
    """A responder's answer about one certificate, by somebody who may give it.

    `revocation` is None unless the answer is "revoked". `delegate` is the responder's
    own certificate where it is not the issuer and still has to be checked itself.
    """

    url: str
    status: ocsp.OCSPCertStatus
    this_update: datetime
    next_update: datetime | None
    revocation: Revocation | None
    delegate: x509.Certificate | None

    @property
    def floor(self) -> Floor:
        """How new it is."""
        doubt = self.status is not ocsp.OCSPCertStatus.GOOD
        return Floor(self.this_update, doubt=doubt)

    @property
    def shown(self) -> str:
        """The answer, for people."""
        return shown_answer(self.this_update, self.url)


def ocsp_request(certificate: x509.Certificate, issuer: x509.Certificate) -> bytes:
    """Return the question to ask a responder, as DER.

    SHA-1 only names the issuer here; it is what every responder knows (facts R3).
    """
    with as_evidence_error("the certificate to ask about"):
        sha1 = hashes.SHA1()  # noqa: S303 - names the issuer, protects nothing
        return _request(certificate, issuer, sha1).public_bytes(Encoding.DER)


def read_answer(item: Item, inquiry: Inquiry) -> Said:
    """Read a response, and check that who signed it may speak about the certificate.

    Raises:
        EvidenceError: It is anything else; the text says what and from where.
    """
    what = f"the OCSP response from {item.url}"
    response = _parse(item.untrusted_der, what)
    with as_evidence_error(what):
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            name = response.response_status.name.lower()
            raise EvidenceError(f"the OCSP responder at {item.url} said {name}")
        delegate = _require_responder(response, inquiry, what)
        require_understood(response.extensions, _KNOWN, what)
        single = _single(response, inquiry, what)
        for moment in (single.this_update_utc, response.produced_at_utc):
            if not_yet(moment, inquiry.at):
                raise EvidenceError(f"{what} is from the future")
        shown = shown_answer(single.this_update_utc, item.url)
        return Said(
            url=item.url,
            status=single.certificate_status,
            this_update=single.this_update_utc,
            next_update=single.next_update_utc,
            revocation=_revocation(response, single, shown),
            delegate=None if delegate is None or _no_check(delegate) else delegate,
        )


def shown_answer(this_update: datetime, url: str) -> str:
    """Name an answer for people."""
    return f"the OCSP response of {format_rfc3339(this_update)} from {url}"


def _parse(untrusted_der: bytes, what: str) -> ocsp.OCSPResponse:
    if len(untrusted_der) >= MAX_OCSP_BYTES:
        raise EvidenceError(f"{what} has {MAX_OCSP_BYTES} bytes or more")
    with as_evidence_error(what):
        return ocsp.load_der_ocsp_response(untrusted_der)


def _require_responder(
    response: ocsp.OCSPResponse, inquiry: Inquiry, what: str
) -> x509.Certificate | None:
    """Check the response's signature; return the delegate that made it, if one did.

    Raises:
        EvidenceError: Nobody who may answer signed it.
        InvalidSignature: Who claims to have signed it did not.
    """
    if _is_named(response, inquiry.issuer):
        _verify(response, inquiry.issuer)
        return None
    problem = EvidenceError(f"{what} is signed by nobody the issuer lets answer")
    for delegate in _embedded(response, what):
        if not _is_named(response, delegate):
            continue
        try:
            _require_delegate(delegate, inquiry, what)
        except EvidenceError as error:
            problem = error
        else:
            _verify(response, delegate)
            return delegate
    raise problem


def _embedded(response: ocsp.OCSPResponse, what: str) -> Iterator[x509.Certificate]:
    for certificate in response.certificates[:MAX_EMBEDDED]:
        yield parse_certificate(certificate.public_bytes(Encoding.DER), what=what)


def _require_delegate(delegate: x509.Certificate, inquiry: Inquiry, what: str) -> None:
    """RFC 6960 4.2.2.2: issued by the same CA, for this purpose, and valid now."""
    purposes = [
        purpose
        for extension in delegate.extensions
        if isinstance(extension.value, x509.ExtendedKeyUsage)
        for purpose in extension.value
    ]
    if ExtendedKeyUsageOID.OCSP_SIGNING not in purposes:
        raise EvidenceError(f"{what} is signed by a certificate without OCSPSigning")
    if delegate.issuer != inquiry.issuer.subject:
        raise EvidenceError(f"{what} is signed by a delegate of another issuer")
    with as_evidence_error(f"{what} is signed by a delegate whose certificate"):
        verify_certificate_signature(delegate, inquiry.issuer.public_key())
    if not delegate.not_valid_before_utc <= inquiry.at <= delegate.not_valid_after_utc:
        raise EvidenceError(f"{what} is signed by a delegate that is not valid now")
    # A signing certificate never vouches for itself, whatever it is also allowed.
    own = key_digest(delegate)
    if any(own == key_digest(certificate) for certificate in inquiry.chain):
        raise EvidenceError(f"{what} is signed by a certificate of the same chain")


def _is_named(response: ocsp.OCSPResponse, certificate: x509.Certificate) -> bool:
    """Whether the response says that this certificate's key signed it."""
    if response.responder_name is not None:
        return response.responder_name == certificate.subject
    hash_ = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key()).digest
    return response.responder_key_hash == hash_


def _verify(response: ocsp.OCSPResponse, signer: x509.Certificate) -> None:
    verify_signed(
        signer.public_key(),
        response.signature,
        response.tbs_response_bytes,
        response.signature_algorithm_oid,
        response.signature_hash_algorithm,
    )


def _single(
    response: ocsp.OCSPResponse, inquiry: Inquiry, what: str
) -> ocsp.OCSPSingleResponse:
    """Return the one answer about our certificate."""
    singles = list(response.responses)
    if len(singles) > MAX_SINGLE:
        raise EvidenceError(f"{what} holds more than {MAX_SINGLE} answers")
    ours = [single for single in singles if _is_about(single, inquiry)]
    if len(ours) != 1:
        count = len(ours) or "no"
        raise EvidenceError(f"{what} holds {count} answers about the certificate")
    return ours[0]


def _is_about(single: ocsp.OCSPSingleResponse, inquiry: Inquiry) -> bool:
    if not isinstance(single.hash_algorithm, _ID_HASHES):
        return False
    asked = _request(inquiry.certificate, inquiry.issuer, single.hash_algorithm)
    return (
        single.serial_number == asked.serial_number
        and single.issuer_name_hash == asked.issuer_name_hash
        and single.issuer_key_hash == asked.issuer_key_hash
    )


def _request(
    certificate: x509.Certificate, issuer: x509.Certificate, hash_: hashes.HashAlgorithm
) -> ocsp.OCSPRequest:
    builder = ocsp.OCSPRequestBuilder()
    return builder.add_certificate(certificate, issuer, hash_).build()


def _revocation(
    response: ocsp.OCSPResponse, single: ocsp.OCSPSingleResponse, shown: str
) -> Revocation | None:
    if single.certificate_status is not ocsp.OCSPCertStatus.REVOKED:
        return None
    at = single.revocation_time_utc
    if at is None:
        raise EvidenceError(f"{shown} does not say when it was revoked")
    reason = single.revocation_reason or x509.ReasonFlags.unspecified
    return Revocation(at, reason.value, _invalid_from(response, shown), shown)


def _invalid_from(response: ocsp.OCSPResponse, shown: str) -> datetime | None:
    """Return the invalidityDate (R6); of several answers the library reads none."""
    if len(list(response.responses)) != 1:
        return None
    require_understood(response.single_extensions, set(), shown)
    for extension in response.single_extensions:
        if isinstance(extension.value, x509.InvalidityDate):
            return extension.value.invalidity_date_utc
    return None


def _no_check(delegate: x509.Certificate) -> bool:
    return any(isinstance(e.value, x509.OCSPNoCheck) for e in delegate.extensions)

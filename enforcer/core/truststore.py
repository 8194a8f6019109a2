"""Trust stores: named sets of trust anchors, as the Notary Project keeps them.

Reads the bytes of a store's files and holds what was read. A store that cannot be
used is kept as the error it is, so that it fails only the statements that name it.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from cryptography import x509

from enforcer.core.certificate import ChainError, is_self_signed, parse_certificate
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.identity import subject_text
from enforcer.core.pem import parse_pem_certificates
from enforcer.core.policy import StoreName, StoreType

MAX_STORE_FILE_BYTES = 1024 * 1024  # Mozilla's whole CA bundle has 220 KiB
MAX_SHOWN = 3  # certificates of a store named in a message
MAX_STORE_CERTIFICATES = 1000  # and holds 150 certificates


class TrustStoreInvalidError(EnforcerError):
    """A file in a trust store may not stand there."""

    default_code = Code.TRUST_STORE_INVALID


class TrustStoreMissingError(EnforcerError):
    """A trust store that a policy names is missing or empty."""

    default_code = Code.TRUST_STORE_MISSING

    def __init__(self, name: StoreName) -> None:
        super().__init__(
            f'trust store "{name}" is missing or empty',
            remedy=f"Run `enforcer trust add --type {name.type} --store {name.name} "
            "FILE` with the certificate of the CA.",
        )


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The DER certificates of one store."""

    name: StoreName
    certificates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class TrustSummary:
    """How many trust anchors, and the one that ends first: store, subject and end."""

    anchors: int
    store: str = ""
    subject: str = ""
    ends: datetime | None = None


@dataclass(frozen=True, slots=True)
class TrustStores:
    """Every store a policy names, or why it cannot be used."""

    stores: Mapping[StoreName, TrustStore | EnforcerError]

    def __post_init__(self) -> None:
        object.__setattr__(self, "stores", MappingProxyType(dict(self.stores)))

    def get(self, name: StoreName) -> TrustStore:
        """Return a store that holds at least one certificate.

        Raises:
            TrustStoreMissingError: It is missing or empty.
            EnforcerError: It could not be loaded; the error it was given.
        """
        found = self.stores.get(name)
        if isinstance(found, EnforcerError):
            # A fresh one: the kept one is shared between threads.
            raise EnforcerError(found.what, remedy=found.remedy, code=found.code)
        if found is None or not found.certificates:
            raise TrustStoreMissingError(name)
        return found

    def fingerprints(self, names: Iterable[StoreName]) -> Collection[Digest]:
        """Return the digests of these stores' certificates; a hint for ordering.

        Stores that cannot be used add nothing.
        """
        found = (self.stores.get(name) for name in names)
        return frozenset(
            Digest.of(der)
            for store in found
            if isinstance(store, TrustStore)
            for der in store.certificates
        )

    def summary(self) -> TrustSummary:
        """Return how many anchors there are and which ends first.

        Stores that cannot be used add nothing.
        """
        found = [
            (parse_certificate(der, what=str(store.name)), store.name)
            for store in self.stores.values()
            if isinstance(store, TrustStore)
            for der in store.certificates
        ]
        if not found:
            return TrustSummary(0)
        first, name = min(found, key=lambda pair: pair[0].not_valid_after_utc)
        subject = subject_text(first.subject)
        return TrustSummary(len(found), str(name), subject, first.not_valid_after_utc)

    def describe(self, names: Iterable[StoreName]) -> str:
        """Name stores for people, each with whom it trusts.

        Raises:
            EnforcerError: As `get`.
        """
        return ", ".join(f'"{name}" ({_anchors(self.get(name))})' for name in names)


def parse_store_file(
    raw: bytes, *, store: StoreName, file_name: str
) -> tuple[bytes, ...]:
    """Return the certificates, as DER, of one PEM or DER file of a trust store.

    Raises:
        TrustStoreInvalidError: Too large, not certificates, or one that may not be
            in this type of store (trust-store-trust-policy.md, "Trust Store").
    """
    what = f'"{clip(file_name)}" in trust store "{store}"'
    if len(raw) > MAX_STORE_FILE_BYTES:
        raise _invalid(f"{what} has {len(raw)} bytes, more than {MAX_STORE_FILE_BYTES}")
    try:
        ders = _certificates(raw, what)
        for der in ders:
            _require_anchor(parse_certificate(der, what=what), store.type, what)
    except (ChainError, MalformedError) as error:
        raise _invalid(error.what) from error
    return ders


def _certificates(raw: bytes, what: str) -> tuple[bytes, ...]:
    if b"-----BEGIN" not in raw:
        return (raw,)
    return parse_pem_certificates(raw, what=what, max_count=MAX_STORE_CERTIFICATES)


def _require_anchor(certificate: x509.Certificate, type_: StoreType, what: str) -> None:
    self_signed, ca = is_self_signed(certificate), _is_ca(certificate)
    # TP28: CA certificates or self-signed ones. A TSA's must be roots (facts S7).
    if type_ is StoreType.TSA and not (
        self_signed and ca and certificate.issuer == certificate.subject
    ):
        raise _invalid(f"{what} holds a certificate that is not a self-signed root CA")
    if not (self_signed or ca):
        raise _invalid(
            f"{what} holds a certificate that is neither a CA's nor self-signed"
        )


def _is_ca(certificate: x509.Certificate) -> bool:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return found.value.ca


def _anchors(store: TrustStore) -> str:
    """The subjects of the first certificates of a store."""
    subjects = [
        subject_text(parse_certificate(der, what=str(store.name)).subject)
        for der in store.certificates[:MAX_SHOWN]
    ]
    more = len(store.certificates) - len(subjects)
    return "; ".join([*subjects, *([f"and {more} more"] if more else [])])


def _invalid(what: str) -> TrustStoreInvalidError:
    return TrustStoreInvalidError(
        what,
        remedy="Put the CA's certificate there, as PEM or DER, and nothing else.",
    )

"""Where a certificate says its revocation can be found out.

Only plain HTTP is followed (TP567, TP604): what is fetched is signed, and TLS would
have to be checked for revocation itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

MAX_URLS = 8  # of each kind, per certificate; real ones name 1 to 3
MAX_URL_LENGTH = 2048  # what browsers and proxies pass on

# RFC 5280 5.2.5: the reasons a list can be limited to.
ALL_REASONS = frozenset(x509.ReasonFlags) - {
    x509.ReasonFlags.unspecified,
    x509.ReasonFlags.remove_from_crl,
}


@dataclass(frozen=True, slots=True)
class DistributionPoint:
    """One place of a list; its URLs are alternates for the same thing.

    `reasons` are those its lists tell of. Without any URL it is one that is not
    supported: another protocol, a relative name, another issuer's list.
    """

    names: frozenset[x509.GeneralName]
    urls: tuple[str, ...]
    reasons: frozenset[x509.ReasonFlags]


@dataclass(frozen=True, slots=True)
class Pointers:
    """All of a certificate's. `any` says that there are some, usable or not."""

    any: bool
    asks_responder: bool
    responders: tuple[str, ...]
    points: tuple[DistributionPoint, ...]
    has_freshest: bool


def pointers_of(certificate: x509.Certificate) -> Pointers:
    """Read where a certificate points, in its order, at most MAX_URLS of each kind."""
    responders: tuple[str, ...] = ()
    points: tuple[DistributionPoint, ...] = ()
    asks_responder = has_points = has_freshest = False
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.AuthorityInformationAccess):
            names = [
                access.access_location
                for access in value
                if access.access_method == AuthorityInformationAccessOID.OCSP
            ]
            asks_responder, responders = bool(names), _http_urls(names)[:MAX_URLS]
        elif isinstance(value, x509.CRLDistributionPoints):
            has_points, points = True, distribution_points(value)
        elif isinstance(value, x509.FreshestCRL):
            has_freshest = True
    any_ = asks_responder or has_points or has_freshest
    return Pointers(any_, asks_responder, responders, points, has_freshest)


def distribution_points(
    points: Iterable[x509.DistributionPoint],
) -> tuple[DistributionPoint, ...]:
    """Return the distribution points of an extension of certificate or list."""
    return tuple(_point(point) for point in list(points)[:MAX_URLS])


def _point(point: x509.DistributionPoint) -> DistributionPoint:
    reasons = ALL_REASONS if point.reasons is None else frozenset(point.reasons)
    names = frozenset(point.full_name or ())
    indirect = point.crl_issuer is not None  # a list of somebody else's: not supported
    urls = () if indirect else _http_urls(point.full_name or ())[:MAX_URLS]
    return DistributionPoint(names, urls, reasons)


def _http_urls(names: Iterable[x509.GeneralName]) -> tuple[str, ...]:
    """Return the URLs that can be asked, each once, in order."""
    found = [
        name.value
        for name in names
        if isinstance(name, x509.UniformResourceIdentifier) and _is_http(name.value)
    ]
    return tuple(dict.fromkeys(found))


def _is_http(url: str) -> bool:
    """Plain HTTP, and nothing in it that could end a line of a request."""
    printable = all("!" <= character <= "~" for character in url)
    return (
        printable and len(url) <= MAX_URL_LENGTH and url.lower().startswith("http://")
    )

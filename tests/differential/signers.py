"""Keys of every kind, and every extension a certificate may have."""

from ipaddress import ip_address, ip_network

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID

from tests.pki import Key, leaf_template


def every_key() -> dict[str, Key]:
    """One key for each of the six algorithms."""
    return {
        "ES256": ec.generate_private_key(ec.SECP256R1()),
        "ES384": ec.generate_private_key(ec.SECP384R1()),
        "ES512": ec.generate_private_key(ec.SECP521R1()),
        "PS256": rsa.generate_private_key(65537, 2048),
        "PS384": rsa.generate_private_key(65537, 3072),
        "PS512": rsa.generate_private_key(65537, 4096),
    }


def every_extension(*, leaf: bool) -> tuple[tuple[x509.ExtensionType, bool], ...]:
    """What Go reads in a certificate, right; a CA has more of it."""
    url = x509.UniformResourceIdentifier("https://acme.example/a%20b?c=d#e")
    mail, domain = x509.RFC822Name("a@acme.example"), x509.DNSName("acme.example")
    directory = x509.DirectoryName(leaf_template().subject)
    address = x509.IPAddress(ip_address("192.0.2.1"))
    policy = x509.PolicyInformation(x509.ObjectIdentifier("1.2.3.4"), ["https://x.y"])
    issuers = x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, url)
    mapping = bytes.fromhex("300c300a06032a030406032a0305")
    names = [url, mail, domain, directory, address]
    common: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(names), False),
        (x509.AuthorityInformationAccess([issuers]), False),
        (x509.CertificatePolicies([policy]), False),
        (x509.SubjectKeyIdentifier(b"12345678"), False),
        (x509.AuthorityKeyIdentifier(b"12345678", [directory], 5), False),
    ]
    if leaf:
        return tuple(common)
    network = x509.IPAddress(ip_network("192.0.2.0/24"))
    constraints = [mail, x509.RFC822Name("acme.example"), domain, directory, network]
    return (
        *common,
        (x509.NameConstraints(constraints, [x509.DNSName("b.example")]), True),
        (x509.PolicyConstraints(3, 4), True),
        (x509.InhibitAnyPolicy(5), True),
        (x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.33"), mapping), True),
    )

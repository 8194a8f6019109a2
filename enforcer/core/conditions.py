"""What a host policy asks of a signer's signatures beyond a Notation trust policy.

Each condition tightens the check it belongs to (`core.notary`, `core.validity`): none
of them can make a signature count that would not count without it. Two may, since they
say what else counts: `authentic_expiry`, and what `revocation` does with old evidence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType

from enforcer.core.certificate import SignatureAlgorithm, key_digest
from enforcer.core.digest import Digest
from enforcer.core.revocation_rules import NOTATION_RULES, RevocationRules
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.x509chain import Chain


@dataclass(frozen=True, slots=True)
class Denial:
    """One entry of a deny list, and why it is there, for people."""

    since: datetime
    reason: str

    def __str__(self) -> str:
        return f"denied since {format_rfc3339(self.since)[:10]}: {self.reason}"


@dataclass(frozen=True, slots=True)
class DenyList:
    """What never counts, whoever vouches for it.

    Attributes:
        images: By digest of index, manifest, configuration, or root file system.
        signatures: By the sha256 of what was signed, so that another wrapper around
            the same signature is the same signature.
        keys: By the sha256 of the SubjectPublicKeyInfo, anywhere in a chain.
    """

    images: Mapping[Digest, Denial] = field(default_factory=dict)
    signatures: Mapping[Digest, Denial] = field(default_factory=dict)
    keys: Mapping[Digest, Denial] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("images", "signatures", "keys"):
            frozen = MappingProxyType(dict(getattr(self, name)))
            object.__setattr__(self, name, frozen)

    def problem(self, chain: Chain, signed: bytes = b"") -> str | None:
        """Say, as a clause about a signer, what of this is denied; None if nothing is.

        `signed` is what the signature signs: its signing input.
        """
        if self.signatures:
            denial = self.signatures.get(Digest.of(signed))
            if denial is not None:
                return f"in a signature that is {denial}"
        for certificate in chain.certificates if self.keys else ():
            key = key_digest(certificate)
            if key in self.keys:
                return f"whose chain has the key {key.short}, {self.keys[key]}"
        return None


@dataclass(frozen=True, slots=True)
class Conditions:
    """What one signer's signatures must meet. The default asks for nothing.

    Attributes:
        signed_within: How old a signature may be, by authentic time.
        user_metadata: What must be signed along.
        certificates: Pins: sha256 of certificates, one of which the chain must have.
        keys: Pins: sha256 of public keys (SubjectPublicKeyInfo); a pin of either kind
            will do.
        algorithms: The ones that count, each with the time it ends; empty for all.
        authentic_expiry: Expiry is compared with the proven signing time, not now.
    """

    signed_within: timedelta | None = None
    user_metadata: Mapping[str, str] = field(default_factory=dict)
    certificates: frozenset[Digest] = frozenset()
    keys: frozenset[Digest] = frozenset()
    algorithms: Mapping[SignatureAlgorithm, datetime | None] = field(
        default_factory=dict
    )
    authentic_expiry: bool = False
    revocation: RevocationRules = NOTATION_RULES
    denied: DenyList = field(default_factory=DenyList)

    def __post_init__(self) -> None:
        if self.signed_within is not None and self.signed_within <= timedelta(0):
            raise ValueError("an age is more than nothing")
        for name in ("user_metadata", "algorithms"):
            frozen = MappingProxyType(dict(getattr(self, name)))
            object.__setattr__(self, name, frozen)

    def signer_problem(self, chain: Chain, algorithm: SignatureAlgorithm) -> str | None:
        """Say, as a clause about a signer, what keeps it from counting, or None."""
        if (self.certificates or self.keys) and not self._is_pinned(chain):
            return "whose chain has none of the pinned certificates or keys"
        if self.algorithms and algorithm not in self.algorithms:
            known = ", ".join(self.algorithms)
            return f"by {algorithm}, where only {known} counts"
        return None

    def _is_pinned(self, chain: Chain) -> bool:
        certificates = {Digest.of(der) for der in chain.der}
        keys = {key_digest(certificate) for certificate in chain.certificates}
        return bool(self.certificates & certificates or self.keys & keys)


NO_CONDITIONS = Conditions()

"""Chains that are authenticated, and so may cause look-ups and requests (law 2).

A certificate names URLs. Whose certificate it is must be known before anybody follows
them: otherwise any signature, by anyone, makes this host fetch what it likes.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.certificate import (
    ChainError,
    as_chain_error,
    verify_certificate_signature,
)
from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import EnforcerError
from enforcer.core.findings import Action, Check, Result
from enforcer.core.notary import (
    Question,
    ask_authenticity,
    open_signature,
    read_envelope,
)
from enforcer.core.statement import Statement, StoreType
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.validity import countersigned
from enforcer.core.verify import StoredSignature
from enforcer.core.x509chain import Chain


@dataclass(frozen=True, slots=True)
class AuthenticatedChain:
    """A chain, every link of which was verified, to a certificate that is trusted.

    Whoever makes one has to show it: `anchors` are the DER certificates of the trust
    stores it is to be trusted by. So the type itself is the proof that gathering
    asks for.

    Raises:
        ChainError: A link does not hold, or none of it is in a trust store.
    """

    chain: Chain
    anchors: frozenset[bytes]

    def __post_init__(self) -> None:
        if self.anchors.isdisjoint(self.chain.der):
            raise ChainError("no certificate of the chain is in a trust store")
        for one, issuer in itertools.pairwise(self.chain.certificates):
            with as_chain_error("a certificate of the chain"):
                if one.issuer != issuer.subject:
                    raise ChainError("a certificate was not issued by the next one")
                verify_certificate_signature(one, issuer.public_key())


def authenticated_chains(
    signature: StoredSignature,
    subjects: Sequence[Descriptor],
    statement: Statement,
    stores: TrustStores,
    at: datetime,
) -> tuple[AuthenticatedChain, ...]:
    """Return the chains whose revocation matters to one signature.

    They are the signer's, unless the policy skips revocation, and the TSA's, if a
    countersignature is asked for and is good. There are none unless the signature
    verifies, is about one of `subjects`, and is by somebody the statement trusts: at
    level audit, too, a stranger's URLs are never followed.
    """
    question = _authentic(signature, subjects, statement, stores, at)
    if question is None:
        return ()
    found: list[AuthenticatedChain] = []
    if statement.level.action(Check.REVOCATION) is not Action.SKIP:
        of_signers = (StoreType.CA, StoreType.SIGNING_AUTHORITY)
        anchors = _anchors(question, of_signers)
        found.append(AuthenticatedChain(question.opened.chain, anchors))
    time = countersigned(question)
    if time is not None:
        found.append(
            AuthenticatedChain(time.chain, _anchors(question, (StoreType.TSA,)))
        )
    return tuple(found)


def _authentic(
    signature: StoredSignature,
    subjects: Sequence[Descriptor],
    statement: Statement,
    stores: TrustStores,
    at: datetime,
) -> Question | None:
    if statement.level.is_skip:
        return None
    try:
        envelope, chain = read_envelope(signature.media_type, signature.envelope)
        opened = open_signature(envelope, chain, subjects)
    except EnforcerError:
        return None
    question = Question(opened, statement, stores, at, {})
    passed = ask_authenticity(question).result is Result.PASSED
    return question if passed else None


def _anchors(question: Question, types: tuple[StoreType, ...]) -> frozenset[bytes]:
    """Return what the statement's stores of these types hold.

    `ask_authenticity` has told apart which type goes with which scheme, and a store
    of another type may be unusable.
    """
    listed = [n for n in question.statement.trust_stores if n.type in types]
    stores = [question.stores.stores.get(name) for name in listed]
    usable = [store for store in stores if isinstance(store, TrustStore)]
    return frozenset(der for store in usable for der in store.certificates)

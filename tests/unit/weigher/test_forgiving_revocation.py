"""`allow-and-flag` forgives missing evidence, never evidence nobody looked at."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.evidence import Evidence, Memory, Revocation
from enforcer.core.host_policy import parse_host_policy
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.core.revocation_inquiry import certificate_id
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE
from enforcer.core.statement import StoreName, StoreType
from enforcer.core.subject import ImageName, Subject
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature
from enforcer.ports import PolicyInForce
from enforcer.weigher import HostRules, Weigher
from tests.pki import IMAGE, NOW, make_envelope
from tests.revoker import points, signer_chain
from tests.unit.test_admission import World

CHAIN = signer_chain(points(["http://ca.example/list"]))
RAW = make_envelope(CHAIN)
SIGNED = StoredSignature(Digest.of(RAW), JWS_MEDIA_TYPE, RAW)
STORE = StoreName(StoreType.CA, "acme")


@dataclass
class Evidenced:
    """Evidence about the chain, and how often somebody looked."""

    memory: Memory = field(default_factory=Memory)
    looks: int = 0

    def load(self, chains: Sequence[AuthenticatedChain], at: datetime) -> Evidence:
        self.looks += bool(chains)
        return Evidence(memory=self.memory) if chains else Evidence()

    def time_floor(self) -> datetime | None:
        return None


def judged(on_stale: str, evidence: Evidenced) -> Decision:
    policy = parse_host_policy(
        [
            (
                "p.yaml",
                f"""\
apiVersion: enforcer/v1
signers: {{acme: {{x509: {{trustStores: ["ca:acme"], identities: ["*"]}}}}}}
always: acme
statements: [{{name: all, scopes: ["*"], require: acme}}]
revocation: {{onStale: {on_stale}}}
""".encode(),
            )
        ]
    )
    stores = TrustStores({STORE: TrustStore(STORE, (CHAIN[-1].der,))})
    world = World(signatures=(SIGNED,))
    weigher = Weigher(rules=HostRules(), cache=world, clock=world, evidence=evidence)
    subject = Subject("app:1", (ImageName("app:1", "local/app"),), (IMAGE,))
    return weigher.weigh(subject, PolicyInForce(policy, stores))


def revoked() -> Memory:
    leaf = certificate_id(CHAIN[0].certificate, CHAIN[1].certificate)
    return Memory(revoked={leaf: Revocation(NOW, "keyCompromise", None, "a list")})


@pytest.mark.parametrize(
    ("on_stale", "allowed"),
    [("deny", False), ("use-stale", False), ("allow-and-flag", True)],
)
def test_missing_evidence_passes_only_where_the_policy_says_so(
    on_stale: str,
    allowed: bool,  # noqa: FBT001
) -> None:
    evidence = Evidenced()

    decision = judged(on_stale, evidence)

    assert decision.allowed is allowed
    assert evidence.looks == 1


@pytest.mark.parametrize("on_stale", ["deny", "use-stale", "allow-and-flag"])
def test_a_revocation_is_found_however_forgiving_the_policy_is(on_stale: str) -> None:
    """Design section 6: a revocation passes nowhere."""
    decision = judged(on_stale, Evidenced(revoked()))

    assert not decision.allowed
    assert decision.code is Code.CERTIFICATE_REVOKED

"""Random policies over real signatures, against an evaluator that is written anew.

Each signature is verified by each signer's real rules, once; which combinations are
enough is then asked thousands of times.
"""

import os
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.findings import SignatureReport
from enforcer.core.host_policy import HostPolicy
from enforcer.core.policy import PolicyInvalidError
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE
from enforcer.core.statement import Statement, StoreName, StoreType
from enforcer.core.subject import ImageName, Subject
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import (
    ReadSignature,
    StoredSignature,
    read_signature,
    verify_read,
)
from enforcer.weigher.host import weigh_by_host_policy
from tests.pki import (
    IMAGE,
    NOW,
    Party,
    ca_template,
    issue,
    leaf_template,
    make_envelope,
    new_key,
    payload_for,
    protected_header,
)
from tests.unit.core.host_policy.documents import Document, parse
from tests.unit.core.host_policy.reference import allows

CASES = 20_000
SIGNATURE_SETS = 20  # of each random policy
MORE = 5 if os.environ.get("ENFORCER_SOAK") else 1

OTHER = Digest.of(b"another image")


@dataclass(frozen=True)
class Signed:
    """A real signature, and the signers it should count for, by how it was made."""

    stored: StoredSignature
    key: int
    counts_for: frozenset[str]


SIGNERS: Document = {
    "acme": {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}},
    "release": {
        "x509": {
            "trustStores": ["ca:acme"],
            "identities": ["x509.subject: C=US, ST=WA, O=acme"],
        }
    },
    "qa": {
        "x509": {
            "trustStores": ["ca:acme"],
            "identities": ["x509.subject: C=US, ST=WA, O=acme, OU=QA"],
        }
    },
    "vendor": {"x509": {"trustStores": ["ca:vendor"], "identities": ["*"]}},
    "either": {"x509": {"trustStores": ["ca:acme", "ca:vendor"], "identities": ["*"]}},
    "production": {
        "x509": {"trustStores": ["ca:acme"], "identities": ["*"]},
        "userMetadata": {"env": "production"},
    },
}
NAMES = ("reg.io/prod/app", "reg.io/prod", "reg.io/x", "local/app", "quay.io/a/b/c")
SCOPES = ("*", "reg.io/*", "reg.io/prod/*", "reg.io/prod/app", "local/*", "quay.io/a/*")


@cache
def roots() -> dict[str, Party]:
    return {name: issue(ca_template(f"C=US,ST=WA,O={name},CN=root")) for name in _ROOTS}


_ROOTS = ("acme", "vendor", "stranger")


@cache
def stores() -> TrustStores:
    named = {StoreName(StoreType.CA, name): name for name in _ROOTS[:2]}
    return TrustStores(
        {store: TrustStore(store, (roots()[n].der,)) for store, n in named.items()}
    )


@cache
def signatures() -> tuple[Signed, ...]:
    """Every kind of signature by every kind of signer; some keys sign twice."""
    made: list[Signed] = []
    people = [
        ("acme", "C=US,ST=WA,O=acme,CN=a", {"acme", "release", "either"}),
        ("acme", "C=US,ST=WA,O=acme,OU=QA,CN=q", {"acme", "release", "qa", "either"}),
        ("acme", "C=US,ST=WA,O=acme,OU=QA,CN=r", {"acme", "release", "qa", "either"}),
        ("acme", "C=US,ST=WA,O=other,CN=o", {"acme", "either"}),
        ("vendor", "C=US,ST=WA,O=acme,CN=v", {"vendor", "either"}),
        ("stranger", "C=US,ST=WA,O=acme,CN=s", set[str]()),
    ]
    for number, (root, subject, counts) in enumerate(people):
        key = new_key()
        chain = (issue(leaf_template(subject), roots()[root], key=key), roots()[root])
        in_production = {"production"} if root == "acme" else set()
        kinds = [
            (make_envelope(chain), counts),
            (
                make_envelope(chain, payload=payload_for(env="production")),
                counts | in_production,
            ),
            (make_envelope(chain, payload=payload_for(env="staging")), counts),
            (_expired(chain), set()),
            (make_envelope(chain)[:-20] + b"A" * 20, set()),
        ]
        for raw, for_whom in kinds:
            stored = StoredSignature(Digest.of(raw), JWS_MEDIA_TYPE, raw)
            made.append(Signed(stored, number, frozenset(for_whom)))
    return tuple(made)


def _expired(chain: tuple[Party, ...]) -> bytes:
    ended = (NOW - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    crit = ["io.cncf.notary.signingScheme", "io.cncf.notary.expiry"]
    told: dict[str, Any] = {"io.cncf.notary.expiry": ended, "crit": crit}
    return make_envelope(chain, protected=protected_header(**told))


@cache
def read(stored: StoredSignature) -> ReadSignature:
    return read_signature(stored, (IMAGE,))


_REPORTS: dict[tuple[Digest, str], SignatureReport] = {}


@dataclass
class Reader:
    """The examiner over given signatures; each signer is asked about one only once."""

    given: Iterable[StoredSignature]
    subject: Subject
    more: bool = False
    is_late: bool = False
    asked: list[str] = field(default_factory=list)

    def signatures(self, statements: Iterable[Statement]) -> Iterator[ReadSignature]:
        self.asked = [one.name for one in statements]
        return (read(stored) for stored in self.given)

    def verify(self, one: ReadSignature, statement: Statement) -> SignatureReport:
        key = (one.stored.digest, statement.name)
        if key not in _REPORTS:
            _REPORTS[key] = verify_read(one, statement, stores(), NOW)
        return _REPORTS[key]


def weigh(policy: HostPolicy, given: Iterable[Signed], name: str) -> Decision:
    subject = Subject("app:1", (ImageName("app:1", name),), (IMAGE,))
    reader = Reader([signed.stored for signed in given], subject)
    return weigh_by_host_policy(policy, reader)  # type: ignore[arg-type]


def vouching(given: Iterable[Signed]) -> dict[int, set[str]]:
    keys: dict[int, set[str]] = {}
    for signed in given:
        keys.setdefault(signed.key, set()).update(signed.counts_for)
    return keys


def requirement(chance: random.Random, depth: int = 0) -> Any:
    if depth == 3 or chance.random() < 0.35:
        return chance.choice(list(SIGNERS))
    kind = chance.choice(["allOf", "anyOf", "atLeast"])
    parts: list[Any] = []
    for _ in range(chance.randint(1, 4)):
        part = requirement(chance, depth + 1)
        if not (isinstance(part, str) and part in parts):
            parts.append(part)
    if kind == "atLeast":
        return {kind: {"count": chance.randint(1, len(parts)), "of": parts}}
    return {kind: parts}


def document(chance: random.Random) -> Document:
    scopes = chance.sample(SCOPES, chance.randint(1, len(SCOPES)))
    statements: list[Document] = []
    while scopes:
        taken = [scopes.pop() for _ in range(min(len(scopes), chance.randint(1, 2)))]
        name = f"s{len(statements)}"
        require = requirement(chance)
        statements.append({"name": name, "scopes": taken, "require": require})
    return {
        "apiVersion": "enforcer/v1",
        "signers": SIGNERS,
        "always": requirement(chance),
        "statements": statements,
    }


def readable(written: Document) -> HostPolicy | None:
    """Parse a policy; None where chance has made one with too many alternatives."""
    try:
        return parse(written)
    except PolicyInvalidError as error:
        if any("in more than" not in problem for problem in error.problems):
            raise
        return None


def some(chance: random.Random) -> list[Signed]:
    return chance.sample(signatures(), chance.randint(0, 7))


def test_what_each_signature_counts_for_is_what_it_was_made_for() -> None:
    """So that the comparison below starts from real verdicts."""
    signers = parse(
        {
            "apiVersion": "enforcer/v1",
            "signers": SIGNERS,
            "always": {"anyOf": list(SIGNERS)},
            "statements": [{"name": "s", "scopes": ["*"], "require": "acme"}],
        }
    ).signers

    for signed in signatures():
        found = {
            name
            for name, one in signers.items()
            if verify_read(read(signed.stored), one, stores(), NOW).accepted
        }
        assert found == signed.counts_for


def test_no_random_policy_is_read_in_another_way() -> None:
    """20,000 cases; and what the design promises about every one of them."""
    seed = 20261125
    chance = random.Random(seed)  # noqa: S311 - it is to be repeatable
    allowed = cases = 0
    while cases < CASES * MORE:
        written = document(chance)
        policy = readable(written)
        if policy is None:
            continue
        for _ in range(SIGNATURE_SETS):
            given, name = some(chance), chance.choice(NAMES)
            decision = weigh(policy, given, name)
            expected = allows(written, vouching(given), name)
            assert decision.allowed is expected, (written, vouching(given), name)
            assert (decision.code is Code.ALLOWED) is expected
            allowed += expected
            cases += 1
            _never_more(policy, written, given, name, decision, chance)
    print(f"{cases} cases, {allowed} allowed, 0 differences, seed {seed}")
    assert allowed > cases / 20  # both answers were really compared
    assert allowed < cases / 2


def _never_more(
    policy: HostPolicy,
    written: Document,
    given: list[Signed],
    name: str,
    decision: Decision,
    chance: random.Random,
) -> None:
    """Order never matters, nor does less evidence or another name ever help."""
    turned = chance.sample(given, len(given))
    assert weigh(policy, turned, name).allowed is decision.allowed
    if decision.allowed:
        return
    fewer = [signed for signed in given if chance.random() < 0.7]
    assert not weigh(policy, fewer, name).allowed
    always = dict(written, statements=[_everything(written["always"])])
    if not allows(always, vouching(given), name):
        assert not any(weigh(policy, given, other).allowed for other in NAMES)


def _everything(require: Any) -> Document:
    return {"name": "everything", "scopes": ["*"], "require": require}


def test_one_more_requirement_never_allows_more() -> None:
    chance = random.Random(7)  # noqa: S311
    refused = 0
    for _ in range(150 * MORE):
        written = document(chance)
        stricter = dict(written)
        stricter["statements"] = [
            s | {"require": {"allOf": [s["require"], requirement(chance)]}}
            if not isinstance(s["require"], str)
            else s
            for s in written["statements"]
        ]
        stricter["always"] = {"anyOf": [written["always"]]}
        before, after = readable(written), readable(stricter)
        if before is None or after is None:
            continue
        for _ in range(20):
            given, name = some(chance), chance.choice(NAMES)
            if not weigh(before, given, name).allowed:
                assert not weigh(after, given, name).allowed
                refused += 1
    assert refused > 500


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_threshold_counts_keys_and_not_signatures(count: int) -> None:
    """php-tuf #154: the same key twice is one."""
    policy = parse(
        {
            "apiVersion": "enforcer/v1",
            "signers": SIGNERS,
            "always": "acme",
            "statements": [
                {
                    "name": "s",
                    "scopes": ["*"],
                    "require": {
                        "atLeast": {"count": count, "of": ["acme", "release", "either"]}
                    },
                }
            ],
        }
    )
    by_first = [s for s in signatures() if s.key == 0 and s.counts_for]
    by_all = [s for s in signatures() if s.key <= 2 and s.counts_for]

    assert len(by_first) == 3
    assert weigh(policy, by_first, "local/app").allowed is (count == 1)
    assert weigh(policy, by_all, "local/app").allowed

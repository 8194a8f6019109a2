"""Countersignatures, judged by enforcer and by the stock notation: never laxer.

What notation denies, enforcer denies. What only notation accepts is listed, with the
rule it breaks.
"""

import base64
import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.findings import Check, SignatureReport
from enforcer.core.policy import StoreName, StoreType, parse_trust_policy
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.core.timestamp import TimestampError, verify_countersignature
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature, verify_signature
from tests.asn1 import (
    attribute,
    generalized,
    octets,
    tlv,
)
from tests.engines.notation import Notation, statement
from tests.pki import (
    IMAGE,
    NOTARY,
    make_envelope,
)
from tests.real.timestamp_cases import CASES, NOW, SIGNER_ROOT, STAMPED, TSA, Case

IMAGE_BYTES = b'{"an":"image"}'
SCOPE = "registry.example/app"
LAYOUT = '{"imageLayoutVersion":"1.0.0"}'
CA = StoreName(StoreType.CA, "acme")
TIME = StoreName(StoreType.TSA, "time")


class Stage:
    """A layout and a configuration both can read, made anew for every case."""

    def __init__(self, home: Path) -> None:
        self.notation = Notation(home / "notation")
        self.layout = home / "layout"
        blobs = self.layout / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (self.layout / "oci-layout").write_text(LAYOUT)
        self._add(IMAGE_BYTES)

    def judge(self, case: Case, token: bytes | None = None) -> tuple[bool, bool, str]:
        """Say whether we accept, whether notation does, and what we said."""
        raw = json.loads(make_envelope(case.chain))
        value = base64.urlsafe_b64decode(raw["signature"] + "==")
        made = case.tsa.token(case.message or value, **defaults(case.changes))
        return self.ask(case, raw, token or made)

    def ask(
        self, case: Case, members: dict[str, Any], token: bytes
    ) -> tuple[bool, bool, str]:
        members["header"][f"{NOTARY}timestampSignature"] = base64.b64encode(
            token
        ).decode()
        envelope = json.dumps(members).encode()
        policy = statement("p", stores=[str(CA), str(TIME)])
        policy["signatureVerification"] = {
            "level": "strict",
            "verifyTimestamp": case.when,
        }
        stores = {CA: SIGNER_ROOT.der, TIME: self.root(case)}
        report = ours(envelope, policy, stores)
        found = next(f for f in report.findings if f.check is Check.TIMESTAMP)
        self._write(envelope, policy, stores)
        done = self.notation.verify_layout(self.layout, str(IMAGE.digest), SCOPE)
        return report.accepted, done.returncode == 0, found.because

    def root(self, case: Case) -> bytes:
        return TSA.root if case.id == "another TSA" else case.tsa.root

    def _write(
        self,
        envelope: bytes,
        policy: Mapping[str, object],
        stores: Mapping[StoreName, bytes],
    ) -> None:
        manifest = build_signature_manifest(
            Descriptor.of(JWS_MEDIA_TYPE, envelope), IMAGE, (), NOW
        )
        listed = [
            {"mediaType": IMAGE.media_type, **self._add(raw)}
            for raw in (IMAGE_BYTES, manifest)
        ]
        self._add(envelope)
        self._add(b"{}")
        index = {"schemaVersion": 2, "manifests": listed}
        (self.layout / "index.json").write_text(json.dumps(index))
        self.notation.write_policy(policy)
        for name, der in stores.items():
            folder = (
                self.notation.config / "truststore" / "x509" / name.type / name.name
            )
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "root.crt").write_bytes(der)

    def _add(self, raw: bytes) -> dict[str, object]:
        digest = Digest.of(raw)
        (self.layout / "blobs" / "sha256" / digest.hex).write_bytes(raw)
        return {"digest": str(digest), "size": len(raw)}


def defaults(changes: Mapping[str, object]) -> dict[str, Any]:
    return {"gen_time": generalized(STAMPED), **changes}


def ours(
    envelope: bytes, policy: Mapping[str, object], stores: Mapping[StoreName, bytes]
) -> SignatureReport:
    document = json.dumps({"version": "1.0", "trustPolicies": [policy]}).encode()
    return verify_signature(
        StoredSignature(Digest.of(envelope), JWS_MEDIA_TYPE, envelope),
        (IMAGE,),
        parse_trust_policy(document).statements[0],
        TrustStores({name: TrustStore(name, (der,)) for name, der in stores.items()}),
        NOW,
    )


@pytest.fixture(scope="module")
def stage(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """One layout and one configuration of notation, both rewritten by each case."""
    return Stage(tmp_path_factory.mktemp("timestamps"))


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_enforcer_is_never_laxer_than_notation(case: Case, stage: Stage) -> None:
    """Law 9, with the real program on the other side."""
    accepted, by_notation, because = stage.judge(case)

    assert accepted is case.ours, because
    assert case.notation is None or by_notation is case.notation, because
    assert by_notation or not accepted


def test_mutated_tokens_are_never_taken_where_notation_does_not(stage: Stage) -> None:
    """Tokens nobody thought of: a right one with an octet changed, dropped or added."""
    case = CASES[0]
    members = json.loads(make_envelope(case.chain))
    value = base64.urlsafe_b64decode(members["signature"] + "==")
    token = case.tsa.token(value, **defaults({"nonce": 7}))
    chosen = random.Random(3161)  # noqa: S311 - the same tokens every time
    laxer = []
    for _ in range(32):
        at = chosen.randrange(len(token))
        junk = chosen.randbytes(chosen.randrange(3))
        changed = token[:at] + junk + token[at + chosen.randrange(2) :]
        accepted, by_notation, because = stage.ask(case, members, changed)
        if accepted and not by_notation:
            laxer.append((at, junk, because))

    assert not laxer


def test_flipped_bits_that_are_taken_are_taken_by_notation_too(stage: Stage) -> None:
    """Parts of a token that nobody signs: being lenient there is agreed on."""
    case = CASES[0]
    members = json.loads(make_envelope(case.chain))
    value = base64.urlsafe_b64decode(members["signature"] + "==")
    unsigned = tlv(0xA1, attribute("1.2.3", octets(b"")))
    token = case.tsa.token(value, **defaults({"unsigned": unsigned}))
    taken = [t for t in flips(token) if is_taken(t, value, case.tsa.root)]

    laxer = [t for t in taken if not stage.ask(case, members, t)[1]]

    assert len(taken) > 10
    assert not laxer, [diff(token, t) for t in laxer]


def flips(token: bytes) -> Iterator[bytes]:
    for bit in range(len(token) * 8):
        flipped = bytearray(token)
        flipped[bit // 8] ^= 1 << bit % 8
        yield bytes(flipped)


def is_taken(token: bytes, value: bytes, root: bytes) -> bool:
    try:
        verify_countersignature(token, value, (root,))
    except TimestampError:
        return False
    return True


def diff(token: bytes, other: bytes) -> tuple[int, str, str]:
    at = next(i for i, octet in enumerate(token) if octet != other[i])
    return at, token[max(0, at - 12) : at + 4].hex(), other[at : at + 1].hex()

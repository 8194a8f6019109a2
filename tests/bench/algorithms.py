"""What a signature costs by algorithm and format, and a decision by how many there are.

The yardstick is what `openssl speed` makes of the same primitive. It is the system's
OpenSSL, not the one within `cryptography`: a ratio also holds what lies between these.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.host_policy import parse_host_policy
from enforcer.core.policy import parse_trust_policy
from enforcer.core.signature_manifest import build_signature_manifest
from enforcer.core.signing import (
    EnvelopeFormat,
    Signer,
    parse_signer,
    sign_envelope,
    thumbprints,
)
from enforcer.core.statement import StoreName, StoreType
from enforcer.core.subject import ImageName, Subject
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature, verify_signature
from enforcer.ports import PolicyInForce
from enforcer.sources.cache.disk import DiskCache
from enforcer.weigher import HostRules, Weigher
from tests.bench.measure import Group, Probe, Samples, interleave, rounds, rows, timed
from tests.bench.stage import Stage
from tests.pki import IMAGE, NOW, Key, Party, ca_template, issue, leaf_template, pems

TURNS = 1  # of openssl with every primitive, which takes two seconds each
ROUNDS, DECISIONS = 7, 8  # after every such two seconds; in every turn
MANY, BAD = 1000, 100
_STORE = StoreName(StoreType.CA, "acme")
_SPEED = ("openssl", "speed", "-seconds", "1")
_SUBJECT = Subject("app:1", (ImageName("app:1", "local/app"),), (IMAGE,))
_ONE = "decision, 1 cached signature"


@dataclass(frozen=True, slots=True)
class _Primitive:
    speed: str  # its name there
    make_key: Callable[[], Key]


def _rsa(bits: int) -> _Primitive:
    return _Primitive(f"rsa{bits}", partial(rsa.generate_private_key, 65537, bits))


def _ecdsa(curve: ec.EllipticCurve) -> _Primitive:
    name = f"ecdsap{curve.key_size}"
    return _Primitive(name, partial(ec.generate_private_key, curve))


_PRIMITIVES: Mapping[str, _Primitive] = {
    "PS256": _rsa(2048),
    "PS384": _rsa(3072),
    "PS512": _rsa(4096),
    "ES256": _ecdsa(ec.SECP256R1()),
    "ES384": _ecdsa(ec.SECP384R1()),
    "ES512": _ecdsa(ec.SECP521R1()),
}


class _Clock:
    """Stands still while the certificates are valid."""

    def now(self) -> datetime:
        return NOW

    def new_id(self) -> str:
        return "bench"


def measure(_: Stage) -> Group:
    """Verify and decide in this process, in turns with openssl's own measuring."""
    speeds: Samples = {f"openssl {p.speed}": [] for p in _PRIMITIVES.values()}
    samples: Samples = {}
    with tempfile.TemporaryDirectory(prefix="enf-", dir="/tmp") as folder:
        verifications, decisions = _verifications(), _decisions(Path(folder))
        for _turn in range(rounds(TURNS)):
            for primitive in _PRIMITIVES.values():
                speeds[f"openssl {primitive.speed}"].append(_speed(primitive.speed))
                _extend(samples, interleave(verifications, ROUNDS))
            _extend(samples, interleave(decisions, DECISIONS))
    made: Samples = {}
    baselines: dict[str, str] = {}
    for algorithm, primitive in _PRIMITIVES.items():
        floor = f"openssl {primitive.speed}"
        made[floor] = speeds[floor]
        for name in (_verification(algorithm, f) for f in EnvelopeFormat):
            made[name], baselines[name] = samples.pop(name), floor
    made |= samples
    baselines |= {name: _ONE for name in samples if name != _ONE}
    title = "one verify_signature (leaf, root); a decision over a cache on disk (ES256)"
    return Group(title, rows(made, baselines))


def _extend(samples: Samples, more: Samples) -> None:
    for name, values in more.items():
        samples.setdefault(name, []).extend(values)


def _speed(name: str) -> float:
    """Milliseconds that openssl says one verification takes."""
    done = subprocess.run([*_SPEED, name], capture_output=True, text=True, check=False)
    try:
        per_second = float(done.stdout.split()[-1])  # the last column is verify/s
    except (IndexError, ValueError):
        said = done.stderr.strip() or f"status {done.returncode}"
        raise RuntimeError(f"openssl speed {name} says no figure: {said}") from None
    return 1000 / per_second


def _verification(algorithm: str, format_: EnvelopeFormat) -> str:
    return f"{algorithm}, {format_.name}"


def _verifications() -> dict[str, Probe]:
    probes: dict[str, Probe] = {}
    for algorithm, primitive in _PRIMITIVES.items():
        signer, root = _signer(primitive)
        if signer.algorithm.value != algorithm:
            raise RuntimeError(f"{primitive.speed} signs {signer.algorithm}")
        force = _force(root)
        for format_ in EnvelopeFormat:
            raw = sign_envelope(format_, IMAGE, signer, at=NOW)
            stored = StoredSignature(Digest.of(raw), format_.media_type, raw)
            name = _verification(algorithm, format_)
            probes[name] = timed(partial(_verify, stored, force))
    return probes


def _verify(stored: StoredSignature, force: PolicyInForce) -> None:
    statement = force.policy.trusts[0]
    report = verify_signature(stored, (IMAGE,), statement, force.stores, NOW)
    if not report.accepted:
        raise RuntimeError(f"not accepted: {report.first_problem}")


def _decisions(folder: Path) -> dict[str, Probe]:
    """ES256 in JWS; the bad ones are whole, but of a chain that nobody trusts."""
    (good, root), (stranger, _) = (_signer(_PRIMITIVES["ES256"]) for _ in range(2))
    force, probes = _force(root), dict[str, Probe]()
    bad = [_cached(stranger) for _ in range(MANY - 1)]
    for name, files, allowed in (
        (_ONE, [_cached(good)], True),
        (f"decision, {MANY} cached, the likeliest good", [*bad, _cached(good)], True),
        (f"decision, {BAD} cached, all bad", bad[:BAD], False),
    ):
        cache = DiskCache(folder / str(len(files)))
        count, refused = cache.add(files)
        if refused or count != len(files):
            raise RuntimeError(f"the cache took {count} of {len(files)} signatures")
        weigher = Weigher(rules=HostRules(), cache=cache, clock=_Clock())
        probes[name] = timed(partial(_decide, weigher, force, allowed))
    return probes | _host_policies(folder)


def _host_policies(folder: Path) -> dict[str, Probe]:
    """The same judgement by a host policy: as many signers as signatures, ES256."""
    probes: dict[str, Probe] = {}
    for count, of in ((1, 1), (3, 5)):
        people = [_signer(_PRIMITIVES["ES256"]) for _ in range(of)]
        names = [f"s{number}" for number in range(of)]
        cache = DiskCache(folder / f"host-{of}")
        cache.add([_cached(signer) for signer, _ in people])
        asked = {"atLeast": {"count": count, "of": names}}
        document = {
            "apiVersion": "enforcer/v1",
            "signers": {
                name: {"x509": {"trustStores": [f"ca:{name}"], "identities": ["*"]}}
                for name in names
            },
            "always": asked,
            "statements": [{"name": "all", "scopes": ["*"], "require": asked}],
        }
        stores = [StoreName(StoreType.CA, name) for name in names]
        force = PolicyInForce(
            parse_host_policy([("bench", json.dumps(document).encode())]),
            TrustStores(
                {
                    store: TrustStore(store, (root.der,))
                    for store, (_, root) in zip(stores, people, strict=True)
                }
            ),
        )
        weigher = Weigher(rules=HostRules(), cache=cache, clock=_Clock())
        name = f"decision, host policy, {count} of {of} signers"
        probes[name] = timed(partial(_decide, weigher, force, True))  # noqa: FBT003
    return probes


def _decide(weigher: Weigher, force: PolicyInForce, allowed: object) -> None:
    decision = weigher.weigh(_SUBJECT, force)
    if decision.allowed is not allowed:
        raise RuntimeError(f"decided otherwise: {decision.message} [{decision.code}]")


def _signer(primitive: _Primitive) -> tuple[Signer, Party]:
    root = issue(ca_template(), key=primitive.make_key())
    leaf = issue(leaf_template(), root, key=primitive.make_key())
    return parse_signer(leaf.key_pem, pems((leaf, root)), at=NOW), root


def _cached(signer: Signer) -> SignatureFile:
    raw = sign_envelope(EnvelopeFormat.JWS, IMAGE, signer, at=NOW)
    held = Descriptor.of(EnvelopeFormat.JWS.media_type, raw)
    names = thumbprints(signer.chain)
    return SignatureFile(build_signature_manifest(held, IMAGE, names, NOW), raw)


def _force(root: Party) -> PolicyInForce:
    statement = {
        "name": "all",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": [str(_STORE)],
        "trustedIdentities": ["*"],
    }
    document = {"version": "1.0", "trustPolicies": [statement]}
    policy = parse_trust_policy(json.dumps(document).encode())
    return PolicyInForce(policy, TrustStores({_STORE: TrustStore(_STORE, (root.der,))}))

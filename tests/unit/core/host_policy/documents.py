"""Host policies as values that are easy to change, and as the files they stand in."""

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from enforcer.core.host_policy import HostPolicy, parse_host_policy

Document = dict[str, Any]

DIGEST = "sha256:" + "ab" * 32

GOOD: Document = {
    "apiVersion": "enforcer/v1",
    "signers": {
        "release": {
            "x509": {
                "trustStores": ["ca:acme", "tsa:time"],
                "identities": ["x509.subject: C=US, ST=WA, O=acme"],
                "verifyTimestamp": "always",
                "pins": {"certificates": [DIGEST], "keys": [DIGEST]},
            },
            "signedWithin": "30d",
            "userMetadata": {"env": "production"},
            "algorithms": ["ES256", {"name": "PS256", "notAfter": "2030-01-01"}],
        },
        "qa": {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}},
        "wabbit": {"x509": {"trustStores": ["ca:wabbit"], "identities": ["*"]}},
    },
    "always": {"anyOf": ["release", "wabbit"]},
    "statements": [
        {
            "name": "production",
            "scopes": ["reg.io/prod/*", "reg.io:5000/app"],
            "require": {"allOf": ["release", {"atLeast": {"count": 1, "of": ["qa"]}}]},
        },
        {"name": "rest", "scopes": ["*", "local/*"], "require": "release"},
    ],
    "revocation": {"maxAge": "7d", "onStale": "deny"},
    "expiry": "now",
    "algorithms": ["ES256", "PS256"],
    "deny": [
        {"image": DIGEST, "since": "2026-11-01", "reason": "CVE-2026-1"},
        {"signature": DIGEST, "since": "2026-11-01T10:00:00Z", "reason": "a mistake"},
        {"key": DIGEST, "since": "2026-11-01", "reason": "stolen"},
    ],
    "exempt": [
        {
            "digest": DIGEST,
            "role": "sandbox",
            "reason": "pause",
            "until": "2027-06-01",
        }
    ],
    "mirrors": [{"prefix": "mirror.io/hub/*", "of": "docker.io/*"}],
}


def good() -> Document:
    """A policy that says everything a policy can say; change it as you like."""
    return copy.deepcopy(GOOD)


def small(**members: Any) -> Document:
    """A policy that says as little as it can."""
    signer = {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}}
    return {
        "apiVersion": "enforcer/v1",
        "signers": {name: copy.deepcopy(signer) for name in "abcd"},
        "always": {"anyOf": ["a", "b", "c", "d"]},
        "statements": [{"name": "all", "scopes": ["*"], "require": "a"}],
        **members,
    }


def text(document: Mapping[str, Any]) -> bytes:
    """Write it as a file; what looks like a date stays a text, as it is here."""
    return yaml.safe_dump(dict(document), sort_keys=False).encode()


def parse(*documents: Mapping[str, Any]) -> HostPolicy:
    """Read documents as 1.yaml, 2.yaml and so on."""
    files = [(f"{n}.yaml", text(d)) for n, d in enumerate(documents, start=1)]
    return parse_host_policy(files)

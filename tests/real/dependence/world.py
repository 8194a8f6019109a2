"""A host with a policy of its own, and the others it may depend on."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.core.signing import Timestamper, parse_signer, sign_jws, thumbprints
from enforcer.core.subject import Content
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout
from tests.pki import Party, Template, issue, leaf_template, pems
from tests.revoker import DAY, Revoker, revoking_ca
from tests.unit.cli.host import SCOPE, Host
from tests.unit.sources.signed import AT

FAKETIME = Path("/usr/bin/faketime")
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "PYTHONPATH": str(Path.cwd()),
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
}


def around_now(template: Template, *, ends: datetime = AT + 300 * DAY) -> Template:
    """The same, valid for a month already."""
    return replace(template, starts=AT - 30 * DAY, ends=ends)


@dataclass
class World:
    """A host, whoever answers it, and how it judges.

    Attributes:
        policy: Members of its policy that are not as they are by default.
        issuer: The CA of the signer, which is trusted.
        at: The time to judge by, where it is not this host's.
        clock: What faketime is to tell the program, "" for nothing.
    """

    host: Host
    revoker: Revoker
    policy: Mapping[str, object] = field(default_factory=dict)
    issuer: Party = field(default_factory=lambda: issue(around_now(revoking_ca())))
    at: datetime | None = None
    clock: str = ""

    def __post_init__(self) -> None:
        self.host.settings()
        self.trust("ca/acme", self.issuer)
        self.demand()

    def trust(self, store: str, root: Party) -> None:
        """Put a root into a trust store of the host, beside what is there."""
        folder = self.host.root / "config" / "trust" / "x509" / store
        folder.mkdir(parents=True, exist_ok=True)
        number = len(list(folder.iterdir()))
        (folder / f"{number}.crt").write_bytes(root.pem)

    def demand(self, *stores: str) -> None:
        """Demand a signature by acme, whose trust stores are these, too."""
        listed = ["ca:acme", *stores]
        document = {
            "apiVersion": "enforcer/v1",
            "signers": {"acme": {"x509": {"trustStores": listed, "identities": ["*"]}}},
            "always": "acme",
            "statements": [{"name": "all", "scopes": ["*"], "require": "acme"}],
            **self.policy,
        }
        folder = self.host.root / "config" / "policy.d"
        folder.mkdir(exist_ok=True)
        (folder / "policy.yaml").write_text(json.dumps(document))

    def signer(
        self, *pointers: x509.ExtensionType, ends: datetime = AT + 300 * DAY
    ) -> Party:
        """Issue a certificate to sign with, until `ends`."""
        extra = tuple((one, False) for one in pointers)
        return issue(
            around_now(replace(leaf_template(), extra=extra), ends=ends), self.issuer
        )

    def content(self) -> Content:
        """Return the image's manifest."""
        with open_layout(self.host.layout, archive=False) as layout:
            return layout.find()

    def signature(
        self,
        leaf: Party,
        *,
        issuer: Party | None = None,
        about: Content | None = None,
        at: datetime = AT,
        life: timedelta | None = None,
        timestamp: Timestamper | None = None,
    ) -> SignatureFile:
        """Sign the image, or what it is to be `about`, at some time."""
        chain = pems((leaf, issuer or self.issuer))
        signer = parse_signer(leaf.key_pem, chain, at=at)
        subject = (about or self.content()).descriptor
        expires = None if life is None else at + life
        envelope = sign_jws(
            subject, signer, at=at, expires_at=expires, timestamp=timestamp
        )
        layer = Descriptor.of(JWS_MEDIA_TYPE, envelope)
        prints = thumbprints(signer.chain)
        manifest = build_signature_manifest(layer, subject, prints, at)
        return SignatureFile(manifest, envelope)

    def holds(self, signature: SignatureFile) -> None:
        """Put the image and a signature into the host's cache."""
        cache = DiskCache(self.host.root / "state" / "cache")
        cache.add([self.content(), signature])

    def takes(self, source: str) -> None:
        """Import from somewhere; what is refused is what some situations are about."""
        self._enforcer("cache", "import", source)

    def sync(self, *, clock: str = "") -> None:
        """Fetch what can be fetched; what cannot is what some situations are about."""
        self._enforcer("cache", "sync", clock=clock)

    def verdict(self) -> str:
        """Judge the image; say what came of it as the table does."""
        words = ["verify", self.host.target, "--scope", SCOPE, "--with-cache"]
        if self.at is not None:
            words += ["--at", self.at.strftime("%Y-%m-%dT%H:%M:%SZ")]
        decision = json.loads(self._enforcer(*words, "-o", "json", clock=self.clock))
        said = "allowed" if decision["allowed"] else "denied"
        return f"{said} {decision['code']}"

    def _enforcer(self, *words: str, clock: str = "") -> str:
        if not clock:
            return self.host.run(*words).out
        done = subprocess.run(
            [
                FAKETIME, "-f", clock,
                sys.executable, "-m", "enforcer", *self.host.folders(), *words,
            ],
            env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.stdout


Situations = Mapping[str, Mapping[str, Callable[[World], None]]]  # by state, by name

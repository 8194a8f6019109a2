"""What both judges share: keys, a policy, an image, and one way to ask each."""

import json
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from enforcer.audit.clock import HostClock
from enforcer.core.decide import Decision
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.reference import parse_reference
from enforcer.core.signature_manifest import build_signature_manifest
from enforcer.core.signing import parse_signer, sign_jws
from enforcer.core.subject import ImageName, artifact_subject
from enforcer.files import FileMissingError
from enforcer.sources.carried import CarriedSignatures
from enforcer.sources.layout import Layout
from enforcer.sources.trust import load_notation_policy
from enforcer.weigher import HostRules, Weigher
from tests.asn1 import generalized
from tests.differential.signers import every_extension, every_key
from tests.engines.notation import Notation, statement
from tests.pki import Key, Party, Template, ca_template, issue, leaf_template, pems
from tests.tsa import Authority, Recipe, tsa_chain, tsa_template

SCOPE = "registry.example/acme/app"
STAMPED = "registry.example/acme/stamped"  # there a countersignature is asked for
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
STORES = ("ca:acme", "signingAuthority:acme")
ACME = ("x509.subject: C=US, ST=WA, O=acme",)
JWS, COSE = "application/jose+json", "application/cose"

Files = dict[str, bytes]  # a layout's, by path


@dataclass(frozen=True)
class Case:
    """One layout, what was done to it, and which of its manifests is asked about."""

    kind: str
    done: str
    files: Files
    about: str
    scope: str = SCOPE


@dataclass(frozen=True)
class Verdict:
    """Whether it was accepted, and the words used."""

    allows: bool
    said: str
    signature: str = ""  # the digest of the envelope that was accepted


@dataclass
class MemoryBlobs:
    """A layout's files without a disk."""

    files: Files
    name: str = "memory"

    def read(self, name: str, *, max_bytes: int) -> bytes:
        if name not in self.files:
            raise FileMissingError(f"no {name}", remedy="-")
        return self.files[name][: max_bytes + 1]

    def chunks(self, name: str, *, size: int) -> Iterator[bytes]:
        yield self.read(name, max_bytes=size)


@dataclass
class World:
    """Signers that are trusted, one that is not, and a notation that knows them."""

    home: Path
    now: datetime = field(
        default_factory=lambda: datetime.now(UTC).replace(microsecond=0)
    )

    def __post_init__(self) -> None:
        self.notation = Notation(self.home)
        self.chains = {name: self.chain(key) for name, key in every_key().items()}
        self.stranger = self.chain(ec.generate_private_key(ec.SECP256R1()))
        self.rich = self._rich_chain()
        folder = self.notation.config / "truststore" / "x509"
        for store in ("ca", "signingAuthority"):
            (folder / store / "acme").mkdir(parents=True)
            for name, chain in (*self.chains.items(), ("rich", self.rich)):
                # The intermediate, too: then a root may be odd, and still be trusted.
                pem = chain[1].pem + chain[2].pem
                (folder / store / "acme" / f"{name}.crt").write_bytes(pem)
        (folder / "tsa" / "t").mkdir(parents=True)
        (folder / "tsa" / "t" / "root.crt").write_bytes(self.clock.chain[-1].pem)
        self._write_keys()
        self.notation.write_policy(
            statement("all", scopes=[SCOPE], stores=STORES, identities=ACME),
            statement(
                "time", scopes=[STAMPED], stores=(*STORES, "tsa:t"), identities=ACME
            ),
        )
        self._force = load_notation_policy(self.notation.config, trusted=False)

    @cached_property
    def image(self) -> Files:
        """The files of an unsigned layout."""
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}'
        layer = b"no tar, nobody unpacks it"
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "config": entry("application/vnd.oci.image.config.v1+json", config),
                "layers": [entry("application/vnd.oci.image.layer.v1.tar", layer)],
            }
        ).encode()
        tagged = entry(OCI_MANIFEST, manifest) | {
            "annotations": {"org.opencontainers.image.ref.name": "v1"}
        }
        index = {"schemaVersion": 2, "manifests": [tagged]}
        return {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps(index).encode(),
            **dict(blob(raw) for raw in (config, layer, manifest)),
        }

    @cached_property
    def target(self) -> Descriptor:
        """The image's manifest."""
        found = json.loads(self.image["index.json"])["manifests"][0]
        return Descriptor(OCI_MANIFEST, Digest.parse(found["digest"]), found["size"])

    @cached_property
    def right(self) -> Case:
        """A case that both allow."""
        chain = self.chains["ES256"]
        signer = parse_signer(chain[0].key_pem, pems(chain), at=self.now)
        return self.case("right", "", sign_jws(self.target, signer, at=self.now), JWS)

    @cached_property
    def clock(self) -> Authority:
        """A time stamping authority that is trusted, and says it is now."""
        leaf, root = tsa_template(), ca_template("C=US,ST=WA,O=tsa,CN=tsa root")
        chain = tsa_chain(self.dated(leaf), root=self.dated(root))
        return Authority(chain, Recipe(gen_time=generalized(self.now)))

    def chain(self, key: Key, leaf: Template | None = None) -> tuple[Party, ...]:
        """Make a leaf, an intermediate and a root, valid now; leaf first."""
        root = issue(self.dated(ca_template()))
        middle = issue(self.dated(ca_template("C=US,ST=WA,O=acme,CN=middle")), root)
        return issue(leaf or self.dated(leaf_template()), middle, key=key), middle, root

    def _write_keys(self) -> None:
        """List every signer, for notation to sign with."""
        listed = []
        for name, chain in self.chains.items():
            key, certificates = self.home / f"{name}.key", self.home / f"{name}.crt"
            key.write_bytes(chain[0].key_pem)
            certificates.write_bytes(pems(chain))
            listed.append(
                {"name": name, "keyPath": str(key), "certPath": str(certificates)}
            )
        keys = {"default": "ES256", "keys": listed}
        (self.notation.config / "signingkeys.json").write_text(json.dumps(keys))

    def _rich_chain(self) -> tuple[Party, ...]:
        """Make a chain whose certificates have every extension that Go reads."""
        extra = every_extension(leaf=False)
        below: list[Party] = []
        for number in range(2):
            template = self.dated(ca_template(f"C=US,ST=WA,O=acme,CN=rich {number}"))
            below.append(issue(replace(template, extra=extra), *below))
        leaf = replace(self.dated(leaf_template()), extra=every_extension(leaf=True))
        return issue(leaf, below[1]), below[1], below[0]

    def dated(self, template: Template) -> Template:
        """Make a certificate's validity about the real time."""
        day = timedelta(days=1)
        return replace(template, starts=self.now - day, ends=self.now + 30 * day)

    def signed(
        self, envelope: bytes, media_type: str, *, manifest: bytes | None = None
    ) -> Files:
        """Return the image's layout with one more signature, in notation's form."""
        return self.added(self.image, envelope, media_type, manifest=manifest)

    def added(
        self,
        files: Files,
        envelope: bytes,
        media_type: str,
        *,
        manifest: bytes | None = None,
    ) -> Files:
        """Return a layout with a signature put in."""
        raw = manifest or build_signature_manifest(
            Descriptor.of(media_type, envelope), self.target, (), self.now
        )
        index = json.loads(files["index.json"])
        index["manifests"].append(entry(OCI_MANIFEST, raw))
        changed = {"index.json": json.dumps(index).encode()}
        return files | changed | dict(blob(b) for b in (raw, envelope, b"{}"))

    def case(self, kind: str, done: str, envelope: bytes, media_type: str) -> Case:
        """Make the case of one envelope about the image."""
        files = self.signed(envelope, media_type)
        return Case(kind, done, files, str(self.target.digest))

    def ours(self, case: Case) -> Verdict:
        """Judge as `enforcer verify oci-layout:DIR@DIGEST --scope NAME` does."""
        try:
            decision = self._decide(case)
        except EnforcerError as error:
            return Verdict(allows=False, said=str(error))
        accepted = [str(r.digest) for r in decision.signatures if r.accepted]
        said = f"{decision.message} [{decision.code}]"
        return Verdict(decision.allowed, said, (accepted or [""])[0])

    def theirs(self, case: Case, folder: Path) -> Verdict:
        """Ask notation."""
        write(folder, case.files)
        done = self.notation.verify_layout(folder, case.about, case.scope)
        return Verdict(done.returncode == 0, (done.stdout + done.stderr).strip())

    def _decide(self, case: Case) -> Decision:
        layout = Layout(MemoryBlobs(case.files))
        content = layout.find(digest=Digest.parse(case.about))
        name = ImageName(case.scope, parse_reference(case.scope).repository(local=True))
        subject = artifact_subject("it", (name,), content)
        weigher = Weigher(
            rules=HostRules(),
            cache=CarriedSignatures(layout.collect()),
            clock=HostClock(),
        )
        return weigher.weigh(subject, self._force)


def entry(media_type: str, raw: bytes) -> dict[str, object]:
    """Return a descriptor as JSON members."""
    return {"mediaType": media_type, "digest": str(Digest.of(raw)), "size": len(raw)}


def blob(raw: bytes) -> tuple[str, bytes]:
    """Return where a layout keeps some bytes, and the bytes."""
    return f"blobs/sha256/{Digest.of(raw).hex}", raw


def read(folder: Path) -> Files:
    """Read a layout's files from disk."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write a layout's files to disk."""
    for name, raw in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(raw)


def seeded(seed: int, number: int) -> random.Random:
    """Return the chance of one case, apart from every other's."""
    return random.Random(f"{seed}/{number}")  # noqa: S311 - to repeat, not to hide

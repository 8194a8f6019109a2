"""Images and signatures about them, small and real, without an engine or a disk."""

import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

from enforcer.core.collected import SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.image import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.core.signing import (
    Signer,
    generate_test_chain,
    parse_signer,
    sign_jws,
    thumbprints,
)
from enforcer.core.subject import Content

AT = datetime.now(UTC).replace(microsecond=0)
SOAK = bool(os.environ.get("ENFORCER_SOAK"))


@dataclass(frozen=True)
class Image:
    config: bytes
    manifest: Content
    index: Content

    @property
    def config_digest(self) -> Digest:
        return Digest.of(self.config)


def image(text: str) -> Image:
    config = compact(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Cmd": ["/bin/echo", text]},
            "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(text.encode()))]},
        }
    )
    manifest = compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": describe(OCI_CONFIG, config),
            "layers": [],
        }
    )
    entry = describe(OCI_MANIFEST, manifest)
    platform = {"os": "linux", "architecture": "amd64"}
    index = compact(
        {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [entry | {"platform": platform}],
        }
    )
    return Image(config, Content(OCI_MANIFEST, manifest), Content(OCI_INDEX, index))


@cache
def pems(name: str = "acme") -> tuple[bytes, bytes, bytes]:
    return generate_test_chain(name, at=AT)


@cache
def signer(name: str = "acme") -> Signer:
    key, chain, _ = pems(name)
    return parse_signer(key, chain, at=AT)


def signature(content: Content, by: str = "acme", **metadata: str) -> SignatureFile:
    subject, who = content.descriptor, signer(by)
    envelope = sign_jws(subject, who, at=AT, user_metadata=metadata)
    described = Descriptor.of(JWS_MEDIA_TYPE, envelope)
    chain = thumbprints(who.chain)
    return SignatureFile(
        build_signature_manifest(described, subject, chain, AT), envelope
    )


def root_of(name: str = "acme") -> Digest:
    return Digest.of(signer(name).chain.der[-1])


def describe(media_type: str, raw: bytes) -> dict[str, object]:
    return {
        "mediaType": media_type,
        "digest": str(Digest.of(raw)),
        "size": len(raw),
    }


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

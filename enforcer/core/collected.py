"""What an import brings: contents, signatures, and what was not taken and why."""

from dataclasses import dataclass
from datetime import datetime

from enforcer.core.subject import Content


@dataclass(frozen=True, slots=True)
class SignatureFile:
    """A signature manifest's bytes and its envelope's bytes, digests checked."""

    manifest: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class EvidenceFile:
    """Revocation evidence that travelled with an image, nothing of it believed.

    The bytes of its manifest (`core.revocation_artifact`) and of each piece, in the
    manifest's order. A signature cache does not keep it: who imports hands it to the
    evidence store, which keeps what counts for a chain that this host trusts.
    """

    manifest: bytes
    pieces: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Something a source offered that was not taken."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was taken from, and when: for people, never for trust.

    `place` is what somebody typed or a registry was called, such as
    `oci-layout:./delivery` or `registry.acme.test/app:1`; `at` is aware, in UTC.
    """

    place: str
    at: datetime


Collected = Content | SignatureFile | EvidenceFile | Refused

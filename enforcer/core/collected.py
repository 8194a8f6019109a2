"""What an import brings: contents, signatures, and what was not taken and why."""

from dataclasses import dataclass

from enforcer.core.subject import Content


@dataclass(frozen=True, slots=True)
class SignatureFile:
    """A signature manifest's bytes and its envelope's bytes, digests checked."""

    manifest: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Refused:
    """Something a source offered that was not taken."""

    what: str
    why: str


Collected = Content | SignatureFile | Refused

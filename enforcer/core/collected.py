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


Collected = Content | SignatureFile | Refused

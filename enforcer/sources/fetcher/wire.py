"""fetcher.sock: values into messages and back, on both of its ends.

Neither end believes the other: what arrives is bounded before it is read, and refused
where it has another shape. Whether content is what was asked for is not seen here but
in `checking`.
"""

from dataclasses import dataclass
from typing import TypeVar

from google.protobuf.message import Message

from enforcer.core.codes import Code
from enforcer.core.collected import (
    Collected,
    EvidenceFile,
    Refused,
    SignatureFile,
)
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.fetching import FetchError, Request
from enforcer.core.image import media_type_of
from enforcer.core.registry_access import Access, Credential, Secret
from enforcer.core.signature_manifest import MAX_ENVELOPE_BYTES, MAX_MANIFEST_BYTES
from enforcer.core.subject import Content
from enforcer.sources.fetcher.pb import fetcher_pb2 as pb

SERVICE = "enforcer.sources.fetcher.pb.Fetcher"
MAX_QUESTION_BYTES = 4 * 1024 * 1024  # CAs of a company, and an OCSP question
# A signature as large as one may be; a revocation list may have no more.
MAX_PART_BYTES = MAX_MANIFEST_BYTES + MAX_ENVELOPE_BYTES + 64 * 1024
# Of one answer, in the memory of who asks before anything is stored; a signature has
# some 5 KiB. What a registry holds is cut off where there is room to say so.
MAX_ANSWER_BYTES = 64 * 1024 * 1024
MAX_ANSWER_PARTS = 4096
MAX_HELD_BYTES, MAX_HELD_ITEMS = MAX_ANSWER_BYTES // 8 * 7, MAX_ANSWER_PARTS - 16
MAX_SECONDS = 600.0  # of one call
MAX_TEXT = 4000  # characters of anything that is shown
MAX_TOKEN_HOSTS = 64

_Message = TypeVar("_Message", bound=Message)


class AnsweredError(EnforcerError):
    """The fetcher itself says that it could not; `because` goes on after a URL."""

    def __init__(self, what: str, *, remedy: str, code: Code, because: str) -> None:
        super().__init__(what, remedy=remedy, code=code)
        self.because = because or what


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a registry: all signatures about one manifest or index.

    Attributes:
        repository: As the registry's API spells it.
        reference: A tag or a digest.
        seconds: For all of it.
    """

    access: Access
    repository: str
    reference: str
    seconds: float


def read(kind: type[_Message], raw: bytes) -> _Message:
    """Read a message, or raise MalformedError."""
    try:
        found: _Message = kind.FromString(raw)
    except Exception as error:  # protobuf's DecodeError differs by implementation
        raise malformed(f"no {kind.__name__}") from error
    return found


# -- questions -------------------------------------------------------------------------


def wanted_message(wanted: Wanted) -> pb.Signatures:
    """Write a question to a registry."""
    access = wanted.access
    login = access.credential
    return pb.Signatures(
        access=pb.Access(
            host=access.host,
            http=access.http,
            ca=access.ca,
            token_hosts=access.token_hosts,
            credential=None if login is None else _credential_message(login),
        ),
        repository=wanted.repository,
        reference=wanted.reference,
        milliseconds=_milliseconds(wanted.seconds),
    )


def parse_wanted(raw: bytes) -> Wanted:
    """Read a question to a registry, or raise MalformedError."""
    asked = read(pb.Signatures, raw)
    access = asked.access
    if not (access.host and asked.repository and asked.reference):
        raise malformed("no registry, repository and reference")
    if len(access.token_hosts) > MAX_TOKEN_HOSTS:
        raise malformed(f"more than {MAX_TOKEN_HOSTS} token services")
    login = access.credential if access.HasField("credential") else None
    return Wanted(
        Access(
            access.host,
            access.http,
            access.ca,
            tuple(access.token_hosts),
            None if login is None else _credential(login),
        ),
        asked.repository,
        asked.reference,
        _seconds(asked.milliseconds),
    )


def url_message(request: Request) -> pb.Url:
    """Write a question to a URL."""
    return pb.Url(
        url=request.url,
        accept=request.accept,
        max_bytes=request.max_bytes,
        milliseconds=_milliseconds(request.seconds),
        body=request.body,
        content_type=request.content_type,
    )


def parse_url(raw: bytes) -> Request:
    """Read a question to a URL, or raise MalformedError."""
    asked = read(pb.Url, raw)
    if not 0 < asked.max_bytes <= MAX_PART_BYTES:
        raise malformed("a body that is larger than any may be, or none")
    return Request(
        asked.url,
        asked.accept,
        asked.max_bytes,
        _seconds(asked.milliseconds),
        asked.body if asked.HasField("body") else None,
        asked.content_type,
    )


# -- answers ---------------------------------------------------------------------------


def item_part(item: Collected) -> pb.Part:
    """Write one thing that a registry holds."""
    if isinstance(item, Content):
        return pb.Part(content=item.raw)
    if isinstance(item, SignatureFile):
        signature = pb.Signature(manifest=item.manifest, envelope=item.envelope)
        return pb.Part(signature=signature)
    if isinstance(item, EvidenceFile):
        if sum(map(len, item.pieces)) > MAX_ENVELOPE_BYTES:
            item = Refused(str(Digest.of(item.manifest)), "has too much evidence")
        else:
            evidence = pb.Evidence(manifest=item.manifest, pieces=item.pieces)
            return pb.Part(evidence=evidence)
    return pb.Part(refused=pb.Refused(what=_text(item.what), why=_text(item.why)))


def parse_item(part: pb.Part) -> Collected:
    """Read one thing that a registry holds, or raise MalformedError.

    The media type of a manifest is the one it gives itself, whoever sent it.
    """
    kind = part.WhichOneof("what")
    if kind == "content":
        return _content(part.content)
    if kind == "signature":
        return SignatureFile(part.signature.manifest, part.signature.envelope)
    if kind == "evidence":
        return EvidenceFile(part.evidence.manifest, tuple(part.evidence.pieces))
    if kind == "refused":
        return Refused(_text(part.refused.what), _text(part.refused.why))
    raise malformed("no content, signature, evidence or refusal")


def _content(raw: bytes) -> Content | Refused:
    try:
        return Content(media_type_of(raw), raw)
    except EnforcerError as error:
        return Refused(str(Digest.of(raw)), f"{error.what} [{error.code}]")


def failure_part(error: EnforcerError) -> pb.Part:
    """Write the end of a call that failed."""
    because = error.because if isinstance(error, FetchError) else ""
    return pb.Part(
        failure=pb.Failure(
            code=str(error.code),
            what=_text(error.what),
            remedy=_text(error.remedy),
            because=_text(because),
        )
    )


def failure_error(found: pb.Failure) -> AnsweredError:
    """Return the error that was written, or raise MalformedError."""
    try:
        code = Code(found.code)
    except ValueError as error:
        raise malformed("a code of another version") from error
    return AnsweredError(
        _text(found.what),
        remedy=_text(found.remedy),
        code=code,
        because=_text(found.because),
    )


def malformed(what: str) -> MalformedError:
    """Return what is said of a message of another shape."""
    return MalformedError(
        f"on fetcher.sock there was {what}",
        remedy="systemctl restart enforcer-fetcher enforcer",
    )


def _credential_message(login: Credential) -> pb.Credential:
    return pb.Credential(
        username=login.username,
        password=login.password.text,
        identity_token=login.identity_token.text,
    )


def _credential(found: pb.Credential) -> Credential:
    return Credential(
        found.username, Secret(found.password), Secret(found.identity_token)
    )


def _milliseconds(seconds: float) -> int:
    return max(1, int(min(seconds, MAX_SECONDS) * 1000))


def _seconds(milliseconds: int) -> float:
    if not 0 < milliseconds <= MAX_SECONDS * 1000:
        raise malformed("a question without an end")
    return milliseconds / 1000


def _text(text: str) -> str:
    return clip(text, limit=MAX_TEXT)

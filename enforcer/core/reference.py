"""Image references: read and normalise them, and spell them as policy scopes.

The grammar is the distribution project's (reference.go): `[host/]path[:tag][@digest]`.
A first part is a host if it has a dot, a colon or an upper-case letter, or is
`localhost`; Docker and CRI agree on that. What they make of hundreds of texts is in
tests/vectors/references.json.
"""

import re
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, MalformedError, clip

MAX_REPOSITORY = 255  # spelled out with its host, as Docker 20.10 counts
MAX_REFERENCE = MAX_REPOSITORY + 1 + 128 + 1 + 135  # ":", tag, "@", a sha512 digest

DEFAULT_HOST = "docker.io"
LOCAL_HOST = "local"  # scopes of images that no registry is known for

_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_HOST_PART = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(
    rf"(?:{_HOST_PART}(?:\.{_HOST_PART})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?"
)
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_CONTENT = re.compile(
    r"(?:sha256:)?[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}"
)


class InvalidReferenceError(EnforcerError):
    """Text that is no image reference."""

    default_code = Code.REFERENCE_INVALID


@dataclass(frozen=True, slots=True)
class Reference:
    """A checked reference. `host` is "" where none was written."""

    text: str
    host: str
    path: str
    tag: str
    digest: Digest | None

    def repository(self, *, local: bool) -> str:
        """Return the repository as policy scopes spell it, without tag and digest.

        A name without a host is `local/NAME` where `local` says that no registry is
        known for it, and Docker Hub's otherwise (design section 6). The host a
        person wrote is kept, except that Docker Hub's old name is its new one.
        `library/app` and `app` are one image to every engine, and one scope here.
        """
        if self.host not in ("", DEFAULT_HOST, "index.docker.io"):
            return f"{self.host}/{self.path}"
        short = self.path
        if short.count("/") == 1:
            short = short.removeprefix("library/")
        if local and not self.host:
            return f"{LOCAL_HOST}/{short}"
        return f"{DEFAULT_HOST}/{short if '/' in short else f'library/{short}'}"

    @property
    def scope(self) -> str:
        """Return the policy scope that was written: `local/NAME` is itself one."""
        if not self.host and self.path.startswith(f"{LOCAL_HOST}/"):
            return self.path
        return self.repository(local=True)


def parse_reference(text: str) -> Reference:
    """Read a reference as Docker and containerd do.

    Raises:
        InvalidReferenceError: Not a reference; the message shows it escaped.
    """
    if len(text) > MAX_REFERENCE:
        raise _wrong(text, f"is longer than {MAX_REFERENCE} characters")
    rest, at, digest_text = text.partition("@")
    digest = None
    if at:
        try:
            digest = Digest.parse(digest_text)
        except MalformedError as error:
            raise _wrong(text, "has a digest that is none") from error
    host, path = _split_host(rest)
    name, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _wrong(text, "has a tag that is none")
    if not _PATH.fullmatch(name):
        raise _wrong(text, "is not a lower-case repository name")
    if host and not _HOST.fullmatch(host):
        raise _wrong(text, "has a registry that is no host name")
    return _unambiguous(Reference(text, host, name, tag, digest))


def parse_tag_or_digest(text: str) -> str | Digest:
    """Read what follows a repository, `:` or `@` taken off, or raise MalformedError."""
    if ":" in text:
        return Digest.parse(text)
    if not _TAG.fullmatch(text):
        raise MalformedError(f'"{clip(text)}" is no tag', remedy="Check the name.")
    return text


def _unambiguous(reference: Reference) -> Reference:
    """Return what every engine reads alike, or raise InvalidReferenceError."""
    full = reference.repository(local=False)
    if len(full) > MAX_REPOSITORY:
        raise _wrong(
            reference.text, f"is a repository of more than {MAX_REPOSITORY} characters"
        )
    # Docker shortens docker.io/foo.bar/x to foo.bar/x, and its overlay2 store takes
    # one for the other. Nobody on Docker Hub has such a name.
    if full.startswith(f"{DEFAULT_HOST}/") and _split_host(reference.path)[0]:
        raise _wrong(reference.text, "has another registry's name below Docker Hub's")
    # To Docker an id; CRI takes sha256:… for a name and its tag.
    short = full.removeprefix(f"{DEFAULT_HOST}/library/")
    if _CONTENT.fullmatch(f"{short}:{reference.tag}".removesuffix(":")):
        raise _wrong(reference.text, "is an id or a digest, which is no name")
    return reference


def _split_host(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_host = "." in first or ":" in first or first == "localhost"
    if slash and (is_host or first != first.lower()):
        return first, rest
    return "", text


def _wrong(text: str, why: str) -> InvalidReferenceError:
    return InvalidReferenceError(
        f'"{clip(text)}" {why}',
        remedy="Expected [registry/]repository[:tag][@digest] in plain ASCII.",
    )

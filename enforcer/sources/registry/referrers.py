"""What a registry says is about a manifest: Referrers API and referrers tag.

distribution-spec v1.1, "Listing Referrers". Both are asked, and what either lists
counts once: registries that have the API lose what was written as a tag, and the other
way round. The API is asked without a filter, as some filter by what they guessed; what
a descriptor says of an `artifactType` orders and never decides.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, unquote

from enforcer.core.collected import Refused
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import OCI_INDEX, parse_descriptor
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.sources.registry.errors import RegistryError, wrong
from enforcer.sources.registry.origin import split_url
from enforcer.sources.registry.session import Asked, Session, scope_of
from enforcer.sources.registry.transport import Answer

MAX_REFERRERS = 1000  # of one subject
MAX_PAGES = 20  # registries give fifty or a hundred a page
MAX_LIST_BYTES = 4 * 1024 * 1024  # as for any manifest
MAX_UNREADABLE = 100  # lines of one list; two million fit, and each is told of

# How registries without the API answer, besides with what is no index: docker-registry
# 404, ECR 405, GHCR 303 to another host.
_NO_API = frozenset({301, 302, 303, 307, 308, 400, 404, 405, 406, 410, 415, 501})
_NEXT = re.compile(r'<([^<>\s]*)>[^,<]*;[ \t]*rel="?next\b')


@dataclass(frozen=True, slots=True)
class Referrer:
    """One line of a list: what is said to be about a subject."""

    descriptor: Descriptor
    untrusted_artifact_type: str


@dataclass(frozen=True, slots=True)
class Referrers:
    """What is listed, each once, and what of the lists could not be used.

    `has_api` says whether the registry has a Referrers API.
    """

    entries: tuple[Referrer, ...]
    refused: tuple[Refused, ...]
    has_api: bool


def referrers_tag(subject: Digest) -> str:
    """Return the tag of the list about a manifest where there is no API for it."""
    # "Referrers Tag Schema": both parts are cut to length
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


class ReferrersReader:
    """Lists referrers; remembers for the run that a registry has no API."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._has_api = True

    def read(self, repository: str, digest: Digest) -> Referrers:
        """Return what API and tag list.

        Raises:
            RegistryError: Asking on is of no use now (`is_final`).
        """
        found: dict[Digest, Referrer] = {}
        refused: list[Refused] = []
        for listed in (self._api, self._tag):
            try:
                for item in listed(repository, digest):
                    if isinstance(item, Refused):
                        refused.append(item)
                    elif len(found) < MAX_REFERRERS:
                        found.setdefault(item.descriptor.digest, item)
                    else:
                        shown = self._place(repository, digest)
                        raise wrong(shown, f"are more than {MAX_REFERRERS}")
            except RegistryError as error:
                if error.is_final:
                    raise
                refused.append(refusal(f"referrers of {digest.short}", error))
        return Referrers(tuple(found.values()), tuple(refused), self._has_api)

    def _api(self, repository: str, digest: Digest) -> Iterator[Referrer | Refused]:
        url = f"/v2/{quote(repository)}/referrers/{digest}"
        seen: set[str] = set()
        while self._has_api and url not in seen:
            if len(seen) == MAX_PAGES:
                shown = self._place(repository, digest)
                raise wrong(shown, f"are on more than {MAX_PAGES} pages")
            seen.add(url)
            asked = self._asked(url, repository, digest, _NO_API | {200})
            with self._session.open(asked) as answer:
                if answer.status != 200 or not _is_index(answer):
                    if len(seen) > 1:
                        raise wrong(answer.place, "end before their last page")
                    self._has_api = False
                    return
                raw = answer.read(MAX_LIST_BYTES)
                link = answer.headers.get("Link", "")
            yield from _entries(raw, asked.place)
            url = self._next(link, url, asked.place)
            if not url:
                return
        if seen:
            raise wrong(self._place(repository, digest), "are on pages that go round")

    def _tag(self, repository: str, digest: Digest) -> Iterator[Referrer | Refused]:
        tag = referrers_tag(digest)
        url = f"/v2/{quote(repository)}/manifests/{tag}"
        with self._session.open(self._asked(url, repository, digest, {200, 404})) as a:
            if a.status == 404:
                return
            if not _is_index(a):
                raise wrong(a.place, f"are in {tag}, which is no index")
            raw = a.read(MAX_LIST_BYTES)
        yield from _entries(raw, a.place)

    def _next(self, link: str, url: str, place: str) -> str:
        """Return where the next page is; it can be nowhere but on the same path."""
        found = _NEXT.search(link)
        if found is None:
            return ""
        base = f"{self._session.origin}{url}"
        origin, target = split_url(found[1], base=base)
        path, own = (unquote(text.partition("?")[0]) for text in (target, url))
        if origin != self._session.origin or path != own:
            raise wrong(place, "go on at another place, which is not followed")
        return target

    def _asked(
        self,
        url: str,
        repository: str,
        digest: Digest,
        expect: set[int] | frozenset[int],
    ) -> Asked:
        return Asked(
            self._place(repository, digest),
            url,
            scope_of(repository),
            headers={"Accept": OCI_INDEX},
            expect=expect,
            follow=False,
        )

    def _place(self, repository: str, digest: Digest) -> str:
        return f"the referrers of {self._session.host}/{repository}@{digest.short}"


def refusal(what: str, error: EnforcerError) -> Refused:
    """Make what is told of something that was not taken."""
    return Refused(what, f"{error.what} [{error.code}]")


def _is_index(answer: Answer) -> bool:
    stated = answer.headers.get("Content-Type", "")
    return stated.partition(";")[0].strip().lower() == OCI_INDEX


def _entries(raw: bytes, place: str) -> Iterator[Referrer | Refused]:
    """Read the lines of an index; one that cannot be read does not lose the others."""
    try:
        value = parse_json(raw, what="the list", max_bytes=MAX_LIST_BYTES)
        members = require_object(
            value, what="the list", known=("schemaVersion", "mediaType", "manifests")
        )
    except EnforcerError as error:
        raise wrong(place, f"cannot be read: {error.what}") from error
    if members.get("mediaType", OCI_INDEX) != OCI_INDEX:
        raise wrong(place, "are in what is no index")
    listed = members.get("manifests")
    if not isinstance(listed, list):
        raise wrong(place, "are in an index that lists nothing")
    unreadable = 0
    for item in listed:
        try:
            yield _entry(item)
        except EnforcerError as error:
            unreadable += 1
            if unreadable > MAX_UNREADABLE:
                what = f"have more than {MAX_UNREADABLE} lines that cannot be read"
                raise wrong(place, what) from error
            yield refusal(place, error)


def _entry(value: Json) -> Referrer:
    descriptor = parse_descriptor(value, what="a line of the list")
    kind = value.get("artifactType") if isinstance(value, dict) else None
    return Referrer(descriptor, kind if isinstance(kind, str) else "")

"""Write an artifact to a registry: blobs, manifests, what is about them, the tag last.

distribution-spec v1.1, "Push". What is interrupted leaves no tag that names half of
something, and is gone on with by doing it again: what is there is not sent twice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from urllib.parse import quote

from enforcer.copying import CopyError, Origin, Package, Referrer
from enforcer.core.codes import Code
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import clip
from enforcer.core.image import MAX_MANIFEST_BYTES, OCI_INDEX
from enforcer.core.referring import listed_with, referrer_entry
from enforcer.core.strictjson import Json
from enforcer.core.subject import Content
from enforcer.sources.registry.client import ACCEPT, Registry
from enforcer.sources.registry.errors import RegistryError, wrong
from enforcer.sources.registry.referrers import referrers_tag
from enforcer.sources.registry.session import REQUEST_SECONDS, Asked, scope_of
from enforcer.sources.registry.transport import Body

LIST_TRIES = 5  # each time somebody else was faster; more is a fight

Tell = Callable[[int], None]


class Push:
    """Writes to one repository; `mount_from` is another one that has the blobs."""

    def __init__(
        self, registry: Registry, repository: str, *, mount_from: str = ""
    ) -> None:
        self._registry = registry
        self._repository = repository
        self._mount_from = mount_from if mount_from != repository else ""
        self._scope = scope_of(repository, "pull,push")
        self._base = f"/v2/{quote(repository)}"
        self._place = f"{registry.host}/{repository}"

    def package(
        self,
        package: Package,
        origin: Origin,
        *,
        tag: str = "",
        tell: Tell | None = None,
    ) -> None:
        """Write all of a package, and then the tag; `tell` hears of bytes sent.

        Raises:
            EnforcerError: It is not there as a whole; the tag is as it was.
        """
        for blob in package.blobs:
            self._blob(blob, origin, tell or _nobody)
        for manifest in package.manifests:
            self._manifest(manifest, str(manifest.descriptor.digest))
        self._referrers(package.referrers)
        if tag:
            self._manifest(package.top, tag)

    # -- blobs ----------------------------------------------------------------

    def _blob(self, content: Descriptor, origin: Origin, tell: Tell) -> None:
        """Have a blob there: it is already, or is taken over, or sent."""
        url = f"{self._base}/blobs/{content.digest}"
        head = self._asked(url, content, method="HEAD", expect=(200, 404))
        with self._registry.open(head) as answer:
            is_there = answer.status == 200
        location = "" if is_there else self._begin(content)
        if location:
            self._send(content, location, origin, tell)

    def _begin(self, content: Descriptor) -> str:
        """Return where to send a blob to; "" if it was taken over from elsewhere."""
        url = f"{self._base}/blobs/uploads/"
        if self._mount_from:
            mount = f"{url}?mount={content.digest}&from={quote(self._mount_from)}"
            try:
                return self._location(mount, content, scope_of(self._mount_from))
            except RegistryError as error:
                if error.code != Code.REGISTRY_UNAUTHORISED:
                    raise  # who may not read there sends it
        return self._location(url, content)

    def _location(self, url: str, content: Descriptor, also: str = "") -> str:
        """Ask for a place to send to; "" where nothing has to be sent."""
        expect = (201, 202) if also else (202,)
        asked = self._asked(
            url, content, method="POST", body=b"", expect=expect, also=also
        )
        with self._registry.open(asked) as answer:
            location = answer.headers.get("Location", "")
            if answer.status == 202 and not location:
                raise wrong(asked.place, "is not told where to be sent to")
            return "" if answer.status == 201 else location

    def _send(
        self, content: Descriptor, location: str, origin: Origin, tell: Tell
    ) -> None:
        """Send a blob in one request ("POST then PUT"); it is hashed over there."""

        def parts() -> Iterable[bytes]:
            for part in origin.stream(content):
                yield part
                tell(len(part))

        joint = "&" if "?" in location else "?"
        put = self._asked(
            f"{location}{joint}digest={content.digest}",
            content,
            method="PUT",
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Length": str(content.size),
            },
            body=parts,
            expect=(201,),
            seconds=0,
        )
        with self._registry.open(put) as answer:
            told = answer.headers.get("Docker-Content-Digest", "")
        _require_digest(told, content.digest)

    # -- manifests, and what is about them ------------------------------------

    def _manifest(self, content: Content, reference: str) -> bool:
        """Put a manifest there; return whether the registry lists it by its subject."""
        digest = content.descriptor.digest
        put = self._asked(
            f"{self._base}/manifests/{quote(reference, safe=':')}",
            content.descriptor,
            method="PUT",
            headers={"Content-Type": content.media_type},
            body=content.raw,
            expect=(201,),
        )
        with self._registry.open(put) as answer:
            _require_digest(answer.headers.get("Docker-Content-Digest", ""), digest)
            # "Pushing Manifests with Subject": without this header the list is ours
            return bool(answer.headers.get("OCI-Subject", ""))

    def _referrers(self, referrers: Sequence[Referrer]) -> None:
        """Put what is about others there, and see to it that it is found."""
        unlisted: dict[Digest, list[dict[str, Json]]] = {}
        for one in referrers:
            described = one.content.descriptor
            if not self._manifest(one.content, str(described.digest)):
                entry = referrer_entry(described, one.referring)
                unlisted.setdefault(one.referring.subject.digest, []).append(entry)
        for subject, entries in unlisted.items():
            self._list(subject, entries)

    def _list(self, subject: Digest, entries: Sequence[dict[str, Json]]) -> None:
        """Add lines to the referrers tag ("Referrers Tag Schema").

        Nothing there can be changed only if nobody else did, so it is read again: what
        another writer made of it meanwhile is added to once more.
        """
        tag = referrers_tag(subject)
        for attempt in range(LIST_TRIES + 1):
            raw = listed_with(self._listed(tag), entries)
            if raw is None:
                return
            if attempt < LIST_TRIES:
                self._manifest(Content(OCI_INDEX, raw), tag)
        raise CopyError(
            f"the list of signatures in {self._place}:{tag} kept being changed by "
            "somebody else",
            remedy="Copy again; nothing was tagged yet.",
            code=Code.COPY_LIST_CHANGED,
        )

    def _listed(self, tag: str) -> bytes | None:
        """Return the list as it is now, whatever it is; None if there is none."""
        asked = Asked(
            f"{self._place}:{tag}",
            f"{self._base}/manifests/{tag}",
            self._scope,
            headers={"Accept": ACCEPT},
            expect=(200, 404),
        )
        with self._registry.open(asked) as answer:
            return None if answer.status == 404 else answer.read(MAX_MANIFEST_BYTES)

    def _asked(
        self,
        url: str,
        content: Descriptor,
        *,
        method: str,
        expect: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        seconds: float = REQUEST_SECONDS,
        also: str = "",
    ) -> Asked:
        return Asked(
            f"{self._place}@{content.digest.short}",
            url,
            f"{self._scope} {also}".strip(),
            method=method,
            headers=headers or {},
            body=body,
            expect=expect,
            seconds=seconds,
        )


def _require_digest(told: str, digest: Digest) -> None:
    """Return if the registry keeps what it was sent, as far as it says so."""
    if told not in ("", str(digest)):
        raise CopyError(
            f"the registry keeps {clip(told)} instead of {digest}",
            remedy="Nothing was tagged.",
            code=Code.COPY_OTHER_DIGEST,
        )


def _nobody(_: int) -> None:
    """Tell nobody how far it is."""

"""A small registry: distribution-spec v1.1 as it should be, and wrong wherever asked.

For what the real ones here lack: a Referrers API in all its variants, lies, and
answers that break off, drip or never end.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from enforcer.core.collected import EvidenceFile, SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.image import OCI_INDEX, OCI_MANIFEST
from enforcer.core.revocation_artifact import parse_evidence_manifest
from enforcer.core.signature_manifest import (
    SIGNATURE_ARTIFACT_TYPE,
    parse_signature_manifest,
)
from enforcer.core.strictjson import Json
from enforcer.core.subject import Content
from tests.registry.server import Reply, Seen

Rule = Callable[[Seen], Reply | None]

NOT_FOUND = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}'
PAGE = 2  # entries, where it paginates
REPOSITORY = "app"


@dataclass
class FakeRegistry:
    """What it holds, and how it answers; called with a request it gives the reply.

    `rules` come first, and the first that answers wins. `referrers` names how the API
    behaves (see `_referrers`), "404" for none. With `tags`, what is about a manifest
    is in its referrers tag, too.
    """

    repository: str = REPOSITORY
    referrers: str = "200"
    tags: bool = False
    rules: list[Rule] = field(default_factory=list)
    manifests: dict[str, Content] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    about: dict[str, list[Json]] = field(default_factory=dict)

    def push(self, content: Content, tag: str = "") -> Content:
        self.manifests[str(content.descriptor.digest)] = content
        if tag:
            self.manifests[tag] = content
        return content

    def attach(self, item: SignatureFile | EvidenceFile, **changes: Json) -> Digest:
        """Push what is about a manifest, and list it with these `changes`."""
        signature = parse_signature_manifest(item.manifest)
        evidence = None if signature else parse_evidence_manifest(item.manifest)
        found = signature or evidence
        assert found is not None
        pieces = item.pieces if isinstance(item, EvidenceFile) else (item.envelope,)
        for piece in pieces:
            self.blobs[str(Digest.of(piece))] = piece
        content = self.push(Content(OCI_MANIFEST, item.manifest))
        entry: dict[str, Json] = {
            "mediaType": OCI_MANIFEST,
            "digest": str(content.descriptor.digest),
            "size": len(content.raw),
            "artifactType": SIGNATURE_ARTIFACT_TYPE,
        }
        changed = (entry | changes).items()
        listed: Json = {key: value for key, value in changed if value is not None}
        self.about.setdefault(str(found.subject.digest), []).append(listed)
        return content.descriptor.digest

    def __call__(self, seen: Seen) -> Reply:
        for rule in self.rules:
            reply = rule(seen)
            if reply is not None:
                return reply
        prefix = f"/v2/{self.repository}/"
        if not seen.path.startswith(prefix):
            return Reply(404, NOT_FOUND)
        kind, _, named = seen.path.removeprefix(prefix).partition("/")
        if kind == "blobs" and named in self.blobs:
            return Reply(body=self.blobs[named])
        if kind == "manifests":
            return self._manifest(named)
        if kind == "referrers":
            return self._referrers(seen, named)
        return Reply(404, NOT_FOUND)

    def _manifest(self, named: str) -> Reply:
        content = self.manifests.get(named)
        subject = named.replace("-", ":", 1)
        if content is None and self.tags and subject in self.about:
            raw = index_of(self.about[subject])
            content = Content(OCI_INDEX, raw)
        if content is None:
            return Reply(404, NOT_FOUND)
        return manifest_reply(content)

    def _referrers(self, seen: Seen, subject: str) -> Reply:
        listed = self.about.get(subject, [])
        if self.referrers.isdecimal() and self.referrers != "200":
            return Reply(int(self.referrers), NOT_FOUND)
        if self.referrers in ("paged", "loop"):
            return self._page(seen, listed)
        return index_reply(listed)

    def _page(self, seen: Seen, listed: Sequence[Json]) -> Reply:
        start = int(seen.query.get("last", ["0"])[0])
        following = 0 if self.referrers == "loop" else start + PAGE
        headers = {}
        if following < len(listed):
            link = f"<{seen.path.replace(':', '%3A')}?n={PAGE}&last={following}>"
            headers["Link"] = f'{link}; rel="next"'
        return index_reply(listed[start : start + PAGE], **headers)


def manifest_reply(content: Content, **headers: str) -> Reply:
    """A manifest as it should be sent, with other `headers` where given."""
    right = {
        "Content-Type": content.media_type,
        "Docker-Content-Digest": str(content.descriptor.digest),
    }
    changed = {key.replace("_", "-"): value for key, value in headers.items()}
    return Reply(body=content.raw, headers={**right, **changed})


def index_of(listed: Sequence[Json]) -> bytes:
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(listed)}
    return json.dumps(document).encode()


def index_reply(listed: Sequence[Json], **headers: str) -> Reply:
    return Reply(body=index_of(listed), headers={"Content-Type": OCI_INDEX, **headers})


def at(part: str, reply: Reply | Callable[[Seen], Reply]) -> Rule:
    """A rule for every request whose path has this part."""

    def rule(seen: Seen) -> Reply | None:
        if part not in seen.path:
            return None
        return reply(seen) if callable(reply) else reply

    return rule

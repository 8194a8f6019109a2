"""A small registry that can be pushed to, with a Referrers API or without."""

from dataclasses import dataclass, field

from enforcer.core.digest import Digest
from enforcer.core.image import INDEX_TYPES
from enforcer.core.referring import parse_referring, referrer_entry
from enforcer.core.subject import Content
from tests.registry.fake import REPOSITORY, FakeRegistry
from tests.registry.server import Reply, Seen

UPLOAD = f"/v2/{REPOSITORY}/blobs/uploads/"


@dataclass
class WritableRegistry(FakeRegistry):
    """Takes what is pushed. `mountable` are blobs that another repository has.

    With `has_api` it lists by subject and says so; `referrers` is "404" otherwise.
    """

    has_api: bool = True
    mountable: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.has_api:
            self.referrers = "404"

    def __call__(self, seen: Seen) -> Reply:
        for rule in self.rules:
            reply = rule(seen)
            if reply is not None:
                return reply
        if seen.method == "POST":
            return self._begin(seen)
        if seen.method == "PUT" and seen.path.startswith(UPLOAD):
            return self._blob(seen)
        if seen.method == "PUT":
            return self._put(seen)
        return super().__call__(seen)

    def tag(self, name: str) -> Content | None:
        return self.manifests.get(name)

    def _begin(self, seen: Seen) -> Reply:
        (mount,) = seen.query.get("mount", [""])
        if mount in self.mountable:
            self.blobs[mount] = self.mountable[mount]
            return Reply(201)
        return Reply(202, headers={"Location": f"{UPLOAD}1?state=x"})

    def _blob(self, seen: Seen) -> Reply:
        (digest,) = seen.query["digest"]
        if not Digest.parse(digest).matches(seen.body):
            return Reply(400)
        self.blobs[digest] = seen.body
        return Reply(201, headers={"Docker-Content-Digest": digest})

    def _put(self, seen: Seen) -> Reply:
        named = seen.path.rpartition("/")[2]
        content = Content(seen.headers["Content-Type"], seen.body)
        digest = str(content.descriptor.digest)
        self.push(content, "" if named == digest else named)
        headers = {"Docker-Content-Digest": digest}
        is_list = content.media_type in INDEX_TYPES and named.startswith("sha256-")
        referring = None if is_list else parse_referring(content.raw)
        if referring and self.has_api:
            subject = str(referring.subject.digest)
            entry = referrer_entry(content.descriptor, referring)
            self.about.setdefault(subject, []).append(entry)
            headers["OCI-Subject"] = subject
        return Reply(201, headers=headers)

"""One call of Docker's API: allowed at once, or worth a question, or refused."""

import base64
import binascii
import platform
import threading
from dataclasses import dataclass, replace

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.strictjson import parse_json, require_object
from enforcer.hooks.asking import Answer, Asker
from enforcer.hooks.authz.content import (
    BodyError,
    container_images,
    plugin_refused,
    service_images,
)
from enforcer.hooks.authz.routes import (
    CallError,
    Rule,
    is_builder,
    query_values,
    rule_for,
)

# A body of 1 MiB in base64, and the 1 MiB of headers that Go's server takes, with room
# for the swarm configurations (1000 KiB, in base64 twice) that nobody judges.
MAX_CALL_BYTES = 4 * 1024 * 1024

_FIELDS = ("RequestMethod", "RequestUri", "RequestBody")
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}  # Go's names (image-spec)
_HOST = f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}"

# A body may unfold to twenty times its size: one at a time.
_parsing = threading.Lock()


@dataclass(frozen=True, slots=True)
class Call:
    """What dockerd was asked, as it asks us: nothing of it checked."""

    method: str
    uri: str
    body: str  # base64

    @property
    def shown(self) -> str:
        """The call in the audit log, without its query."""
        return f"{clip(self.method, limit=10)} {clip(self.uri.partition('?')[0])}"


def parse_call(raw: bytes) -> Call:
    """Read dockerd's question (moby, pkg/authorization/api.go).

    Raises:
        EnforcerError: It is none.
    """
    what = "the question of dockerd"
    value = parse_json(raw, what=what, max_bytes=MAX_CALL_BYTES)
    members = require_object(value, what=what, known=_FIELDS)
    texts = [members.get(name, "") for name in _FIELDS]
    method, uri, body = (text if isinstance(text, str) else None for text in texts)
    if not method or not uri or body is None:
        raise MalformedError(f"{what} names no call", remedy="Is this Docker?")
    return Call(method, uri, body)


def is_free(call: Call) -> bool:
    """Whether the table alone allows this call; nothing needs to be asked or read."""
    try:
        return rule_for(call.method, call.uri) is Rule.ALLOW
    except CallError:
        return False


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges the calls that are not free, and blocks while enforcerd thinks.

    It raises nothing on purpose; whatever comes out is for the caller to refuse.
    """

    asker: Asker
    engine_root: str

    def refusal(self, call: Call) -> str:
        """Return the sentence for whoever is refused, or "" where there is none."""
        try:
            answers = (self._about(image) for image in self._images(call))
            return next((a.refusal for a in answers if not a.passes), "")
        except EnforcerError as error:
            build = error.code is Code.BUILD_REFUSED
            shown = f"an image build ({call.shown})" if build else call.shown
            return self.refuse(shown, error)

    def refuse(self, shown: str, error: EnforcerError) -> str:
        """Refuse for a reason that is no image, unless the host's mode lets pass."""
        message = f"{error.what}. {error.remedy}".removesuffix(".")
        answer = self.asker.act(shown, error.code, message)
        return "" if answer.passes else answer.refusal

    def _images(self, call: Call) -> tuple[str, ...]:
        """Return the images to ask about, or raise why that is not the question."""
        match rule_for(call.method, call.uri):
            case Rule.CONTAINER:
                _check_platform(call)
                with _parsing:
                    return container_images(_body(call))
            case Rule.SERVICE:
                with _parsing:
                    return service_images(_body(call))
            case Rule.START:
                _check_checkpoint(call)
                return ()
            case Rule.PULL if not is_builder(call.uri):
                return ()
            case Rule.ALLOW:
                return ()
            case Rule.PLUGIN:
                raise plugin_refused()
            case Rule.BUILD | Rule.PULL:
                raise BodyError(
                    "image builds are refused on this host",
                    remedy="Set `builds: allow` in enforcer.yaml to allow them.",
                    code=Code.BUILD_REFUSED,
                )

    def _about(self, image: str) -> Answer:
        """Ask about one image; about its digest, where it has one and is not here yet.

        That is how the client of a swarm names what it resolved, and content with that
        digest is all that Docker will take for it.
        """
        answer = self.asker.image(self.engine_root, "", image)
        name, at, digest = image.partition("@")
        if answer.code != Code.CONTENT_MISSING:
            return answer
        if at:
            return self.asker.content(name, digest)
        # `docker run` pulls when dockerd says 404, which a plug-in cannot: it says 403.
        return replace(answer, message=f"{answer.message}; docker pull comes first")


def _body(call: Call) -> bytes:
    try:
        body = base64.b64decode(call.body.encode("ascii"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BodyError(
            "the body dockerd shows is no base64", remedy="Is this Docker?"
        ) from error
    return body


def _check_platform(call: Call) -> None:
    for asked in query_values(call.uri, "platform"):
        if asked not in ("", _HOST):
            raise CallError(
                f"platform {clip(asked, limit=60)} is refused",
                remedy=f"Images are judged for this host's, which is {_HOST}.",
                code=Code.DOCKER_PLATFORM,
            )


def _check_checkpoint(call: Call) -> None:
    if any(query_values(call.uri, "checkpoint")):
        raise CallError(
            "a start from a checkpoint is refused",
            remedy="Nobody signed the processes in it.",
            code=Code.DOCKER_CHECKPOINT,
        )

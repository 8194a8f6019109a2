"""Which calls of CRI name an image, and what becomes of them.

CreateContainer names the image to run and images to mount. Each is judged, and goes on
as the id that was judged, so that no moved tag wins and no file of that name is taken
for a checkpoint. PullImage is judged by what it pulled. RunPodSandbox names no image:
containerd takes the one of its own settings, which containerd 2.1 tells nobody, so that
one is judged at the gate alone. So is what a method of a later CRI may name, which
passes here like every method nobody has heard of.
"""

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import structlog

from enforcer.core.codes import Code
from enforcer.core.errors import MalformedError, TooLargeError, clip
from enforcer.gate import ask
from enforcer.hooks.asking import Answer, Asker
from enforcer.hooks.cri.message import Path, Step, rewrite, values
from enforcer.ttrpc import encode_fields

NAMESPACE = "k8s.io"  # where containerd's CRI keeps all it has
MAX_QUESTIONS = 64  # at once; each waits in a thread of its own
MAX_IMAGES = 64  # that one container may name
MAX_REFERENCE_BYTES = 4096  # the longest path; a name has some 400
GRACE_SECONDS = 0.25  # after the deadline at which a question ends by itself

# Field numbers of cri-api, pkg/apis/runtime/v1/api.proto.
_IMAGE = Step(1)  # ImageSpec.image
_CONFIG = Step(2)  # CreateContainerRequest.config
CONTAINER: Path = (_CONFIG, Step(2), _IMAGE)  # .image
MOUNTS: Path = (_CONFIG, Step(7, repeated=True), Step(9))  # .mounts[].image
PULLED_NAME: Path = (Step(1), _IMAGE)  # PullImageRequest.image
# AuthConfig's username, password, auth, server_address and identity_token.
PULLED_LOGIN: tuple[Path, ...] = tuple((Step(2), Step(n)) for n in range(1, 6))
PULLED_ID: Path = (Step(1),)  # PullImageResponse.image_ref
LISTED_IDS: Path = (Step(1, repeated=True), Step(1))  # ListImagesResponse.images[].id

# kubelet knows a refused signature from other failed pulls by this word, and only in
# an error of code Unknown (its pullImageV1 and evalCRIPullErr).
SIGNATURE_WORD = "SignatureValidationFailed"

Call = Callable[[str, bytes], Awaitable[bytes]]  # a method of ImageService, a request
log = structlog.get_logger("enforcer-cri")


class RefusedError(Exception):
    """The call is refused; the text is what the pod's events show."""

    def __init__(self, code: grpc.StatusCode, text: str) -> None:
        self.code = code
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Pulling:
    """A pull that is under way.

    Attributes:
        login: As enforcerd takes it, for that registry alone; never shown.
        here_before: The ids of all images that were here when it began.
    """

    name: str
    login: bytes = field(repr=False)
    here_before: frozenset[bytes]


class ImageJudge:
    """Asks enforcerd about every image that a call names."""

    def __init__(self, asker: Asker, engine_root: str, call: Call) -> None:
        self._asker = asker
        self._engine_root = engine_root
        self._call = call
        self._threads = ThreadPoolExecutor(MAX_QUESTIONS, thread_name_prefix="ask")

    async def create(self, request: bytes) -> bytes:
        """Return a CreateContainerRequest whose every image is the one judged.

        Raises:
            RefusedError: One of them may not run here.
            EnforcerError: The request is unreadable.
        """
        named = created_images(request)
        answers = await asyncio.gather(*map(self._ask, named))
        for answer in answers:
            if not answer.passes:
                raise RefusedError(grpc.StatusCode.PERMISSION_DENIED, answer.refusal)
        # No id: a denial let through in monitor mode.
        pins = {n: a.config or n for n, a in zip(named, answers, strict=True)}
        return pinned(request, pins)

    async def before_pull(self, request: bytes) -> Pulling:
        """Return what a PullImageRequest names, and the ids of all images here.

        Raises:
            EnforcerError: The request is unreadable.
        """
        (name,) = _references(values(request, PULLED_NAME) or (b"",))
        login = pull_message(request)
        listed = await self._call("ListImages", b"")
        return Pulling(name, login, frozenset(values(listed, LISTED_IDS)))

    async def pulled(self, pulling: Pulling, answer: bytes) -> None:
        """Return if what was pulled may run here.

        Raises:
            RefusedError: It may not; and if this pull brought it, it is gone again.
            EnforcerError: containerd's answer is unreadable.
        """
        (raw,) = values(answer, PULLED_ID) or (b"",)
        image = raw.decode(errors="replace")
        verdict = await self._ask(pulling.name, pulling.login)
        if verdict.config not in ("", image):  # the tag was moved since
            verdict = await self._ask(image)
        if verdict.passes:
            return
        if raw not in pulling.here_before:
            await self._remove(image)
        text = f"{SIGNATURE_WORD}: {verdict.refusal}"
        raise RefusedError(grpc.StatusCode.UNKNOWN, text)

    async def _ask(self, name: str, pull: bytes | None = None) -> Answer:
        """Ask about one image; silence is no, also where the threads are busy."""
        work = asyncio.get_running_loop().run_in_executor(
            self._threads, self._asker.image, self._engine_root, NAMESPACE, name, pull
        )
        monitor = ask.is_monitor(str(self._asker.gate_conf))
        try:
            async with asyncio.timeout(ask.DEADLINE_SECONDS + GRACE_SECONDS):
                answer = await work
        except TimeoutError as error:
            why = ask.no_answer(error, str(self._asker.socket))
            return Answer(monitor, str(Code.GATE_SILENT), why)
        if answer.passes and not answer.config and not monitor:
            why = "enforcerd allowed an image and did not say which, so nothing starts"
            return Answer(passes=False, code=str(Code.GATE_GARBLED), message=why)
        return answer

    async def _remove(self, image: str) -> None:
        try:
            await self._call(
                "RemoveImage", encode_fields((1, encode_fields((1, image))))
            )
        except grpc.RpcError as error:
            log.warning(
                "refused image stays", image=clip(image), reason=clip(str(error))
            )


def pull_message(request: bytes) -> bytes:
    """Return what enforcerd is told of a PullImageRequest: its login, if it has one.

    Raises:
        EnforcerError: The request is unreadable.
    """
    found = [values(request, path)[:1] or (b"",) for path in PULLED_LOGIN]
    username, password, auth, server, token = (value for (value,) in found)
    if auth and not username:
        try:
            pair = base64.b64decode(auth, validate=True)
            username, _, password = pair.partition(b":")
        except ValueError:
            username = b""  # containerd will say what is wrong with it
    fields = enumerate((username, password, token, server), 1)
    return encode_fields(*((number, value) for number, value in fields if value))


def created_images(request: bytes) -> tuple[str, ...]:
    """Return every image that a CreateContainerRequest names, each once.

    Raises:
        EnforcerError: It is unreadable, or names too many.
    """
    mounts = values(request, MOUNTS)
    raw = [*(values(request, CONTAINER) or (b"",))]
    for mount in mounts:
        raw += values(mount, (_IMAGE,)) or (b"",)
    named = tuple(dict.fromkeys(_references(raw)))
    if len(named) > MAX_IMAGES:
        raise TooLargeError(
            f"a container names {len(named)} images, more than {MAX_IMAGES}",
            remedy="Mount fewer images.",
        )
    return named


def pinned(request: bytes, pins: dict[str, str]) -> bytes:
    """Return a CreateContainerRequest with every image exchanged, and nothing else."""
    for path in (CONTAINER, (*MOUNTS, _IMAGE)):
        request = rewrite(request, path, lambda raw: pins[raw.decode()].encode())
    return request


def _references(untrusted: Iterable[bytes]) -> list[str]:
    try:
        texts = [raw.decode() for raw in untrusted]
    except UnicodeDecodeError as error:
        raise MalformedError(
            "an image's name is not UTF-8", remedy="Name it in plain ASCII."
        ) from error
    if any(len(text.encode()) > MAX_REFERENCE_BYTES for text in texts):
        raise TooLargeError(
            f"an image's name has more than {MAX_REFERENCE_BYTES} bytes",
            remedy="Use registry/repository:tag.",
        )
    return texts

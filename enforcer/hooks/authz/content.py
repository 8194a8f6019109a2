"""What a call of Docker's would run: the images its body names, or why it is refused.

dockerd is written in Go, whose JSON reader matches names regardless of case, takes the
last of two, and flattens embedded structs. A body that it could read otherwise than we
do is refused (facts 0.2; `{"Image": "signed", "image": "evil"}`).
"""

from collections.abc import Iterator

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import Json, parse_json, require_object

MAX_BODY_BYTES = 1024 * 1024  # real ones have some KiB; older dockerds show no more
MAX_IMAGES = 8  # one image and some image mounts; each is a question to enforcerd
# Both lead to the one `runc` in dockerd's PATH, which is the gate.
RUNTIMES = ("", "runc", "io.containerd.runc.v2")
# Mounts that are no image. Docker refuses other words, and so do we.
MOUNTS = ("bind", "volume", "tmpfs", "npipe", "cluster")
IMAGE_MOUNT = "image"

_CONTAINER = ("Image", "HostConfig", "Runtime", "Mounts")
_HOST_CONFIG = ("Runtime", "Mounts")
_MOUNT = ("Type", "Source")
_SERVICE = ("TaskTemplate",)
_TASK = ("ContainerSpec", "PluginSpec", "NetworkAttachmentSpec", "Runtime")
_CONTAINER_SPEC = ("Image", "Mounts")


class BodyError(EnforcerError):
    """A body that is refused whatever the image."""

    default_code = Code.DOCKER_BODY_UNREADABLE


def container_images(untrusted_body: bytes) -> tuple[str, ...]:
    """Return the images that a container would be made of: its own and its mounts'.

    Raises:
        EnforcerError: It names none or too many, asks for another runtime, or Docker
            could read it otherwise.
    """
    body = _object(_parse(untrusted_body), "the body", _CONTAINER)
    # `ContainerConfigWrapper` embeds HostConfig: where the member is absent, its names
    # count at the top (moby, runconfig/config_unix.go). We look at both, always.
    images = [_image(body)]
    for host in (body, _member(body, "HostConfig", _HOST_CONFIG)):
        _check_runtime(host)
        images += _mounted(host)
    return _bounded(images)


def service_images(untrusted_body: bytes) -> tuple[str, ...]:
    """Return the images that the tasks of a swarm service would be made of.

    Raises:
        EnforcerError: As above, or its tasks are no containers.
    """
    body = _object(_parse(untrusted_body), "the body", _SERVICE)
    task = _member(body, "TaskTemplate", _TASK)
    if task.get("PluginSpec") is not None or task.get("Runtime") == "plugin":
        raise plugin_refused()
    is_container = task.get("Runtime", "") in ("", "container")
    if not is_container or task.get("NetworkAttachmentSpec") is not None:
        raise BodyError(
            "the service's tasks are no containers",
            remedy="Services of other kinds are refused.",
            code=Code.DOCKER_TASK,
        )
    spec = _member(task, "ContainerSpec", _CONTAINER_SPEC)
    return _bounded([_image(spec), *_mounted(spec)])


def plugin_refused() -> BodyError:
    """Make the refusal of everything that would bring a Docker plug-in to life."""
    return BodyError(
        "Docker's plug-ins are refused on this host",
        remedy="They run as root and nobody judges them.",
        code=Code.DOCKER_PLUGIN,
    )


def _parse(raw: bytes) -> Json:
    if not raw:
        raise BodyError(
            "dockerd shows no body of this call",
            remedy="Send application/json of at most 1 MiB, with its length.",
        )
    try:
        return parse_json(raw, what="the body", max_bytes=MAX_BODY_BYTES)
    except EnforcerError as error:
        raise _unreadable(error) from error


def _object(value: Json, what: str, known: tuple[str, ...]) -> dict[str, Json]:
    try:
        return require_object(value, what=what, known=known)
    except EnforcerError as error:
        raise _unreadable(error) from error


def _unreadable(error: EnforcerError) -> BodyError:
    return BodyError(error.what, remedy=error.remedy)


def _member(
    parent: dict[str, Json], name: str, known: tuple[str, ...]
) -> dict[str, Json]:
    """Return a member that is an object; absent and null are an empty one, as in Go."""
    value = parent.get(name)
    return {} if value is None else _object(value, name, known)


def _image(owner: dict[str, Json]) -> str:
    image = owner.get("Image")
    if isinstance(image, str) and image:
        return image
    raise BodyError(
        "the container would have no image",
        remedy="Nothing can be judged without one.",
        code=Code.NO_IMAGE,
    )


def _check_runtime(host: dict[str, Json]) -> None:
    runtime = host.get("Runtime")
    if runtime is None or runtime in RUNTIMES:
        return
    raise BodyError(
        f"runtime {clip(str(runtime), limit=60)} is refused",
        remedy="Only the host's own runc has the gate in front.",
        code=Code.DOCKER_RUNTIME,
    )


def _mounted(owner: dict[str, Json]) -> Iterator[str]:
    """Yield the images among the mounts."""
    mounts = owner.get("Mounts")
    if mounts is None:
        return
    if not isinstance(mounts, list):
        raise BodyError("Mounts is no list", remedy="Expected [ ... ].")
    for value in mounts:
        mount = _object(value, "a mount", _MOUNT)
        kind, source = mount.get("Type"), mount.get("Source")
        if kind == IMAGE_MOUNT and isinstance(source, str) and source:
            yield source
        elif kind not in MOUNTS:
            raise BodyError(
                f"a mount of type {clip(str(kind), limit=60)} cannot be judged",
                remedy=f"Known are {', '.join((*MOUNTS, IMAGE_MOUNT))}.",
            )


def _bounded(images: list[str]) -> tuple[str, ...]:
    found = tuple(dict.fromkeys(images))
    if len(found) > MAX_IMAGES:
        raise BodyError(
            f"{len(found)} images in one container are more than {MAX_IMAGES}",
            remedy="Mount fewer images.",
        )
    return found

"""cri.sock: kubelet's calls pass as they are, those for unsigned images do not."""

import itertools
import re
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from google.protobuf import empty_pb2, message
from google.protobuf.unknown_fields import UnknownFieldSet

from enforcer.hooks.cri.message import Step, values
from enforcer.ttrpc import decode_fields, encode_fields, number, octets, text
from tests.engines.containerd import SANDBOX_IMAGE
from tests.engines.images import describe, full_name
from tests.engines.process import wait_until
from tests.real.cri import NAMESPACE, Cri, CriError, Node, running_node

RUNTIME, IMAGES = "RuntimeService", "ImageService"
SLEEP = ("/bin/sleep", "600")
IMAGES_LISTED = Step(1, repeated=True)
DELETED = 3  # ContainerEventType
PAST = 10**15  # nanoseconds: what is larger is a time
FLIPS = 12  # of a tag, while containers are created from it


@pytest.fixture(scope="module", params=["forky", "bookworm"])
def node(engines: Path, request: pytest.FixtureRequest) -> Iterator[Node]:
    """containerd 2.1 and 1.6 behind a proxy."""
    with running_node(request.param) as node:
        yield node


@pytest.fixture(scope="module")
def pod(node: Node) -> Iterator[str]:
    """A running pod."""
    with node.pod() as pod:
        yield pod


def _id(name: str | bytes) -> bytes:
    """A request whose first field is an id or a name."""
    return encode_fields((1, name))


def _life(cri: Cri, image: str) -> list[tuple[str, bytes]]:
    """Let a pod live and die as kubelet does; return every answer."""
    answers: list[tuple[str, bytes]] = []

    def call(method: str, request: bytes, service: str = RUNTIME) -> bytes:
        try:
            answer = cri.call(f"{service}/{method}", request)
        except CriError as error:
            answer = f"{error.code} {error.text}".encode()
        answers.append((method, answer))
        return answer

    (cri.logs / "life.log").unlink(missing_ok=True)
    call("ImageStatus", _id(_id(image)), IMAGES)
    pod = text(decode_fields(call("RunPodSandbox", _id(cri.pod("life")))), 1)
    call("PodSandboxStatus", _id(pod))
    call("ListPodSandbox", _id(_id(pod)))
    made = cri.creation(
        pod, "life", _id(image), command=("/bin/sh", "-c", "id; sleep 600")
    )
    container = text(decode_fields(call("CreateContainer", made)), 1)
    status = ("ContainerStatus", encode_fields((1, container), (2, 1)))
    call(*status)
    call("StartContainer", _id(container))
    wait_until(lambda: "uid=0" in cri.output("life"), "the container has run")
    call(*status)
    call(
        "ExecSync", encode_fields((1, container), (2, "cat"), (2, "/message"), (3, 60))
    )
    call("ExecSync", encode_fields((1, container), (2, "test")))
    call("ExecSync", encode_fields((1, container), (2, "no-such-program")))
    call("Exec", encode_fields((1, container), (2, "sh"), (4, 1), (5, 1)))
    call(
        "UpdateContainerResources",
        encode_fields((1, container), (2, encode_fields((3, 512)))),
    )
    call("ReopenContainerLog", _id(container))
    call("ContainerStats", _id(container))
    call("ListContainerStats", _id(_id(container)))
    call("ListContainers", _id(_id(container)))
    call("StopContainer", encode_fields((1, container), (2, 0)))
    call(*status)
    call("RemoveContainer", _id(container))
    call(*status)
    call("StartContainer", _id(container))
    call("StopPodSandbox", _id(pod))
    call("RemovePodSandbox", _id(pod))
    answers.append(("its log", re.sub(r"(?m)^\S+", "", cri.output("life")).encode()))
    return answers


_PASSING = re.compile(
    r"[0-9a-f]{64}|(?<=/exec/)\S+|\d{4}-\d\d-\d\dT[0-9:.]+Z|(?<=\"pid\":)\d+"
    r"|(?<=/proc/)\d+"
)


def _shape(raw: bytes, *, numbers: bool = True) -> object:
    """Field by field, whatever the message; ids, times and tokens are hidden."""
    if raw.isascii() and raw.decode().isprintable():
        return _PASSING.sub("#", raw.decode())
    try:
        found = UnknownFieldSet(empty_pb2.Empty.FromString(raw))
    except message.DecodeError:
        return raw
    shape: list[tuple[int, object]] = []
    for field in (found[n] for n in range(len(found))):
        value = field.data
        if isinstance(value, bytes):
            shape.append((field.field_number, _shape(value, numbers=numbers)))
        elif numbers:  # none of a measurement: protobuf leaves out what is zero
            shape.append((field.field_number, value if value < PAST else "#"))
    return shape or ""


def test_a_pod_lives_the_same_life_through_the_proxy(node: Node) -> None:
    """Every answer, field by field; kubelet notices nothing."""
    image = node.image("life")
    node.stage.sign(image)
    config = describe(image.layout).config

    direct, proxied = (_life(cri, config) for cri in (node.direct, node.proxied))

    assert [name for name, _ in proxied] == [name for name, _ in direct]
    for (name, one), (_, other) in zip(direct, proxied, strict=True):
        numbers = not name.endswith("Stats")
        assert _shape(other, numbers=numbers) == _shape(one, numbers=numbers), name


def test_the_same_question_gets_the_same_bytes(node: Node, pod: str) -> None:
    """Answers that stand still, and errors: equal to the last byte."""
    image = node.image("still")
    node.stage.sign(image)
    config = describe(image.layout).config
    container = node.proxied.create(pod, "still", config, command=SLEEP)
    node.direct.start(container)
    questions = [
        ("RuntimeService/Version", _id("v1")),
        ("RuntimeService/Status", b""),
        ("RuntimeService/ListPodSandbox", _id(_id(pod))),
        ("RuntimeService/PodSandboxStatus", _id(pod)),
        ("RuntimeService/ListContainers", _id(_id(container))),
        ("RuntimeService/ContainerStatus", encode_fields((1, container), (2, 1))),
        ("RuntimeService/ExecSync", encode_fields((1, container), (2, "id"))),
        ("RuntimeService/UpdateRuntimeConfig", b""),
        ("RuntimeService/ListMetricDescriptors", b""),
        ("RuntimeService/RuntimeConfig", b""),
        ("RuntimeService/OfTheFuture", b"\xff\xff"),
        ("RuntimeService/ContainerStatus", _id("nobody")),
        ("RuntimeService/StartContainer", _id(container)),
        ("RuntimeService/CheckpointContainer", _id(container)),
        ("RuntimeService/Version", b"\xff no protobuf"),
        ("RuntimeService/Version", bytes(17 * 1024 * 1024)),
        ("ImageService/ImageStatus", _id(_id(image.full))),
        ("ImageService/ImageStatus", _id(_id("nothing:1"))),
        ("ImageService/PullImage", _id(_id("not a name"))),
    ]

    for method, request in questions:
        assert _told(node.proxied, method, request) == _told(
            node.direct, method, request
        ), method
    direct, proxied = (
        sorted(values(cri.call("ImageService/ListImages", b""), (IMAGES_LISTED,)))
        for cri in (node.direct, node.proxied)
    )  # in another order each time
    assert proxied == direct


def _told(cri: Cri, method: str, request: bytes) -> tuple[str, bytes]:
    try:
        return "OK", cri.call(method, request)
    except CriError as error:
        return error.code, error.text.encode()


def test_events_are_the_same_bytes(node: Node) -> None:
    """A stream that stays open, which kubelet follows instead of asking."""
    if node.stage.containerd.release == "bookworm":
        pytest.skip("containerd 1.6 has no events")
    image = node.image("told")
    node.stage.sign(image)
    name = node.stage.name("told")

    heard: list[list[bytes]] = [[], []]

    def about(pod: str, events: list[bytes]) -> list[bytes]:
        return [event for event in events if f"{pod}-uid".encode() in event]

    def listen(cri: Cri, events: list[bytes]) -> None:
        for event in cri.stream("RuntimeService/GetContainerEvents", b""):
            events.append(event)
            kinds = [number(decode_fields(e), 2) for e in about(name, events)]
            if kinds.count(DELETED) == 2:
                return

    def both_hear() -> bool:
        other = node.stage.name("other")
        node.direct.remove_pod(node.direct.run_pod(other))
        return all(about(other, events) for events in heard)

    with ThreadPoolExecutor(2) as threads:
        listening = [
            threads.submit(listen, *one)
            for one in zip((node.direct, node.proxied), heard, strict=True)
        ]
        # What happens before a listener came is told to the first one.
        wait_until(both_hear, "both listen")
        pod = node.direct.run_pod(name)
        node.direct.start(node.direct.create(pod, name, image.full, command=SLEEP))
        node.direct.remove_pod(pod)
        for one in listening:
            one.result()
    direct, proxied = (about(name, events) for events in heard)

    assert len(direct) >= 6  # container and pod: created, started, deleted
    assert proxied == direct


@pytest.mark.parametrize("named_by", ["name", "id"])
def test_an_unsigned_image_is_refused_at_create(
    named_by: str, node: Node, pod: str
) -> None:
    """Before containerd hears of it; signed, it runs as what was judged."""
    image = node.image("app")
    config = describe(image.layout).config
    asked = image.full if named_by == "name" else config
    name = node.stage.name("app")

    with pytest.raises(CriError) as caught:
        node.proxied.create(pod, name, asked, called=image.full)
    node.stage.sign(image)
    made = node.proxied.create(pod, name, asked, called=image.full)
    node.proxied.start(made)
    wait_until(lambda: image.text in node.proxied.output(name), "it has run")

    assert caught.value.code == "PERMISSION_DENIED"
    assert caught.value.text.startswith(f"enforcer: {asked} is not signed: ")
    assert "[ENF-1001]; next: enforcer explain 0" in caught.value.text
    assert _image(node, made) == config
    doors = [r["asked_by"] for r in node.stage.host.decisions()[-3:]]
    assert doors == ["cri", "cri", "gate"]


def _image(node: Node, container: str) -> str:
    """The image that a container was created with, as containerd was told."""
    listed = node.direct.call("RuntimeService/ListContainers", _id(_id(container)))
    spec = octets(decode_fields(octets(decode_fields(listed), 1)), 4)
    return text(decode_fields(spec), 1)


def test_a_pod_of_an_unsigned_pause_image_is_refused(node: Node) -> None:
    """CRI does not name that image: the gate refuses it, with the same words."""
    pause = node.image("pause", name=SANDBOX_IMAGE, cmd=SLEEP)

    with pytest.raises(CriError) as caught:
        node.proxied.run_pod(node.stage.name("pod"))
    node.stage.sign(pause)
    with node.pod():
        pass

    assert "pause:1 is not signed" in caught.value.text
    assert "[ENF-1001]" in caught.value.text


def test_an_unsigned_image_is_not_mounted(node: Node, pod: str) -> None:
    """An image volume runs nothing by itself, and can hold what is run."""
    app, data, evil = (node.image(word) for word in ("app", "data", "evil"))
    node.stage.sign(app)
    node.stage.sign(data)
    name = node.stage.name("app")
    cat = ("/bin/cat", "/mnt/0/message")

    for mounts in ([evil.full], [data.full, evil.full]):
        with pytest.raises(CriError) as caught:
            node.proxied.create(pod, name, app.full, mounts=mounts)
        assert caught.value.code == "PERMISSION_DENIED"
        assert f"{evil.full} is not signed" in caught.value.text
    if node.stage.containerd.release == "bookworm":
        return  # containerd 1.6 knows no image mounts: "failed to mkdir"
    made = node.proxied.create(pod, name, app.full, mounts=[data.full], command=cat)
    node.proxied.start(made)
    wait_until(lambda: data.text in node.proxied.output(name), "it has read the mount")


def test_a_moved_tag_never_wins(node: Node, pod: str) -> None:
    """By name the new content is judged, by id the old one runs."""
    good = node.image("good")
    node.stage.sign(good)
    config = describe(good.layout).config
    evil = node.image("evil", name=good.name)
    name = node.stage.name("app")

    with pytest.raises(CriError) as caught:
        node.proxied.create(pod, name, good.full)
    made = node.proxied.create(pod, name, config, called=good.full)
    node.proxied.start(made)
    wait_until(lambda: good.text in node.proxied.output(name), "it has run")

    assert f"{good.full} is not signed" in caught.value.text
    assert evil.text not in node.proxied.output(name)


def test_a_tag_that_moves_all_the_time_never_starts_what_is_unsigned(
    node: Node, pod: str
) -> None:
    """Between judging and creating: containerd is told an id, not the name."""
    good, evil = node.image("good"), node.image("evil")
    node.stage.sign(good)
    name, moving = node.stage.name("app"), f"{node.stage.name('moving')}:1"
    ctr, full = node.stage.containerd.ctr, full_name(moving)
    over = threading.Event()

    def flip() -> None:
        for image in itertools.cycle((good, evil)):
            ctr("images", "tag", "--force", image.full, full, namespace=NAMESPACE)
            if over.is_set():
                return

    made, refused = [], []
    with ThreadPoolExecutor(1) as threads:
        flipping = threads.submit(flip)
        wait_until(lambda: node.direct.has_image(full), "the tag is there")
        for number in range(FLIPS):
            try:
                made.append(node.proxied.create(pod, f"{name}-{number}", full))
                node.proxied.start(made[-1])
            except CriError as error:
                refused.append(error.text)
        over.set()
    flipping.result()

    assert {_image(node, one) for one in made} <= {describe(good.layout).config}
    assert made or refused
    for number in range(FLIPS):
        assert evil.text not in node.proxied.output(f"{name}-{number}")


TWO = "an image's name twice"


@pytest.mark.parametrize("how", [TWO, "two images", "two configurations"])
def test_a_name_given_twice_is_refused(how: str, node: Node, pod: str) -> None:
    """containerd takes the last one, or merges them; here nobody has to know."""
    good, evil = node.image("good"), node.image("evil")
    node.stage.sign(good)
    name = node.stage.name("app")
    spec = _id(good.full)
    if how == TWO:
        spec += _id(evil.full)
    request = node.direct.creation(pod, name, spec)
    extra = encode_fields((2, _id(evil.full)))
    if how == "two images":
        request = _with_second_image(request, extra)
    elif how == "two configurations":
        request += encode_fields((2, extra))

    with pytest.raises(CriError) as caught:
        node.proxied.call("RuntimeService/CreateContainer", request)
    made = text(
        decode_fields(node.direct.call("RuntimeService/CreateContainer", request)), 1
    )

    assert caught.value.code == "INVALID_ARGUMENT"
    assert "is there twice" in caught.value.text
    assert "[ENF-1110]" in caught.value.text
    assert _image(node, made) == evil.full  # which is why


def _with_second_image(request: bytes, extra: bytes) -> bytes:
    fields = decode_fields(request)
    config = octets(fields, 2) + extra
    return encode_fields((1, octets(fields, 1)), (2, config), (3, octets(fields, 3)))


def test_a_checkpoint_archive_is_no_image(node: Node, pod: str, tmp_path: Path) -> None:
    """containerd restores from a file if one has the name of the image."""
    archive = tmp_path / "checkpoint.tar"
    archive.write_bytes(bytes(10_240))

    with pytest.raises(CriError) as caught:
        node.proxied.create(pod, node.stage.name("app"), str(archive))

    assert caught.value.code == "PERMISSION_DENIED"
    assert f"containerd has no record of image {archive}" in caught.value.text


def test_cri_sock_is_roots_and_leads_to_nothing_but_cri(node: Node) -> None:
    """containerd's own services on it would be root for whoever may use it."""
    assert stat.S_IMODE(node.proxy.socket.stat().st_mode) == 0o600
    with grpc.insecure_channel(f"unix:{node.proxy.socket}") as channel:
        for method in (
            "containerd.services.images.v1.Images/List",
            "containerd.services.version.v1.Version/Version",
            "runtime.v1alpha2.RuntimeService/CreateContainer",
            "runtime.v1.RuntimeService//Version",
        ):
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
            call = channel.unary_unary(f"/{method}")
            with pytest.raises(grpc.RpcError) as caught:
                call(b"", timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED

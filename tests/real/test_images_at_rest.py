"""Images in an engine's store, that no container was made from yet.

Doors ask about them before anything starts: what they are told has to be about the
image that the engine would take for that name or id.
"""

import contextlib
import json
import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.api.v1 import enforcer_pb2
from enforcer.core.digest import Digest
from enforcer.core.image import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from enforcer.sources.resolver import ResolverClient
from tests.engines.images import describe, layout_to_tar, read_blob
from tests.engines.notation import statement
from tests.engines.path import Release
from tests.engines.registry import running_registry
from tests.real.door import ask, ask_image
from tests.real.stage import Image, Stage, containerd_stage
from tests.real.test_questions import BAD_NAMES

CONTAINERDS = ("gated_containerd", "gated_old_containerd")
DOCKERS = ("gated_docker", "gated_graph_docker", "gated_old_docker")
CRI = "k8s.io"
MAX_TRIES = 5000  # two of some 300 ids begin with the same four hex digits


@pytest.fixture(params=CONTAINERDS + DOCKERS)
def stage(request: pytest.FixtureRequest) -> Stage:
    """Each engine in turn."""
    found: Stage = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=DOCKERS)
def docker_stage(request: pytest.FixtureRequest) -> Stage:
    """Each Docker in turn."""
    found: Stage = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module", params=["forky", "bookworm"])
def cri_stage(engines: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A containerd that keeps images as kubelet knows them, 2.1 and 1.6."""
    release: Release = request.param
    with containerd_stage(release, cri=True) as stage:
        yield stage


@pytest.fixture(scope="module")
def registry(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on this host, by its address."""
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


def _name(stage: Stage, image: Image) -> str:
    return image.name if stage.is_docker else image.full


def _inspected(stage: Stage, name: str) -> str:
    """What Docker itself takes a name for: the id; "" where it knows none."""
    words = ("image", "inspect", "--format", "{{.Id}}", name)
    return stage.docker.docker(*words, check=False).stdout.strip()


@pytest.mark.parametrize("top", ["manifest", "index"])
def test_an_image_at_rest_is_allowed_once_it_is_signed(top: str, stage: Stage) -> None:
    """The gate's verdict before there is a container, with what was judged."""
    image = stage.image("rest", index=top == "index")
    facts = describe(image.layout)
    name = _name(stage, image)

    unsigned = ask_image(stage, name)
    stage.sign(image)
    signed = ask_image(stage, name)

    assert (unsigned.allowed, unsigned.code) == (False, "ENF-1001")
    assert f"{name} is not signed: no signature about " in unsigned.message
    assert unsigned.subject.config == facts.config
    assert (signed.allowed, signed.code) == (True, "ENF-1000")
    assert signed.reference == name
    assert (signed.subject.manifest, signed.subject.config) == (
        facts.manifest,
        facts.config,
    )
    assert signed.subject.index == (facts.top if top == "index" else "")
    assert signed.subject.chain_id == facts.chain_id
    records = {record["id"]: record for record in stage.host.decisions()}
    assert records[unsigned.id]["allowed"] is False
    assert records[signed.id]["asked_by"] == "door"


def test_every_spelling_docker_takes_means_the_same_image(docker_stage: Stage) -> None:
    """Docker itself says what each one means."""
    stage, image = docker_stage, docker_stage.image("spelled")
    config = describe(image.layout).config
    repository = image.name.partition(":")[0]
    stage.docker.docker("tag", image.name, f"{repository}:latest")
    whole = _inspected(stage, image.name)
    digits = whole.removeprefix("sha256:")
    spellings = [
        image.name, image.full, repository, f"index.{image.full}",
        whole, digits, digits[:12], f"sha256:{digits[:20]}",
    ]  # fmt: skip
    if whole == image.digest:  # containerd's store knows a loaded image's digest
        spellings += [f"{repository}@{whole}", f"{image.name}@{whole}"]

    unsigned = {name: ask_image(stage, name) for name in spellings}
    stage.sign(image)
    signed = {name: ask_image(stage, name) for name in spellings}

    assert {name: _inspected(stage, name) for name in spellings} == dict.fromkeys(
        spellings, whole
    )
    for name in spellings:
        assert (unsigned[name].code, signed[name].code) == ("ENF-1001", "ENF-1000")
        assert unsigned[name].subject.config == signed[name].subject.config == config


def test_what_is_at_rest_is_told_with_where_it_came_from(
    stage: Stage, registry: str
) -> None:
    """By labels, or repository digests: no name says so, and none is asked about."""
    image, local = stage.image("held"), stage.image("local")
    pushed = f"{registry}/{image.name}"
    if stage.is_docker:
        stage.docker.docker("tag", image.name, pushed)
        stage.docker.docker("push", pushed)
        stage.docker.docker("image", "rm", pushed, image.name)
        stage.docker.docker("pull", pushed)
    else:
        ctr = stage.containerd.ctr
        ctr("images", "tag", image.full, pushed)
        ctr("images", "push", "--plain-http", pushed)
        ctr("images", "rm", "--sync", pushed, image.full)
        ctr("images", "pull", "--plain-http", pushed)

    resolver = ResolverClient(stage.host.run / "resolver.sock", seconds=10)
    with contextlib.closing(resolver):
        found = resolver.held()

    held = {one.name: one for one in found.images}
    ((repository, digest),) = held[pushed].origins
    assert found.problems == ()
    assert repository == pushed.rpartition(":")[0]
    assert _pushed_digest(registry, image.name) == digest
    (alone,) = (held[name] for name in {local.name, local.full} & held.keys())
    assert alone.origins == ()
    assert str(alone.digest) in (describe(local.layout).config, local.digest)


def _pushed_digest(registry: str, name: str) -> Digest:
    """Return what a tag stands for, as the registry says: what would be signed."""
    repository, _, tag = name.rpartition(":")
    accept = ", ".join((OCI_INDEX, OCI_MANIFEST, DOCKER_MANIFEST))
    url = f"http://{registry}/v2/{repository}/manifests/{tag}"
    asked = urllib.request.Request(url, headers={"Accept": accept})
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        return Digest.parse(answer.headers["Docker-Content-Digest"])


def test_an_image_pulled_by_digest_is_found_by_it(
    docker_stage: Stage, registry: str
) -> None:
    """As deployments pin; a tag next to the digest says nothing, as Docker has it."""
    stage, image = docker_stage, docker_stage.image("pulled")
    docker = stage.docker.docker
    pushed = f"{registry}/{image.name}"
    docker("tag", image.name, pushed)
    sent = docker("push", pushed).stdout
    (digest,) = re.findall(r"digest: (sha256:[0-9a-f]{64})", sent)
    docker("image", "rm", pushed, image.name)
    repository = pushed.rpartition(":")[0]
    pinned = f"{repository}@{digest}"
    docker("pull", pinned)
    whole = _inspected(stage, pinned)
    names = [pinned, f"{repository}:2@{digest}", whole]

    unsigned = [ask_image(stage, name) for name in names]
    stage.host.sign(f"docker:{pinned}")
    signed = [ask_image(stage, name) for name in names]
    stranger = ask_image(stage, f"{registry}/other@{digest}")

    assert {_inspected(stage, name) for name in names} == {whole}
    assert {answer.code for answer in unsigned} == {"ENF-1001"}
    assert {answer.code for answer in signed} == {"ENF-1000"}
    config = describe(image.layout).config
    assert {answer.subject.config for answer in (*unsigned, *signed)} == {config}
    assert _inspected(stage, f"{registry}/other@{digest}") == ""
    assert stranger.code == "ENF-1105"


def test_the_beginning_of_an_id_means_what_docker_says(docker_stage: Stage) -> None:
    """Each of its stores has its own idea of the shortest one."""
    stage, image = docker_stage, docker_stage.image("begun")
    stage.sign(image)
    whole = _inspected(stage, image.name)
    digits = whole.removeprefix("sha256:")
    short = [form + digits[:n] for n in (1, 2, 3, 4, 7, 63) for form in ("", "sha256:")]

    allowed = {name: ask_image(stage, name).allowed for name in short}

    assert allowed == {name: _inspected(stage, name) == whole for name in short}
    assert allowed[digits[:63]]


def test_what_docker_takes_for_nothing_is_refused(docker_stage: Stage) -> None:
    """Near misses of a signed image's names."""
    stage, image = docker_stage, docker_stage.image("near")
    stage.sign(image)
    repository = image.name.partition(":")[0]
    whole = _inspected(stage, image.name)
    near = [
        repository,
        f"{repository}:2",
        f"other/{image.name}",
        f"other@{whole}",
        f"sha256:{whole.removeprefix('sha256:')[::-1]}",
        f"quay.io/library/{image.name}",
    ]

    answers = {name: ask_image(stage, name) for name in near}

    assert {name: _inspected(stage, name) for name in near} == dict.fromkeys(near, "")
    assert {answer.code for answer in answers.values()} == {"ENF-1105"}
    assert answers[repository].message == (
        f"Docker has no image called {repository}. docker images lists what there is"
    )


def test_an_image_asked_for_by_id_is_judged_under_the_stores_names(
    docker_stage: Stage, tmp_path: Path
) -> None:
    """An id is nobody's name: a policy about names still covers it."""
    stage, image = docker_stage, docker_stage.image("named")
    stage.sign(image)
    whole = _inspected(stage, image.name)
    policy = tmp_path / "notation"
    shutil.copytree(stage.host.notation.config, policy)
    repository = image.name.partition(":")[0]

    def verdict(*scopes: str) -> int:
        only = statement("only", scopes=scopes, stores=["ca:acme"])
        document = {"version": "1.0", "trustPolicies": [only]}
        (policy / "trustpolicy.json").write_text(json.dumps(document))
        words = (f"docker:{whole}", "--notation-config", policy)
        return stage.host.enforcer("verify", *words, check=False).returncode

    assert verdict(f"local/{repository}") == 0
    assert verdict("local/other") == 1


def test_a_prefix_of_two_ids_is_refused(docker_stage: Stage, tmp_path: Path) -> None:
    """Docker, too, calls it ambiguous; a longer one tells them apart."""
    stage = docker_stage
    by_manifest = _ids_are_manifests(stage)
    twins = _twins(stage, tmp_path, by_manifest=by_manifest)
    ids = [i.digest if by_manifest else describe(i.layout).config for i in twins]
    short = ids[0].removeprefix("sha256:")[:4]
    stage.sign(twins[0])
    stage.sign(twins[1])

    refused = ask_image(stage, short)
    allowed = [ask_image(stage, whole) for whole in ids]

    assert _inspected(stage, short) == ""
    assert (refused.allowed, refused.code) == (False, "ENF-1109")
    assert refused.message == (
        f"{short} stands for more than one image: 2 ids begin with it. "
        "Ask by name@digest, or by the whole id"
    )
    assert [answer.code for answer in allowed] == ["ENF-1000", "ENF-1000"]
    assert allowed[0].subject.config != allowed[1].subject.config


def test_two_stores_of_docker_that_differ_about_a_name_are_refused(
    gated_graph_docker: Stage,
) -> None:
    """After a change of store the old one is still there, and no file says which."""
    stage = gated_graph_docker
    image = stage.image("twice")
    stage.sign(image)
    before = ask_image(stage, image.name)
    other = stage.image("other")
    stage.sign(other)
    containerd = stage.docker.containerd
    containerd.ctr("images", "import", other.archive, namespace="moby")
    containerd.ctr("images", "tag", other.full, image.full, namespace="moby")

    differ = ask_image(stage, image.name)
    same = ask_image(stage, other.name)

    assert before.allowed
    assert (differ.allowed, differ.code) == (False, "ENF-1109")
    assert "Docker's two image stores differ about it" in differ.message
    assert same.allowed


def test_a_moved_tag_is_judged_as_what_it_is_now(stage: Stage) -> None:
    """The signature stays with the content it is about."""
    good = stage.image("good")
    stage.sign(good)
    before = ask_image(stage, _name(stage, good))

    evil = stage.image("evil", name=good.name)
    after = ask_image(stage, _name(stage, good))

    assert before.allowed
    assert (after.allowed, after.code) == (False, "ENF-1001")
    assert after.subject.config == describe(evil.layout).config


def test_containerd_takes_a_name_as_it_is_stored(gated_containerd: Stage) -> None:
    """Outside CRI's namespace nothing is spelled out, and every namespace is apart."""
    stage = gated_containerd
    image = stage.image("stored")
    stage.sign(image)

    codes = [
        ask_image(stage, image.full).code,
        ask_image(stage, image.name).code,
        ask_image(stage, image.full, namespace="team-a").code,
    ]

    assert codes == ["ENF-1000", "ENF-1101", "ENF-1101"]


def test_kubelets_names_and_ids_mean_the_image_cri_would_take(
    cri_stage: Stage,
) -> None:
    """CRI keeps an image under its name, its digest and its id."""
    stage = cri_stage
    image = stage.image("pod", namespace=CRI)
    facts = describe(image.layout)
    repository = image.full.rpartition(":")[0]
    by_digest = f"{repository}@{image.digest}"
    for stored in (by_digest, facts.config):
        stage.containerd.ctr(
            "images", "tag", "--force", image.full, stored, namespace=CRI
        )
    names = [image.full, image.name, by_digest, f"{image.full}@{image.digest}"]

    unsigned = [ask_image(stage, n, namespace=CRI) for n in (*names, facts.config)]
    stage.sign(image)
    signed = [ask_image(stage, n, namespace=CRI) for n in (*names, facts.config)]

    assert {answer.code for answer in unsigned} == {"ENF-1001"}
    assert {answer.code for answer in signed} == {"ENF-1000"}
    for answer in (*unsigned, *signed):
        assert answer.subject.manifest == facts.manifest
        assert answer.subject.config == facts.config


def test_an_id_that_stands_for_another_image_is_refused(cri_stage: Stage) -> None:
    """containerd lets any name point anywhere; an id is a promise."""
    stage = cri_stage
    good, other = (stage.image(word, namespace=CRI) for word in ("good", "other"))
    stage.sign(good)
    wrong = "sha256:" + "0" * 64
    stage.containerd.ctr("images", "tag", good.full, wrong, namespace=CRI)
    stage.containerd.ctr("images", "tag", good.full, other.name, namespace=CRI)

    lying = ask_image(stage, wrong, namespace=CRI)
    torn = ask_image(stage, other.name, namespace=CRI)

    assert (lying.allowed, lying.code) == (False, "ENF-1104")
    assert f"containerd has another image under {wrong}" in lying.message
    assert (torn.allowed, torn.code) == (False, "ENF-1109")


def test_an_index_with_two_variants_for_this_host_is_refused(
    gated_containerd: Stage, tmp_path: Path
) -> None:
    """Which one runs is up to whoever unpacks it; at a start the gate sees it."""
    stage = gated_containerd
    first, second = stage.image("first"), stage.image("second")
    both = _merged(first, second, tmp_path / "both", stage.name("both") + ":1")
    stage.containerd.ctr("images", "import", "--all-platforms", both.archive)

    answer = ask_image(stage, both.full)

    assert (answer.allowed, answer.code) == (False, "ENF-1109")
    assert "its index has several variants for this host" in answer.message


def test_an_unknown_name_is_refused_with_its_code(stage: Stage) -> None:
    """As on the command line."""
    name = "docker.io/library/nobody-made-this:1"

    answer = ask_image(stage, name)

    expected = "ENF-1105" if stage.is_docker else "ENF-1101"
    assert (answer.allowed, answer.code) == (False, expected)
    assert f"called {name}" in answer.message or f"image {name}" in answer.message


@pytest.mark.parametrize(
    "root", ["", "/", ".", "/var/lib/nobody", "/\0", "\x1b[2J", "x" * 10_000]
)
def test_an_engine_nobody_listed_is_refused(root: str, stage: Stage) -> None:
    """The image may well be there, in a store that this host does not judge."""
    image = stage.image("elsewhere")
    stage.sign(image)

    answer = ask_image(stage, _name(stage, image), root=root)

    assert (answer.allowed, answer.code) == (False, "ENF-1107")
    assert "is not the root of one engine that enforcer.yaml lists" in answer.message
    assert answer.message.isascii()
    assert answer.message.isprintable()


@pytest.mark.parametrize("namespace", ["a\nb", "\x1b[2J", "-", "é", "x" * 10_000])
def test_a_hostile_namespace_is_refused(namespace: str, stage: Stage) -> None:
    """It becomes a header of a call to containerd; Docker has none."""
    image = stage.image("elsewhere")
    stage.sign(image)

    answer = ask_image(stage, _name(stage, image), namespace=namespace)

    assert (answer.allowed, answer.code) == (False, "ENF-1101")
    assert "is no namespace of this engine" in answer.message
    assert answer.message.isascii()


def test_containerd_has_no_image_without_a_namespace(gated_containerd: Stage) -> None:
    """containerd itself demands one."""
    image = gated_containerd.image("elsewhere")
    gated_containerd.sign(image)

    assert ask_image(gated_containerd, image.full, namespace="").code == "ENF-1101"


@pytest.mark.parametrize(
    "name", [*BAD_NAMES.values(), "x" * 10_240], ids=[*BAD_NAMES, "10 KiB"]
)
def test_a_hostile_name_is_a_denial_on_record(name: str, stage: Stage) -> None:
    """Whoever may start a container chooses the name that a door passes on."""
    answer = ask_image(stage, name)

    expected = "ENF-1109" if stage.is_docker else "ENF-1101"
    assert (answer.allowed, answer.code) == (False, expected)
    assert answer.message.isascii()
    assert answer.message.isprintable()
    assert answer.id in {record["id"] for record in stage.host.decisions()}
    log = stage.host.audit_log.read_bytes()
    assert set(log) <= {0x0A, *range(0x20, 0x7F)}


def test_a_question_about_two_things_is_refused(gated_containerd: Stage) -> None:
    """A signed image must not answer for something else in the same question."""
    stage = gated_containerd
    image = stage.image("both")
    stage.sign(image)
    root = str(stage.containerd.root)
    named = enforcer_pb2.Image(engine_root=root, namespace="default", name=image.full)
    container = enforcer_pb2.Container(id="x", bundle="/b", command="create")

    codes = [
        ask(stage, enforcer_pb2.VerifyRequest(image=named, **other)).code
        for other in (
            {"container": container},
            {"reference": image.full},
            {"digest": image.digest},
            {},
        )
    ]

    assert codes == ["ENF-1110", "ENF-1110", "ENF-1110", "ENF-1000"]


def _ids_are_manifests(stage: Stage) -> bool:
    image = stage.image("probe")
    return _inspected(stage, image.name) == image.digest


def _twins(stage: Stage, folder: Path, *, by_manifest: bool) -> tuple[Image, Image]:
    """Give the engine two images whose ids begin with the same four digits."""
    base = stage.image("twin")
    seen: dict[str, int] = {}
    for number in range(MAX_TRIES):
        config, manifest = _authored(base, number)
        key = Digest.of(manifest if by_manifest else config).hex[:4]
        if key in seen:
            break
        seen[key] = number
    else:
        pytest.fail("no two ids that begin alike")
    pair = (seen[key], number)
    one, two = (_load_authored(stage, base, folder / str(n), n) for n in pair)
    return one, two


def _authored(base: Image, number: int) -> tuple[bytes, bytes]:
    """Return configuration and manifest of the image as another author's."""
    facts = describe(base.layout)
    config = _json(read_blob(base.layout, facts.config) | {"author": str(number)})
    manifest = read_blob(base.layout, facts.manifest)
    manifest["config"] |= {"digest": str(Digest.of(config)), "size": len(config)}
    return config, _json(manifest)


def _load_authored(stage: Stage, base: Image, layout: Path, number: int) -> Image:
    config, manifest = _authored(base, number)
    shutil.copytree(base.layout, layout)
    for blob in (config, manifest):
        (layout / "blobs/sha256" / Digest.of(blob).hex).write_bytes(blob)

    def to_manifest(entry: dict[str, Any]) -> None:
        entry |= {"digest": str(Digest.of(manifest)), "size": len(manifest)}

    image = _retagged(base, layout, stage.name("twin") + ":1", to_manifest)
    stage.load(image)
    return image


def _merged(first: Image, second: Image, layout: Path, tag: str) -> Image:
    """Make an index of two images, both for this platform."""
    shutil.copytree(first.layout, layout)
    shutil.copytree(second.layout, layout, dirs_exist_ok=True)
    platform = {"platform": {"architecture": "amd64", "os": "linux"}}
    entries = []
    for image in (first, second):
        (entry,) = json.loads((image.layout / "index.json").read_text())["manifests"]
        entries.append({k: entry[k] for k in ("mediaType", "digest", "size")})
    media_type = "application/vnd.oci.image.index.v1+json"
    listed = [entry | platform for entry in entries]
    raw = _json({"schemaVersion": 2, "mediaType": media_type, "manifests": listed})
    digest = Digest.of(raw)
    (layout / "blobs/sha256" / digest.hex).write_bytes(raw)

    def to_index(entry: dict[str, Any]) -> None:
        entry |= {"mediaType": media_type, "digest": str(digest), "size": len(raw)}

    return _retagged(second, layout, tag, to_index)


def _retagged(
    base: Image, layout: Path, tag: str, change: Callable[[dict[str, Any]], None]
) -> Image:
    """Point a copied layout's one tag elsewhere, under a new name."""
    image = Image(tag, base.text, layout, "", layout.with_suffix(".tar"))
    index = json.loads((layout / "index.json").read_text())
    (entry,) = index["manifests"]
    change(entry)
    entry["annotations"]["io.containerd.image.name"] = image.full
    (layout / "index.json").write_bytes(_json(index))
    layout_to_tar(layout, image.archive)
    return Image(tag, base.text, layout, entry["digest"], image.archive)


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

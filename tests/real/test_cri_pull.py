"""PullImage through the proxy: what may not run here does not stay here."""

import re
from collections.abc import Iterator

import pytest

from tests.engines.images import describe
from tests.engines.registry import running_registry
from tests.real.cri import CriError, Node, running_node
from tests.real.stage import Image

# As kubelet looks for it: an error of code Unknown, whose text begins like this
# (pullImageV1 and evalCRIPullErr). There is no kubelet here to show it.
REFUSED = r"SignatureValidationFailed: enforcer: (.*) \[(ENF-\d{4})\]"


@pytest.fixture(scope="module")
def registry(
    engines: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A registry on this host, by its address."""
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(scope="module", params=["forky", "bookworm"])
def node(engines: object, request: pytest.FixtureRequest) -> Iterator[Node]:
    """containerd 2.1 and 1.6 behind a proxy."""
    with running_node(request.param) as node:
        yield node


def _pushed(
    node: Node, registry: str, word: str, *, index: bool = False, name: str = ""
) -> tuple[Image, str]:
    """Put an image into the registry, and nowhere CRI would find it."""
    image = node.stage.image(word, index=index)
    pushed = name or f"{registry}/{image.name}"
    ctr = node.stage.containerd.ctr
    ctr("images", "tag", "--force", image.full, pushed)
    ctr("images", "push", "--plain-http", pushed)
    ctr("images", "rm", image.full, pushed)
    return image, pushed


def _refusal(error: CriError) -> tuple[str, str]:
    assert error.code == "UNKNOWN"
    match = re.match(REFUSED, error.text)
    assert match, error.text
    return match[1], match[2]


def _all_ids(node: Node) -> set[bytes]:
    listed = node.direct.call("ImageService/ListImages", b"")
    return set(re.findall(rb"sha256:[0-9a-f]{64}", listed))


@pytest.mark.parametrize("index", [False, True], ids=["manifest", "index"])
def test_an_unsigned_image_is_pulled_for_nobody(
    index: bool,  # noqa: FBT001 - a parameter of the test
    node: Node,
    registry: str,
) -> None:
    """Refused as kubelet understands it, and gone; once signed, it is pulled."""
    image, name = _pushed(node, registry, "app", index=index)
    before = _all_ids(node)

    with pytest.raises(CriError) as caught:
        node.proxied.pull(name)
    after = _all_ids(node)
    node.stage.sign(image)
    pulled = node.proxied.pull(name)

    message, code = _refusal(caught.value)
    assert message.startswith(f"{name} is not signed: no signature about sha256:")
    assert code == "ENF-1001"
    assert after == before
    assert pulled == describe(image.layout).config == node.direct.image_id(name)


def test_a_refused_pull_leaves_what_was_here_before(node: Node, registry: str) -> None:
    """It did not bring it; and a container may be running from it."""
    _, name = _pushed(node, registry, "here")
    here = node.direct.pull(name)

    with pytest.raises(CriError) as caught:
        node.proxied.pull(name)

    assert _refusal(caught.value)[1] == "ENF-1001"
    assert node.direct.image_id(name) == here


def test_a_tag_that_moved_is_judged_by_what_was_pulled(
    node: Node, registry: str
) -> None:
    """A signed image by that name, here already, says nothing about the new one."""
    good, name = _pushed(node, registry, "good")
    node.stage.sign(good)
    node.proxied.pull(name)
    _pushed(node, registry, "evil", name=name)

    with pytest.raises(CriError) as caught:
        node.proxied.pull(name)

    assert _refusal(caught.value)[1] == "ENF-1001"
    assert node.direct.image_id(name) == ""


def test_what_the_registry_refuses_is_containerds_answer(
    node: Node, registry: str
) -> None:
    """An error of the pull itself arrives as it is."""
    for name in (f"{registry}/nothing:1", "127.0.0.1:1/nothing:1"):
        told = []
        for cri in (node.direct, node.proxied):
            with pytest.raises(CriError) as caught:
                cri.pull(name)
            told.append((caught.value.code, caught.value.text))

        assert told[0] == told[1]


def test_without_enforcerd_nothing_is_pulled(node: Node, registry: str) -> None:
    """Not even what is signed; once it is back, it is."""
    image, name = _pushed(node, registry, "app")
    node.stage.sign(image)
    before = _all_ids(node)

    node.stage.host.stop()
    try:
        with pytest.raises(CriError) as caught:
            node.proxied.pull(name)
        after = _all_ids(node)
    finally:
        node.stage.host.start()
    pulled = node.proxied.pull(name)

    assert _refusal(caught.value)[1] == "ENF-1601"
    assert after == before
    assert pulled == describe(image.layout).config

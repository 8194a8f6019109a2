"""The images that a CreateContainerRequest names, and their exchange."""

import pytest

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.hooks.cri.judging import created_images, pinned
from enforcer.ttrpc import encode_fields


def _spec(name: str | bytes) -> bytes:
    """An ImageSpec with annotations, user_specified_image and runtime_handler."""
    return encode_fields((1, name), (2, b"\x0a\x01k"), (18, "asked"), (19, "runc"))


def _mount(image: bytes | None) -> bytes:
    path = (1, "/data")
    return (
        encode_fields(path, (2, "/host"))
        if image is None
        else encode_fields(path, (3, 1), (9, image), (10, "sub"))
    )


def _request(image: bytes, *mounts: bytes) -> bytes:
    config = encode_fields(
        (1, b"\x0a\x01n"), (2, image), *((7, mount) for mount in mounts), (1000, "new")
    )
    return encode_fields((1, "pod"), (2, config), (3, b"\x0a\x01s"), (1000, "new"))


def test_the_image_and_every_mounted_image_are_named_and_pinned() -> None:
    """All else stays, byte for byte: the pod's, the engine's, and what is newer."""
    names = ("app:1", "data:1", "sha256:00")
    mounts = (None, _spec(names[1]), _spec(names[2]), _spec(names[1]))
    pins = {name: f"sha256:{n:064}" for n, name in enumerate(names)}
    request = _request(_spec(names[0]), *map(_mount, mounts))

    named, changed = created_images(request), pinned(request, pins)

    expected = [None, *(_spec(pins[names[n]]) for n in (1, 2, 1))]
    assert named == names
    assert changed == _request(_spec(pins[names[0]]), *map(_mount, expected))


def test_an_image_that_is_not_named_is_asked_about_as_nothing() -> None:
    """Which enforcerd refuses; containerd is not asked what it makes of it."""
    nothing = encode_fields((1, "pod"))

    assert created_images(b"") == ("",)
    assert created_images(nothing) == ("",)
    assert created_images(_request(_spec("a:1"), _mount(b""))) == ("a:1", "")


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (_request(_spec(b"\xff\xfe")), Code.INPUT_MALFORMED),
        (_request(_spec("x" * 4097)), Code.TOO_LARGE),
        (
            _request(_spec("a"), *(_mount(_spec(f"{n}")) for n in range(64))),
            Code.TOO_LARGE,
        ),
        (_request(_spec("a")) + encode_fields((2, b"")), Code.INPUT_MALFORMED),
        (_request(_spec("a"), _mount(_spec("b") + b"\x0a\x01c")), Code.INPUT_MALFORMED),
    ],
    ids=["no UTF-8", "a long name", "65 images", "two configs", "a mount's name twice"],
)
def test_what_cannot_be_judged_is_refused(request_: bytes, code: Code) -> None:
    """Before anybody is asked."""
    with pytest.raises(EnforcerError) as caught:
        created_images(request_)

    assert caught.value.code is code

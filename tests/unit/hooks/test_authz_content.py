"""Bodies of Docker's API: what they name, and every way of naming it twice.

The differentials are Go's: names match regardless of case (also U+212A for k and U+017F
for s), the last of two wins, embedded structs are flattened, null is nothing.
"""

import json
from typing import Any

import pytest

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.hooks.authz.content import (
    MAX_BODY_BYTES,
    MAX_IMAGES,
    container_images,
    service_images,
)

UNREADABLE = Code.DOCKER_BODY_UNREADABLE


def _image_mount(source: object = "data:1", **more: object) -> dict[str, object]:
    return {"Type": "image", "Source": source, "Target": "/data", **more}


@pytest.mark.parametrize(
    ("body", "images"),
    [
        ({"Image": "app:1"}, ("app:1",)),
        ({"Image": "app:1", "HostConfig": None}, ("app:1",)),
        ({"Image": "app:1", "HostConfig": {"Runtime": ""}}, ("app:1",)),
        ({"Image": "app:1", "HostConfig": {"Runtime": "runc"}}, ("app:1",)),
        (
            {"Image": "a", "HostConfig": {"Runtime": "io.containerd.runc.v2"}},
            ("a",),
        ),
        ({"Image": "a", "HostConfig": {"Mounts": None, "Runtime": None}}, ("a",)),
        ({"Image": "a", "HostConfig": {"Mounts": [_image_mount()]}}, ("a", "data:1")),
        ({"Image": "a", "Mounts": [_image_mount()]}, ("a", "data:1")),
        (
            {"Image": "a", "HostConfig": {"Mounts": [_image_mount("a")] * 20}},
            ("a",),
        ),
        (
            {
                "Image": "a",
                "Labels": {"a": "1", "A": "2", "Größe": "3", "image": "x"},
                "Env": ["image=x"],
                "HostConfig": {
                    "Binds": ["/srv:/srv", "volume:/data"],
                    "Mounts": [
                        {"Type": "bind", "Source": "/srv"},
                        {"Type": "volume"},
                        {"Type": "tmpfs"},
                    ],
                },
            },
            ("a",),
        ),
    ],
)
def test_a_container_is_made_of_these_images(
    body: dict[str, Any], images: tuple[str, ...]
) -> None:
    """Its own and those it mounts, at either place Docker reads them from."""
    assert container_images(json.dumps(body).encode()) == images


_TWICE = [
    '{"Image":"good","image":"evil"}',
    '{"image":"evil","Image":"good"}',
    '{"image":"evil"}',
    '{"IMAGE":"evil"}',
    '{"Image":"good","Image":"evil"}',
    '{"Image":"good","\\u0049mage":"evil"}',
    '{"Image":"good","\\u0069mage":"evil"}',
    '{"Image":"good","image":"e\\u0076il"}',
    '{"Image":"good","imaGe":null}',
    '{"Image":"good","HostConfig":{},"hostconfig":{"Runtime":"crun"}}',
    '{"Image":"good","HostConfig":{},"HostConfig":{"Runtime":"crun"}}',
    '{"Image":"good","Ho\u017ftConfig":{"Runtime":"crun"}}',
    '{"Image":"good","HostConfig":{},"Ho\\u017ftConfig":{"Runtime":"crun"}}',
    '{"Image":"good","HostConfig":{"runtime":"crun"}}',
    '{"Image":"good","HostConfig":{"Runtime":"runc","RUNTIME":"crun"}}',
    '{"Image":"good","runtime":"crun"}',
    '{"Image":"good","HostConfig":{"mounts":[{"Type":"image","Source":"evil"}]}}',
    '{"Image":"good","HostConfig":{"Mount\u017f":[{"Type":"image"}]}}',
    '{"Image":"good","mounts":[{"Type":"image","Source":"evil"}]}',
    '{"Image":"good","Mounts":[{"Type":"bind","type":"image","Source":"evil"}]}',
    '{"Image":"good","Mounts":[{"Type":"image","Source":"good","source":"evil"}]}',
    '{"Image":"good","Mounts":[{"Type":"image","\u017fource":"evil"}]}',
    '{"Image":"good","Mounts":[{"Type":"bind","Type":"image","Source":"evil"}]}',
    '{"Image":"good"}{"Image":"evil"}',
    '{"Image":"good"} x',
    '{"Image":"good"}\n\n{}',
    '\ufeff{"Image":"good"}',
    '{"Image":"good",}',
    '{"Image":"good"',
    '{"Image":"go',
    "{'Image':'good'}",
    '{"Image":"good",/* */"x":1}',
    '{"Image":"good","x":NaN}',
    '{"Image":"good","x":1e999}',
    '{"Image":"good","x":"\\ud800"}',
    '{"Image":"good","x":"\t"}',
    '[{"Image":"good"}]',
    '"good"',
    "null",
    "true",
    "",
    " ",
    '{"Image":"good","x":' + "[" * 100 + "]" * 100 + "}",
    '{"Image":"good","HostConfig":[]}',
    '{"Image":"good","HostConfig":"runc"}',
    '{"Image":"good","Mounts":{}}',
    '{"Image":"good","Mounts":["image"]}',
    '{"Image":"good","Mounts":[null]}',
    '{"Image":"good","Mounts":[{"Type":"Image","Source":"evil"}]}',
    '{"Image":"good","Mounts":[{"Type":"image"}]}',
    '{"Image":"good","Mounts":[{"Type":"image","Source":""}]}',
    '{"Image":"good","Mounts":[{"Type":"image","Source":["evil"]}]}',
    '{"Image":"good","Mounts":[{"Source":"evil"}]}',
    '{"Image":"good","Mounts":[{"Type":"oci","Source":"evil"}]}',
]


@pytest.mark.parametrize("text", _TWICE)
def test_what_docker_may_read_otherwise_is_refused(text: str) -> None:
    """CVE-2024-41110's kin: what the plug-in judges has to be what dockerd does."""
    with pytest.raises(EnforcerError) as caught:
        container_images(text.encode())

    assert caught.value.code is UNREADABLE


@pytest.mark.parametrize("raw", [b'{"Image":"\xff"}', b'{"Imag\xe9":"a"}', b"\x00"])
def test_bytes_that_are_no_text_are_refused(raw: bytes) -> None:
    """Go replaces what is not UTF-8, so the name it uses is another one."""
    with pytest.raises(EnforcerError) as caught:
        container_images(raw)

    assert caught.value.code is UNREADABLE


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, Code.NO_IMAGE),
        ({"Image": ""}, Code.NO_IMAGE),
        ({"Image": None}, Code.NO_IMAGE),
        ({"Image": ["app:1"]}, Code.NO_IMAGE),
        ({"Image": {"Image": "app:1"}}, Code.NO_IMAGE),
        ({"Image": "a", "HostConfig": {"Runtime": "crun"}}, Code.DOCKER_RUNTIME),
        ({"Image": "a", "HostConfig": {"Runtime": "RUNC"}}, Code.DOCKER_RUNTIME),
        ({"Image": "a", "HostConfig": {"Runtime": " "}}, Code.DOCKER_RUNTIME),
        ({"Image": "a", "HostConfig": {"Runtime": ["runc"]}}, Code.DOCKER_RUNTIME),
        ({"Image": "a", "HostConfig": {"Runtime": False}}, Code.DOCKER_RUNTIME),
        ({"Image": "a", "Runtime": "crun"}, Code.DOCKER_RUNTIME),
        (
            {"Image": "a", "Runtime": "crun", "HostConfig": {"Runtime": "runc"}},
            Code.DOCKER_RUNTIME,
        ),
        (
            {"Image": "a", "HostConfig": {"Runtime": "io.containerd.kata.v2"}},
            Code.DOCKER_RUNTIME,
        ),
    ],
)
def test_without_an_image_or_with_another_runtime_it_is_refused(
    body: dict[str, Any], code: Code
) -> None:
    """Docker makes a container without an image, if asked to."""
    with pytest.raises(EnforcerError) as caught:
        container_images(json.dumps(body).encode())

    assert caught.value.code is code


def test_too_many_images_are_not_asked_about() -> None:
    """Each is a question to enforcerd, one after the other."""
    mounts = [_image_mount(f"data:{number}") for number in range(MAX_IMAGES)]

    with pytest.raises(EnforcerError) as caught:
        container_images(json.dumps({"Image": "app", "Mounts": mounts}).encode())

    assert caught.value.code is UNREADABLE


def test_a_body_larger_than_dockerd_shows_everywhere_is_refused() -> None:
    """CVE-2026-34040: past a limit dockerd acts on what it does not show."""
    fits = json.dumps({"Image": "app", "x": "y" * (MAX_BODY_BYTES - 30)}).encode()

    assert container_images(fits) == ("app",)
    with pytest.raises(EnforcerError) as caught:
        container_images(fits + b" " * 100)

    assert caught.value.code is UNREADABLE


def _service(**task: object) -> bytes:
    return json.dumps({"Name": "web", "TaskTemplate": task}).encode()


_SPEC = {"Image": "app:1@sha256:" + "a1" * 32}


@pytest.mark.parametrize(
    ("task", "images"),
    [
        ({"ContainerSpec": _SPEC}, (_SPEC["Image"],)),
        ({"ContainerSpec": _SPEC, "Runtime": "container"}, (_SPEC["Image"],)),
        ({"ContainerSpec": _SPEC, "PluginSpec": None}, (_SPEC["Image"],)),
        (
            {"ContainerSpec": {"Image": "a", "Mounts": [_image_mount()]}},
            ("a", "data:1"),
        ),
    ],
)
def test_a_service_is_made_of_these_images(
    task: dict[str, Any], images: tuple[str, ...]
) -> None:
    """As the client resolved it: with a digest, where a registry told it one."""
    assert service_images(_service(**task)) == images


@pytest.mark.parametrize(
    ("task", "code"),
    [
        ({}, Code.NO_IMAGE),
        ({"ContainerSpec": None}, Code.NO_IMAGE),
        ({"ContainerSpec": {"image": "evil"}}, UNREADABLE),
        ({"ContainerSpec": {"Image": "good", "image": "evil"}}, UNREADABLE),
        ({"ContainerSpec": _SPEC, "containerSpec": _SPEC}, UNREADABLE),
        ({"ContainerSpec": {"Image": "a", "Mounts": [{}]}}, UNREADABLE),
        ({"ContainerSpec": {"Image": "a", "mounts": []}}, UNREADABLE),
        ({"PluginSpec": {"Remote": "x/y"}}, Code.DOCKER_PLUGIN),
        ({"PluginSpec": {}, "ContainerSpec": _SPEC}, Code.DOCKER_PLUGIN),
        ({"pluginSpec": {}, "ContainerSpec": _SPEC}, UNREADABLE),
        ({"Runtime": "plugin", "ContainerSpec": _SPEC}, Code.DOCKER_PLUGIN),
        ({"runtime": "plugin", "ContainerSpec": _SPEC}, UNREADABLE),
        ({"Runtime": "attachment", "ContainerSpec": _SPEC}, Code.DOCKER_TASK),
        ({"Runtime": ["plugin"], "ContainerSpec": _SPEC}, Code.DOCKER_TASK),
        ({"NetworkAttachmentSpec": {}, "ContainerSpec": _SPEC}, Code.DOCKER_TASK),
    ],
)
def test_what_a_service_may_not_be(task: dict[str, Any], code: Code) -> None:
    """No plug-ins, and nothing that could be read as one."""
    with pytest.raises(EnforcerError) as caught:
        service_images(_service(**task))

    assert caught.value.code is code


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b'{"tasktemplate":{"ContainerSpec":{"Image":"evil"}}}',
        b'{"TaskTemplate":{},"Ta\xc5\xbfkTemplate":{}}',
        '{"TaskTemplate":{},"TasKTemplate":{}}'.replace("K", "\u212a").encode(),
    ],
)
def test_a_service_that_docker_may_read_otherwise_is_refused(raw: bytes) -> None:
    """KELVIN SIGN is a k for Go, and LATIN SMALL LETTER LONG S an s."""
    with pytest.raises(EnforcerError) as caught:
        service_images(raw)

    assert caught.value.code is UNREADABLE

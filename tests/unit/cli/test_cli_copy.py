"""`enforcer copy`: under which tag, and at which registry, a copy can be had."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from tests.registry.server import Server, serving
from tests.registry.writable import WritableRegistry
from tests.unit.cli.host import Host
from tests.unit.sources.signed import image
from tests.unit.sources.test_registry_push import CONFIG, EMPTY, LAYER, OF_TOP, TOP


@pytest.fixture
def fake() -> WritableRegistry:
    """A registry with a signed image, `app:latest`."""
    registry = WritableRegistry()
    registry.push(TOP, "latest")
    registry.attach(OF_TOP)
    registry.blobs |= {str(Digest.of(raw)): raw for raw in (LAYER, CONFIG, EMPTY)}
    return registry


@pytest.fixture
def other() -> WritableRegistry:
    """An empty one."""
    return WritableRegistry()


@pytest.fixture
def there(other: WritableRegistry) -> Iterator[Server]:
    with serving(other) as server:
        yield server


def tags(registry: WritableRegistry) -> list[str]:
    return [name for name in registry.manifests if ":" not in name]


def test_without_any_tag_a_copy_has_the_one_that_is_meant(
    host: Host, server: Server, other: WritableRegistry, there: Server
) -> None:
    """A repository alone is its `latest` at both ends, or nobody can pull the copy."""
    done = host.run("copy", f"{server.host}/app", f"{there.host}/app")

    assert (done.status, done.err) == (0, "")
    assert tags(other) == ["latest"]


@pytest.mark.parametrize("recorded", ["1", "registry.example/app:1"])
def test_a_layouts_only_tag_goes_along(
    host: Host, server: Server, other: WritableRegistry, there: Server, tmp_path: Path,
    recorded: str,
) -> None:  # fmt: skip
    """Its one image is found without its tag being said, and is still under it."""
    layout, again = (f"oci-layout:{tmp_path}/{name}" for name in ("one", "two"))
    host.run("copy", f"{server.host}/app", f"{layout}:1")
    index = tmp_path / "one" / "index.json"
    index.write_text(index.read_text().replace('"1"', f'"{recorded}"'))

    to_layout = host.run("copy", layout, again)
    pushed = host.run("copy", again, f"{there.host}/app")

    assert (to_layout.status, pushed.status) == (0, 0)
    listed = json.loads((tmp_path / "two" / "index.json").read_text())["manifests"]
    said = listed[0]["annotations"]
    assert said["org.opencontainers.image.ref.name"] == "1"
    assert tags(other) == ["1"]


def test_two_images_of_one_tag_in_one_layout_are_both_found(
    host: Host, server: Server, fake: WritableRegistry, other: WritableRegistry,
    there: Server, tmp_path: Path,
) -> None:  # fmt: skip
    """The tag is the later one's, as with oras; a full name finds either."""
    first = image("another")
    other.push(first.manifest, "latest")
    other.blobs[str(first.config_digest)] = first.config
    layout = f"oci-layout:{tmp_path}/both"
    names = (f"{there.host}/app:latest", f"{server.host}/app:latest")
    digests = [str(one.descriptor.digest) for one in (first.manifest, TOP)]

    done = [host.run("copy", name, layout) for name in names]
    places = (layout + ":latest", *(f"{layout}:{name}" for name in names))
    found = [host.run("verify", p, "--scope", "a.test/b", "-o", "json") for p in places]
    again = host.run("copy", places[1], f"{server.host}/app")

    assert [(one.status, one.err) for one in (*done, again)] == [(0, "")] * 3
    judged = [one.json["subject"]["manifest"] for one in found]
    assert judged == [digests[1], *digests]
    assert fake.manifests["latest"] == first.manifest


def test_no_archive_is_written_to_a_file_that_is_called_as_standard_output_is(
    host: Host, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As SRC it is standard input."""
    monkeypatch.chdir(tmp_path)

    done = host.run("copy", f"{server.host}/app", "oci-archive:-")

    assert done.status == 2
    assert "cache export --with-image" in done.err
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("source", ["registry", "layout"])
def test_what_is_named_by_digest_gets_no_tag(
    host: Host, server: Server, other: WritableRegistry, there: Server, tmp_path: Path,
    source: str,
) -> None:  # fmt: skip
    """Whoever names a digest means no tag, and moves none."""
    layout = f"oci-layout:{tmp_path}/one"
    host.run("copy", f"{server.host}/app", f"{layout}:1")
    place = {"registry": f"{server.host}/app", "layout": layout}[source]

    done = host.run("copy", f"{place}@{TOP.descriptor.digest}", f"{there.host}/app")

    assert (done.status, done.err) == (0, "")
    assert str(TOP.descriptor.digest) in other.manifests
    assert tags(other) == []


def test_a_mirror_is_read_and_never_written(
    host: Host, server: Server, other: WritableRegistry, there: Server
) -> None:
    """A copy that is said to be at a registry is not at what is asked in its place."""
    mirrored = {"host": there.host, "mirror": server.host}
    host.settings(notationConfig=str(host.notation), registries=[mirrored])

    done = host.run("copy", f"{there.host}/app", f"{there.host}/app:2")

    assert (done.status, done.err) == (0, "")
    assert tags(other) == ["2"]
    assert {seen.method for seen in server.seen} == {"GET"}


def test_what_lost_says_to_type_can_be_typed(
    host: Host, server: Server, tmp_path: Path
) -> None:
    """A path with a blank in it is one word, and a long one is not cut."""
    source = f"oci-layout:{tmp_path}/a stick/{'long' * 50}:1"
    (tmp_path / "a stick").mkdir()
    host.run("copy", f"{server.host}/app", source)

    found = host.run("verify", "--lost", source, host.target, "-o", "json").json

    assert shlex.split(found["next"][0]) == ["enforcer", "copy", source, host.target]

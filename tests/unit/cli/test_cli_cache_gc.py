"""`enforcer cache gc`: what it takes for needed, and when it dares not."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from tests.unit.cli.host import Host
from tests.unit.sources.signed import compact

OLD = time.time() - 40 * 24 * 3600
CONTENT = "io.containerd.content.v1.content"


@pytest.fixture
def stored(host: Host) -> Host:
    """A host with two engines without images, and an old signature about one."""
    host.sign()
    for path in (cache(host) / "blobs" / "sha256").iterdir():
        os.utime(path, (OLD, OLD))
    (host.root / "containerd" / "io.containerd.metadata.v1.bolt").mkdir(parents=True)
    (host.root / "docker" / "containers").mkdir(parents=True)
    listed(host, "containerd", "docker")
    return host


def cache(host: Host) -> Path:
    return host.root / "state" / "cache"


def listed(host: Host, *kinds: str) -> None:
    engines = [
        {"kind": kind, "socket": "/s", "root": str(host.root / kind), "state": "/s"}
        for kind in kinds
    ]
    host.settings(notationConfig=str(host.notation), engines=engines)


def signatures(host: Host) -> int:
    return len(host.run("cache", "list", "-o", "json").json)


def test_what_is_about_no_image_goes(stored: Host) -> None:
    told = stored.run("cache", "gc", "--dry-run")
    assert (told.status, told.out.split()[:4]) == (
        0,
        ["would", "drop", "1", "signature(s),"],
    )
    assert signatures(stored) == 1

    done = stored.run("cache", "gc", "-o", "json")

    assert done.status == 0
    assert done.json["dropped"] is True
    assert (done.json["signatures"], done.json["files"]) == (1, 4)
    assert done.json["bytes"] > 1000
    assert signatures(stored) == 0
    assert not list((cache(stored) / "blobs" / "sha256").iterdir())


@pytest.mark.parametrize("what", ["manifest", "configuration", "repository digest"])
def test_what_is_about_an_image_that_an_engine_has_stays(
    stored: Host, what: str
) -> None:
    manifest = (stored.layout / "blobs" / "sha256" / stored.digest.hex).read_bytes()
    config = Digest.parse(json.loads(manifest)["config"]["digest"])
    store = stored.root / "docker" / "image" / "overlay2"
    if what == "manifest":
        blobs = stored.root / "containerd" / CONTENT / "blobs" / "sha256"
        blobs.mkdir(parents=True)
        (stored.root / "containerd" / CONTENT / "ingest").mkdir()
        (blobs / stored.digest.hex).write_bytes(manifest)
    elif what == "configuration":
        images = store / "imagedb" / "content" / "sha256"
        images.mkdir(parents=True)
        (images / config.hex).touch()
    else:
        store.mkdir(parents=True)
        names = {f"r.test/a@{stored.digest}": str(Digest.of(b"some id"))}
        document = compact({"Repositories": {"r.test/a": names}})
        (store / "repositories.json").write_bytes(document)

    assert stored.run("cache", "gc", "--keep-days", "0").status == 0

    assert signatures(stored) == 1


@pytest.mark.parametrize("kind", ["containerd", "docker"])
@pytest.mark.parametrize("how", ["root gone", "not mounted", "a file"])
def test_an_engine_that_does_not_say_keeps_everything(
    stored: Host, kind: str, how: str
) -> None:
    """An empty folder may be a disk that is missing: all its images would be gone."""
    root = stored.root / kind
    shutil.rmtree(root)
    if how == "not mounted":
        root.mkdir()
    elif how == "a file":
        root.touch()

    done = stored.run("cache", "gc", "--keep-days", "0")

    assert done.status == 3
    assert f"{root}" in done.err
    assert "enforcer.yaml has to say" in done.err
    assert "`engines: [{kind: " in done.err
    assert "[ENF-1405]" in done.err
    assert signatures(stored) == 1


def test_what_docker_wrote_down_and_nobody_can_read_keeps_everything(
    stored: Host,
) -> None:
    store = stored.root / "docker" / "image" / "overlay2"
    store.mkdir(parents=True)
    (store / "repositories.json").write_bytes(b"{")

    assert stored.run("cache", "gc", "--keep-days", "0").status == 1

    assert signatures(stored) == 1


@pytest.mark.parametrize("days", ["-1", "x", "1.5", "100000", "99999"])
def test_days_are_days(stored: Host, days: str) -> None:
    assert stored.run("cache", "gc", f"--keep-days={days}").status == 2
    assert signatures(stored) == 1


def test_a_full_cache_says_what_to_do(host: Host) -> None:
    host.settings(notationConfig=str(host.notation), cache={"maxFiles": 2})

    done = host.run("sign", host.target, *host.keys())

    assert done.status == 1
    assert "cache.maxFiles is 2" in done.err
    assert "`enforcer cache gc`" in done.err
    assert signatures(host) == 0

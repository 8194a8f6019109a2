"""`cache import`: archives are taken whole or not at all, and told about meanwhile."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from enforcer.cli.progress import Progress, size_text
from enforcer.core.digest import Digest
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout.tar_header import BLOCK
from tests.engines.images import describe as describe_image
from tests.engines.images import write_layout
from tests.unit.cli.host import Host
from tests.unit.sources.signed import SOAK, compact, describe
from tests.unit.sources.tars import (
    ABOUT_ONE,
    END,
    GOOD,
    HOSTILE,
    INDEX,
    ONE,
    Attack,
    header,
    layout,
    member,
    saved,
    tar,
)

MOST_RSS_KIB = 64 * 1024
MIB = 1024 * 1024


def cached(host: Host) -> list[Path]:
    """Every file below the cache that an import left, its record of origin included."""
    root = host.root / "state" / "cache"
    return [path for path in (root / "blobs").rglob("*") if path.is_file()]


def archive(host: Host, raw: bytes) -> str:
    (host.root / "a.tar").write_bytes(raw)
    return f"{host.root}/a.tar"


def piped(host: Host, parts: Iterable[bytes], *words: str) -> tuple[int, str, str]:
    """Run the command line as a process that reads a pipe."""
    command = [sys.executable, "-m", "enforcer", *host.folders(), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        try:
            for part in parts:
                process.stdin.write(part)
        except BrokenPipeError:
            process.stdin = None
        out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


# -- what is taken --------------------------------------------------------------------


def test_an_archive_is_imported(host: Host) -> None:
    done = host.run("cache", "import", f"oci-archive:{archive(host, GOOD)}")

    assert done.status == 0, done.err
    assert done.out == f"imported 1 signature(s) from {host.root}/a.tar\n"
    (entry,) = DiskCache(host.root / "state" / "cache").entries()
    assert entry.subject == str(ONE.manifest.descriptor.digest)


def test_an_archive_is_imported_from_a_pipe(host: Host) -> None:
    """`ssh build cat delivery.tar | enforcer cache import oci-archive:-`."""
    words = ("cache", "import", "-o", "json", "oci-archive:-")

    status, out, err = piped(host, [GOOD], *words)

    assert (status, err) == (0, "")
    assert json.loads(out) == {
        "signatures": 1,
        "evidence": {"offered": 0, "kept": 0},
        "refused": [],
    }
    assert len(cached(host)) == 3 + 1


def test_one_tag_of_an_archive_from_a_pipe_is_imported(host: Host) -> None:
    for tag, status in (("1", 0), ("2", 3)):
        done = piped(host, [GOOD], "cache", "import", f"oci-archive:-:{tag}")

        assert done[0] == status, done


def test_what_old_docker_saved_gives_its_manifest(host: Host) -> None:
    """It has none: it is made as `enforcer sign docker:` makes it on such a host."""
    raw = saved()
    (config,) = re.findall(rb"([0-9a-f]{64})\.json\"", raw)

    done = host.run("cache", "import", f"docker-archive:{archive(host, raw)}")

    assert done.status == 0, done.err
    cache = DiskCache(host.root / "state" / "cache")
    found = cache.manifests_about(Digest.parse(f"sha256:{config.decode()}"), [])
    (manifest,) = (json.loads(content.raw) for content in found)
    assert [layer["size"] for layer in manifest["layers"]] == [9, 7]


def test_a_layer_that_old_docker_saved_before_may_be_a_link(host: Host) -> None:
    """It writes one where two images share a layer; it is not followed."""
    one = b"one layer"
    raw = saved(layers=(one, one), link=f"../{0:064x}/layer.tar".encode())

    done = host.run("cache", "import", f"docker-archive:{archive(host, raw)}")

    assert done.status == 0, done.err
    assert len(cached(host)) == 1 + 1


@pytest.mark.skipif(not shutil.which("skopeo"), reason="this needs skopeo")
def test_what_skopeo_saves_as_docker_does_is_imported(host: Host) -> None:
    """podman's, too: each layer under its digest, and a link to it."""
    write_layout(host.root / "two", text="x", tag="two:1", split=True)
    path = host.root / "saved.tar"
    words = ["skopeo", "--insecure-policy", "copy", f"oci:{host.root}/two:1"]
    subprocess.run([*words, f"docker-archive:{path}:two:1"], check=True)

    done = host.run("cache", "import", f"docker-archive:{path}")

    assert done.status == 0, done.err
    config = Digest.parse(describe_image(host.root / "two").config)
    cache = DiskCache(host.root / "state" / "cache")
    (manifest,) = cache.manifests_about(config, [])
    assert len(json.loads(manifest.raw)["layers"]) == 2


def test_a_layout_that_docker_saved_is_one(host: Host) -> None:
    config = compact([{"Config": f"{ONE.config_digest.hex}.json"}])
    raw = tar(*layout(), member(b"manifest.json", config))

    done = host.run("cache", "import", f"docker-archive:{archive(host, raw)}")

    assert done.out == f"imported 1 signature(s) from {host.root}/a.tar\n"


# -- what is refused ------------------------------------------------------------------


@pytest.mark.parametrize("attack", HOSTILE, ids=[attack.name for attack in HOSTILE])
def test_of_a_hostile_archive_nothing_is_stored(host: Host, attack: Attack) -> None:
    """Not a blob, not an entry; the code says which kind of thing was wrong."""
    for transport in ("oci-archive", "docker-archive"):
        source = f"{transport}:{archive(host, attack.raw)}"

        done = host.run("cache", "import", source)

        assert done.status == 1
        assert re.fullmatch(rf"enforcer: .* \[{attack.code}\]\n", done.err)
        assert cached(host) == []


def test_of_an_archive_without_a_usable_index_nothing_is_stored(host: Host) -> None:
    for index in (b"{", b"[]", b'{"manifests":{}}', INDEX + b"x"):
        source = f"oci-archive:{archive(host, tar(*layout(index=index)))}"

        assert host.run("cache", "import", source).status in (1, 3)
        assert cached(host) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ((b"one layer", b"0ne layer"), "lacks layer"),
        ((b'"Config":"', b'"Config":"x'), "has no x"),
        ((b'"Config"', b'"config"'), "only by case"),
        ((b"[{", b"{{"), "not valid JSON"),
    ],
)
def test_a_saved_image_that_is_not_whole_is_refused(
    host: Host, change: tuple[bytes, bytes], said: str
) -> None:
    raw = saved().replace(*change)
    if len(change[1]) != len(change[0]):
        listed = re.search(rb"\[\{.*?\}\]", raw)
        assert listed
        size = len(listed[0])
        start = raw.index(b"manifest.json\0")
        rest = raw[start + BLOCK + size :].lstrip(b"\0")
        raw = raw[:start] + member(b"manifest.json", listed[0]) + rest

    done = host.run("cache", "import", f"docker-archive:{archive(host, raw)}")

    assert done.status in (1, 3)
    assert said in done.err
    assert cached(host) == []


def test_one_bad_signature_is_told_and_the_rest_is_taken(host: Host) -> None:
    """The archive is whole; what one line of it names is no signature."""
    bad = ABOUT_ONE.manifest.replace(b'"layers":[', b'"layers":[{},')
    index = json.loads(INDEX)
    index["manifests"].append(describe(ONE.manifest.media_type, bad))
    name = f"blobs/sha256/{Digest.of(bad).hex}"
    raw = tar(*layout(index=compact(index)), member(name.encode(), bad))

    done = host.run("cache", "import", f"oci-archive:{archive(host, raw)}")

    assert done.status == 1
    assert done.err.startswith(f"enforcer: refused {Digest.of(bad)}: ")
    assert done.out == f"imported 1 signature(s) from {host.root}/a.tar\n"
    assert len(cached(host)) == 3 + 1


@pytest.mark.parametrize(
    "source", ["oci-archive:", "docker-archive:", "docker:app", "file:x", "/a.tar"]
)
def test_other_sources_are_a_mistake_of_usage(host: Host, source: str) -> None:
    done = host.run("cache", "import", source)

    assert done.status == 2
    assert "expected oci-layout:DIR" in done.err


# -- bounds ---------------------------------------------------------------------------


def test_nobody_is_told_to_remove_a_layout_that_was_called_an_archive(
    host: Host,
) -> None:
    """It may be the only place where those signatures are."""
    done = host.run("cache", "import", f"oci-archive:{host.layout}")

    assert done.status == 3
    assert f"{host.layout} is not a regular file. Name a file;" in done.err


def test_a_large_archive_needs_little_memory(host: Host) -> None:
    """2 GiB of layer in the soak: neither it nor its blobs are ever held."""
    size = (2048 if SOAK else 256) * MIB
    path = host.root / "large.tar"
    with path.open("wb") as file:
        for one in layout():
            file.write(one)
        file.write(header(b"large/layer.tar", size))
        file.seek(size, os.SEEK_CUR)
        file.write(END)
    words = ["cache", "import", f"docker-archive:{path}"]
    command = [sys.executable, "-c", _MEASURED, *host.folders(), *words]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("imported 1 signature(s)")
    assert int(done.stdout.split()[-1]) < MOST_RSS_KIB


_MEASURED = """
import re, sys
from pathlib import Path
from enforcer.cli.main import main
assert main(sys.argv[1:]) == 0
print(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""


# -- telling how far it is ------------------------------------------------------------


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Ticking:
    """A clock that somebody else turns."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_terminal_sees_a_bar_that_goes_away() -> None:
    out, clock = Terminal(), Ticking()

    with Progress("import", total=4 * MIB, out=out, clock=clock) as tell:
        for second in range(1, 4):
            clock.now = second
            tell(MIB)

    first, *_, last, gone = out.getvalue().split("\r")[1:]
    assert first == f"  import    {'█' * 7}{'░' * 21}  1.0 MiB / 4.0 MiB   " + (
        "1.0 MiB/s   3 s\033[K"
    )
    assert "3.0 MiB / 4.0 MiB" in last
    assert gone == "\033[K"


def test_a_log_gets_a_plain_line_every_five_seconds() -> None:
    out, clock = io.StringIO(), Ticking()

    with Progress("import", out=out, clock=clock) as tell:
        for second in range(12):
            clock.now = second
            tell(100 * MIB)

    assert out.getvalue().splitlines() == [
        "enforcer: import: 600 MiB   120 MiB/s",
        "enforcer: import: 1.1 GiB   110 MiB/s",
    ]


def test_nothing_is_shown_where_it_is_over_at_once_or_json_is_asked_for() -> None:
    for quiet, until in ((False, 0.09), (True, 100)):
        out, clock = Terminal(), Ticking()
        with Progress("import", quiet=quiet, out=out, clock=clock) as tell:
            clock.now = until
            tell(MIB)

        assert out.getvalue() == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1.0 KiB"), (812 * MIB, "812 MiB")],
)
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size_text(count) == text

"""The cache's verbs where the disk takes nothing more: a code, and all stays as it was.

And never an allow for what was denied: asking needs no room.
"""

import contextlib
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.images import write_layout
from tests.unit.cli.host import Host


@pytest.fixture
def small(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """A host whose state is on a small disk, with one image signed; needs root."""
    state = host.root / "state"
    options = ["-o", "size=2m,nr_inodes=100"]
    mount = ["mount", "-t", "tmpfs", *options, "tmpfs", str(state)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount")
    host.settings(notationConfig=str(host.notation), engines=[])
    host.sign()
    yield host
    subprocess.run(["umount", "-l", str(state)], check=True)


@pytest.fixture
def delivery(host: Host, tmp_path: Path) -> Path:
    """A layout with another image, and a signature about it."""
    layout = tmp_path / "delivery"
    write_layout(layout, text="other", tag="other:1")
    target = f"oci-layout:{layout}"
    elsewhere = str(tmp_path / "elsewhere")
    words = ["--write-layout", "--state-dir", elsewhere]
    done = host.run("sign", target, *host.keys(), *words)
    assert done.status == 0, done.err
    return layout


def no_blocks(state: Path) -> Path:
    ballast = state / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError), (ballast / "file").open("wb", 0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


def no_inodes(state: Path) -> Path:
    ballast = state / "ballast"
    ballast.mkdir()
    with contextlib.suppress(OSError):
        for number in itertools.count():
            (ballast / str(number)).touch()
    return ballast


Shortage = Callable[[Path], Path]
WORDS = ("import", "remove", "gc", "fsck", "sign")


@pytest.mark.parametrize("shortage", [no_blocks, no_inodes])
@pytest.mark.parametrize("word", WORDS)
def test_what_cannot_be_written_is_refused_and_changes_nothing(
    small: Host, delivery: Path, word: str, shortage: Shortage
) -> None:
    """T-CA-4: exit status and code, the same verdicts, and afterwards it works."""
    state = small.root / "state"
    other = f"oci-layout:{delivery}"
    signed = small.digest
    commands: dict[str, list[str | Path]] = {
        "import": ["cache", "import", other],
        "remove": ["cache", "remove", str(signed)],
        "gc": ["cache", "gc", "--keep-days", "0"],
        "fsck": ["cache", "fsck", "--repair"],
        "sign": ["sign", other, *small.keys()],
    }
    assert small.verify("--with-cache").status == 0
    ballast = shortage(state)

    refused = small.run(*commands[word])

    assert (refused.status, refused.out) == (3, "")
    assert "[ENF-1402]" in refused.err
    assert small.verify("--with-cache").status == 0
    assert small.verify().status == 1
    shutil.rmtree(ballast)
    assert small.verify("--with-cache").status == 0
    assert small.run(*commands[word]).status == 0
    assert small.verify("--with-cache").status == int(word in ("remove", "gc"))

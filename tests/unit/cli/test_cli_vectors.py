"""Every one of the 452 Notary vectors, through the command line.

What lists and responders would say (`GROUP/http.json`) is served on the address the
vectors' certificates name, for one group at a time since paths repeat. All vectors
share one subject digest, so anything that leaked from case to case would show.
"""

import base64
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from enforcer.cli.main import main
from tests.revoker import Reply, Revoker

ARCHIVE = Path(__file__).parents[2] / "vectors" / "notary.tar.gz"
PORT = 5597
ACCEPTED, REJECTED = {0}, {1, 3, 4}


@cache
def cases() -> list[dict[str, Any]]:
    with tarfile.open(ARCHIVE) as archive:
        index = archive.extractfile(_member(archive, "index.json"))
        assert index is not None
        found: list[dict[str, Any]] = json.load(index)
        return found


def _member(archive: tarfile.TarFile, name: str) -> tarfile.TarInfo:
    return next(m for m in archive if m.name.removeprefix("./") == name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("vectors")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(place)  # noqa: S202 - our own archive
    return place


def served(folder: Path, group: str) -> Iterator[None]:
    """Serve what the group's certificates point to, if it has any of that."""
    path = folder / group / "http.json"
    if not path.exists():
        yield
        return
    with Revoker(port=PORT) as revoker:
        for url, (status, body) in json.loads(path.read_text())["routes"].items():
            revoker.routes[url] = Reply(base64.b64decode(body or ""), status=status)
        yield


def argv(folder: Path, case: dict[str, Any]) -> list[str]:
    place = folder / case["group"] / case["id"]
    config = place / "config" / "notation"
    listed = json.loads((place / "layout" / "index.json").read_text())["manifests"]
    tag = "org.opencontainers.image.ref.name"
    digest = next(
        entry["digest"]
        for entry in listed
        if (entry.get("annotations") or {}).get(tag) == "v1"
    )
    words = [f"--{name}-dir={place / 'host' / name}" for name in ("config", "state")]
    words += ["verify", "--online", "--notation-config", str(config)]
    if (config / "plugins").exists():
        words += ["--plugins", str(config / "plugins")]
    words += ["--user-metadata" if w == "-m" else w for w in case["args"]]
    return [
        *words,
        "--scope",
        case["scope"],
        f"oci-layout:{place / 'layout'}@{digest}",
    ]


@pytest.mark.alone  # a plug-in has one second, a responder two, hundreds of times
def test_every_vector_has_its_verdict(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole of the specification, as a user of the command line meets it."""
    wrong: list[str] = []
    counts: dict[tuple[str, str, int], int] = {}

    for group, members in groupby(cases(), key=lambda case: str(case["group"])):
        for _ in served(folder, group):
            for case in members:
                status = main(argv(folder, case))
                said = capsys.readouterr()
                expected = str(case["expect"])
                counts[group, expected, status] = (
                    counts.get((group, expected, status), 0) + 1
                )
                if expected == "accept" and status not in ACCEPTED:
                    wrong.append(f"{group}/{case['id']}: {status} {said.out}{said.err}")
                if expected == "reject" and status not in REJECTED:
                    wrong.append(f"{group}/{case['id']}: {status} {said.out}{said.err}")

    with capsys.disabled():
        print("\n  group            expected  exit  count")
        for (group, expected, status), count in sorted(counts.items()):
            print(f"  {group:16} {expected:8} {status:5} {count:6}")
    assert sum(counts.values()) == 452
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("group", ["envelope", "plugin"])
def test_a_process_of_its_own_says_the_same(folder: Path, group: str) -> None:
    """One of each kind, as installed: no state of the test's own process helps."""
    chosen: dict[str, dict[str, Any]] = {}
    for case in cases():
        if case["group"] == group and case["expect"] in ("accept", "reject"):
            chosen.setdefault(str(case["expect"]), case)

    for expected, case in chosen.items():
        done = subprocess.run(
            [sys.executable, "-m", "enforcer", *argv(folder, case)],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"NO_COLOR": "1"},
            timeout=120,
        )

        assert done.returncode in (ACCEPTED if expected == "accept" else REJECTED)
        assert "Traceback" not in done.stderr

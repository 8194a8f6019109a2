"""The gate reads runc's arguments as runc does, or refuses (T-HK-7, T-HK-13).

runc itself says which bundle it would take: there is none in any of these folders, so
it fails, and its message names the folder. No container is made.
"""

import itertools
import os
import random
import re
import subprocess
from pathlib import Path

from enforcer import ttrpc
from enforcer.gate import ask
from tests.enforcerd import YES, answering, asked, framed
from tests.engines.path import REAL_RUNC

LINES = 4000 if os.environ.get("ENFORCER_SOAK") else 300
PARTS = (
    ("--bundle", "/nowhere/a"),
    ("--bundle=/nowhere/b",),
    ("-b", "/nowhere/c"),
    ("-b=/nowhere/d",),
    ("-bundle", "/nowhere/e"),
    ("---bundle=/nowhere/f",),
    ("--BUNDLE=/nowhere/g",),
    ("--bundle=",),
    ("--bundle", "../../nowhere/h"),
    ("--bundle=/nowhere/../i",),
    ("--pid-file", "--bundle=/nowhere/j"),
    ("--console-socket=/k",),
    ("--no-pivot",),
    ("--no-pivot=false",),
    ("--preserve-fds", "3"),
    ("--log", "/nowhere/l"),
    ("--",),
    ("-",),
    ("other",),
)


def test_of_any_arguments_the_gate_asks_about_the_bundle_that_runc_takes(
    tmp_path: Path,
) -> None:
    """Two readers of one command line must never see two containers."""
    lines = _lines()

    taken = [_taken(line, tmp_path) for line in lines]
    asked_about = [_asked_about(line, tmp_path) for line in lines]

    pairs = list(zip(taken, asked_about, strict=True))
    for line, (by_runc, by_gate) in zip(lines, pairs, strict=True):
        assert None in (by_runc, by_gate) or by_runc == by_gate, line
    # Else the two would agree on nothing but errors.
    assert sum(None not in pair for pair in pairs) > LINES // 5


def test_a_bundle_behind_a_link_is_the_one_that_runc_finds(tmp_path: Path) -> None:
    """`link/..` is not where the link is: the kernel goes where it leads."""
    (tmp_path / "elsewhere" / "folder").mkdir(parents=True)
    (tmp_path / "link").symlink_to("elsewhere/folder")
    (tmp_path / "elsewhere" / "bundle").mkdir()
    (tmp_path / "elsewhere" / "bundle" / "config.json").write_text("not JSON")
    line = ["create", "--bundle", f"{tmp_path}/link/../bundle", "id"]

    runc = _runc(line, tmp_path)
    bundle = _asked_about(line, tmp_path)

    assert "invalid character" in runc  # so it read that file
    assert bundle is not None
    assert Path(bundle).resolve() == tmp_path / "elsewhere" / "bundle"


def _lines() -> list[list[str]]:
    draw = random.Random(5)  # noqa: S311 - not a secret
    found = []
    for _ in range(LINES):
        parts = draw.choices(PARTS, k=draw.randint(0, 3))
        parts.insert(draw.randint(0, len(parts)), ("id",))
        found.append(["create", *itertools.chain(*parts)])
    return found


def _taken(line: list[str], folder: Path) -> str | None:
    """Return the bundle that runc would take; None where it takes none."""
    said = _runc(line, folder)
    if "config.json not found" in said:
        return f"{folder}/"
    found = re.search(r"chdir (\S+): no such file", said)
    return os.path.join(folder, found[1]) if found else None  # noqa: PTH118


def _runc(line: list[str], folder: Path) -> str:
    done = subprocess.run(
        [REAL_RUNC, "--root", folder / "root", *line],
        cwd=folder, capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode != 0
    return done.stderr


def _asked_about(line: list[str], folder: Path) -> str | None:
    """Return the bundle that the gate would ask about; None where it refuses."""
    options, words = ask.parse_runc(line)
    path = folder / "ask.sock"
    with answering(path, framed(YES)) as heard:
        here = Path.cwd()
        os.chdir(folder)
        try:
            ask.ask(str(path), options, words)
        except ask.RefusalError:
            return None
        finally:
            os.chdir(here)
    return ttrpc.text(ttrpc.decode_fields(ttrpc.octets(asked(heard[0]), 4)), 2)

"""Where the engines are, and the only folders they may look for programs in."""

import os
import shutil
from pathlib import Path
from typing import Literal

Release = Literal["forky", "bookworm"]

ENGINES = Path(__file__).resolve().parents[2] / ".engines"
REAL_RUNC = Path("/usr/sbin/runc")
# What engines call besides their own programs. Never runc: being merely first in
# PATH fails open, so the gate's folder must hold the only one.
SYSTEM_PROGRAMS = (
    "git",
    "kmod",
    "modprobe",
    "mount",
    "ps",
    "umount",
    "unpigz",
    "unxz",
    "xz",
)


def program(name: str, release: Release = "forky") -> Path:
    """The absolute path of one of the programs that tests/engines/fetch put there."""
    for folder in ("usr/bin", "usr/sbin", "usr/libexec/docker/cli-plugins"):
        path = ENGINES / release / folder / name
        if path.exists():
            return path
    raise FileNotFoundError(f"{name} is not in {ENGINES / release}: run: make engines")


def link_programs(folder: Path, release: Release) -> Path:
    """Fill a folder with links to all an engine needs, and to no runc at all."""
    folder.mkdir(parents=True)
    for source in ("usr/bin", "usr/sbin"):
        for path in (ENGINES / release / source).iterdir():
            (folder / path.name).symlink_to(path)
    for name in SYSTEM_PROGRAMS:
        found = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
        if found and not (folder / name).exists():
            (folder / name).symlink_to(found)
    if (folder / "runc").exists():
        raise AssertionError(f"{folder} has a runc: the gate would not be the only one")
    return folder


def ungated(folder: Path) -> Path:
    """A gate folder that lets everything pass: its `runc` is the real one."""
    folder.mkdir(parents=True)
    (folder / "runc").symlink_to(REAL_RUNC)
    return folder


def engine_path(gate: Path | None, programs: Path) -> str:
    """The PATH of an engine: the gate's folder, if any, then `link_programs`."""
    return os.pathsep.join(str(folder) for folder in (gate, programs) if folder)

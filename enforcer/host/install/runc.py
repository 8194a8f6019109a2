"""The gate in runc's place, and runc out of every PATH: done and undone.

The real runc is linked to its new place before the gate is renamed over the old one,
so that the engines find a runc at any moment, and dpkg knows it by its diversion.
"""

import contextlib
import os
import re
import shutil
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.host.install.kept import Kept, keep, new_name, put, sync, take_away
from enforcer.host.install.manager import ManagerError, command
from enforcer.host.install.steps import Gate

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+(:[a-z0-9-]+)?")
HEAD = b"#!/bin/sh\n# The gate: the only `runc`"  # of any gate, of any version


class RuncGoneError(EnforcerError):
    """Nothing is left to put back."""

    default_code = Code.REAL_RUNC_GONE


def put_gate(step: Gate) -> None:
    """Do it; raises OSError or ManagerError."""
    _place(step.path, step.real)
    command("dpkg-divert", "--local", "--no-rename", "--divert", str(step.real),
            "--add", str(step.path))  # fmt: skip
    put(step.path, Kept(step.content, mode=0o755))


def remove_gate(step: Gate) -> str:
    """Put the real runc back; return what a person should know, if anything.

    Raises OSError, ManagerError or RuncGoneError; may be done again then.
    """
    is_lost = not step.real.exists() and is_gate(step.path)
    new_name(step.path).unlink(missing_ok=True)
    said = _put_back(step)
    take_away(new_name(step.real))
    if command("dpkg-divert", "--truename", str(step.path)) == str(step.real):
        command("dpkg-divert", "--local", "--no-rename", "--divert", str(step.real),
                "--remove", str(step.path))  # fmt: skip
    if is_lost:
        package = next(iter(_packages(step.path)), "runc")
        raise RuncGoneError(
            f"{step.real} is gone, and with it the real runc; no container starts",
            remedy=f"rm {step.path} && apt-get install --reinstall {package}",
        )
    return said


def _put_back(step: Gate) -> str:
    if not step.real.exists():
        return ""  # it was never moved, or is back, or lost
    said = ""
    if step.path.exists() and not step.path.samefile(step.real):
        if not is_gate(step.path):
            return f"{step.path} is another program than ours: left, and {step.real}"
        now = keep(step.path)
        if now and now.content != step.content:
            aside = step.real.with_name("runc-gate.changed")
            put(aside, now)
            said = f"{step.path} was changed since: kept as {aside}"
    _place(step.real, step.path)
    step.real.unlink()
    sync(step.real.parent)
    return said


def owners(said: str, path: Path) -> list[str]:
    """Return whose file a path is, of what `dpkg-query --search` says, in any language.

    Docker's own containerd.io tolerates no other runc.
    """
    lines = [line for line in said.splitlines() if line.endswith(f": {path}")]
    names = [name for line in lines for name in line.rpartition(": ")[0].split(", ")]
    return [name for name in names if _PACKAGE.fullmatch(name)]


def _packages(path: Path) -> list[str]:
    try:
        return owners(command("dpkg-query", "--search", str(path)), path)
    except ManagerError:
        return []


def _place(here: Path, there: Path) -> None:
    """Have the program that is here there as well, whole or not at all."""
    new = new_name(there)
    new.unlink(missing_ok=True)
    try:
        os.link(here, new, follow_symlinks=False)
    except OSError:  # another file system
        _copy(here, new)
    new.rename(there)  # of two links to one file, rename(2) leaves both
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    sync(there.parent)


def _copy(here: Path, there: Path) -> None:
    shutil.copy2(here, there)
    status = here.stat()
    os.chown(there, status.st_uid, status.st_gid)
    there.chmod(status.st_mode & 0o7777)
    with there.open("rb") as file:
        os.fsync(file.fileno())


def is_gate(path: Path) -> bool:
    """Whether a file is a gate, of any version."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEAD)) == HEAD
    except OSError:
        return False

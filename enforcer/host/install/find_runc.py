"""Where the engines find runc: one place, so that the gate can stand there."""

import os
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.host.install.engines import Containerd, Docker
from enforcer.host.install.manager import ManagerError, command
from enforcer.host.install.processes import InstallError
from enforcer.host.install.runc import is_gate


def find_runc(docker: Docker | None, containerd: Containerd) -> Path:
    """Return where every engine finds runc: one place, and a package's.

    Raises:
        InstallError: None, several, or one that dpkg does not know.
    """
    found = sorted(set(_runcs(docker, containerd)))
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise InstallError(
            f"the engines must find exactly one runc, and find: {clip(names)}",
            remedy="Remove the others; only one can be behind the gate.",
            code=Code.INSTALL_RUNC,
        )
    runc = found[0]
    if is_gate(runc):
        raise InstallError(
            f"{runc} is a gate already",
            remedy="Take that off first, as it was put on.",
            code=Code.INSTALL_OTHER,
        )
    try:
        command("dpkg-query", "-S", str(runc))
        diverted = command("dpkg-divert", "--truename", str(runc)) != str(runc)
    except ManagerError as error:
        raise InstallError(
            f"{runc} is of no Debian package, so nothing keeps it behind the gate",
            remedy="apt-get install runc, or do it by hand (README).",
            code=Code.INSTALL_RUNC,
        ) from error
    if diverted:
        raise InstallError(
            f"{runc} is diverted already",
            remedy=f"dpkg-divert --list {runc} says by whom.",
            code=Code.INSTALL_OTHER,
        )
    return runc


def _runcs(docker: Docker | None, containerd: Containerd) -> Iterator[Path]:
    folders = [*containerd.folders, *(docker.process.folders if docker else ())]
    for folder in folders:
        program = Path(folder) / "runc"
        if program.is_file() and os.access(program, os.X_OK):
            yield program.resolve()

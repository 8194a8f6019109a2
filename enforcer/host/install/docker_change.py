"""What Docker's daemon.json has to say for the plug-in, read by dockerd beforehand."""

import tempfile
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.host.install.engines import Docker, load_json
from enforcer.host.install.plan import AUTHZ_EDIT, PLUGIN, Change
from enforcer.host.install.processes import InstallError, load_owned, run_program


def docker_change(docker: Docker) -> Change:
    """Return the change to daemon.json.

    Raises:
        InstallError: It says so already, in another way, or cannot be changed safely.
    """
    flags = docker.process.options("--authorization-plugin")
    if flags:
        raise InstallError(
            f"dockerd is told --authorization-plugin={clip(flags[0])} on its command "
            "line, and refuses to start with the same setting in a file",
            remedy=f"Move it into {docker.config}, or install without --authz.",
            code=Code.INSTALL_CONFIG_CONFLICT,
        )
    listed = load_json(docker.config).get(AUTHZ_EDIT.key, [])
    if isinstance(listed, list) and PLUGIN in listed:
        raise InstallError(
            f"{docker.config} lists the plug-in {PLUGIN} already",
            remedy="Take that off first, as it was put on.",
            code=Code.INSTALL_OTHER,
        )
    before = load_owned(docker.config)
    change = Change(docker.config, b"{}\n" if before is None else before, AUTHZ_EDIT)
    _validated(docker, change)
    return change


def _validated(docker: Docker, change: Change) -> None:
    """Have dockerd itself read what is to be written, where it can (--validate)."""
    try:
        content = change.after
    except EnforcerError as error:
        raise _unreadable(change.path, error.what) from error
    with tempfile.TemporaryDirectory(prefix="enforcer-") as folder:
        aside = Path(folder) / "daemon.json"
        aside.write_bytes(content)
        words = ("--validate", "--config-file", str(aside))
        try:
            run_program(docker.process.program, *words)
        except InstallError as error:
            if "unknown flag" not in error.what:  # Docker 20.10 has none
                raise _unreadable(change.path, error.what) from error


def _unreadable(path: Path, why: str) -> InstallError:
    return InstallError(
        f"{path} cannot be changed: {why}",
        remedy="Mend that file, or install without --authz.",
        code=Code.INSTALL_CONFIG_UNREADABLE,
    )

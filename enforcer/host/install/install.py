"""The installation from its first look to its last question, or back to the start."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import read_file
from enforcer.host.install.carry import carry_out
from enforcer.host.install.checks import require
from enforcer.host.install.journal import Journal
from enforcer.host.install.kept import MAX_KEPT_BYTES
from enforcer.host.install.look import Host
from enforcer.host.install.plan import Stage
from enforcer.host.install.processes import InstallError
from enforcer.host.install.steps import File, Gate, Step, shown
from enforcer.host.install.undo import undo_all

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Shown:
    """One step of a plan, for people and programs: a line, and a diff of its file."""

    line: str
    diff: str = ""


def described(stages: tuple[Stage, ...]) -> tuple[Shown, ...]:
    """Return what would be done, with the exact change of every file."""
    return tuple(_described(step) for stage in stages for step in stage.steps)


def install(stages: tuple[Stage, ...], host: Host, say: Say) -> None:
    """Do all stages, and ask after each; undo everything when one fails.

    Raises:
        InstallError: It failed, and was undone, or what of it could not be.
    """
    journal = Journal()
    with journal.held():
        if journal.exists():
            raise InstallError(
                "another installation is on this host",
                remedy="Run `enforcer uninstall` first.",
                code=Code.INSTALL_HALF_DONE,
            )
        try:
            journal.begin()
            _stages(journal, stages, host, say)
            journal.complete()
        except BaseException as error:  # noqa: BLE001 - also Ctrl-C, and our mistakes
            _roll_back(journal, error, say)


def _stages(journal: Journal, stages: tuple[Stage, ...], host: Host, say: Say) -> None:
    number = 0
    for stage in stages:
        number = carry_out(journal, stage.steps, number)
        for check in stage.checks:
            require(check, host)
            say(f"ok: {check}")


def _roll_back(journal: Journal, error: BaseException, say: Say) -> None:
    why = str(error) or type(error).__name__
    if isinstance(error, EnforcerError):
        why = error.what
    say(f"failed: {why}; undoing everything")
    journal.mend()
    try:
        failed = undo_all(journal, journal.read().entries, say)
        rest = f"{failed} steps could not be undone" if failed else ""
    except KeyboardInterrupt:
        rest = "undoing it was interrupted"
    if rest:
        raise InstallError(
            f"the installation failed ({why}), and {rest}",
            remedy="Run `/usr/libexec/enforcer/uninstall`.",
            code=Code.UNINSTALL_INCOMPLETE,
        ) from error
    journal.forget()
    raise InstallError(
        f"the installation failed and is undone: {why}",
        remedy="Mend that, and install again.",
        code=Code.INSTALL_ROLLED_BACK,
    ) from error


def _described(step: Step) -> Shown:
    if isinstance(step, File | Gate):
        return Shown(
            shown(step), _diff(step.path, step.content, isinstance(step, Gate))
        )
    return Shown(shown(step))


def _diff(path: Path, new: bytes, replaced: bool) -> str:  # noqa: FBT001
    old = b""
    if path.exists() and not replaced:
        old = read_file(path, max_bytes=MAX_KEPT_BYTES)
    try:
        before, after = (raw.decode().splitlines(keepends=True) for raw in (old, new))
    except UnicodeDecodeError:
        return f"(a program of {len(new)} bytes)\n"
    named = str(path) if old else "/dev/null"
    lines = difflib.unified_diff(before, after, named, str(path))
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in lines
    )

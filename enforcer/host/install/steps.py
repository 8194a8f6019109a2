"""The steps of an installation, as values: what each changes, and nothing else.

Everything is said in absolute paths and names of units. No step holds a command line:
what the journal says can only ever lead to what `undo` knows.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from enforcer.host.install.edits import Edit

WAY_BACK = Path("/usr/libexec/enforcer/uninstall")  # put there first, taken off last


@dataclass(frozen=True, slots=True)
class Folder:
    """Make a folder, if there is none."""

    path: Path
    mode: int = 0o755


@dataclass(frozen=True, slots=True)
class File:
    """Write a file whole; a new one is root's, an old one keeps owner and mode.

    `edit` says how what we added can be taken out again when somebody else has
    changed the file, too.
    """

    path: Path
    content: bytes
    mode: int = 0o644
    edit: Edit | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Make a symbolic link: how a unit is enabled."""

    path: Path
    target: str


@dataclass(frozen=True, slots=True)
class Gate:
    """Put the gate where the engines find runc, and the real one at `real`."""

    path: Path
    real: Path
    content: bytes


@dataclass(frozen=True, slots=True)
class Accounts:
    """Have systemd-sysusers make the accounts of a file."""

    file: Path
    names: tuple[str, ...]


class Word(StrEnum):
    """What systemd is told."""

    READ_UNITS = "daemon-reload"
    START = "start"
    STOP = "stop"
    RELOAD = "reload"
    RESTART = "restart"
    MAKE_FOLDERS = "tmpfiles"


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell systemd something: on the way in, or (`undo`) on the way back.

    A step that is undone is told in reverse order, so what an engine has to hear
    after its configuration is put back stands before the change.
    """

    word: Word
    names: tuple[str, ...] = ()
    undo: bool = False


Step = Folder | File | Link | Gate | Accounts | Tell


def shown(step: Step) -> str:
    """Say in one line what a step does."""
    match step:
        case Folder():
            return f"make folder {step.path} (mode {step.mode:04o})"
        case File():
            return f"write {step.path} (mode {step.mode:04o})"
        case Link():
            return f"link {step.path} -> {step.target}"
        case Gate():
            return (
                f"put the gate at {step.path}; the real runc moves to {step.real} "
                f"(dpkg-divert --local --divert {step.real} --add {step.path})"
            )
        case Accounts():
            return f"systemd-sysusers {step.file}"
        case Tell(Word.MAKE_FOLDERS):
            return f"systemd-tmpfiles --create {' '.join(step.names)}"
        case Tell():
            when = " (when it is undone)" if step.undo else ""
            return " ".join(("systemctl", step.word, *step.names)) + when

"""Do the steps of a plan: each is in the journal, on the disk, before it is done."""

import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from enforcer.host.install.accounts import LOCK, held_lists, missing_accounts
from enforcer.host.install.journal import Entry, Journal
from enforcer.host.install.kept import Kept, keep, put, sync
from enforcer.host.install.manager import command
from enforcer.host.install.runc import put_gate
from enforcer.host.install.steps import (
    Accounts,
    File,
    Folder,
    Gate,
    Link,
    Step,
    Tell,
    Word,
)


def carry_out(journal: Journal, steps: Iterable[Step], number: int) -> int:
    """Do steps one after the other; return the number of the next one.

    Raises:
        OSError: A step failed; what was done so far is in the journal.
        EnforcerError: The same.
    """
    for step in steps:
        done = _ready(step)
        journal.note(Entry(number, done, _before(done), _existed(done)))
        _do(done)
        number += 1
    return number


def _ready(step: Step) -> Step:
    """Look again: what is there by now decides what is written, and what is ours."""
    if isinstance(step, Accounts):
        return replace(step, names=missing_accounts(step.names))
    if isinstance(step, File) and step.edit and (now := keep(step.path)):
        return replace(step, content=step.edit.apply(now.content))
    return step


def _before(step: Step) -> Kept | None:
    return keep(step.path) if isinstance(step, File) else None


def _existed(step: Step) -> bool:
    if isinstance(step, Accounts):
        return LOCK.exists()  # sysusers makes it
    return isinstance(step, Folder | File | Link) and os.path.lexists(step.path)


def _do(step: Step) -> None:
    match step:
        case Folder():
            _make_folder(step)
        case File():
            before = keep(step.path)
            new = Kept(step.content, step.mode)
            if before:
                new = replace(before, content=step.content, mtime_ns=None)
            put(step.path, new)
        case Link():
            _link(step.path, step.target)
        case Gate():
            put_gate(step)
        case Accounts():
            with held_lists():
                pass  # systemd-sysusers would wait for them without end
            command("systemd-sysusers", str(step.file))
        case Tell(undo=False):
            _tell(step)
        case _:
            return  # told on the way back


def _make_folder(step: Folder) -> None:
    if not step.path.is_dir():
        step.path.mkdir(mode=step.mode)
        step.path.chmod(step.mode)  # whatever the umask is
        sync(step.path.parent)


def _link(path: Path, target: str) -> None:
    if not os.path.lexists(path):
        path.symlink_to(target)
        sync(path.parent)


def _tell(step: Tell) -> None:
    if step.word is Word.MAKE_FOLDERS:
        command("systemd-tmpfiles", "--create", *step.names)
    else:
        command("systemctl", step.word, *step.names)

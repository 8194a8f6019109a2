"""Take enforcer off this host: what the journal says, backwards.

Runs with any python3 and its standard library. Each step can be undone again after a
kill: what is as it was is left alone. What somebody changed since is not lost: our
part is taken out of it where that is known, else it is left, and said so.
"""

import argparse
import contextlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.host.asking import PLUGIN_UNIT, asks
from enforcer.host.install.accounts import remove_accounts
from enforcer.host.install.journal import Entry, Found, Journal
from enforcer.host.install.kept import Kept, keep, new_name, put, sync, take_away
from enforcer.host.install.manager import (
    DOCKER,
    ENGINES,
    command,
    main_pid,
    refresh,
    stop,
)
from enforcer.host.install.runc import remove_gate
from enforcer.host.install.steps import (
    WAY_BACK,
    Accounts,
    File,
    Folder,
    Gate,
    Link,
    Tell,
    Word,
    shown,
)

Say = Callable[[str], None]
DONE, INCOMPLETE = 0, 1
PLUGIN = Path("/run/docker/plugins/enforcer.sock")  # the file's name is ours
RELOAD_SECONDS = 20.0  # dockerd reads its file within one, and may be starting
POLL_SECONDS = 0.2
_UNIT = re.compile(r"enforcer[a-z-]*\.(service|socket|timer|path|target)")


class NeededError(EnforcerError):
    """An engine needs what was to be taken off."""

    default_code = Code.UNINSTALL_INCOMPLETE


def main(argv: Sequence[str] | None = None) -> int:
    """Undo everything; 1 where something could not be, and then it says what."""
    parser = argparse.ArgumentParser(prog="enforcer uninstall", description=__doc__)
    parser.add_argument("--dry-run", action="store_true", help="change nothing")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    arguments = parser.parse_args(argv)
    said: list[str] = []
    say = said.append if arguments.output == "json" else _print
    status = INCOMPLETE
    try:
        if os.geteuid() != 0:
            say("enforcer: only root takes enforcer off this host [ENF-2301]")
        elif arguments.dry_run:
            status = preview(Journal(), say)
        else:
            status = uninstall(Journal(), say)
    except EnforcerError as error:
        say(f"enforcer: {error}")
    except OSError as error:  # the journal's own disk
        why = f"{error.strerror}: {error.filename}; nothing more was undone"
        say(f"enforcer: {clip(why)}. Mend that, and run it again. [ENF-2316]")
    except KeyboardInterrupt:
        say("enforcer: interrupted: run it again, it goes on from here [ENF-2316]")
    if arguments.output == "json":
        _print(json.dumps({"done": status == DONE, "said": said}, indent=2))
    return status


def uninstall(journal: Journal, say: Say) -> int:
    """Undo what is in the journal, and forget it if nothing is left to do.

    Raises:
        JournalError: It cannot be believed; nothing was changed.
    """
    with journal.held():
        journal.mend()
        found = journal.read()
        _say_damage(journal, found, say)
        failed = undo_all(journal, found.entries, say)
        if failed or found.damaged:
            say(f"not everything is undone; {journal.path} stays [ENF-2316]")
            return INCOMPLETE
        journal.forget()
    say("enforcer is off this host" if found.entries else "nothing to undo")
    return DONE


def undo_all(journal: Journal, entries: Sequence[Entry], say: Say) -> int:
    """Undo steps, the last one first; return how many could not be.

    The program that does this, and needs nothing else, stays as long as one is left.
    """
    failed = 0
    for entry in reversed(entries):
        if failed and isinstance(entry.step, File) and entry.step.path == WAY_BACK:
            break
        try:
            told = undo(entry)
        except Exception as error:  # noqa: BLE001 - our mistake in one keeps no other on
            failed += 1
            say(f"not undone: {shown(entry.step)}: {clip(str(error), limit=600)}")
            edited = isinstance(entry.step, File) and entry.step.edit
            if edited or isinstance(error, NeededError):
                say("an engine may need what came before that, so it stays")
                break
            continue
        if told:
            say(told)
        with contextlib.suppress(OSError):  # a full disk: it is done again next time
            journal.undone(entry.number)
    return failed


def undo(entry: Entry) -> str:
    """Undo one step, and return what a person should know, if anything."""
    match entry.step:
        case Folder(path):
            return "" if entry.existed else _remove_folder(path)
        case File():
            return _restore(entry, entry.step)
        case Link(path, target):
            if not entry.existed and path.is_symlink() and os.readlink(path) == target:  # noqa: PTH115
                take_away(path)
            return ""
        case Gate():
            return remove_gate(entry.step)
        case Accounts():
            return remove_accounts(entry.step, lock_existed=entry.existed)
        case Tell():
            return _tell(entry.step)


def _restore(entry: Entry, step: File) -> str:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        new_name(step.path).unlink()
    now, before = keep(step.path), entry.before
    if now is None:
        return f"{step.path} was removed since: left so" if before else ""
    if now == before:
        return ""
    if now.content == step.content:
        return _put_back(step, before, now)
    if step.edit is None:
        return f"{step.path} was changed since: left"
    without = step.edit.remove(now.content)
    if without == now.content:
        return ""
    put(step.path, replace(now, content=without, mtime_ns=None))
    return f"{step.path} was changed since: only what is ours was taken out"


def _put_back(step: File, before: Kept | None, now: Kept) -> str:
    if before is None:
        take_away(step.path)
        return ""
    if before.access == now.access:
        put(step.path, before)
        return ""
    uid, gid, mode = now.access
    put(step.path, replace(before, uid=uid, gid=gid, mode=mode))
    return f"{step.path} has another owner or mode since: that stays"


def _remove_folder(path: Path) -> str:
    try:
        path.rmdir()
        sync(path.parent)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError:
        return f"{path} is not empty: left"
    return ""


def _tell(step: Tell) -> str:
    if not step.undo:
        return ""
    if step.word is Word.READ_UNITS:
        command("systemctl", "daemon-reload")
    if step.word is Word.STOP:
        if PLUGIN_UNIT in step.names:
            _require_unasked()
        stop([name for name in step.names if _UNIT.fullmatch(name)])
    for name in step.names:
        if step.word in (Word.RELOAD, Word.RESTART) and name in ENGINES:
            refresh(step.word, name)
    return ""


def _require_unasked() -> None:
    """Return once Docker asks the plug-in no more: without it, it would answer nothing.

    Raises:
        NeededError: It does, or may do so.
    """
    until = time.monotonic() + RELOAD_SECONDS
    while True:
        try:
            pid = main_pid(DOCKER)
            if not pid or not asks(pid, PLUGIN):
                return
            why = "Docker still asks the plug-in"
        except (EnforcerError, OSError) as error:
            said = error.what if isinstance(error, EnforcerError) else error.strerror
            why = f"Docker may still ask the plug-in: {said}"
        if time.monotonic() > until:
            raise NeededError(
                why,
                remedy="systemctl reload docker (if that does not help: restart), then "
                "run this again.",
            )
        time.sleep(POLL_SECONDS)


def preview(journal: Journal, say: Say) -> int:
    """Say what would be undone; 1 where a part of that is not known."""
    found = journal.read()
    for entry in reversed(found.entries):
        if not (isinstance(entry.step, Tell) and not entry.step.undo):
            say(f"undo: {shown(entry.step)}")
    _say_damage(journal, found, say)
    if not found.entries and not found.damaged:
        say("nothing to undo")
    return INCOMPLETE if found.damaged else DONE


def _say_damage(journal: Journal, found: Found, say: Say) -> None:
    for line in found.damaged:
        say(f"{journal.path}:{line} is damaged: steps up to it stay [ENF-2315]")


def _print(line: str) -> None:
    with contextlib.suppress(OSError):  # whoever listened has gone: go on all the same
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""The journal, and what is undone by it."""

import io
import json
import os
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from enforcer.core.errors import EnforcerError
from enforcer.host.install.carry import carry_out
from enforcer.host.install.journal import Entry, Journal, JournalError
from enforcer.host.install.kept import keep, new_name
from enforcer.host.install.pack import undo_program
from enforcer.host.install.plan import AUTHZ_EDIT
from enforcer.host.install.steps import File, Folder, Link, Step, Tell, Word
from enforcer.host.install.undo import (
    DONE,
    INCOMPLETE,
    main,
    preview,
    undo,
    uninstall,
)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def _carry(journal: Journal, *steps: Step) -> None:
    with journal.held():
        journal.begin()
        carry_out(journal, steps, 0)
        journal.complete()


def _undo(journal: Journal) -> tuple[int, list[str]]:
    said: list[str] = []
    return uninstall(journal, said.append), said


def _state(path: Path) -> tuple[object, ...]:
    status = path.stat()
    return path.read_bytes(), status.st_mode, status.st_mtime_ns, status.st_gid


def test_a_file_comes_back_with_all_it_had(journal: Journal, tmp_path: Path) -> None:
    """Content, owner, mode, time and attributes: no trace is left."""
    path = tmp_path / "daemon.json"
    path.write_bytes(b'{"a": 1}')
    path.chmod(0o640)
    os.utime(path, ns=(1, 123456789))
    os.setxattr(path, "user.mine", b"yes")
    before = _state(path)

    _carry(journal, File(path, b"ours"))

    assert _state(path)[:2] == (b"ours", before[1])  # the mode is the host's
    assert _undo(journal) == (DONE, ["enforcer is off this host"])
    assert _state(path) == before
    assert os.getxattr(path, "user.mine") == b"yes"
    assert not journal.folder.exists()


def test_what_we_made_goes(journal: Journal, tmp_path: Path) -> None:
    """Folders, links and files, in the order that they can."""
    folder = tmp_path / "made"
    steps = (
        Folder(folder),
        File(folder / "unit", b"[Unit]\n", 0o644),
        Link(folder / "link", str(folder / "unit")),
    )

    _carry(journal, *steps)

    assert (folder / "link").readlink() == folder / "unit"
    assert _undo(journal)[0] == DONE
    assert not folder.exists()


def test_a_later_edit_of_a_known_file_is_kept(journal: Journal, tmp_path: Path) -> None:
    """Only what is ours is taken out of it."""
    path = tmp_path / "daemon.json"
    path.write_text('{\n  "a": 1\n}\n')
    _carry(journal, File(path, AUTHZ_EDIT.apply(path.read_bytes()), edit=AUTHZ_EDIT))
    path.write_text(path.read_text().replace('"a": 1', '"a": 2'))

    status, said = _undo(journal)

    assert (status, path.read_text()) == (DONE, '{\n  "a": 2\n}\n')
    assert said[0] == f"{path} was changed since: only what is ours was taken out"


def test_what_an_engine_may_need_stays_while_its_configuration_names_it(
    journal: Journal, tmp_path: Path
) -> None:
    """dockerd does not boot with a plug-in that is listed and gone (law 10)."""
    unit, path = tmp_path / "unit", tmp_path / "daemon.json"
    path.write_text("{}")
    edited = File(path, AUTHZ_EDIT.apply(b"{}"), edit=AUTHZ_EDIT)
    _carry(journal, File(unit, b"[Unit]"), edited)
    path.write_text('{"authorization-plugins": ["enforcer"], // mine\n}')

    status, said = _undo(journal)

    assert (status, unit.exists()) == (INCOMPLETE, True)
    assert path.read_text().endswith("// mine\n}")
    assert "it cannot be edited" in said[0]
    assert said[1] == "an engine may need what came before that, so it stays"
    path.write_text('{"authorization-plugins": ["enforcer", "mine"]}')
    assert _undo(journal)[0] == DONE
    assert (path.read_text(), unit.exists()) == (
        '{"authorization-plugins": ["mine"]}',
        False,
    )


def test_a_file_of_ours_that_was_changed_stays(
    journal: Journal, tmp_path: Path
) -> None:
    """Somebody wrote a policy into it."""
    path = tmp_path / "policy.yaml"
    _carry(journal, Folder(tmp_path / "d"), File(path, b"# example"))
    path.write_text("signers: mine")
    (tmp_path / "d" / "other").touch()

    status, said = _undo(journal)

    assert (status, path.read_text()) == (DONE, "signers: mine")
    assert said[:2] == [
        f"{path} was changed since: left",
        f"{tmp_path / 'd'} is not empty: left",
    ]


def test_a_mode_that_was_changed_stays(journal: Journal, tmp_path: Path) -> None:
    """That was somebody's decision, too."""
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    _carry(journal, File(path, b"ours"))
    path.chmod(0o600)

    _, said = _undo(journal)

    assert (path.read_text(), path.stat().st_mode & 0o777) == ("{}", 0o600)
    assert said[0] == f"{path} has another owner or mode since: that stays"


def test_a_file_that_was_removed_is_not_made_again(
    journal: Journal, tmp_path: Path
) -> None:
    """Whoever removed it meant it."""
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    _carry(journal, File(path, b"ours"))
    path.unlink()

    _, said = _undo(journal)

    assert not path.exists()
    assert said[0] == f"{path} was removed since: left so"


def test_a_step_that_was_not_begun_is_cut_off(journal: Journal, tmp_path: Path) -> None:
    """The power went while the journal was written, so before anything was done."""
    path = tmp_path / "a"
    _carry(journal, File(path, b"ours"))
    with journal.path.open("ab") as file:
        file.write(b'0000 {"number": 7, "kind": "Fi')

    assert _undo(journal)[0] == DONE
    assert not path.exists()


def test_a_line_that_a_full_disk_cut_spoils_no_other(
    journal: Journal, tmp_path: Path
) -> None:
    """Undoing goes on then, and frees the room that the next line is written to."""
    paths = [tmp_path / name for name in ("a", "b", "c")]
    _carry(journal, *(File(path, b"ours") for path in paths))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    room = journal.path.stat().st_size + 10
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(OSError, match="No space"):
            journal.undone(2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    journal.undone(1)  # and then the power goes

    assert [entry.number for entry in journal.read().entries] == [0, 2]
    assert _undo(journal)[0] == DONE
    assert not any(path.exists() for path in (paths[0], paths[2]))


@pytest.mark.parametrize("damage", [b"0" * 64 + b" {}\n", b"\xff\xfe\n", b"\n"])
def test_a_damaged_line_is_said_and_never_guessed(
    journal: Journal, tmp_path: Path, damage: bytes
) -> None:
    """What came later is undone; what came before may be what it needs."""
    first, second, third = (tmp_path / name for name in ("a", "b", "c"))
    _carry(journal, *(File(path, b"ours") for path in (first, second, third)))
    lines = journal.path.read_bytes().splitlines(keepends=True)
    lines[2] = damage
    journal.path.write_bytes(b"".join(lines))

    status, said = _undo(journal)

    assert (status, third.exists()) == (INCOMPLETE, False)
    assert first.exists()
    assert second.exists()
    assert said[0] == (f"{journal.path}:3 is damaged: steps up to it stay [ENF-2315]")
    assert said[-1] == f"not everything is undone; {journal.path} stays [ENF-2316]"


def test_a_preview_says_what_cannot_be_undone(journal: Journal, tmp_path: Path) -> None:
    """`nothing to undo` would be a host that was never installed on."""
    _carry(journal, File(tmp_path / "a", b"ours"))
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join((*lines[:-1], b"\xff\n")))
    said: list[str] = []

    status = preview(journal, said.append)

    assert status == INCOMPLETE
    assert said == [f"{journal.path}:3 is damaged: steps up to it stay [ENF-2315]"]
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize("part", ["folder", "file"])
def test_a_journal_that_others_could_write_is_not_followed(
    journal: Journal, tmp_path: Path, part: str
) -> None:
    """It would be root's hand in their service."""
    path = tmp_path / "a"
    _carry(journal, File(path, b"ours"))
    (journal.folder if part == "folder" else journal.path).chmod(0o777)

    with pytest.raises(JournalError, match="others than root could have written"):
        _undo(journal)

    assert path.read_bytes() == b"ours"


def test_a_journal_behind_a_link_is_not_followed(
    journal: Journal, tmp_path: Path
) -> None:
    """Nor is one that lies elsewhere."""
    _carry(journal, File(tmp_path / "a", b"ours"))
    moved = journal.path.rename(tmp_path / "elsewhere")
    journal.path.symlink_to(moved)

    with pytest.raises(JournalError, match="cannot be believed"):
        _undo(journal)


def test_no_unit_but_ours_is_stopped_and_no_word_but_known_said(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal leads to nothing that an installation does not do."""
    called = tmp_path / "called"
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    _carry(
        journal,
        Tell(Word.STOP, ("ssh.service", "enforcer.service", "-.service"), undo=True),
        Tell(Word.RESTART, ("cron.service",), undo=True),
    )

    assert _undo(journal)[0] == DONE
    assert called.read_text() == "stop enforcer.service\n"


def test_only_one_at_a_time(journal: Journal) -> None:
    """An installation and its undoing would be in each other's way."""
    with (
        journal.held(),
        pytest.raises(JournalError, match="another enforcer"),
        Journal(journal.folder).held(),
    ):
        pass


def test_a_step_that_cannot_be_undone_stays_in_the_journal(
    journal: Journal, tmp_path: Path
) -> None:
    """And is undone the next time."""
    path = tmp_path / "a"
    path.write_text("before")
    _carry(journal, File(path, b"ours"))
    path.unlink()
    path.mkdir()

    status, said = _undo(journal)

    assert status == INCOMPLETE
    assert said[0].startswith(f"not undone: write {path} (mode 0644): {path} is not a")
    path.rmdir()
    path.write_bytes(b"ours")
    assert _undo(journal)[0] == DONE
    assert path.read_text() == "before"


def test_a_disk_that_takes_nothing_is_said_in_words(tmp_path: Path) -> None:
    """After an error the kernel makes it read-only, and then somebody looks here."""
    program = tmp_path / "uninstall"
    program.write_bytes(undo_program())
    words = f"mount -t tmpfs -o ro tmpfs /var/lib && /usr/bin/python3 -IS {program}"
    if os.geteuid() != 0:
        pytest.skip("this machine lets nobody mount")

    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", words],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (INCOMPLETE, "")
    assert done.stdout == (
        "enforcer: Read-only file system: /var/lib/enforcer-install; nothing more was "
        "undone. Mend that, and run it again. [ENF-2316]\n"
    )


def test_an_interrupt_is_said_in_words(
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is undone is on record, and the rest can be undone later."""

    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("enforcer.host.install.undo.Journal", lambda: journal)
    monkeypatch.setattr("enforcer.host.install.undo.undo_all", interrupted)

    status = main([])

    assert status == INCOMPLETE
    assert "run it again, it goes on from here [ENF-2316]" in capsys.readouterr().out


def test_the_undo_program_holds_all_it_imports(tmp_path: Path) -> None:
    """It runs with the bare standard library, and finds nothing to undo."""
    program = tmp_path / "uninstall"
    program.write_bytes(undo_program())

    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-v", program, "--dry-run", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )

    assert json.loads(done.stdout)["said"] in (
        ["nothing to undo"],
        ["enforcer: only root takes enforcer off this host [ENF-2301]"],
    )
    loaded = [line for line in done.stderr.splitlines() if "enforcer" in line]
    assert not [line for line in loaded if str(Path.cwd()) in line]
    assert sys.prefix not in done.stderr
    with zipfile.ZipFile(io.BytesIO(undo_program())) as archive:
        for name in archive.namelist()[1:]:
            assert archive.read(name) == Path(name).read_bytes()


def test_a_kept_file_that_is_a_link_is_refused(
    journal: Journal, tmp_path: Path
) -> None:
    """What it leads to may be anybody's."""
    (tmp_path / "link").symlink_to("/etc/passwd")

    with pytest.raises(EnforcerError, match="a symbolic link"):
        _carry(journal, File(tmp_path / "link", b"x"))


def _host(top: Path) -> tuple[Step, ...]:
    """A small host, and steps of each kind that need no engine."""
    (top / "etc").mkdir()
    (top / "etc" / "daemon.json").write_text('{\n "a": 1\n}\n')
    (top / "etc" / "daemon.json").chmod(0o640)
    (top / "etc" / "conf").write_text("mode=enforce\n")
    made = top / "etc" / "made"
    edited = AUTHZ_EDIT.apply((top / "etc" / "daemon.json").read_bytes())
    return (
        Folder(made),
        File(made / "unit", b"[Unit]\n"),
        Link(made / "wanted", str(made / "unit")),
        File(top / "etc" / "conf", b"mode=monitor\n"),
        File(top / "etc" / "daemon.json", edited, edit=AUTHZ_EDIT),
        File(top / "etc" / "last", b"last", 0o755),
    )


def _tree(top: Path) -> dict[str, object]:
    return {
        str(path): (path.lstat().st_mode, path.is_file() and path.read_bytes())
        for path in sorted((top / "etc").rglob("*"))
    }


@pytest.mark.parametrize("stopped", range(7))
@pytest.mark.parametrize("half", ["noted", "half-written"])
@pytest.mark.parametrize("undone", range(4))
def test_stopped_after_any_step_of_either_everything_comes_back(
    journal: Journal, tmp_path: Path, stopped: int, half: str, undone: int
) -> None:
    """A step may be written down and not done; undone, and that not written down."""
    steps = _host(tmp_path)
    before = _tree(tmp_path)
    with journal.held():
        journal.begin()
        carry_out(journal, steps[:stopped], 0)
        for step in steps[stopped : stopped + 1]:
            path = step.path if isinstance(step, File | Folder | Link) else tmp_path
            old = keep(path) if isinstance(step, File) else None
            journal.note(Entry(stopped, step, old, path.exists()))
            if half == "half-written" and isinstance(step, File):
                new_name(path).write_bytes(step.content[:3])
    for entry in list(reversed(journal.read().entries))[:undone]:
        undo(entry)

    assert _undo(journal)[0] == DONE

    assert _tree(tmp_path) == before
    assert not journal.folder.exists()

"""`log --verify`: whatever was done to the audit log, it shows, and where."""

import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.audit import log as audit
from enforcer.audit.chain import MAX_BREAKS, check_chain
from enforcer.audit.log import FIRST, KEPT_FILES, FileAuditLog
from enforcer.audit.reader import open_log
from enforcer.files import FileError, FileMissingError
from tests.unit.audit.test_audit_log import lines, record

LINES_A_FILE = 5


def written(
    folder: Path, count: int, *, file_bytes: int = 2000, text: str = "x" * 100
) -> str:
    """Write so many decisions, into files of some lines; return the last hash."""
    with mock.patch.object(audit, "MAX_FILE_BYTES", file_bytes):
        log = FileAuditLog(folder)
        for number in range(count):
            log.append(record(number, message=text))
    return log.head


def named(folder: Path, *known: str) -> list[str]:
    """What is said to be broken, and where."""
    report = check_chain(folder, dict.fromkeys(known, "somebody saw"))
    return [f"{one.path.name}:{one.line}: {one.what}" for one in report.breaks]


def files(folder: Path) -> list[Path]:
    """The files of the log, oldest first."""
    with open_log(folder) as kept:
        return [one.path for one in kept]


def rewrite(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a log, and leave as many in each file as there were."""
    sizes = {path: len(path.read_bytes().splitlines()) for path in files(folder)}
    left = change(lines(folder))
    for path, size in sizes.items():
        path.write_bytes(b"".join(left[:size]))
        left = left[size:]


def test_what_was_not_touched_is_whole_however_often_it_was_rotated(
    tmp_path: Path,
) -> None:
    head = written(tmp_path, 12)
    report = check_chain(tmp_path, {head: "somebody saw"})
    assert (report.breaks, report.lines, report.begins) == ((), 12, FIRST)
    assert report.head == head
    assert report.files > 1

    written(tmp_path / "long", 200)
    report = check_chain(tmp_path / "long")
    assert (report.breaks, report.files) == ((), KEPT_FILES + 1)
    assert report.begins != FIRST  # what rotation dropped is nobody's fault


@settings(deadline=None)
@given(data=st.data(), count=st.integers(1, 12))
def test_one_changed_byte_one_line_less_or_two_swapped_always_show(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, count: int
) -> None:
    """With the last hash known, as a running daemon does; nothing escapes that."""
    folder = tmp_path_factory.mktemp("log")
    head = written(folder, count)
    assert named(folder, head) == []
    how = data.draw(st.sampled_from(["flip", "remove", "swap", "duplicate"]))
    if how == "flip":
        path = data.draw(st.sampled_from(files(folder)))
        raw = bytearray(path.read_bytes())
        place = data.draw(st.integers(0, len(raw) - 1))
        raw[place] ^= data.draw(st.integers(1, 255))
        path.write_bytes(raw)
    else:
        one = data.draw(st.integers(0, count - 1))
        other = data.draw(st.integers(0, count - 1))
        whole = lines(folder)
        if how == "remove":
            changed = whole[:one] + whole[one + 1 :]
        elif how == "duplicate":
            changed = [*whole[:other], whole[one], *whole[other:]]
        else:
            changed = [*whole]
            changed[one], changed[other] = whole[other], whole[one]
        if changed == whole:
            return  # swapped with itself
        for path in files(folder)[1:]:
            path.unlink()
        newest = folder / "audit.jsonl"
        files_left = files(folder) if any(folder.iterdir()) else [newest]
        files_left[0].rename(newest)
        newest.write_bytes(b"".join(changed))

    assert named(folder, head)


def test_without_a_witness_all_but_the_end_shows(tmp_path: Path) -> None:
    """That is what a chain is; the daemon, or a hash kept elsewhere, sees the rest."""
    head = written(tmp_path, 4, file_bytes=10**6)
    path = tmp_path / "audit.jsonl"
    whole = lines(tmp_path)
    path.write_bytes(b"".join(whole[:-1]))

    assert named(tmp_path) == []
    assert named(tmp_path, head) == [
        f"audit.jsonl:3: the line that somebody saw ({head[:12]}) is not there: it was "
        "changed, or the log was cut off before it"
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda all_: [*all_[:3], all_[3].replace(b"false", b"true "), *all_[4:]],
            "audit.jsonl:5: the line it was written after is not there: the one befor",
        ),
        (
            lambda all_: all_[:2] + all_[4:],
            "audit.jsonl:3: the line it was written after is not there: the one before",
        ),
        (
            lambda all_: [*all_[:2], all_[3], all_[2], *all_[4:]],
            "audit.jsonl:3: it was written after audit.jsonl:4, which is not the line "
            "before it: lines were moved or put in",
        ),
        (
            lambda all_: [*all_[:3], all_[1], *all_[3:]],
            "audit.jsonl:4: it is there twice: audit.jsonl:2 is the same",
        ),
        (
            lambda all_: [*all_[:3], b'{"prev": 1}\n', *all_[3:]],
            "audit.jsonl:4: it carries no hash of the line before it",
        ),
        (
            lambda all_: [*all_[:3], b"\x1b[2J\xff\n", *all_[3:]],
            "audit.jsonl:4: it is no line of the audit log: audit.jsonl:4 is not valid",
        ),
        (
            lambda all_: [*all_[:-1], all_[-1][:-10]],
            "audit.jsonl:6: it is no line of the audit log: audit.jsonl:6 is torn",
        ),
        (
            lambda all_: [*all_[:3], b"x" * 600_000 + b"\n", *all_[3:]],
            "audit.jsonl:4: it is no line of the audit log: audit.jsonl:4 is longer",
        ),
    ],
    ids=["edit", "gap", "moved", "twice", "no hash", "bytes", "torn", "too long"],
)
def test_what_was_done_is_named_with_file_and_line(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], expected: str
) -> None:
    written(tmp_path, 6, file_bytes=10**6)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"".join(change(lines(tmp_path))))

    first = named(tmp_path)[0]

    assert first.startswith(expected)
    assert first.isascii()
    assert first.isprintable()


def test_files_that_were_taken_away_or_exchanged_are_named(tmp_path: Path) -> None:
    written(tmp_path, 20)
    kept = files(tmp_path)
    assert len(kept) >= 4
    (oldest, second, third), newest = kept[:3], kept[-1]

    aside = second.read_bytes()
    second.unlink()
    assert named(tmp_path) == [
        f"{third.name}:1: the line it was written after is not there: the one before "
        "it was changed, or lines or whole files between them were taken away"
    ]
    second.write_bytes(third.read_bytes())
    third.write_bytes(aside)
    assert any("lines were moved or put in" in one for one in named(tmp_path))
    third.write_bytes(second.read_bytes())
    second.write_bytes(aside)
    assert named(tmp_path) == []

    oldest.unlink()
    (only,) = named(tmp_path)
    assert only.startswith(f"{second.name}:1: lines before it were taken away: ")
    newest.unlink()
    assert "somebody saw" in named(tmp_path, "ab" * 32)[-1]


def test_a_log_begun_anew_in_the_middle_is_named(tmp_path: Path) -> None:
    written(tmp_path / "one", 3, file_bytes=10**6)
    written(tmp_path / "two", 3, file_bytes=10**6, text="after that")
    (tmp_path / "one" / "audit.jsonl").rename(tmp_path / "two" / "audit.jsonl.1")

    assert "a new log begins here" in named(tmp_path / "two")[0]


def test_of_a_ruin_not_every_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b"junk\n" * 10_000)

    report = check_chain(tmp_path)

    assert (len(report.breaks), report.more, report.lines) == (MAX_BREAKS, True, 10_000)


@pytest.mark.parametrize("how", ["pipe", "link", "folder", "nothing"])
def test_what_is_no_file_is_not_read(tmp_path: Path, how: str) -> None:
    """A pipe would hold us up, and a link shows somebody else's file."""
    path = tmp_path / "audit.jsonl"
    make: dict[str, Callable[[], object]] = {
        "pipe": lambda: os.mkfifo(path),
        "link": lambda: path.symlink_to("/etc/hostname"),
        "folder": path.mkdir,
        "nothing": lambda: None,
    }
    make[how]()

    with pytest.raises(FileMissingError if how == "nothing" else FileError):
        check_chain(tmp_path)


def test_a_rotation_while_the_files_are_opened_loses_no_line(tmp_path: Path) -> None:
    """Each file is met once, by whichever of its names."""
    written(tmp_path, 20)
    before = lines(tmp_path)
    with open_log(tmp_path) as kept:
        newest = tmp_path / "audit.jsonl"
        os.link(newest, tmp_path / f"audit.jsonl.{len(kept)}")
        with open_log(tmp_path) as again:
            found = [line.raw for one in again for line in one.lines()]

    assert found == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_who_may_not_read_it_is_told_whose_it_is(tmp_path: Path) -> None:
    """Whoever was refused a start is told to run `explain`, and is seldom root."""
    written(tmp_path / "log", 1)
    os.seteuid(65534)
    try:
        with pytest.raises(FileError) as caught:
            check_chain(tmp_path / "log")
    finally:
        os.seteuid(0)

    assert "audit.jsonl is not yours to read" in caught.value.what
    assert "`enforcer explain CODE` needs nobody's leave" in caught.value.remedy

"""The audit log: each decision once, in order, whole, and not to be changed unseen."""

import hashlib
import json
import os
import resource
import string
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.audit import log as audit
from enforcer.audit.clock import FixedClock, HostClock
from enforcer.audit.log import FIRST, FileAuditLog
from enforcer.core.codes import Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.record import DecisionRecord
from enforcer.ports import AuditError

AT = datetime(2026, 6, 1, 12, tzinfo=UTC)
FINDING = Finding(
    Check.INTEGRITY, Result.FAILED, Action.ENFORCE, Code.SIGNATURE_INVALID, "x" * 200
)


def record(number: int = 0, message: str = "it is not signed") -> DecisionRecord:
    decision = Decision(
        allowed=False, code=Code.UNSIGNED, message=message, statement="", signatures=()
    )
    return DecisionRecord(
        id=f"{number}",
        decision=decision,
        asked_by="test",
        reference="hello:1",
        container="",
        subject=None,
        mode="enforce",
        policy=None,
        at=AT,
        duration_ms=1.0,
    )


def lines(folder: Path) -> list[bytes]:
    """Every line that is kept, oldest first."""
    numbered = [
        path
        for number in range(audit.KEPT_FILES + 5, 0, -1)
        if (path := folder / f"audit.jsonl.{number}").exists()
    ]
    raw = b"".join(path.read_bytes() for path in numbered)
    raw += (folder / "audit.jsonl").read_bytes()
    assert raw.endswith(b"\n") or not raw
    return raw.splitlines(keepends=True)


def ids(folder: Path) -> list[str]:
    return [str(json.loads(line)["id"]) for line in lines(folder)]


def breaks(folder: Path) -> list[int]:
    """Where the chain is broken: line numbers, without the first."""
    found = lines(folder)
    hashes = [hashlib.sha256(line).hexdigest() for line in found]
    return [
        number
        for number, line in enumerate(found)
        if number and json.loads(line)["prev"] != hashes[number - 1]
    ]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some lines, so that rotation comes soon."""
    monkeypatch.setattr(audit, "MAX_FILE_BYTES", 2000)


def test_every_decision_is_a_line_that_carries_the_hash_of_the_last(
    tmp_path: Path,
) -> None:
    log = FileAuditLog(tmp_path / "log")
    for number in range(5):
        log.append(record(number))

    assert ids(tmp_path / "log") == ["0", "1", "2", "3", "4"]
    assert json.loads(lines(tmp_path / "log")[0])["prev"] == FIRST
    assert breaks(tmp_path / "log") == []
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "log" / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_change_or_a_missing_line_breaks_the_chain(tmp_path: Path) -> None:
    """T-LC-6."""
    log = FileAuditLog(tmp_path)
    for number in range(5):
        log.append(record(number))
    whole = lines(tmp_path)

    for number in range(4):
        changed = [*whole]
        changed[number] = whole[number].replace(b"false", b"true ", 1)
        (tmp_path / "audit.jsonl").write_bytes(b"".join(changed))
        assert breaks(tmp_path) == [number + 1]
        missing = whole[:number] + whole[number + 1 :]
        (tmp_path / "audit.jsonl").write_bytes(b"".join(missing))
        assert breaks(tmp_path) == ([number] if number else [])


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        FileAuditLog(tmp_path).append(record(number))

    assert breaks(tmp_path) == []


@pytest.mark.parametrize("torn", [b"{", b'{"prev": "', b"x" * 10_000, b"\0" * 4096])
def test_what_a_crash_left_of_a_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    FileAuditLog(tmp_path).append(record(0))
    with (tmp_path / "audit.jsonl").open("ab") as file:
        file.write(torn)

    FileAuditLog(tmp_path).append(record(1))

    assert ids(tmp_path) == ["0", "1"]
    assert breaks(tmp_path) == []


def test_a_file_that_holds_only_a_torn_line_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").write_bytes(b'{"prev": "00')

    FileAuditLog(tmp_path).append(record(1))

    assert json.loads(lines(tmp_path)[0])["prev"] == FIRST


def test_damage_that_no_crash_makes_is_put_away_and_not_cut(tmp_path: Path) -> None:
    junk = b"x" * 1_000_000
    (tmp_path / "audit.jsonl").write_bytes(junk)

    FileAuditLog(tmp_path).append(record(1))

    assert (tmp_path / "audit.jsonl.1").read_bytes() == junk
    assert len((tmp_path / "audit.jsonl").read_bytes().splitlines()) == 1


@pytest.mark.usefixtures("small")
def test_full_files_are_rotated_the_chain_goes_on_and_few_are_kept(
    tmp_path: Path,
) -> None:
    log = FileAuditLog(tmp_path)
    for number in range(200):
        if number % 7 == 0:  # restarts, too
            log = FileAuditLog(tmp_path)
        log.append(record(number))

    kept = sorted(path.name for path in tmp_path.iterdir())
    assert len(kept) == audit.KEPT_FILES + 1
    assert all(path.stat().st_size < 4000 for path in tmp_path.iterdir())
    assert breaks(tmp_path) == []
    assert ids(tmp_path) == [str(n) for n in range(200 - len(ids(tmp_path)), 200)]


@pytest.mark.usefixtures("small")
def test_a_crash_right_after_rotating_does_not_begin_a_new_chain(
    tmp_path: Path,
) -> None:
    log = FileAuditLog(tmp_path)
    for number in range(3):
        log.append(record(number))
    (tmp_path / "audit.jsonl").rename(tmp_path / "audit.jsonl.1")

    FileAuditLog(tmp_path).append(record(3))

    assert ids(tmp_path) == ["0", "1", "2", "3"]
    assert breaks(tmp_path) == []


def test_a_file_taken_away_or_replaced_is_noticed(tmp_path: Path) -> None:
    """logrotate, or somebody: nothing is written where nobody looks."""
    log = FileAuditLog(tmp_path)
    log.append(record(0))
    (tmp_path / "audit.jsonl").rename(tmp_path / "audit.jsonl.1")
    log.append(record(1))
    assert breaks(tmp_path) == []

    (tmp_path / "audit.jsonl").unlink()
    (tmp_path / "audit.jsonl").touch()
    log.append(record(2))
    assert ids(tmp_path) == ["0", "2"]
    assert breaks(tmp_path) == [1]  # line 1 is gone, and it shows


@pytest.mark.parametrize("how", ["pipe", "link", "folder", "file above"])
def test_where_no_file_can_be_nothing_is_recorded(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "log"
    path = folder / "audit.jsonl"
    if how == "file above":
        folder.touch()
    else:
        folder.mkdir()
        make: dict[str, Callable[[], object]] = {
            "pipe": lambda: os.mkfifo(path),
            "link": lambda: path.symlink_to(tmp_path / "elsewhere"),
            "folder": path.mkdir,
        }
        make[how]()

    with pytest.raises(AuditError, match=r"cannot be written: .*\[ENF-1403\]"):
        FileAuditLog(folder).append(record())
    assert not (tmp_path / "elsewhere").exists()


def test_a_full_disk_is_an_error_and_leaves_no_torn_line(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands for the disk: the write stops in the middle of a line."""
    log = FileAuditLog(tmp_path)
    log.append(record(0))
    size = (tmp_path / "audit.jsonl").stat().st_size
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
    try:
        for _ in range(2):
            with pytest.raises(AuditError, match="Free space on that disk"):
                log.append(record(1))
            assert (tmp_path / "audit.jsonl").stat().st_size == size
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    log.append(record(2))

    assert ids(tmp_path) == ["0", "2"]
    assert breaks(tmp_path) == []


@pytest.mark.usefixtures("small")
def test_many_at_once_are_a_chain_as_well(tmp_path: Path) -> None:
    """Two hundred containers denied by one change are on record within a second."""
    log = FileAuditLog(tmp_path)
    log.append(record(0))

    log.append_all([record(number) for number in range(1, 2 * audit.MAX_BATCH + 7)])
    log.append_all([])
    log.append(record(1000))

    found = lines(tmp_path)
    previous = [json.loads(line)["prev"] for line in found]
    hashes = [hashlib.sha256(line).hexdigest() for line in found]
    assert previous == [FIRST, *hashes[:-1]]
    assert len(found) == 2 * audit.MAX_BATCH + 8


def test_of_many_none_is_left_torn_by_a_full_disk(tmp_path: Path) -> None:
    log = FileAuditLog(tmp_path)
    log.append(record(0))
    size = (tmp_path / "audit.jsonl").stat().st_size
    before = lines(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size * 3, limits[1]))
    try:
        with pytest.raises(AuditError):
            log.append_all([record(number) for number in range(10)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert lines(tmp_path) == before
    log.append(record(11))
    assert len(lines(tmp_path)) == 2


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    log = FileAuditLog(tmp_path)

    def write(first: int) -> None:
        for number in range(first, first + 10):
            log.append(record(number))

    threads = [threading.Thread(target=write, args=(n * 10,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert breaks(tmp_path) == []
    assert len(set(ids(tmp_path))) == len(ids(tmp_path))


@given(st.text())
def test_hostile_text_stays_one_line_of_ascii(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    """New lines, escapes of terminals, half a character: all stay inside."""
    folder = tmp_path_factory.mktemp("log")
    hostile = replace(record(), reference=text, container=text, asked_by=text)

    FileAuditLog(folder).append(hostile)

    (line,) = lines(folder)
    assert line.isascii()
    assert all(32 <= byte <= 127 for byte in line[:-1])
    assert json.loads(line)["reference"] == text


def test_a_record_of_any_length_fits(tmp_path: Path) -> None:
    """Thousands of checks are left out; the decision stays."""
    reports = [
        SignatureReport(Digest.of(b"%d" % n), "jws", "x" * 500, (FINDING,) * 6)
        for n in range(500)
    ]
    long = record()
    long = replace(long, decision=replace(long.decision, signatures=tuple(reports)))

    FileAuditLog(tmp_path).append(long)

    (line,) = lines(tmp_path)
    assert json.loads(line)["signatures"] == []
    assert json.loads(line)["code"] == "ENF-1001"


def test_names_of_decisions_sort_by_time_and_are_safe() -> None:
    names = [HostClock().new_id() for _ in range(100)]

    assert len(set(names)) == 100
    assert {len(name) for name in names} == {16}
    assert set("".join(names)) <= set(string.ascii_uppercase + string.digits)
    assert names[0][:8] <= HostClock().new_id()[:8]
    assert FixedClock(AT).now() == AT
    assert FixedClock(AT).new_id() > names[0][:8]

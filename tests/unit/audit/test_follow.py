"""`watch` sees every decision once, whatever rotation and crashes do meanwhile."""

import json
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from enforcer.audit import log as audit
from enforcer.audit.follow import Follower
from enforcer.audit.log import MAX_LINE_BYTES, FileAuditLog
from enforcer.files import FileError
from tests.unit.audit.test_audit_log import record


@pytest.fixture(autouse=True)
def _small() -> Iterator[None]:
    with mock.patch.object(audit, "MAX_FILE_BYTES", 2000):
        yield


def ids(follower: Follower) -> list[int]:
    return [int(json.loads(line.raw)["id"]) for line in follower.new_lines()]


@pytest.mark.parametrize("step", [1, 3, 20])
def test_every_line_is_seen_once_through_many_rotations(
    tmp_path: Path, step: int
) -> None:
    log, follower, seen = FileAuditLog(tmp_path), Follower(tmp_path), list[int]()
    for number in range(120):
        log.append(record(number))
        if number % step == 0:
            seen += ids(follower)

    assert seen + ids(follower) == list(range(120))
    assert ids(follower) == []


def test_what_was_there_is_passed_over_if_nobody_wants_it(tmp_path: Path) -> None:
    log, follower = FileAuditLog(tmp_path), Follower(tmp_path)
    for number in range(20):
        log.append(record(number))
    follower.skip()
    log.append(record(20))

    assert ids(follower) == [20]


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "log")
    assert ids(follower) == []
    FileAuditLog(tmp_path / "log").append(record(1))

    assert ids(follower) == [1]


def test_half_a_line_waits_for_its_other_half(tmp_path: Path) -> None:
    follower, path = Follower(tmp_path), tmp_path / "audit.jsonl"
    path.write_bytes(b'{"id": "1"}\n{"id": ')
    assert ids(follower) == [1]
    with path.open("ab") as file:
        file.write(b'"2"}\n')

    assert ids(follower) == [2]


def test_a_line_that_never_ends_is_passed_over_in_bounded_memory(
    tmp_path: Path,
) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b"x" * (3 * MAX_LINE_BYTES) + b'\n{"id": "2"}\n')

    first, second = Follower(tmp_path).new_lines()

    assert (first.is_whole, len(first.raw)) == (False, MAX_LINE_BYTES + 1)
    assert json.loads(second.raw) == {"id": "2"}


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.jsonl").symlink_to("/etc/hostname")

    with pytest.raises(FileError):
        Follower(tmp_path).skip()

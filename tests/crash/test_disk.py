"""The model of a disk is as strict as it says: each of these has lost people data."""

import random

from tests.crash.disk import (
    ROOT,
    SECTOR_BYTES,
    Enter,
    Failed,
    Leave,
    Move,
    Operation,
    State,
    Sync,
    Write,
    some,
    state,
    synced,
)

FOLDERS = frozenset({ROOT})
FILE, OTHER = 1, 2
CREATED: list[Operation] = [Enter(ROOT, "new", FILE), Write(FILE, 0, b"text")]


def after_a_cut(*operations: Operation) -> State:
    return state(synced(operations), FOLDERS)


def test_a_file_needs_its_bytes_and_its_name_synced() -> None:
    assert after_a_cut(*CREATED) == {}
    assert after_a_cut(*CREATED, Sync(FILE)) == {}
    assert after_a_cut(*CREATED, Sync(ROOT)) == {"new": b""}
    assert after_a_cut(*CREATED, Sync(FILE), Sync(ROOT)) == {"new": b"text"}
    assert state(CREATED, FOLDERS) == {"new": b"text"}


def test_what_comes_after_a_sync_is_not_covered_by_it() -> None:
    safe: list[Operation] = [*CREATED, Sync(FILE), Sync(ROOT)]

    assert after_a_cut(*safe, Write(FILE, 0, b"more")) == {"new": b"text"}
    assert after_a_cut(*safe, Leave(ROOT, "new")) == {"new": b"text"}
    assert after_a_cut(*safe, Leave(ROOT, "new"), Sync(ROOT)) == {}


def test_a_name_is_changed_in_one_piece() -> None:
    old: list[Operation] = [Enter(ROOT, "old", OTHER), Sync(ROOT)]
    moved: list[Operation] = [
        *old,
        *CREATED,
        Sync(FILE),
        Move(ROOT, "new", "old", FILE),
    ]

    assert after_a_cut(*moved) == {"old": b""}
    assert after_a_cut(*moved, Sync(ROOT)) == {"old": b"text"}


def test_a_sync_that_failed_is_not_made_up_for_by_the_next() -> None:
    """fsyncgate: the kernel marks pages clean that it could not write."""
    failed: list[Operation] = [*CREATED, Sync(ROOT), Failed(FILE), Sync(FILE)]

    assert after_a_cut(*failed) == {"new": b""}
    again: list[Operation] = [*failed, Write(FILE, 0, b"text"), Sync(FILE)]
    assert after_a_cut(*again) == {"new": b"text"}


def test_writes_are_torn_at_sectors() -> None:
    raw = bytes([1]) * SECTOR_BYTES + bytes([2]) * SECTOR_BYTES
    operations: list[Operation] = [
        Enter(ROOT, "new", FILE),
        Sync(ROOT),
        Write(FILE, 0, raw),
    ]

    seen = {
        state(some(operations, random.Random(seed)), FOLDERS)["new"]  # noqa: S311
        for seed in range(200)
    }

    assert seen == {b"", raw, raw[:SECTOR_BYTES], bytes(SECTOR_BYTES) + raw[512:]}

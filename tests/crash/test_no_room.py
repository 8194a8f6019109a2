"""Calls that fail and disks that are full: refused, and all that was held is held."""

import os

import pytest

from tests.crash.campaign import NOTHING, SOAK, campaign

FAULTS = 0 if SOAK else 150  # 0: every call of every step, in every way
STRIDE = 1 if SOAK else 24  # blocks or inodes more, from one full disk to the next

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.mark.parametrize(
    ("name", "count"),
    [("faults", "100"), pytest.param("full", "1", marks=needs_root)],
)
def test_a_naive_writer_fails(name: str, count: str) -> None:
    """Or a campaign that finds nothing would prove nothing."""
    _, amiss = campaign(name, "--kept", "naive", "--count", count)

    assert amiss["corrupt"] > 0


def test_calls_that_fail_are_refusals_and_change_nothing() -> None:
    """No room, no quota, an I/O error, read-only: once, and from then on."""
    faults, amiss = campaign("faults", "--count", str(FAULTS))

    assert faults >= FAULTS > 0 or SOAK
    assert amiss == NOTHING


@needs_root
def test_full_disks_are_refusals_and_all_that_was_held_is_held() -> None:
    """Without blocks or inodes at each place, and read-only; then with room again."""
    refusals, amiss = campaign("full", "--count", str(STRIDE))

    assert refusals > 0
    assert amiss == NOTHING

"""What `status` says about NRI, whatever is in the file that it reads."""

import json
from pathlib import Path

import pytest

from enforcer.hooks.nri.state import (
    FILE,
    MAX_BYTES,
    STALE_SECONDS,
    NriState,
    load_notice,
    save_state,
)

NOW = 1_800_000_000
OLD = NriState(NOW, "containerd 2.1.9", connected=True)
CLOSED = NriState(NOW, "containerd v2.4.1", connected=True, validates=True)


def test_a_host_without_the_plugin_is_told_nothing(tmp_path: Path) -> None:
    """It is one door of several, and opt-in."""
    assert load_notice(tmp_path, NOW) == ()


@pytest.mark.parametrize(
    ("state", "later", "notice"),
    [
        (OLD, 5, "containerd 2.1.9: NRI cannot validate; this door only reports"),
        (
            CLOSED,
            0,
            "containerd v2.4.1: NRI validates, and fails closed only where its "
            'default_validator says required_plugins = ["enforcer"]',
        ),
        (
            NriState(NOW),
            0,
            "enforcer-nri is not connected to containerd, so NRI reports and refuses "
            "nothing; is its NRI enabled?",
        ),
        *(
            (
                CLOSED,
                later,
                f"enforcer-nri gave no sign of life for {abs(later)} s, so NRI reports "
                "and refuses nothing; systemctl restart enforcer-nri",
            )
            for later in (STALE_SECONDS + 1, -STALE_SECONDS - 1)
        ),
    ],
)
def test_status_says_what_this_door_does(
    state: NriState, later: int, notice: str, tmp_path: Path
) -> None:
    """The whole sentence, and no more than is so."""
    save_state(tmp_path, state)

    assert load_notice(tmp_path, NOW + later) == (notice,)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"at": "now", "runtime": "c", "connected": true, "validates": true}',
        '{"at": true, "runtime": "c", "connected": true, "validates": true}',
        f'{{"at": {NOW}, "runtime": "c", "connected": 1, "validates": true}}',
        f'{{"at": {NOW}, "runtime": 7, "connected": true, "validates": true}}',
        f'{{"at": {NOW}, "at": {NOW}, "runtime": "c", "connected": true}}',
        " " * (MAX_BYTES + 1),
    ],
)
def test_a_state_that_is_none_is_said_to_be_none(text: str, tmp_path: Path) -> None:
    """Never taken for a door that is closed."""
    (tmp_path / FILE).write_text(text)

    (notice,) = load_notice(tmp_path, NOW)

    assert notice.startswith("what enforcer-nri left for status cannot be used: ")


def test_a_state_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    """Nor one that is a link to elsewhere."""
    save_state(tmp_path, CLOSED)
    (tmp_path / FILE).chmod(0o666)
    (writable,) = load_notice(tmp_path, NOW)
    (tmp_path / FILE).rename(tmp_path / "elsewhere")
    (tmp_path / FILE).symlink_to(tmp_path / "elsewhere")
    (linked,) = load_notice(tmp_path, NOW)

    assert "can be written by group or others" in writable
    assert "symbolic link" in linked


def test_a_runtimes_name_reaches_no_terminal_raw(tmp_path: Path) -> None:
    """It is what a socket said."""
    hostile = {"at": NOW, "runtime": "c\x1b[2J\n", "connected": True}
    (tmp_path / FILE).write_text(json.dumps(hostile | {"validates": False}))

    (notice,) = load_notice(tmp_path, NOW)

    assert notice.isprintable()

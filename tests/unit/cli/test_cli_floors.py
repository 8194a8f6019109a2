"""`enforcer floors`: what is remembered, and that forgetting leaves a trace."""

import json
import os
import stat
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.core.evidence import CertificateId, Floor, Memory, Revocation, Slot
from enforcer.sources.revocation.floors import Floors
from tests.unit.cli.host import Host
from tests.unit.sources.signed import AT

ISSUER = Digest.of(b"an issuer's key")
BAD = CertificateId(ISSUER, 7)
SLOT = Slot.ocsp(BAD)
MEMORY = Memory(
    {BAD: Revocation(AT, "keyCompromise", None, "a list")}, {SLOT: Floor(AT)}
)
WHY = "the test CA was made anew, INC-7"


def floors(host: Host) -> Floors:
    state = host.root / "state"
    return Floors(state / "floors.db", state / "cache" / "evidence" / "memory")


def admin_log(host: Host) -> Path:
    (found,) = (host.root / "state").rglob("admin.jsonl")
    return found


def test_show_counts_what_is_remembered(host: Host) -> None:
    nothing = host.run("floors", "show")
    floors(host).remember(MEMORY)
    text = host.run("floors", "show")
    found = host.run("floors", "show", "-o", "json")

    assert (nothing.status, "0 slot(s)" in nothing.out) == (0, True)
    assert text.status == 0
    assert text.out == (
        "remembered how new the evidence in 1 slot(s) was, and 1 revocation(s)\n"
    )
    assert found.json == {"slots": 1, "revocations": 1}


def test_show_leaves_no_trace_on_a_host_that_remembers_nothing(host: Host) -> None:
    host.run("floors", "show")

    assert list((host.root / "state").iterdir()) == []


def test_reset_forgets_and_records_who_and_why(host: Host) -> None:
    floors(host).remember(MEMORY)

    done = host.run("floors", "reset", "--reason", WHY)
    again = host.run("floors", "reset", "--reason", "twice\n\033[31m", "-o", "json")

    assert done.status == 0
    assert done.out.startswith("forgot how new the evidence in 1 slot(s) was, and 1 ")
    assert WHY in done.err
    assert again.json == {"forgot": {"slots": 0, "revocations": 0}}
    assert "\033" not in again.err
    assert floors(host).memory([SLOT], [BAD]) == Memory()
    log = admin_log(host)
    first, second = map(json.loads, log.read_text().splitlines())
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert first.pop("time").endswith("Z")
    assert first == {
        "what": "floors reset",
        "reason": WHY,
        "uid": os.getuid(),
        "forgot": {"slots": 1, "revocations": 1},
    }
    assert second["reason"].startswith("twice")


@pytest.mark.parametrize("words", [[], ["--reason", ""], ["--reason", " \n"]])
def test_reset_without_a_reason_is_usage_and_forgets_nothing(
    host: Host, words: list[str]
) -> None:
    floors(host).remember(MEMORY)

    done = host.run("floors", "reset", *words)

    assert done.status == 2
    assert "--reason" in done.err
    assert floors(host).memory([SLOT], [BAD]) == MEMORY


def test_a_lost_memory_is_an_error_until_root_resets_it(host: Host) -> None:
    """The message sends the operator here, so here it must work."""
    floors(host).remember(MEMORY)
    (host.root / "state" / "floors.db").unlink()

    lost = host.run("floors", "show")
    reset = host.run("floors", "reset", "--reason", WHY)
    after = host.run("floors", "show", "-o", "json")

    assert lost.status == 1
    assert "[ENF-1016]" in lost.err
    assert "enforcer floors reset" in lost.err
    assert (reset.status, reset.out) == (0, "forgot what could not be read\n")
    assert "is gone" in reset.err
    assert after.json == {"slots": 0, "revocations": 0}


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_a_reset_that_cannot_be_recorded_does_not_happen(host: Host, kind: str) -> None:
    """Nobody forgets a revocation without a trace."""
    floors(host).remember(MEMORY)
    host.run("floors", "reset", "--reason", "to learn where the log is")
    floors(host).remember(MEMORY)
    log = admin_log(host)
    log.unlink()
    if kind == "folder":
        log.mkdir()
    elif kind == "link":
        log.symlink_to(host.root / "elsewhere")
    else:
        os.mkfifo(log)

    done = host.run("floors", "reset", "--reason", WHY)

    assert done.status == 1
    assert "nothing was done" in done.err
    assert "[ENF-1403]" in done.err
    assert floors(host).memory([SLOT], [BAD]) == MEMORY
    assert not (host.root / "elsewhere").exists()


def test_a_reset_that_fails_is_recorded_as_such(host: Host) -> None:
    """The record must not claim what did not happen; the way out is in the message."""
    floors(host).remember(MEMORY)
    database = host.root / "state" / "floors.db"
    database.write_bytes(b"no database" * 1000)

    failed = host.run("floors", "reset", "--reason", WHY)
    database.unlink()
    reset = host.run("floors", "reset", "--reason", WHY)

    assert (failed.status, failed.out) == (1, "")
    assert f"{database}, cannot be used" in failed.err
    assert "reset by uid" not in failed.err
    assert reset.status == 0
    lines = admin_log(host).read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines] == [
        "floors reset",
        "floors reset failed",
        "floors reset",
    ]

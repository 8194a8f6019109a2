"""Broken glass: what root wrote in this boot, and nothing that only looks like it."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.files import FileNotTrustedError
from enforcer.sources.break_glass import (
    LIFETIME_SECONDS,
    MAX_BROKEN,
    MAX_BYTES,
    BreakGlassFolder,
)

BOOT = "3f2c9e0a-0000-4000-8000-000000000001"
DIGEST = Digest.of(b"image")
OTHER = Digest.of(b"another image")
STARTED = 1000
# A fixture is made once for all examples; how long these take depends on the machine.
_UNCHECKED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two owners")


@dataclass
class Machine:
    """A folder below /run, a boot, and a clock that only counts up."""

    root: Path
    uptime: float = STARTED

    @property
    def folder(self) -> Path:
        return self.root / "break-glass"

    @property
    def file(self) -> Path:
        return self.folder / f"sha256-{DIGEST.hex}.json"

    @property
    def glass(self) -> BreakGlassFolder:
        return BreakGlassFolder(
            self.folder, uptime=lambda: self.uptime, boot_id=self.root / "boot_id"
        )

    def boot(self, text: str) -> None:
        (self.root / "boot_id").write_text(f"{text}\n")

    def change(self, **members: object) -> None:
        entry = json.loads(self.file.read_text())
        self.file.write_text(json.dumps(entry | members))

    @property
    def grants(self) -> bool:
        """Whether anything is broken, seen from both sides."""
        found, reason = self.glass.all(), self.glass.broken_for({DIGEST, OTHER})
        assert bool(found) == (reason is not None)
        return bool(found)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    found.boot(BOOT)
    return found


@pytest.fixture
def broken(machine: Machine) -> Machine:
    """The same, with the glass broken for DIGEST."""
    machine.glass.break_for(DIGEST, "outage 4711")
    return machine


def test_what_root_broke_counts_for_that_digest_alone(machine: Machine) -> None:
    """The one way to a yes; everything below would pass by accident without it."""
    assert not machine.grants
    assert machine.glass.broken_for(set()) is None

    told = machine.glass.break_for(DIGEST, "outage 4711")

    assert machine.glass.all() == (told,)
    assert str(told) == f"{DIGEST}, 24 h 0 min more: outage 4711"
    assert machine.glass.broken_for({OTHER, DIGEST}) == "outage 4711"
    assert machine.glass.broken_for({OTHER}) is None
    assert machine.glass.broken_for(set()) is None


def test_nobody_else_can_write_it_and_the_daemon_can_read_it(broken: Machine) -> None:
    assert broken.folder.stat().st_mode & 0o7777 == 0o755
    assert broken.file.stat().st_mode & 0o7777 == 0o644
    assert [path.name for path in broken.folder.iterdir()] == [broken.file.name]


def test_a_folder_that_was_too_open_is_closed_first(machine: Machine) -> None:
    machine.folder.mkdir(mode=0o700)
    machine.folder.chmod(0o777)

    machine.glass.break_for(DIGEST, "x")

    assert machine.folder.stat().st_mode & 0o7777 == 0o755
    assert machine.grants


def test_a_service_is_told_the_boot_as_systemd_writes_it(broken: Machine) -> None:
    """%b has no dashes, /proc has; a /proc of the service's own has another id."""
    (broken.root / "boot_id").write_text("0b5e7e2d-0c1d-4f7e-9f55-1b2c3d4e5f60\n")
    broken.glass.break_for(DIGEST, "x")
    told = {
        boot: BreakGlassFolder(
            broken.folder,
            uptime=lambda: broken.uptime,
            boot_id=broken.root / "none",
            boot=boot,
        ).broken_for([DIGEST])
        for boot in ("0b5e7e2d0c1d4f7e9f551b2c3d4e5f60", "1" * 32, "")
    }

    assert list(told.values()) == ["x", None, None]


def test_it_ends_after_a_day_by_a_clock_nobody_sets(broken: Machine) -> None:
    for age, grants, left in (
        (LIFETIME_SECONDS - 1, True, 1),
        (LIFETIME_SECONDS, False, None),
        (LIFETIME_SECONDS + 1, False, None),
    ):
        broken.uptime = STARTED + age
        assert broken.grants is grants
        assert [glass.seconds_left for glass in broken.glass.all()] == (
            [] if left is None else [left]
        )


def test_it_ends_with_the_boot(broken: Machine) -> None:
    """Also where /run outlives it, and the clock of the next boot is younger."""
    broken.boot("another")
    assert not broken.grants

    broken.boot(BOOT)
    assert broken.grants


def test_a_boot_that_cannot_be_told_grants_nothing(broken: Machine) -> None:
    boot = broken.root / "boot_id"
    for raw in (None, b"", b"\xff\xfe"):
        if raw is None:
            boot.unlink()
        else:
            boot.write_bytes(raw)
        assert not broken.grants
    broken.change(boot="")  # nor does an empty one agree with an empty one
    boot.write_bytes(b"")
    assert not broken.grants


@pytest.mark.parametrize(
    "since",
    [
        STARTED + 1, STARTED + 10**9, 10**18, -(10**18), True, None, "1000", 1000.5,
        [], {}, STARTED - LIFETIME_SECONDS,
    ],
)  # fmt: skip
def test_a_time_that_is_none_or_to_come_grants_nothing(
    broken: Machine, since: object
) -> None:
    """A `since` in the future would last for longer than a day."""
    broken.change(since=since)

    assert not broken.grants


SPOILT: dict[str, Callable[[Machine], object]] = {
    "file for group": lambda m: m.file.chmod(0o620),
    "file for others": lambda m: m.file.chmod(0o602),
    "folder for group": lambda m: m.folder.chmod(0o770),
    "folder for others": lambda m: m.folder.chmod(0o707),
    "folder above": lambda m: m.root.chmod(0o777),
    "link": lambda m: _link(m.file),
    "folder is a link": lambda m: _link(m.folder),
    "pipe": lambda m: os.mkfifo(_freed(m.file)),
    "in place of a file": lambda m: _freed(m.file).mkdir(),
    "name of another digest": lambda m: m.file.rename(
        m.folder / f"sha256-{OTHER.hex}.json"
    ),
    "another name": lambda m: m.file.rename(m.folder / "x.json"),
    "another suffix": lambda m: m.file.rename(m.file.with_suffix(".jsonl")),
    "upper case": lambda m: m.file.rename(m.folder / m.file.name.upper()),
    "digest of another": lambda m: m.change(digest=str(OTHER)),
    "digest in upper case": lambda m: m.change(digest=str(DIGEST).upper()),
    "no digest": lambda m: m.change(digest=None),
    "no reason": lambda m: m.change(reason=None),
    "no boot": lambda m: m.change(boot=None),
    "boot of another kind": lambda m: m.change(boot=[BOOT]),
    "empty": lambda m: m.file.write_bytes(b""),
    "garbage": lambda m: m.file.write_bytes(b"\xff\x00{"),
    "a list": lambda m: m.file.write_text(f"[{m.file.read_text()}]"),
    "twice": lambda m: m.file.write_text(m.file.read_text() * 2),
    "deep": lambda m: m.file.write_text("[" * 4000),
    "a name twice": lambda m: m.file.write_text(
        m.file.read_text().replace("{", f'{{"boot": "{BOOT}", ')
    ),
    "too long": lambda m: m.file.write_text(m.file.read_text() + " " * MAX_BYTES),
    "a mebibyte": lambda m: m.file.write_text(m.file.read_text() + " " * (1 << 20)),
}


def _freed(path: Path) -> Path:
    path.unlink()
    return path


def _link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to("real")


@pytest.mark.parametrize("how", SPOILT)
def test_what_only_looks_like_it_grants_nothing(broken: Machine, how: str) -> None:
    assert broken.grants

    SPOILT[how](broken)

    assert not broken.grants


@ONLY_ROOT
@pytest.mark.parametrize("name", ["file", "folder"])
def test_another_owners_grants_nothing(broken: Machine, name: str) -> None:
    os.chown(getattr(broken, name), 12345, 12345)

    assert not broken.grants


@settings(max_examples=100, suppress_health_check=_UNCHECKED)
@given(st.binary(max_size=400))
def test_hostile_bytes_grant_nothing_and_raise_nothing(
    broken: Machine, raw: bytes
) -> None:
    """It is asked in the middle of a decision."""
    broken.file.write_bytes(raw)

    assert not broken.grants


def test_one_bad_file_does_not_spoil_the_others(broken: Machine) -> None:
    """In an emergency nobody wants to look for it."""
    (broken.folder / "a.json").write_bytes(b"garbage")
    (broken.folder / "b.json").mkdir()

    assert broken.grants


def test_two_hundred_files_are_a_bounds_work(machine: Machine) -> None:
    """They are root's own, but nobody writes so many by hand."""
    glass = machine.glass
    entry = {"reason": "x", "boot": BOOT, "since": STARTED}
    machine.folder.mkdir(mode=0o700)
    for number in range(200):
        digest = Digest.of(str(number).encode())
        path = machine.folder / f"sha256-{digest.hex}.json"
        path.write_text(json.dumps(entry | {"digest": str(digest)}))

    assert len(glass.all()) == MAX_BROKEN


def test_more_than_the_bound_cannot_be_broken(machine: Machine) -> None:
    """Until some is mended, has ended, or is of an earlier boot."""
    glass = machine.glass
    digests = [Digest.of(str(number).encode()) for number in range(MAX_BROKEN)]
    for digest in digests:
        glass.break_for(digest, "x")

    with pytest.raises(EnforcerError) as caught:
        glass.break_for(DIGEST, "one more")
    assert caught.value.what == (
        f"the glass is broken for {MAX_BROKEN} digests already"
    )
    assert glass.broken_for({DIGEST}) is None

    assert glass.mend(digests[0])
    glass.break_for(DIGEST, "one more")
    assert len(glass.all()) == MAX_BROKEN
    machine.uptime += LIFETIME_SECONDS
    glass.break_for(OTHER, "next day")
    assert [one.digest for one in machine.glass.all()] == [OTHER]
    assert len(list(machine.folder.iterdir())) == 1


def test_breaking_it_again_begins_anew(broken: Machine) -> None:
    broken.uptime += 3600

    broken.glass.break_for(DIGEST, "still")

    (glass,) = broken.glass.all()
    assert (glass.seconds_left, glass.reason) == (LIFETIME_SECONDS, "still")


def test_breaking_it_again_is_possible_when_all_are_broken(machine: Machine) -> None:
    """The hundredth must not be the one that cannot be kept up."""
    digests = [Digest.of(str(number).encode()) for number in range(MAX_BROKEN)]
    for digest in digests:
        machine.glass.break_for(digest, "x")
    machine.uptime += 3600

    machine.glass.break_for(digests[7], "still")

    assert machine.glass.broken_for({digests[7]}) == "still"
    assert len(machine.glass.all()) == MAX_BROKEN


def test_mending_ends_it_for_one_digest(broken: Machine) -> None:
    broken.glass.break_for(OTHER, "too")

    assert broken.glass.mend(DIGEST)
    assert not broken.glass.mend(DIGEST)

    assert broken.glass.broken_for({DIGEST}) is None
    assert broken.glass.broken_for({OTHER}) == "too"


def test_a_digest_of_another_algorithm_is_another_file(machine: Machine) -> None:
    longer = Digest("sha512", "ab" * 64)

    machine.glass.break_for(longer, "x")

    assert machine.glass.broken_for({longer}) == "x"
    assert machine.glass.broken_for({DIGEST, OTHER}) is None


def test_a_reason_is_made_safe_to_show(broken: Machine) -> None:
    """Written by hand, it may hold anything; it ends up in messages and logs."""
    broken.change(reason="\x1b[31m" + "x" * 900)

    (glass,) = broken.glass.all()

    assert glass.reason.isprintable()
    assert len(glass.reason) < 520


def test_what_cannot_be_removed_keeps_nobody_from_breaking_it(broken: Machine) -> None:
    """A folder called like a file of an earlier boot."""
    (broken.folder / "b.json").mkdir()

    broken.glass.break_for(OTHER, "x")

    assert broken.glass.broken_for({OTHER}) == "x"


@pytest.mark.parametrize("how", ["folder above", "folder is a link"])
def test_a_folder_others_could_exchange_is_not_written_to(
    broken: Machine, how: str
) -> None:
    SPOILT[how](broken)

    with pytest.raises(FileNotTrustedError):
        broken.glass.break_for(OTHER, "x")
    assert not broken.grants

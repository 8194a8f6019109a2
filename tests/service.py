"""What systemd does between fork and exec, for one of our programs, and its sandbox.

Run as root: `python -m tests.service --unit FILE --user UID ... -- PROGRAM ...`. It
does what the unit demands as far as that goes without a systemd; `tests/sandbox.py` has
the kernel's part. Not applied, because it needs one or would hide the test itself:
MemoryMax, TasksMax, PrivateTmp (tests live in /tmp), PrivateDevices, PrivateUsers,
KeyringMode, IPAddressDeny (there is no network), RestrictRealtime (its calls are not
among those let through).
"""

import argparse
import fcntl
import os
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import sandbox

FIRST_SOCKET = 3  # sd_listen_fds(3)
Unit = Mapping[str, Sequence[str]]


def main(argv: Sequence[str] | None = None) -> None:
    """Become the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--unit", type=Path, required=True)
    parser.add_argument("--user", type=int, default=0, metavar="UID")
    parser.add_argument("--socket", action="append", default=[], metavar="NAME=FD")
    parser.add_argument("--writable", action="append", default=[], metavar="DIR")
    parser.add_argument("program", nargs="+")
    given = parser.parse_args(argv)
    unit = read_unit(given.unit)
    hand_over(dict(named.split("=", 1) for named in given.socket))
    limit(unit)
    os.environ |= environment(unit)
    if os.geteuid() == 0:
        wanted = sandbox.Sandbox(unit, writable=given.writable, program=given.program)
        wanted.separate()
        wanted.drop_capabilities()
        become(given.user)
        wanted.filter_calls()
    os.execv(given.program[0], given.program)  # noqa: S606 - there shall be no shell


def read_unit(path: Path) -> Unit:
    """Return the words of each directive, in order."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).extend(value.split())
    return found


def hand_over(sockets: dict[str, str]) -> None:
    """Put sockets where a service looks for them (sd_listen_fds(3))."""
    above = FIRST_SOCKET + len(sockets)
    handles = [int(handle) for handle in sockets.values()]
    aside = [fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, above) for handle in handles]
    for handle in handles:
        os.close(handle)
    for number, handle in enumerate(aside, FIRST_SOCKET):
        os.dup2(handle, number)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(sockets))
    os.environ["LISTEN_FDNAMES"] = ":".join(sockets)


def environment(unit: Unit) -> dict[str, str]:
    """Return what a unit adds to it; of systemd's specifiers, %b is known."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    words = (word.replace("%b", boot) for word in unit.get("Environment", ()))
    return dict(word.split("=", 1) for word in words)


def limit(unit: Unit) -> None:
    """Set the limits a unit names."""
    for name, kind in (
        ("LimitNOFILE", resource.RLIMIT_NOFILE),
        ("LimitCORE", resource.RLIMIT_CORE),
    ):
        (most,) = unit[name]
        resource.setrlimit(kind, (int(most), int(most)))
    os.umask(int(unit["UMask"][0], 8))


def become(uid: int) -> None:
    """Be nobody but this user from here on."""
    os.setgroups([])
    if uid:
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


if __name__ == "__main__":
    main()

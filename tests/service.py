"""What systemd does between fork and exec, for one of our programs: sockets, a user.

Run as root: `python -m tests.service --socket NAME=FD ... [--user UID] -- PROGRAM ...`.
"""

import argparse
import fcntl
import os
from collections.abc import Sequence

FIRST_SOCKET = 3  # sd_listen_fds(3)


def main(argv: Sequence[str] | None = None) -> None:
    """Become the service."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--socket", action="append", default=[], metavar="NAME=FD")
    parser.add_argument("--user", type=int, default=0, metavar="UID")
    parser.add_argument("program", nargs="+")
    given = parser.parse_args(argv)
    hand_over(dict(named.split("=", 1) for named in given.socket))
    become(given.user)
    os.execv(given.program[0], given.program)  # noqa: S606 - there shall be none


def hand_over(sockets: dict[str, str]) -> None:
    """Put sockets where a service looks for them (sd_listen_fds(3))."""
    above = FIRST_SOCKET + len(sockets)
    aside = [
        fcntl.fcntl(int(fd), fcntl.F_DUPFD_CLOEXEC, above) for fd in sockets.values()
    ]
    for number, handle in enumerate(aside, FIRST_SOCKET):
        os.dup2(handle, number)
    os.environ["LISTEN_PID"] = str(os.getpid())
    os.environ["LISTEN_FDS"] = str(len(sockets))
    os.environ["LISTEN_FDNAMES"] = ":".join(sockets)


def become(uid: int) -> None:
    """Be nobody but this user from here on."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


if __name__ == "__main__":
    main()

"""What programs do with the network, by the kernel's word: strace over all of them."""

import re
from collections.abc import Sequence
from pathlib import Path

CALLS = "trace=execve,socket,socketpair,connect,sendto,sendmsg"
_RAN = re.compile(r'^execve\("([^"]+)", (\[.*?\]),? .*\) = 0$')
_MADE = re.compile(r"^socket\((AF_[A-Z0-9]+),.*\) = \d+")
_ADDRESS = re.compile(
    r'sin6?_port=htons\((\d+)\).*?inet_(?:addr|pton)\((?:AF_INET6, )?"([^"]+)"'
)


class Watch:
    """Watches every program that is started with `before`, and all these start.

    `folder` has to be new; it gets a file a process. Programs keep their process ids
    (-D), and only the calls that are written down stop them (--seccomp-bpf).
    """

    def __init__(
        self, folder: Path, *, calls: str = CALLS, more: Sequence[str] = ()
    ) -> None:
        """Write down `calls`; `more` are other options of strace."""
        folder.mkdir()
        folder.chmod(0o777)  # what enforcerd's user is when strace opens a file
        self._folder = folder
        self._what = ("-e", calls, *more)

    @property
    def before(self) -> Sequence[str]:
        """The words to put before a daemon's command."""
        return ("/usr/bin/strace", "-D", *self._options, "--")

    @property
    def before_command(self) -> Sequence[str]:
        """The words to put before a command whose end somebody waits for."""
        return ("/usr/bin/strace", *self._options, "--")

    @property
    def _options(self) -> Sequence[str]:
        files = str(self._folder / "calls")
        how = ("-f", "-ff", "--seccomp-bpf", "-qq", "-s", "4096")
        return (*how, *self._what, "-e", "signal=none", "-o", files)

    def ran(self) -> list[str]:
        """Every program that was executed, by path and words as strace shows them."""
        found = (_RAN.match(line) for line in self.lines())
        return [f"{match[1]} {match[2]}" for match in found if match]

    def sockets(self, *families: str) -> list[str]:
        """Every call that made a socket of one of these families, as `AF_INET`."""
        return [
            line
            for line in self.lines()
            if (match := _MADE.match(line)) and match[1] in families
        ]

    def internet_sockets(self) -> list[str]:
        """Every socket that could leave a machine."""
        return self.sockets("AF_INET", "AF_INET6", "AF_PACKET", "AF_VSOCK")

    def addresses(self) -> set[tuple[str, int]]:
        """Every internet address and port that anybody connected or wrote to."""
        return {
            (match[2], int(match[1]))
            for line in self.lines()
            for match in _ADDRESS.finditer(line)
        }

    def lines(self) -> list[str]:
        """Everything that was written down, in no order between processes."""
        return [
            line
            for path in self._folder.iterdir()
            for line in path.read_text(errors="replace").splitlines()
        ]

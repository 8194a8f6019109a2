"""A marked secret, and everywhere a secret must not be."""

import base64
import os
import re
import secrets
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

MAX_FILE_BYTES = 64 * 1024 * 1024  # a core dump; what is larger is no file of ours
WRITES = "trace=execve,write,pwrite64,writev,pwritev,pwritev2"
# Environments in full, what each descriptor is, and all that is written.
IN_FULL = ("-v", "-y", "-s", "1048576")
# write(1</a/file>, ...); a pipe, a socket or a terminal is no place where it stays.
_KEPT = re.compile(r"^(?:execve|\w+\(\d+</(?!dev/))")


def everything_in(folder: Path) -> Iterator[Path]:
    """All that is below a folder, while daemons go on making and removing there."""
    for place, folders, files in os.walk(folder):
        yield from (Path(place) / name for name in (*folders, *files))


class Canary:
    """A password that nobody else has, in every form it could be written in."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.password = f"c4n4ry-{secrets.token_hex(16)}"
        self.login = base64.b64encode(f"{user}:{self.password}".encode()).decode()
        raw = self.password.encode()
        # Wherever it is in something longer: what all three alignments have in common
        # with that is without the first and last characters.
        encoded = (base64.b64encode(bytes(n) + raw).decode()[4:-4] for n in range(3))
        self._forms = [self.password, raw.hex(), raw.hex().upper(), *encoded]

    def in_text(self, text: str) -> list[str]:
        """Which of its forms a text has."""
        return [form for form in self._forms if form in text]

    def in_files(self, *folders: Path, but: Collection[Path] = ()) -> list[str]:
        """Every file below these folders that has it, by name or content."""
        found = []
        for path in (path for folder in folders for path in everything_in(folder)):
            if self.in_text(str(path)):
                found.append(str(path))
            if path.is_symlink() or not path.is_file() or path in but:
                continue
            if self._is_in(path):
                found.append(str(path))
        return found

    def in_processes(self) -> list[str]:
        """Every process of this machine with it in its arguments or environment."""
        return [
            str(path)
            for folder in Path("/proc").iterdir()
            if folder.name.isdigit()
            for path in (folder / "cmdline", folder / "environ")
            if self._is_in(path)
        ]

    def in_calls(self, lines: Iterable[str]) -> list[str]:
        """Every program that was started with it, and every file it was written to."""
        return [line for line in lines if _KEPT.match(line) and self.in_text(line)]

    def _is_in(self, path: Path) -> bool:
        try:
            if path.stat().st_size > MAX_FILE_BYTES:
                return False
            return bool(self.in_text(path.read_bytes().decode("latin-1")))
        except OSError:  # a process that has ended, or a file that is gone
            return False

"""Read what strace saw as operations on one folder."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.crash.disk import (
    ROOT,
    Committed,
    Enter,
    Failed,
    Leave,
    Move,
    Operation,
    Resize,
    Sync,
    Write,
    resize,
    write,
)

_LINE = re.compile(r"^\d+ +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+|\?)(?: .*)?$")
_NOISE = re.compile(r"^\d+ +(\+\+\+|---) ")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
# Calls of strace's %file and %desc that change nothing a power cut could show.
_HARMLESS = re.compile(
    "access|f?chmod|fchmodat|f?chown|faccessat2?|fadvise64|flock|[fl]?stat|f?statfs|"
    "getcwd|getdents64|ioctl|munmap|newfstatat|poll|pread64|readlink(at)?|"
    "p?select6?|statx|utimensat"
)


_HERE = "AT_FDCWD"


@dataclass
class _Open:
    node: int
    position: int = 0


class Recording:
    """The operations below a folder that was empty, of one process after the other."""

    def __init__(self, root: Path) -> None:
        self.operations: list[Operation] = []
        self.folders: set[int] = {ROOT}
        self.fault_at = 0  # how many operations there were at the last fault
        self._root = f"{root}/"
        self._names: dict[tuple[int, str], int] = {}
        self._contents: dict[int, bytearray] = {}  # as the processes saw them
        self._open: dict[int, _Open] = {}
        self._last = ROOT

    def add(self, output: Path) -> None:
        """Take in what strace wrote about one process.

        Raises:
            ValueError: A call that could change something, and is not understood.
        """
        self._open.clear()
        for line in output.read_text(encoding="ascii").splitlines():
            if not _NOISE.match(line):
                self._line(line)

    def _line(self, line: str) -> None:
        found = _LINE.match(line)
        if not found:
            raise ValueError(f"strace wrote {line[:200]}")
        name, arguments, result = found.groups()
        if line.endswith("(INJECTED)") or result == "?":
            self.fault_at = len(self.operations)
        if name in ("fsync", "fdatasync") and result == "-1":
            opened = self._opened(arguments)
            if opened and opened.node not in self.folders:
                self.operations.append(Failed(opened.node))
        if _HARMLESS.fullmatch(name) or result == "?" or result.startswith("-"):
            return
        call = getattr(self, f"_call_{name}", None)
        if call is None:
            raise ValueError(f"no model of {line[:200]}")
        call(arguments.split(", "), int(result, 0))

    # -- names -------------------------------------------------------------------------

    def _call_openat(self, words: list[str], handle: int) -> None:
        if _bytes(words[1]) == self._root.rstrip("/").encode():
            self._open[handle] = _Open(ROOT)
        place = self._place(*words[:2])
        if place is None:
            return
        if re.search("SYNC|TMPFILE", words[2]):
            raise ValueError(f"no model of {words[2]}")
        if "O_CREAT" in words[2] and place not in self._names:
            self._enter(place, self._new())
        node = self._node(place)
        if "O_TRUNC" in words[2]:
            self._resize(node, 0)
        self._open[handle] = _Open(node)

    def _call_mkdir(self, words: list[str], _: int) -> None:
        place = self._place(_HERE, words[0])
        if place is not None:
            node = self._new()
            self.folders.add(node)
            self._enter(place, node)

    def _call_rename(self, words: list[str], _: int) -> None:
        self._call_renameat([_HERE, words[0], _HERE, words[1]], 0)

    def _call_renameat(self, words: list[str], _: int) -> None:
        place, to_place = self._place(*words[:2]), self._place(*words[2:4])
        if place is None or to_place is None:
            if place or to_place:
                raise ValueError(f"moved out of or into {self._root}")
            return
        node = self._names.pop(place)
        self._names[to_place] = node
        if place[0] == to_place[0]:
            self.operations.append(Move(*place, to_place[1], node))
        else:  # each folder is synced by itself
            self.operations += [Enter(*to_place, node), Leave(*place)]

    def _call_unlink(self, words: list[str], _: int) -> None:
        self._call_unlinkat([_HERE, words[0]], 0)

    _call_rmdir = _call_unlink

    def _call_unlinkat(self, words: list[str], _: int) -> None:
        place = self._place(*words[:2])
        if place is not None:
            del self._names[place]
            self.operations.append(Leave(*place))

    # -- handles -----------------------------------------------------------------------

    def _call_close(self, words: list[str], _: int) -> None:
        self._open.pop(int(words[0]), None)

    def _call_fcntl(self, words: list[str], result: int) -> None:
        if "DUPFD" in words[1] and int(words[0]) in self._open:
            self._open[result] = self._open[int(words[0])]

    def _call_dup(self, words: list[str], result: int) -> None:
        self._call_fcntl([words[0], "F_DUPFD"], result)

    def _call_lseek(self, words: list[str], result: int) -> None:
        opened = self._opened(words[0])
        if opened:
            opened.position = result

    def _call_read(self, words: list[str], result: int) -> None:
        opened = self._opened(words[0])
        if opened:
            opened.position += result

    def _call_mmap(self, words: list[str], _: int) -> None:
        """What is written through memory is seen by nobody; of SQLite, -shm alone."""
        opened = self._opened(words[4])
        if opened and "MAP_SHARED" in words[3] and "PROT_WRITE" in words[2]:
            names = [name for (_, name), node in self._names.items()
                     if node == opened.node]  # fmt: skip
            if not all(name.endswith("-shm") for name in names):
                raise ValueError(f"no model of {names} being mapped")

    # -- contents ----------------------------------------------------------------------

    def _call_write(self, words: list[str], result: int) -> None:
        opened = self._opened(words[0])
        data = _bytes(words[1])[:result]
        if opened:
            self._write(opened.node, opened.position, data)
            opened.position += result

    def _call_writev(self, words: list[str], _: int) -> None:
        if self._opened(words[0]):
            raise ValueError("no model of writev")
        self.operations.append(Committed())  # see `stepping`

    def _call_pwrite64(self, words: list[str], result: int) -> None:
        opened = self._opened(words[0])
        if opened:
            self._write(opened.node, int(words[3]), _bytes(words[1])[:result])

    def _call_sendfile(self, words: list[str], result: int) -> None:
        to, source = self._opened(words[0]), self._opened(words[1])
        if to is None:
            return
        if source is None:
            raise ValueError("sendfile from elsewhere")
        explicit = re.match(r"\[(\d+)\]", words[2])
        offset = int(explicit[1]) if explicit else source.position
        data = self._contents[source.node][offset : offset + result]
        self._write(to.node, to.position, bytes(data))
        to.position += result

    def _call_ftruncate(self, words: list[str], _: int) -> None:
        opened = self._opened(words[0])
        if opened:
            self._resize(opened.node, int(words[1]))

    def _call_fsync(self, words: list[str], _: int) -> None:
        opened = self._opened(words[0])
        if opened:
            self.operations.append(Sync(opened.node))

    _call_fdatasync = _call_fsync

    def _call_syncfs(self, words: list[str], _: int) -> None:
        if self._opened(words[0]):
            everything = (ROOT, *self._names.values())
            self.operations += [Sync(node) for node in everything]

    # -- parts -------------------------------------------------------------------------

    def _opened(self, word: str) -> _Open | None:
        return self._open.get(int(word))

    def _place(self, base: str, word: str) -> tuple[int, str] | None:
        """Return folder and name; None for what is elsewhere."""
        path = _bytes(word).decode()
        if path.startswith(self._root):
            path, folder = path.removeprefix(self._root), ROOT
        elif path.startswith("/"):
            return None
        elif base == _HERE:
            raise ValueError(f"a relative path: {path}")
        else:
            opened = self._opened(base)
            if opened is None:
                return None
            folder = opened.node
        *above, name = path.split("/")
        for part in above:
            folder = self._node((folder, part))
        return folder, name

    def _node(self, place: tuple[int, str]) -> int:
        if place not in self._names:
            raise ValueError(f"nothing is known of {place[1]}")
        return self._names[place]

    def _new(self) -> int:
        self._last += 1
        self._contents[self._last] = bytearray()
        return self._last

    def _enter(self, place: tuple[int, str], node: int) -> None:
        self._names[place] = node
        self.operations.append(Enter(*place, node))

    def _write(self, node: int, offset: int, data: bytes) -> None:
        self.operations.append(Write(node, offset, data))
        write(self._contents[node], offset, data)

    def _resize(self, node: int, size: int) -> None:
        self.operations.append(Resize(node, size))
        resize(self._contents[node], size)


def _bytes(word: str) -> bytes:
    found = _STRING.match(word)
    if not found:
        raise ValueError(f"no string: {word[:80]}")
    return bytes.fromhex(found[1].replace("\\x", ""))

"""What a disk may hold after a power cut: the strictest reading of POSIX.

Only fsync(2) makes anything last: of a file its bytes, not its name; of a folder the
names in it, not their bytes. What was not synced may be there or not, in any order, and
of a write some sectors. Where syncing a file failed, a later sync does not make up for
it, only writing again does; folders are in a journal that ends with its first failure.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

SECTOR_BYTES = 512
ROOT = 0  # the node of the folder that is watched


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes into a file."""

    node: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A file gets longer or shorter."""

    node: int
    size: int


@dataclass(frozen=True, slots=True)
class Enter:
    """A folder names a node."""

    folder: int
    name: str
    node: int


@dataclass(frozen=True, slots=True)
class Leave:
    """A folder names something no more."""

    folder: int
    name: str


@dataclass(frozen=True, slots=True)
class Move:
    """A node gets another name in the same folder, in one piece."""

    folder: int
    name: str
    to_name: str
    node: int


@dataclass(frozen=True, slots=True)
class Sync:
    """What was done to a node until now lasts."""

    node: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Syncing a file failed: the kernel gives up what it held, and says so once."""

    node: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A writer told of a step."""


Change = Write | Resize | Enter | Leave | Move
Operation = Change | Sync | Failed | Committed
State = dict[str, bytes | None]  # by path; None is a folder


def state(changes: Iterable[Operation], folders: frozenset[int]) -> State:
    """Return the tree that these operations leave."""
    files: dict[int, bytearray] = {}
    names: dict[int, dict[str, int]] = {}
    for one in changes:
        match one:
            case Write(node, offset, data):
                write(files.setdefault(node, bytearray()), offset, data)
            case Resize(node, size):
                resize(files.setdefault(node, bytearray()), size)
            case Enter(folder, name, node):
                names.setdefault(folder, {})[name] = node
            case Leave(folder, name):
                names.setdefault(folder, {}).pop(name, None)
            case Move(folder, name, to_name, node):
                names.setdefault(folder, {}).pop(name, None)
                names.setdefault(folder, {})[to_name] = node
            case Sync() | Failed() | Committed():
                pass
    return dict(_walk(ROOT, "", files, names, folders))


def synced(operations: Sequence[Operation]) -> list[Operation]:
    """Return the changes that a power cut after these operations cannot undo."""
    return [one for one, lasts in _lasting(operations) if lasts]


def some(operations: Sequence[Operation], chance: random.Random) -> list[Operation]:
    """Return those, and of the others as many as reached the disk by chance."""
    found: list[Operation] = []
    for one, lasts in _lasting(operations):
        luck = chance.random()
        if lasts or luck < 0.5:
            found.append(one)
        elif isinstance(one, Write) and luck < 0.75:
            found += _torn(one, chance)
    return found


def _lasting(operations: Sequence[Operation]) -> list[tuple[Operation, bool]]:
    safe: set[int] = set()
    found: list[tuple[Operation, bool]] = []
    for one in reversed(operations):
        if isinstance(one, Sync):
            safe.add(one.node)
        elif isinstance(one, Failed):
            safe.discard(one.node)
        elif not isinstance(one, Committed):
            found.append((one, _touched(one) in safe))
    return found[::-1]


def _touched(one: Change) -> int:
    match one:
        case Write(node) | Resize(node):
            return node
        case Enter(folder) | Leave(folder) | Move(folder):
            return folder


def _torn(one: Write, chance: random.Random) -> Iterator[Write]:
    first = -(one.offset % SECTOR_BYTES)
    for at in range(first, len(one.data), SECTOR_BYTES):
        start = max(at, 0)
        if chance.random() < 0.5:
            data = one.data[start : at + SECTOR_BYTES]
            yield replace(one, offset=one.offset + start, data=data)


def write(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        resize(content, offset)
    content[offset : offset + len(data)] = data


def resize(content: bytearray, size: int) -> None:
    del content[size:]
    content.extend(bytes(size - len(content)))


def _walk(
    node: int,
    path: str,
    files: dict[int, bytearray],
    names: dict[int, dict[str, int]],
    folders: frozenset[int],
) -> Iterator[tuple[str, bytes | None]]:
    for name, child in sorted(names.get(node, {}).items()):
        below = f"{path}{name}"
        if child in folders:
            yield below, None
            yield from _walk(child, f"{below}/", files, names, folders)
        else:
            yield below, bytes(files.get(child, b""))

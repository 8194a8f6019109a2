"""The blocks between the files of a tar: POSIX ustar and pax, GNU long names.

Whatever two programs could read differently is refused: the same archive goes to an
engine, to notation and to us, and all have to see the same files in it.
"""

import re
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.errors import MalformedError, clip

BLOCK = 512
END = bytes(2 * BLOCK)  # two blocks of nothing (pax(1))
MAX_NAME_BYTES = 255  # of a whole name; a blob named by sha512 has 142

FILES = (b"0", b"\0")
FOLDER = b"5"
LINK = b"2"  # symbolic; only in what `docker save` wrote before Docker 25
PAX, LONG_NAME = b"x", b"L"  # what comes next: more about it, or its name
FOR_ALL, LONG_TARGET = b"g", b"K"  # pax records for every file; where a link leads

# Mode, owner, group, time, device: not looked at, but other readers fail on nonsense.
_UNREAD = ((100, 108), (108, 116), (116, 124), (136, 148), (329, 337), (337, 345))
_FITS = 0o77777777777  # the largest size a header can hold in octal
_NAME_FITS = 100
_MAX_SIZE = 2**63 - 1
_NUMBER = re.compile(rb" *([0-7]{0,12})[ \0]*")
_DECIMAL = re.compile(rb"0|[1-9][0-9]{0,18}")
_RECORD = re.compile(rb"([1-9]\d{0,5}) ([^=\n\0]{1,256})=")
_SPARSE = (b"GNU.sparse", b"SCHILY.realsize", b"SUN.holesdata")

_REMEDIES = {
    Code.ARCHIVE_NOT_TAR: "Give an uncompressed tar (gunzip it first).",
    Code.ARCHIVE_CUT: "Copy or save it again, whole.",
    Code.ARCHIVE_TOO_LARGE: "Split it, by tag or digest.",
    Code.ARCHIVE_DIGEST: "Copy or save it again; suspect the disk, or somebody.",
}


class ArchiveError(MalformedError):
    """An archive that is refused as a whole; the code says for what kind of reason."""

    def __init__(self, what: str, code: Code, *, name: str = "the archive") -> None:
        self._fault = what
        remedy = _REMEDIES.get(code, "Save it again with a current tool.")
        super().__init__(f"{name} {what}", remedy=remedy, code=code)

    def about(self, name: str) -> "ArchiveError":
        """Return the same, telling which archive it is."""
        return ArchiveError(self._fault, self.code, name=name)


@dataclass(frozen=True, slots=True)
class Header:
    """One header block whose check sum is right; nothing else of it is believed."""

    kind: bytes
    name: bytes
    size: int
    target: bytes


def parse_header(block: bytes) -> Header:
    """Read one block of 512 bytes, or raise ArchiveError."""
    magic, kind = block[257:265], block[156:157]
    if magic not in (b"ustar\x0000", b"ustar  \0"):
        raise ArchiveError("is not a plain tar, or is damaged", Code.ARCHIVE_NOT_TAR)
    spaces = b" " * 8  # what the field counts as in its own sum
    if _octal(block[148:156]) != sum(block[:148] + spaces + block[156:]):
        raise ArchiveError("has a header with a wrong sum", Code.ARCHIVE_DAMAGED)
    if kind in (FOR_ALL, LONG_TARGET):
        raise _contradiction("says something about all files, or about links")
    for start, end in _UNREAD:
        if block[start] not in (0x80, 0xFF):  # how a number in binary begins
            _octal(block[start:end])
    name = _text(block[:100])
    prefix = _text(block[345:500]) if magic.startswith(b"ustar\0") else b""
    return Header(
        kind,
        b"/".join(part for part in (prefix, name) if part),
        _size(block[124:136]),
        _text(block[157:257]),
    )


def parse_pax(raw: bytes) -> dict[bytes, bytes]:
    """Read the records of a pax header, each name once (pax(1), "pax Header Block").

    Raises:
        ArchiveError: They are malformed, or make a sparse file or a link.
    """
    found, position = dict[bytes, bytes](), 0
    while position < len(raw):
        record = _RECORD.match(raw, position)
        after = position + int(record[1]) if record else 0
        if record is None or after <= record.end() or raw[after - 1 : after] != b"\n":
            raise _contradiction("has a malformed pax header")
        key = record[2]
        if key in found:
            raise _contradiction(f"says {_shown(key)} twice of one file")
        if key.startswith(_SPARSE):
            raise ArchiveError("has a sparse file", Code.ARCHIVE_NOT_FILES)
        if key == b"linkpath":
            raise ArchiveError("has a link", Code.ARCHIVE_NOT_FILES)
        found[key] = raw[record.end() : after - 1]
        position = after
    return found


def parse_long_name(raw: bytes) -> dict[bytes, bytes]:
    """Read GNU's long name as the pax record it stands for."""
    return {b"path": _text(raw)}


def overridden(header: Header, records: dict[bytes, bytes]) -> Header:
    """Return what pax records make of a header, where the two do not contradict.

    A reader that does not know them has to see the same name and size, or a name and
    size that plainly do not fit: records are for what a header cannot hold.

    Raises:
        ArchiveError: They contradict each other.
    """
    name, size = records.get(b"path", header.name), header.size
    cut = len(name) > _NAME_FITS or not name.isascii()
    if name != header.name and (not cut or b"\0" in name):
        raise _contradiction(f"has two names for {_shown(header.name)}")
    if b"size" in records:
        if not _DECIMAL.fullmatch(records[b"size"]):
            raise _contradiction("has a size that is no number")
        size = int(records[b"size"])
        if size != header.size and size <= _FITS:
            raise _contradiction(f"has two sizes for {_shown(name)}")
    return Header(header.kind, name, size, header.target)


def checked_name(raw: bytes, *, is_folder: bool) -> str:
    """Return a name that leads nowhere else, without `./`; "" for the root itself.

    Raises:
        ArchiveError: It is absolute, has `..` or an empty part, is too long, or is
            not UTF-8.
    """
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = ""
    bare = name.removeprefix("./")
    bare = bare.removesuffix("/") if is_folder else bare
    if is_folder and name in (".", "./"):
        return ""
    is_bad = any(part in ("", ".", "..") for part in bare.split("/"))
    if is_bad or len(raw) > MAX_NAME_BYTES:
        raise ArchiveError(
            f"has a file called {_shown(raw)}, which is no name inside it",
            Code.ARCHIVE_NAME,
        )
    return bare


def _size(field: bytes) -> int:
    if not field[0] & 0x80:
        return _octal(field)
    size = int.from_bytes(field[1:], "big")  # GNU: beyond 8 GiB
    if field[0] != 0x80 or size > _MAX_SIZE:  # 0xff begins a negative one
        raise ArchiveError("lies about a size", Code.ARCHIVE_DAMAGED)
    return size


def _octal(field: bytes) -> int:
    number = _NUMBER.fullmatch(field)
    if number is None:
        raise ArchiveError(
            "has a number in a header that is none", Code.ARCHIVE_DAMAGED
        )
    return int(number[1] or b"0", 8)


def _contradiction(what: str) -> ArchiveError:
    return ArchiveError(what, Code.ARCHIVE_HEADERS)


def _shown(raw: bytes) -> str:
    return clip(raw.decode("utf-8", "backslashreplace"), limit=80)


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def file_header(name: str, size: int) -> bytes:
    """Write the header of a plain file of nobody's, of no time: ustar, pax if it must.

    `name` has at most a hundred ASCII characters, as those of a layout do.
    """
    if size <= _FITS:
        return _ustar(name, size, FILES[0])
    text = b"size=%d\n" % size
    record = b"%d %s" % (len(text) + 3, text)  # of two digits, as sizes go
    padding = bytes(-len(record) % BLOCK)
    return _ustar(name, len(record), PAX) + record + padding + _ustar(name, 0, FILES[0])


def _ustar(name: str, size: int, kind: bytes) -> bytes:
    head = name.encode("ascii").ljust(100, b"\0") + b"0000644\0" + b"0000000\0" * 2
    head += b"%011o\0" % size + b"00000000000\0"
    tail = kind.ljust(101, b"\0") + b"ustar\x0000" + bytes(64) + b"0000000\0" * 2
    total = sum(head) + 8 * 32 + sum(tail)
    return (head + b"%06o\0 " % total + tail).ljust(BLOCK, b"\0")

"""Tar archives byte by byte, right ones and every hostile kind: `HOSTILE` names them.

Not by tarfile: most of these it would not write. Each attack is a layout that is good
but for one thing, and the code it has to be refused with.
"""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from tests.unit.sources.signed import compact, describe, image, signature

BLOCK = 512
NOTHING = bytes(BLOCK)
END = NOTHING * 2
OCTAL = b"%011o\0"

ONE = image("one")
ABOUT_ONE = signature(ONE.manifest)
MARKER = compact({"imageLayoutVersion": "1.0.0"})
LAYER = gzip.compress(b"a layer" * 1000, mtime=0)
BLOBS = (ONE.manifest.raw, ABOUT_ONE.manifest, ABOUT_ONE.envelope, LAYER)
NAMES = {raw: f"blobs/sha256/{Digest.of(raw).hex}" for raw in BLOBS}
INDEX = compact(
    {
        "schemaVersion": 2,
        "manifests": [
            describe(ONE.manifest.media_type, ONE.manifest.raw)
            | {"annotations": {"org.opencontainers.image.ref.name": "1"}},
            describe(ONE.manifest.media_type, ABOUT_ONE.manifest),
        ],
    }
)


def header(
    name: bytes = b"a",
    size: bytes | int = 0,
    kind: bytes = b"0",
    *,
    target: bytes = b"",
    prefix: bytes = b"",
    magic: bytes = b"ustar\x0000",
) -> bytes:
    """A header with a right check sum over whatever it says."""
    raw = bytearray(BLOCK)
    raw[: len(name)] = name
    field = OCTAL % size if isinstance(size, int) else size
    raw[124 : 124 + len(field)] = field
    raw[156:157] = kind
    raw[157 : 157 + len(target)] = target
    raw[257 : 257 + len(magic)] = magic
    raw[345 : 345 + len(prefix)] = prefix
    raw[148:156] = b"%06o\0 " % (sum(raw) + 8 * 32)
    return bytes(raw)


def padded(raw: bytes) -> bytes:
    return raw + bytes(-len(raw) % BLOCK)


def member(name: bytes, raw: bytes = b"", **said: object) -> bytes:
    size: object = {"size": len(raw)} | said
    return header(name, **size) + padded(raw)  # type: ignore[arg-type]


def record(key: bytes, value: bytes) -> bytes:
    """One pax record, with the length that counts itself."""
    size = len(key) + len(value) + 3
    while len(b"%d" % size) + len(key) + len(value) + 3 != size:
        size += 1
    return b"%d %s=%s\n" % (size, key, value)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    raw = b"".join(records)
    return header(b"PaxHeaders/x", len(raw), kind) + padded(raw)


def long_name(name: bytes) -> bytes:
    raw = name + b"\0"
    return header(b"././@LongLink", len(raw), b"L", magic=b"ustar  \0") + padded(raw)


def layout(*, index: bytes = INDEX) -> list[bytes]:
    """The members of a layout with a signature, in the order Docker writes them."""
    return [
        header(b"blobs/", kind=b"5"),
        *(member(NAMES[raw].encode(), raw) for raw in BLOBS),
        member(b"index.json", index),
        member(b"oci-layout", MARKER),
    ]


def tar(*members: bytes, end: bytes = END) -> bytes:
    return b"".join(members) + end


GOOD = tar(*layout())


def saved(
    *, layers: tuple[bytes, ...] = (b"one layer", b"another"), link: bytes = b""
) -> bytes:
    """What Docker before 25 saves; with `link`, the second layer leads there."""
    config = compact(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {
                "type": "layers",
                "diff_ids": [str(Digest.of(layer)) for layer in layers],
            },
        }
    )
    name = f"{Digest.of(config).hex}.json"
    folders = [f"{n:064x}" for n in range(len(layers))]
    paths = [f"{folder}/layer.tar" for folder in folders]
    listed = [{"Config": name, "RepoTags": ["app:1"], "Layers": paths}]
    written = [member(p.encode(), raw) for p, raw in zip(paths, layers, strict=True)]
    if link:
        written[1] = header(paths[1].encode(), kind=b"2", target=link)
    return tar(
        *(header(f"{folder}/".encode(), kind=b"5") for folder in folders),
        *(member(f"{folder}/VERSION".encode(), b"1.0") for folder in folders),
        *written,
        member(name.encode(), config),
        member(b"manifest.json", compact(listed)),
        member(b"repositories", b"{}"),
    )


@dataclass(frozen=True)
class Attack:
    name: str
    code: Code
    raw: bytes


def _with(*more: bytes) -> bytes:
    """The layout, and something hostile in its middle."""
    first, *rest = layout()
    return tar(first, *more, *rest)


def _names() -> Iterable[Attack]:
    bad = {
        "an absolute path": b"/etc/passwd",
        "a path that goes up": b"../../etc/passwd",
        "a path that goes up in its middle": b"blobs/../../etc/passwd",
        "a path with an empty part": b"blobs//x",
        "a path of dots": b"blobs/./x",
        "no name": b"",
        "a file with a folder's name": b"blobs/x/",
        "a name that is no UTF-8": b"blobs/\xff",
    }
    for name, path in bad.items():
        yield Attack(name, Code.ARCHIVE_NAME, _with(member(path, b"x")))
    up = header(b"../x/", kind=b"5")
    yield Attack("a folder that goes up", Code.ARCHIVE_NAME, _with(up))
    far = long_name(b"d/" * 200 + b"x") + member(b"d/" * 50, b"x")
    yield Attack("an overlong name", Code.ARCHIVE_NAME, _with(far))
    prefixed = header(b"passwd", prefix=b"/etc")
    yield Attack("an absolute prefix", Code.ARCHIVE_NAME, _with(prefixed))
    absolute = pax(record(b"path", b"/" + b"e" * 120)) + member(b"e" * 100)
    yield Attack("an absolute path in pax", Code.ARCHIVE_NAME, _with(absolute))


def _not_files() -> Iterable[Attack]:
    blob = NAMES[ONE.manifest.raw].encode()
    kinds = {
        "a hard link": b"1",
        "a symbolic link": b"2",
        "a character device": b"3",
        "a block device": b"4",
        "a pipe": b"6",
        "a contiguous file": b"7",
        "an old sparse file": b"S",
        "a multi-volume file": b"M",
        "a kind nobody knows": b"Z",
    }
    for name, kind in kinds.items():
        raw = _with(header(b"x", kind=kind, target=blob))
        yield Attack(name, Code.ARCHIVE_NOT_FILES, raw)
    away = header(b"a/layer.tar", kind=b"2", target=b"../../../etc/shadow")
    yield Attack("a layer that links away", Code.ARCHIVE_NOT_FILES, _with(away))
    folder = header(b"x/", 512, b"5") + NOTHING
    yield Attack("a folder with bytes", Code.ARCHIVE_NOT_FILES, _with(folder))
    for key in (b"GNU.sparse.major", b"GNU.sparse.map", b"SCHILY.realsize"):
        sparse = pax(record(key, b"1")) + member(b"x", b"x")
        name = f"a sparse file by {key.decode()}"
        yield Attack(name, Code.ARCHIVE_NOT_FILES, _with(sparse))
    link = pax(record(b"linkpath", b"/etc/passwd")) + member(b"x")
    yield Attack("a link in pax", Code.ARCHIVE_NOT_FILES, _with(link))


def _duplicates() -> Iterable[Attack]:
    pairs = {
        "two of one name": (b"index.json", b"index.json"),
        "one name with and without ./": (b"index.json", b"./index.json"),
        "two names of one in capitals": (b"index.json", b"INDEX.json"),
        "two spellings of one letter": ("é".encode(), "e\u0301".encode()),
        "a wide letter": ("\uff58".encode(), b"x"),
    }
    for name, (one, two) in pairs.items():
        rest = [m for m in layout() if not m.startswith(b"index")]
        raw = tar(*rest, member(one, INDEX), member(two, b"{}"))
        yield Attack(name, Code.ARCHIVE_DUPLICATE, raw)
    both = header(b"x/", kind=b"5") + member(b"x", b"x")
    yield Attack("a file and folder of one name", Code.ARCHIVE_DUPLICATE, _with(both))


def _headers() -> Iterable[Attack]:
    x = member(b"x", b"x")
    path, size = record(b"path", b"index.json"), record(b"size", b"2")
    prefixes = {
        "pax gives a short file another name": pax(path),
        "pax gives a file another size": pax(size),
        "pax gives a file no size": pax(record(b"size", b"0")),
        "pax gives a size below zero": pax(record(b"size", b"-1")),
        "pax gives a size with a plus": pax(record(b"size", b"+1")),
        "pax takes a name away": pax(record(b"path", b"")),
        "pax has a name with a NUL": pax(record(b"path", b"x\0" + b"y" * 120)),
        "pax says a name twice": pax(path, path),
        "two pax headers in a row": pax(record(b"mtime", b"1")) * 2,
        "an empty pax header, then another": pax() + pax(record(b"mtime", b"1")),
        "pax, then GNU's long name": pax(record(b"mtime", b"1")) + long_name(b"x"),
        "GNU gives a short file another name": long_name(b"index.json"),
        "a pax record without a length": member(b"P", b"a=b\n", kind=b"x"),
        "a pax record that is too long": member(b"P", b"99 a=b\n", kind=b"x"),
        "a pax record that is too short": member(b"P", b"3 a=b\n", kind=b"x"),
        "a pax record of no length": member(b"P", b"0 a=b\n", kind=b"x"),
        "a pax record with a zero before": member(b"P", b"07 a=b\n", kind=b"x"),
    }
    for name, prefix in prefixes.items():
        yield Attack(name, Code.ARCHIVE_HEADERS, _with(prefix + x))
    kinds = {"a global pax header": b"g", "a long link name": b"K"}
    for name, kind in kinds.items():
        raw = _with(pax(path, kind=kind) + x)
        yield Attack(name, Code.ARCHIVE_HEADERS, raw)
    last = tar(*layout(), pax(record(b"mtime", b"1")))
    yield Attack("a pax header for nothing", Code.ARCHIVE_HEADERS, last)


def _sizes() -> Iterable[Attack]:
    lies = {
        "the largest octal size": (b"7" * 12, Code.ARCHIVE_CUT),
        "the largest binary size": (b"\x80\0\0\0" + b"\x7f" + b"\xff" * 7, None),
        "a binary size beyond 64 bits": (b"\x80" + b"\xff" * 11, Code.ARCHIVE_DAMAGED),
        "a binary size below zero": (b"\xff" * 12, Code.ARCHIVE_DAMAGED),
        "a size of -1": (b"-0000000001", Code.ARCHIVE_DAMAGED),
        "a size with a plus": (b"+0000000001", Code.ARCHIVE_DAMAGED),
        "a size with an underscore": (b"0_1", Code.ARCHIVE_DAMAGED),
        "a size in decimal": (b"00000000008", Code.ARCHIVE_DAMAGED),
        "a size with more behind it": (b"1\0007", Code.ARCHIVE_DAMAGED),
    }
    for name, (size, code) in lies.items():
        for kind in (b"0", b"5"):
            what = f"{name}, of a {'file' if kind == b'0' else 'folder'}"
            raw = _with(header(b"x", size, kind))
            bad = code or Code.ARCHIVE_CUT
            if kind == b"5" and bad is Code.ARCHIVE_CUT:
                bad = Code.ARCHIVE_NOT_FILES
            yield Attack(what, bad, raw)
    for kind in (b"x", b"L"):
        huge = header(b"x", b"07777777777", kind)
        what = f"a {kind.decode()} header of 1 GiB"
        yield Attack(what, Code.ARCHIVE_TOO_LARGE, _with(huge))


def _damage() -> Iterable[Attack]:
    first, *rest = layout()
    broken = bytearray(rest[0])
    broken[0] ^= 1
    wrong = tar(first, bytes(broken), *rest[1:])
    yield Attack("a header with a wrong sum", Code.ARCHIVE_DAMAGED, wrong)
    old = header(b"x", magic=b"")
    yield Attack("a header without ustar", Code.ARCHIVE_NOT_TAR, _with(old))
    yield Attack("a file after an empty block", Code.ARCHIVE_TRAILING, NOTHING + GOOD)
    for name, raw in {
        "gzip": gzip.compress(GOOD, mtime=0),
        "zstd": b"\x28\xb5\x2f\xfd" + GOOD,
        "JSON": json.dumps({"a": "b" * 600}).encode(),
    }.items():
        yield Attack(f"no tar: {name}", Code.ARCHIVE_NOT_TAR, raw)
    yield Attack("nothing at all", Code.ARCHIVE_CUT, b"")
    for more in (b"x", NOTHING + b"x", bytes(20 * BLOCK) + GOOD):
        name = f"{len(more)} bytes after the end"
        yield Attack(name, Code.ARCHIVE_TRAILING, GOOD + more)
    long = GOOD + bytes(1024 * 1024 + BLOCK)
    yield Attack("a mebibyte of nothing after the end", Code.ARCHIVE_TRAILING, long)
    lone = tar(*layout(), end=NOTHING) + header(b"x") + END
    yield Attack("a file after a lone empty block", Code.ARCHIVE_TRAILING, lone)


def _digests() -> Iterable[Attack]:
    for number, raw in enumerate(BLOBS):
        changed = bytearray(raw)
        changed[len(raw) // 2] ^= 1
        blob = member(NAMES[raw].encode(), bytes(changed))
        rest = [m for m in layout() if m != member(NAMES[raw].encode(), raw)]
        what = "a layer" if raw is LAYER else f"blob {number}"
        yield Attack(
            f"{what} with a bit flipped", Code.ARCHIVE_DIGEST, tar(blob, *rest)
        )
    extra = member(b"blobs/sha256/" + b"0" * 64, b"nobody lists this")
    yield Attack("a blob that nobody lists", Code.ARCHIVE_DIGEST, _with(extra))


def _two_images() -> Iterable[Attack]:
    named = Digest.of(b"another").hex
    for config in (f"blobs/sha256/{named}", f"{named}.json", "../x", ""):
        listed = compact([{"Config": config, "RepoTags": None, "Layers": []}])
        raw = tar(*layout(), member(b"manifest.json", listed))
        yield Attack(
            f"another image for Docker: {config}", Code.ARCHIVE_TWO_IMAGES, raw
        )


HOSTILE = (
    *_names(), *_not_files(), *_duplicates(), *_headers(), *_sizes(), *_damage(),
    *_digests(), *_two_images(),
)  # fmt: skip

"""Set a text value in a TOML table, or take it out again, as text.

Ways to change the text are tried in order, and the first whose result parses to
exactly what is meant is taken: so what looks like a table inside of a string, an inline
table or a dotted key does no harm. ValueError where none does.
"""

import copy
import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

Table = tuple[str, ...]
Document = dict[str, Any]

MAX_BYTES = 1024 * 1024
MAX_TRIES = 200  # each parses the whole file
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def get(text: str, table: Table, key: str) -> Any:
    """Return a value, or None."""
    return _table(parse(text), table).get(key)


def put(text: str, table: Table, key: str, value: str) -> str:
    """Set a key of a table, which is made if there is none."""
    document = parse(text)
    if _table(document, table).get(key) == value:
        return text
    expected = copy.deepcopy(document)
    into = expected
    for name in table:
        into = into.setdefault(name, {})
        if not isinstance(into, dict):
            raise ValueError(f"{name} is no table")
    into[key] = value
    return _first(_puts(text, table, key, value), (expected,))


def take(text: str, table: Table, key: str, value: str, was: str | None) -> str:
    """Take a key out that has this value, or give it its former value back."""
    document = parse(text)
    if _table(document, table).get(key) != value:
        return text
    if was is not None:
        return put(text, table, key, was)
    bare = copy.deepcopy(document)
    del _table(bare, table)[key]
    return _first(_takes(text, table, key), (_pruned(bare, table), bare))


def parse(text: str) -> Document:
    """Read a document, or raise ValueError."""
    if len(text) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    return tomllib.loads(text.replace("\r\n", "\n"))


def _first(candidates: Iterator[str], wanted: tuple[Document, ...]) -> str:
    tried = [text for _, text in zip(range(MAX_TRIES), candidates, strict=False)]
    for expected in wanted:
        for text in tried:
            try:
                if parse(text) == expected:
                    return text
            except ValueError:
                continue
    raise ValueError("it is written so that more than the setting would change")


def _puts(text: str, table: Table, key: str, value: str) -> Iterator[str]:
    lines = text.splitlines(keepends=True)
    setting = f"{_quoted(key)} = {json.dumps(value)}"
    for at, line in _settings(lines, key):
        indent = line[: len(line) - len(line.lstrip())]
        comment = re.search(r"""[ \t]*#[^"']*$""", line.rstrip("\r\n"))
        tail = comment.group() if comment else ""
        yield _with(lines, at, at + 1, f"{indent}{setting}{tail}{_end(line)}")
    for at, line in _headers(lines, table):
        indent = line[: len(line) - len(line.lstrip())]
        new = f"{indent}  {setting}{_end(line)}"
        yield _with(lines, at, at + 1, f"{_whole(line)}{new}")
    header = ".".join(map(_quoted, table))
    gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    yield f"{text}{gap}[{header}]\n  {setting}\n"
    if not table:
        yield f"{setting}\n{text}"


def _takes(text: str, table: Table, key: str) -> Iterator[str]:
    lines = text.splitlines(keepends=True)
    for at, _ in _settings(lines, key):
        for header, _ in _headers(lines[:at], table):
            if not "".join(lines[header + 1 : at]).strip():
                start = header
                if header and not lines[header - 1].strip():
                    start = header - 1  # the empty line that `put` made
                yield _with(lines, start, at + 1, "")
                yield _with(lines, header, at + 1, "")
        yield _with(lines, at, at + 1, "")


def _settings(lines: list[str], key: str) -> Iterator[tuple[int, str]]:
    named = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*=""")
    return ((n, line) for n, line in enumerate(lines) if named.match(line))


def _headers(lines: list[str], table: Table) -> Iterator[tuple[int, str]]:
    for at, line in enumerate(lines):
        if line.lstrip().startswith("[") and _header(line) == table:
            yield at, line


def _header(line: str) -> Table | None:
    """Read `[a."b.c".d]` as a path; None where it is no header."""
    try:
        found: Any = tomllib.loads(line)
    except ValueError:
        return None
    path = []
    while isinstance(found, dict) and found:
        ((name, found),) = found.items()
        path.append(name)
    return tuple(path) if found == {} else None


def _with(lines: list[str], start: int, end: int, new: str) -> str:
    return "".join((*lines[:start], new, *lines[end:]))


def _whole(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n"


def _end(line: str) -> str:
    return "\r\n" if line.endswith("\r\n") else "\n"


def _quoted(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _table(document: Document, table: Table) -> Document:
    found: Any = document
    for name in table:
        found = found.get(name, {}) if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def _pruned(document: Document, table: Table) -> Document:
    """Return it without the table, and those above it, as far as they are empty."""
    pruned = copy.deepcopy(document)
    for depth in range(len(table), 0, -1):
        above = _table(pruned, table[: depth - 1])
        if above.get(table[depth - 1]) == {}:
            del above[table[depth - 1]]
    return pruned

"""A decision by its id, out of the audit log's newest lines."""

import os
from collections.abc import Mapping
from pathlib import Path

from enforcer.audit.log import MAX_LINE_BYTES
from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import Json, parse_json, require_object
from enforcer.files import open_regular
from enforcer.settings import Settings

FILES = ("audit.jsonl", "audit.jsonl.1")  # it may have been rotated since
MAX_TAIL_BYTES = 16 * 1024 * 1024  # a whole file: what else starts here is in it, too


def find_decision(settings: Settings, decision: str) -> Mapping[str, Json] | None:
    """Return the line of a decision, or None where the log has none, or cannot be read.

    `decision` is letters and digits.
    """
    for path in (settings.audit_dir / name for name in FILES):
        try:
            raw = _tail(path)
        except (EnforcerError, OSError):
            continue
        for line in reversed(raw.splitlines()):
            if f'"id": "{decision}"'.encode() in line:
                found = _members(line)
                if found.get("id") == decision:
                    return found
    return None


def _tail(path: Path) -> bytes:
    with open_regular(path, follow=False) as handle:
        size = os.fstat(handle).st_size
        return os.pread(handle, MAX_TAIL_BYTES, max(0, size - MAX_TAIL_BYTES))


def _members(line: bytes) -> Mapping[str, Json]:
    what = "a line of the audit log"
    try:
        value = parse_json(line, what=what, max_bytes=MAX_LINE_BYTES)
        return require_object(value, what=what)
    except EnforcerError:
        return {}

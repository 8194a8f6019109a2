"""Is it time for `cache sync` again? The timer only asks; enforcer.yaml says how often.

What is noted decides about nothing else: without it, it is time.
"""

import contextlib
import json
from datetime import datetime, timedelta

from enforcer.core.errors import EnforcerError
from enforcer.core.rfc3339 import format_rfc3339, parse_rfc3339
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.files import make_folder, read_file, write_file
from enforcer.owner import as_owner
from enforcer.settings import Settings

NOTE = "sync.json"  # in the state folder
MAX_NOTE_BYTES = 4096
AGAIN_SECONDS = 30 * 60  # after one that did not get everything; registries count


def is_due(settings: Settings, at: datetime) -> bool:
    """Whether `sync.every` has passed since the last one; never, if that is not set.

    A clock that was set back makes it due: a time to come says nothing.
    """
    every = settings.sync.every_seconds
    if not every:
        return False
    try:
        began, is_done = _read(settings)
    except EnforcerError:
        return True
    wait = every if is_done else min(every, AGAIN_SECONDS)
    return not began <= at < began + timedelta(seconds=wait)


def note(settings: Settings, at: datetime, *, is_done: bool) -> None:
    """Write down when one began, and whether it got everything; never fail over it."""
    said = {"began": format_rfc3339(at), "outcome": "done" if is_done else "partial"}
    with contextlib.suppress(EnforcerError, OSError), as_owner(settings.state_dir):
        make_folder(settings.state_dir)
        write_file(settings.state_dir / NOTE, json.dumps(said).encode(), mode=0o644)


def _read(settings: Settings) -> tuple[datetime, bool]:
    path = settings.state_dir / NOTE
    raw = read_file(path, max_bytes=MAX_NOTE_BYTES, follow=False)
    value = parse_json(raw, what=str(path), max_bytes=MAX_NOTE_BYTES)
    members = require_object(value, what=str(path))
    began = parse_rfc3339(require_text(members, "began", what=str(path)))
    return began, require_text(members, "outcome", what=str(path)) == "done"

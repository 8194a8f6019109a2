"""What enforcer-nri leaves for `enforcer status`: is it there, and can it refuse."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from enforcer.core.errors import EnforcerError, MalformedError
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.files import FileMissingError, read_file, write_file
from enforcer.gate.ask import shown

FILE = "nri.json"  # in the run folder
MAX_BYTES = 4096
BEAT_SECONDS = 5  # between two signs of life
STALE_SECONDS = 20  # without one: killed or hung


@dataclass(frozen=True, slots=True)
class NriState:
    """What was so at the second `at` since 1970. `runtime` is name and version."""

    at: int
    runtime: str = ""
    connected: bool = False
    validates: bool = False

    def is_alive(self, now: float) -> bool:
        """Whether the plug-in gave a sign of life of late."""
        return abs(now - self.at) <= STALE_SECONDS

    def notice(self, now: float) -> str:
        """Say what this door does and does not, in one line."""
        if not self.is_alive(now):
            silent = abs(now - self.at)
            return (
                f"enforcer-nri gave no sign of life for {silent:.0f} s, so NRI reports "
                "and refuses nothing; systemctl restart enforcer-nri"
            )
        if not self.connected:
            return (
                "enforcer-nri is not connected to containerd, so NRI reports and "
                "refuses nothing; is its NRI enabled?"
            )
        if not self.validates:
            return f"{self.runtime}: NRI cannot validate; this door only reports"
        return (
            f"{self.runtime}: NRI validates, and fails closed only where its "
            'default_validator says required_plugins = ["enforcer"]'
        )


def save_state(run_dir: Path, state: NriState) -> None:
    """Put the state where the daemon looks, or raise FileError.

    It is root's, as the folder is; the daemon is somebody else and reads it.
    """
    write_file(run_dir / FILE, json.dumps(asdict(state)).encode(), mode=0o644)


def load_state(run_dir: Path) -> NriState | None:
    """Return what the plug-in left; None on a host without it.

    Raises:
        EnforcerError: What is there cannot be used.
    """
    try:
        raw = read_file(run_dir / FILE, max_bytes=MAX_BYTES, trusted=True, follow=False)
    except FileMissingError:
        return None
    return _parse(raw)


def load_notice(run_dir: Path, now: float) -> tuple[str, ...]:
    """Return what `status` is to say; nothing on a host without this plug-in."""
    try:
        state = load_state(run_dir)
        return (state.notice(now),) if state else ()
    except EnforcerError as error:
        return (f"what enforcer-nri left for status cannot be used: {error}",)


def _parse(raw: bytes) -> NriState:
    found = require_object(
        parse_json(raw, what=FILE, max_bytes=MAX_BYTES), what=FILE, known=_NAMES
    )
    at = found.get("at")
    flags = [found.get(name) for name in ("connected", "validates")]
    if type(at) is not int or any(type(flag) is not bool for flag in flags):
        raise MalformedError(
            f"{FILE} has no such state", remedy="systemctl restart enforcer-nri"
        )
    runtime = shown(require_text(found, "runtime", what=FILE))
    return NriState(at, runtime, flags[0] is True, flags[1] is True)


_NAMES = ("at", "runtime", "connected", "validates")

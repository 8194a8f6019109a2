"""Break-glass: for one digest each, a file below /run that root wrote.

It ends with the boot it was written in, and after LIFETIME_SECONDS whatever happens.
A file that cannot be read, or is somebody else's, grants nothing.
"""

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import parse_json, require_object, require_text
from enforcer.files import (
    make_folder,
    read_file,
    require_trusted_folder,
    write_file,
)

LIFETIME_SECONDS = 24 * 3600  # by a clock that nobody sets and that counts sleep
MAX_BROKEN = 100  # digests at once; an emergency has one
MAX_BYTES = 4096

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class BrokenGlass:
    """One digest for which root broke the glass, and for how many seconds more."""

    digest: Digest
    reason: str
    seconds_left: int

    def __str__(self) -> str:
        hours, minutes = divmod(self.seconds_left // 60, 60)
        return f"{self.digest}, {hours} h {minutes} min more: {self.reason}"


class BreakGlassFolder:
    """What root broke the glass for, as files in one folder."""

    def __init__(
        self,
        folder: Path,
        *,
        uptime: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot_id: Path = BOOT_ID,
        boot: str = "",
    ) -> None:
        """Look in `folder`; `boot` is what a service that may not read it was told."""
        self._folder = folder
        self._uptime = uptime
        self._boot_id = boot_id
        self._told = boot

    def broken_for(self, digests: Collection[Digest]) -> str | None:
        """Return root's reason for one of these digests, or None. Never raises."""
        found = (glass for glass in self.all() if glass.digest in digests)
        glass = next(found, None)
        return None if glass is None else glass.reason

    def all(self) -> tuple[BrokenGlass, ...]:
        """Return everything that counts now. Never raises."""
        try:
            require_trusted_folder(self._folder)
            paths = sorted(islice(self._folder.glob("*.json"), MAX_BROKEN))
            boot = self._boot()
        except (EnforcerError, OSError, UnicodeDecodeError):
            return ()
        return tuple(self._read_all(paths, boot))

    def break_for(self, digest: Digest, reason: str) -> BrokenGlass:
        """Break the glass for one digest.

        Raises:
            EnforcerError: It could not be written, or MAX_BROKEN are broken already.
        """
        make_folder(self._folder, mode=0o755)
        self._folder.chmod(0o755)  # root writes, enforcerd reads, and it is no secret
        require_trusted_folder(self._folder)
        for path in self._folder.glob("*.json"):  # of an earlier boot, or over
            if not tuple(self._read_all([path], self._boot())):
                with contextlib.suppress(OSError):
                    path.unlink()
        others = [glass for glass in self.all() if glass.digest != digest]
        if len(others) >= MAX_BROKEN:
            raise EnforcerError(
                f"the glass is broken for {MAX_BROKEN} digests already",
                remedy="Mend some with `enforcer policy break-glass --mend DIGEST`.",
            )
        entry = {
            "digest": str(digest),
            "reason": reason,
            "boot": self._boot(),
            "since": int(self._uptime()),
        }
        write_file(self._path(digest), json.dumps(entry).encode(), mode=0o644)
        return BrokenGlass(digest, reason, LIFETIME_SECONDS)

    def mend(self, digest: Digest) -> bool:
        """End it for one digest; whether there was something to end."""
        there = self._path(digest).exists()
        self._path(digest).unlink(missing_ok=True)
        return there

    def _path(self, digest: Digest) -> Path:
        return self._folder / f"{digest.algorithm}-{digest.hex}.json"

    def _boot(self) -> str:
        return _plain(self._told or self._boot_id.read_text(encoding="ascii"))

    def _read_all(self, paths: Collection[Path], boot: str) -> Iterator[BrokenGlass]:
        for path in paths:
            try:
                yield from self._read(path, boot)
            except EnforcerError:
                continue

    def _read(self, path: Path, boot: str) -> Iterator[BrokenGlass]:
        what = "a break-glass file"
        raw = read_file(path, max_bytes=MAX_BYTES, trusted=True, follow=False)
        value = parse_json(raw, what=what, max_bytes=MAX_BYTES)
        members = require_object(value, what=what)
        since = members.get("since")
        digest = Digest.parse(require_text(members, "digest", what=what))
        reason = clip(require_text(members, "reason", what=what), limit=500)
        if not isinstance(since, int) or isinstance(since, bool):
            return
        left = since + LIFETIME_SECONDS - self._uptime()
        in_time = 0 < left <= LIFETIME_SECONDS
        written = members.get("boot")
        this_boot = bool(boot) and isinstance(written, str) and _plain(written) == boot
        if in_time and this_boot and path == self._path(digest):
            yield BrokenGlass(digest, reason, int(left))


def _plain(boot: str) -> str:
    """Write a boot's id as systemd does: without the kernel's dashes."""
    return boot.strip().replace("-", "")

"""Our systemd units: which there are, where each goes, and which are enabled."""

import configparser
import re
from dataclasses import dataclass, replace
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import clip
from enforcer.host.install.processes import InstallError

DOCKER_ROOT = Path("/var/lib/docker")
_SHIPPED = Path(__file__).parent.parent / "systemd"
SYSTEM = Path("/etc/systemd/system")
# suffix -> where it goes, and under which suffix
_ELSEWHERE = {
    ".sysusers": Path("/etc/sysusers.d"),
    ".tmpfiles": Path("/etc/tmpfiles.d"),
}
_UNITS = (".service", ".socket", ".timer", ".path", ".target")
# What only an option brings; NRI changes no decision before containerd 2.4 (README).
_OPTIONAL = {"enforcer-authz": "authz", "enforcer-cri": "cri", "enforcer-nri": "nri"}
_AUTHZ = "enforcer-authz.service"
_PLAIN = re.compile(r"/[A-Za-z0-9/._-]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that comes with enforcer, and where it goes."""

    path: Path
    content: bytes

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.path.name

    @property
    def is_unit(self) -> bool:
        """Whether systemd is to start it."""
        return self.path.parent == SYSTEM

    def wanted_by(self) -> tuple[str, ...]:
        """Return the targets that its [Install] section names."""
        return tuple(self._get("Install", "WantedBy").split())

    def program(self) -> Path | None:
        """Return the program a service starts, or None."""
        words = self._get("Service", "ExecStart").split()
        return Path(words[0].lstrip("-+!@:")) if words else None

    def for_docker(self, root: Path) -> "Shipped":
        """Return this unit for a Docker with this data-root.

        Only the plug-in has to know, and only another one than it thinks.

        Raises:
            InstallError: The root is no plain word in a systemd unit.
        """
        if self.name != _AUTHZ or root == DOCKER_ROOT:
            return self
        if not _PLAIN.fullmatch(str(root)):
            raise InstallError(
                f"Docker's data-root {clip(str(root))} is no plain word in a unit",
                remedy="Leave out --authz: the gate judges every start.",
                code=Code.INSTALL_CONFIG_CONFLICT,
            )
        start = self._get("Service", "ExecStart").encode()
        told = self.content.replace(start, start + f" --root {root}".encode())
        return replace(self, content=told)

    def _get(self, section: str, key: str) -> str:
        # Not strict: systemd takes one key several times, and of those here the last.
        parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(self.content.decode())
        return parser.get(section, key, fallback="") or ""


def shipped(options: frozenset[str], folder: Path = _SHIPPED) -> tuple[Shipped, ...]:
    """Return what goes onto a host with these options (authz, cri).

    Raises:
        ValueError: The folder holds a file that nobody knows a place for.
    """
    found = []
    for path in sorted(folder.iterdir()):
        option = _OPTIONAL.get(path.stem)
        if option and option not in options:
            continue
        if path.suffix in _UNITS:
            place = SYSTEM / path.name
        elif path.suffix in _ELSEWHERE:
            place = _ELSEWHERE[path.suffix] / f"{path.stem}.conf"
        else:
            raise ValueError(f"{path.name} belongs nowhere")
        found.append(Shipped(place, path.read_bytes()))
    return tuple(found)

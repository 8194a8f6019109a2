"""A host to look at that is nothing but a folder, and engines that are what we say."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from enforcer.audit.clock import FixedClock, HostClock
from enforcer.core.strictjson import Json
from enforcer.host.doctor import Finding, Look, Places
from enforcer.host.doctor.examine import Check
from enforcer.host.doctor.finding import UnseenError
from enforcer.host.processes import Process
from enforcer.settings import EngineSettings, Settings


@dataclass(frozen=True)
class ToldLook(Look):
    """Takes an engine's answers from the test; there is no engine."""

    tree: dict[str, Any] = field(default_factory=dict)
    cri_says: dict[str, Json] | None = None
    info: dict[str, Json] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    asked: bool | None = False

    def has(self, engine: EngineSettings) -> bool:
        return True

    def process(self, engine: EngineSettings) -> Process:
        return Process(os.getpid(), (engine.kind,), self.folders)

    def configuration(self, engine: EngineSettings) -> dict[str, Any]:
        return self.tree

    def cri(self, engine: EngineSettings) -> dict[str, Json] | None:
        return self.cri_says

    def docker_info(self, engine: EngineSettings) -> dict[str, Json]:
        return self.info

    def asks_plugin(self, engine: EngineSettings) -> bool:
        if self.asked is None:
            raise UnseenError("docker", "it hangs", "docker version")
        return self.asked

    def daemon_json(self, engine: EngineSettings) -> dict[str, Json]:
        return {}


def settings(root: Path, *kinds: str, **members: Any) -> Settings:
    """Folders below `root`, and an engine of each of these kinds."""
    engines = tuple(
        EngineSettings(kind, root / f"{kind}.sock", root / kind, root / f"{kind}-state")
        for kind in kinds
    )
    for name in ("etc", "var", "run", "log"):
        (root / name).mkdir(exist_ok=True)
    return Settings(
        config_dir=root / "etc",
        state_dir=root / "var",
        run_dir=root / "run",
        log_dir=root / "log",
        engines=engines,
        **members,
    )


def look_at(
    root: Path, *kinds: str, at: datetime | None = None, **told: Any
) -> ToldLook:
    """A look at a host in a folder, at a time if one is given."""
    clock = FixedClock(at) if at else HostClock()
    places = Places(root=root, docker_plugins=root, dpkg=root / "dpkg")
    return ToldLook(settings(root, *kinds), clock, places, **told)


def found(check: Check, look: Look) -> list[Finding]:
    """What one check finds."""
    return [seen for seen in check(look) if isinstance(seen, Finding)]


def codes(check: Check, look: Look) -> list[str]:
    """The codes of what one check finds."""
    return [str(finding.code) for finding in found(check, look)]

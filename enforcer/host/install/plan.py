"""What an installation changes, in order: values, made from what was found.

Nothing is read or written here. Each stage ends with a question to what it changed, and
a wrong answer undoes everything.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from enforcer.host.install.accounts import account_names
from enforcer.host.install.edits import Edit
from enforcer.host.install.steps import (
    WAY_BACK,
    Accounts,
    File,
    Folder,
    Gate,
    Link,
    Step,
    Tell,
    Word,
)
from enforcer.host.install.units import SYSTEM, Shipped
from enforcer.settings import DEFAULT_LOG_DIR, DEFAULT_STATE_DIR, EngineSettings

CONFIG = Path("/etc/enforcer")
UNINSTALL = WAY_BACK
LIBEXEC = UNINSTALL.parent
REAL_RUNC = LIBEXEC / "runc"
VERIFIERS = Path("/opt/enforcer/verifiers")
VERIFIER = "00-enforcer"  # containerd asks in the order of names, and ten at the most
PLUGIN = "enforcer"
AUTHZ_EDIT = Edit("json", "authorization-plugins", PLUGIN)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for."""

    docker: bool = False
    authz: bool = False
    containerd: bool = False
    cri: bool = False
    enforce: bool = False

    @property
    def mode(self) -> str:
        """The mode the host starts in."""
        return "enforce" if self.enforce else "monitor"


class Check(StrEnum):
    """What has to be true when a stage is done."""

    RECOVERY = "the undo program runs"
    SERVICES = "enforcerd answers"
    AUTHZ = "the plug-in answers"
    DOCKER = "Docker asks the plug-in"
    SETTINGS = "containerd reads what was meant, and nothing else"
    CONTAINERD = "containerd answers"
    GATE = "the gate asks enforcerd"


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps, and what is asked when they are done."""

    steps: tuple[Step, ...]
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One configuration file of an engine: as it is, and what is added."""

    path: Path
    before: bytes
    edit: Edit
    mode: int = 0o644

    @property
    def after(self) -> bytes:
        """The file as it will be; raises EditError."""
        return self.edit.apply(self.before)


@dataclass(frozen=True, slots=True)
class Ground:
    """What was found on a host, as far as it decides what is done.

    Attributes:
        exists: Whether there is something at a path.
        runc: Where the engines find runc.
        engines: What enforcer.yaml lists, if it is written.
        gate: The gate's text.
        verifier: The text of containerd's verifier of pulls; empty where it asks none.
        uninstall: The undo program.
        units: What is shipped, for the options wanted.
        daemon_json: The change to Docker's configuration.
        containerd: The change to containerd's configuration.
        gate_conf: Whether root's word about the mode is there already.
    """

    exists: Callable[[Path], bool]
    runc: Path
    engines: tuple[EngineSettings, ...]
    gate: bytes
    verifier: bytes
    uninstall: bytes
    units: tuple[Shipped, ...]
    daemon_json: Change | None = None
    containerd: Change | None = None
    gate_conf: bool = False
    texts: dict[str, bytes] = field(default_factory=dict)


def plan(wanted: Wanted, ground: Ground) -> tuple[Stage, ...]:
    """Return all that is done, in order. Undone, it is done backwards.

    The gate goes in last, and so comes out first: whatever else is broken then, the
    engines start containers.
    """
    stages = [
        _stage(ground, _recovery(ground), Check.RECOVERY),
        _stage(ground, _services(wanted, ground), Check.SERVICES),
    ]
    if ground.daemon_json:
        stages.append(Stage((), (Check.AUTHZ,)))
        stages.append(_stage(ground, _docker(ground.daemon_json), Check.DOCKER))
    if ground.containerd:
        change = ground.containerd
        stages += [
            _stage(ground, _containerd(change, ground.verifier), Check.SETTINGS),
            Stage((Tell(Word.RESTART, ("containerd.service",)),), (Check.CONTAINERD,)),
        ]
    gate = Gate(ground.runc, REAL_RUNC, ground.gate)
    return (*stages, Stage((gate,), (Check.GATE,)))


def _stage(ground: Ground, steps: Iterator[Step], *checks: Check) -> Stage:
    """Put in front of each file the folders that are missing above it."""
    found: list[Step] = []
    for step in steps:
        if isinstance(step, File | Link):
            for folder in reversed(step.path.parents):
                made = Folder(folder)
                if made not in found and not ground.exists(folder):
                    found.append(made)
        found.append(step)
    return Stage(tuple(found), checks)


def _recovery(ground: Ground) -> Iterator[Step]:
    yield File(UNINSTALL, ground.uninstall, 0o755)


def _services(wanted: Wanted, ground: Ground) -> Iterator[Step]:
    if not ground.exists(CONFIG / "enforcer.yaml"):
        yield File(CONFIG / "enforcer.yaml", ground.texts["enforcer.yaml"])
    if not ground.exists(CONFIG / "policy.d"):
        example = CONFIG / "policy.d" / "10-host.yaml.example"
        yield File(example, ground.texts["policy"])
    if ground.gate_conf or not wanted.enforce:
        yield File(CONFIG / "gate.conf", f"mode={wanted.mode}\n".encode())
    yield Tell(Word.READ_UNITS, undo=True)
    for unit in ground.units:
        yield File(unit.path, unit.content)
    for unit in ground.units:
        for target in unit.wanted_by() if unit.is_unit else ():
            yield Link(SYSTEM / f"{target}.wants" / unit.name, str(unit.path))
    yield from _data(ground)
    yield from _accounts(ground)
    started = tuple(
        unit.name
        for suffix in (".socket", ".path", ".timer", ".service")
        for unit in ground.units
        if unit.name.endswith(suffix) and unit.wanted_by()
    )
    yield Tell(Word.READ_UNITS)
    yield Tell(Word.STOP, started, undo=True)
    yield Tell(Word.START, started)


def _data(ground: Ground) -> Iterator[Step]:
    """Make what the units would: it goes again, if nothing is kept in it."""
    for folder in (DEFAULT_STATE_DIR, DEFAULT_LOG_DIR):
        if not ground.exists(folder):
            yield Folder(folder, 0o700)


def _accounts(ground: Ground) -> Iterator[Step]:
    for unit in ground.units:
        if unit.path.parent.name == "sysusers.d":
            yield Accounts(unit.path, account_names(unit.content.decode()))
    for unit in ground.units:
        if unit.path.parent.name == "tmpfiles.d":
            yield Tell(Word.MAKE_FOLDERS, (str(unit.path),))


def _docker(change: Change) -> Iterator[Step]:
    yield Tell(Word.RELOAD, ("docker.service",), undo=True)
    yield File(change.path, change.after, change.mode, change.edit)
    yield Tell(Word.RELOAD, ("docker.service",))


def _containerd(change: Change, verifier: bytes) -> Iterator[Step]:
    if verifier:
        yield File(VERIFIERS / VERIFIER, verifier, 0o755)
    yield Tell(Word.RESTART, ("containerd.service",), undo=True)
    yield File(change.path, change.after, change.mode, change.edit)

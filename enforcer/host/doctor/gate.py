"""Which `runc` each daemon and each shim would find, and whether it is our gate."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.files import read_file, require_trusted
from enforcer.gate.render import render_gate
from enforcer.host.doctor.ask import run_program
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.look import Look, under
from enforcer.host.install.runc import owners
from enforcer.host.processes import Process, load_process, parent_of
from enforcer.settings import EngineSettings, Settings

MAX_GATE_BYTES = 64 * 1024  # the gate has 2 KiB, and runc 10 MiB
MAX_SHIMS = 2000  # looked at; one a pod
MAX_PID_BYTES = 32
HIDDEN = Path("/usr/libexec/enforcer/runc")  # where install puts the real one
OPT = "io.containerd.internal.v1.opt"
SHIMS = "io.containerd.shim.v1.manager"

_MARK = b"# Written by `enforcer gate`"
_NAMED = re.compile(rb"^(runc|python|ask)='([^'\n]+)'$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Program:
    """A file named runc that an engine could find: as it sees it, and as we do."""

    shown: Path
    real: Path

    @property
    def runs(self) -> bool:
        """Whether exec(3) would take it rather than look further."""
        return self.real.is_file() and os.access(self.real, os.X_OK)

    @property
    def is_gate(self) -> bool:
        """Whether it says that it is a gate of ours; what it does is another matter."""
        return _MARK in _text(self.real)

    def __str__(self) -> str:
        target = self.real.resolve()
        if self.real.is_symlink():
            return f"{self.shown} (a link to {target})"
        return str(self.shown)


def check(look: Look) -> Iterator[Finding | str]:
    """Look up runc as each daemon and each shim would, and read what they find."""
    for engine in look.engines():
        try:
            process = look.process(engine)
            subject = f"{engine.kind} (pid {process.pid})"
            folders = folders_of(look, engine)
            runs = any(p.runs for p in found_in(folders, process.root))
            if not runs and _handlers_name_theirs(look, engine):
                yield f"{subject} finds no runc, and CRI names its own"
            else:
                yield from _resolved(look, subject, folders, process)
            if engine.kind == "containerd":
                yield from _shims(look, engine, {folders})
        except UnseenError as error:
            yield error.finding


def folders_of(look: Look, engine: EngineSettings) -> tuple[str, ...]:
    """Return where a daemon looks for programs.

    containerd puts a folder of its own in front of what its environment says, which
    no environment shows (its `opt` plug-in).
    """
    process = look.process(engine)
    if engine.kind != "containerd":
        return process.folders
    opt = under(look.configuration(engine), "plugins", OPT, "path")
    return (f"{opt or '/opt/containerd'}/bin", *process.folders)


def found_in(folders: Iterable[str], root: Path, name: str = "runc") -> list[Program]:
    """Return every file of that name in these folders, in order, each once."""
    found: dict[Path, Program] = {}
    for folder in folders:
        real = (root / folder.lstrip("/")) / name
        if folder.startswith("/") and os.path.lexists(real):
            found.setdefault(real.parent.resolve(), Program(Path(folder) / name, real))
    return list(found.values())


def gate_problems(look: Look, program: Program) -> Iterator[Finding]:
    """Say what is wrong with a gate: its text, its owner, and what it names."""
    named = {
        n.decode(): Path(os.fsdecode(v)) for n, v in _NAMED.findall(_text(program.real))
    }
    runc, python = (
        named.get("runc", HIDDEN),
        named.get("python", Path("/usr/bin/python3")),
    )
    rewrite = f"enforcer gate --runc {runc} --write {program.shown}"
    if _text(program.real) != _rendered(look.settings, runc, python):
        what = "it is not what this enforcer writes for this host"
        yield Finding(Code.GATE_CHANGED, str(program), what, rewrite)
    yield from untrusted(program.real, shown=str(program))
    for name in ("python", "ask"):
        path = named.get(name)
        if path is None or not path.is_file() or (name == "python" and not _runs(path)):
            what = f"it names {path} as its {name}, which cannot be run"
            yield Finding(Code.GATE_TOOLS, str(program), what, rewrite)
        else:
            yield from untrusted(path)
    if not _runs(runc) or Program(runc, runc).is_gate:
        what = f"it names {runc} as the real runc, and that is none"
        package = next(iter(_owners(look, program)), "runc")
        remedy = f"apt-get install --reinstall {package}; {rewrite}"
        yield Finding(Code.REAL_RUNC_GONE, str(program), what, remedy)
    else:
        yield from untrusted(runc)


def untrusted(path: Path, shown: str = "") -> Iterator[Finding]:
    """Say whether somebody else than root could change a file or exchange it."""
    try:
        require_trusted(path)
    except EnforcerError as error:
        code = Code.WRITABLE
        yield Finding(code, shown or str(path), error.what, error.remedy)


def _resolved(
    look: Look, subject: str, folders: tuple[str, ...], process: Process
) -> Iterator[Finding | str]:
    found = found_in(folders, process.root)
    running = [program for program in found if program.runs]
    if not running:
        yield _none(look, subject, folders, process)
        return
    first, others = running[0], running[1:]
    gates = [program for program in running if program.is_gate]
    if not first.is_gate:
        what = f"the runc it finds is {first}, which is not the gate"
        remedy = f"mv {first.shown} {first.shown}.away"
        if not gates:
            remedy = (
                f"dpkg-divert --local --rename --divert {HIDDEN} --add {first.shown}; "
                f"enforcer gate --runc {HIDDEN} --write {first.shown}"
            )
        yield Finding(Code.GATE_SHADOWED, subject, what, remedy)
    else:
        yield f"{subject} finds the gate as {first}"
        yield from gate_problems(look, first)
        yield from _diversion(look, first)
    for other in others:
        if not other.is_gate:
            what = f"a second runc is in its PATH: {other}"
            remedy = f"mv {other.shown} {other.shown}.away"
            yield Finding(Code.SECOND_RUNC, subject, what, remedy)


def gate_place(look: Look) -> str:
    """Return where the gate belongs: what install diverted, else Debian's place."""
    if _has_dpkg(look):
        _, listed = run_program(
            ["dpkg-divert", f"--admindir={look.places.dpkg}", "--list"]
        )
        for line in os.fsdecode(listed).splitlines():
            place, _, there = line.partition(" of ")[2].partition(" to ")
            if there == os.fspath(HIDDEN):
                return place
    return "/usr/sbin/runc"


def _none(
    look: Look, subject: str, folders: tuple[str, ...], process: Process
) -> Finding:
    found = found_in(folders, process.root)
    there = f"; {found[0]} is not executable" if found else ""
    what = f"it finds no runc in {':'.join(folders)}{there}"
    place = found[0].shown if found else gate_place(look)
    remedy = f"enforcer gate --runc {HIDDEN} --write {place}"
    return Finding(Code.GATE_GONE, subject, what, remedy)


def _handlers_name_theirs(look: Look, engine: EngineSettings) -> bool:
    """Whether no handler of CRI looks in PATH; `runtimes` looks at what they name."""
    cri = look.cri(engine) if engine.kind == "containerd" else None
    handlers = under(cri, "containerd", "runtimes")
    return isinstance(handlers, dict) and all(
        under(handler, "options", "BinaryName") for handler in handlers.values()
    )


def _shims(
    look: Look, engine: EngineSettings, known: set[tuple[str, ...]]
) -> Iterator[Finding | str]:
    """Look where shims would find runc: they keep the PATH they began with."""
    setting = under(look.configuration(engine), "plugins", SHIMS, "env")
    for word in setting if isinstance(setting, list) else ():
        name, _, value = str(word).partition("=")
        if (
            name == "PATH"
            and (folders := tuple(filter(None, value.split(":")))) not in known
        ):
            known.add(folders)
            yield from _resolved(
                look, f"containerd's shims ({SHIMS})", folders, look.process(engine)
            )
    tasks = engine.state / "io.containerd.runtime.v2.task"
    pids = sorted(tasks.glob("*/*/init.pid"))
    if len(pids) > MAX_SHIMS:
        raise UnseenError(str(tasks), f"more than {MAX_SHIMS} containers run", "-")
    count = 0
    for path in pids:
        shim = _shim(path, tasks)
        count += shim is not None
        if shim and shim.folders not in known:
            known.add(shim.folders)
            yield from _resolved(look, f"shim (pid {shim.pid})", shim.folders, shim)
    if count:
        yield f"the shims of {count} running containers were looked at"


def _shim(init: Path, tasks: Path) -> Process | None:
    """Return the shim of a container: parent of its first process, in its folder."""
    try:
        pid = parent_of(int(read_file(init, max_bytes=MAX_PID_BYTES)))
        folder = Path(f"/proc/{pid}/cwd").readlink()
        return load_process(pid) if folder.is_relative_to(tasks.resolve()) else None
    except (OSError, ValueError, EnforcerError):  # it ended meanwhile
        return None


def _diversion(look: Look, gate: Program) -> Iterator[Finding]:
    """Say whether the next upgrade of a package would write over the gate."""
    if not _has_dpkg(look):
        return
    path = _own_path(gate)
    option = f"--admindir={look.places.dpkg}"
    _, truename = run_program(["dpkg-divert", option, "--truename", path])
    packages = _owners(look, gate)
    if packages and truename.strip() == os.fsencode(path):
        what = f"the package {packages[0]} owns this path, and nothing diverts it"
        remedy = f"dpkg-divert --local --no-rename --divert {HIDDEN} --add {path}"
        yield Finding(Code.DIVERSION_GONE, str(gate), what, remedy)


def _owners(look: Look, gate: Program) -> list[str]:
    """Return the packages that have a file in this place: runc, or Docker's own."""
    if not _has_dpkg(look):
        return []
    path = _own_path(gate)
    option = f"--admindir={look.places.dpkg}"
    _, said = run_program(["dpkg-query", option, "--search", path])
    return owners(os.fsdecode(said), path)


def _has_dpkg(look: Look) -> bool:
    return (look.places.dpkg / "status").exists()


def _own_path(gate: Program) -> Path:
    return gate.real.parent.resolve() / gate.real.name


def _rendered(settings: Settings, runc: Path, python: Path) -> bytes:
    try:
        text = render_gate(
            runc=runc,
            python=python,
            run_dir=settings.run_dir,
            config_dir=settings.config_dir,
            log_dir=settings.log_dir,
        )
    except ValueError:  # a path that the gate could not hold
        return b""
    return text.encode("ascii")


def _text(path: Path) -> bytes:
    """Return what a gate could be of a file; runc itself is too large for one."""
    try:
        return read_file(path, max_bytes=MAX_GATE_BYTES)
    except EnforcerError:
        return b""


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)

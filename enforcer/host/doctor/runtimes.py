"""What containerd's CRI and Docker run containers with: each has to be the gate."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.host.doctor.finding import Finding, UnseenError
from enforcer.host.doctor.gate import (
    Program,
    folders_of,
    found_in,
    gate_place,
    gate_problems,
)
from enforcer.host.doctor.look import Look, under
from enforcer.settings import EngineSettings

RUNC_SHIMS = ("", "io.containerd.runc.v2", "io.containerd.runc.v1")
CRI_RUNTIME = ("io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri")
OWN_RUNTIMES = ("runc", "io.containerd.runc.v2")  # Docker's own names for runc


@dataclass(frozen=True, slots=True)
class Handler:
    """One runc handler of CRI: its shim, and the program that shim starts."""

    name: str
    kind: str
    shim: str
    binary: str


def check(look: Look) -> Iterator[Finding | str]:
    """Ask CRI for its handlers, and dockerd for its runtimes."""
    for engine in look.engines():
        try:
            if engine.kind == "containerd":
                yield from _containerd(look, engine)
            else:
                yield from _docker(look, engine)
        except UnseenError as error:
            yield error.finding


def cri_section(look: Look, engine: EngineSettings) -> Mapping[str, object] | None:
    """Return CRI's part of containerd's configuration; None where it is disabled."""
    tree = look.configuration(engine)
    disabled = under(tree, "disabled_plugins") or []
    for name in CRI_RUNTIME:
        found = under(tree, "plugins", name)
        if (
            isinstance(found, Mapping)
            and name not in disabled
            and "cri" not in disabled
        ):
            return found
    return None


def _containerd(look: Look, engine: EngineSettings) -> Iterator[Finding | str]:
    running = look.cri(engine)
    if running is None:
        yield f"containerd on {engine.socket} serves no CRI"
        return
    handlers = _handlers(running, "runtimeType", "runtimePath")
    section = cri_section(look, engine)
    if handlers != _handlers(section or {}, "runtime_type", "runtime_path"):
        yield Finding(
            Code.CONFIG_NOT_LOADED,
            str(engine.socket),
            "CRI runs with other handlers than its configuration files say",
            "systemctl restart containerd",
        )
    if not handlers:
        raise UnseenError(str(engine.socket), "CRI names no handler", "crictl info")
    for handler in handlers:
        yield from _handler(look, engine, handler)


def _handlers(tree: Mapping[str, object], kind: str, shim: str) -> list[Handler]:
    runtimes = under(tree, "containerd", "runtimes")
    if not isinstance(runtimes, Mapping):
        return []
    return [
        Handler(
            str(name),
            str(under(values, kind) or ""),
            str(under(values, shim) or ""),
            str(under(values, "options", "BinaryName") or ""),
        )
        for name, values in sorted(runtimes.items())
    ]


def _handler(
    look: Look, engine: EngineSettings, handler: Handler
) -> Iterator[Finding | str]:
    subject = f"handler {handler.name} of CRI ({engine.socket})"
    if handler.kind not in RUNC_SHIMS or handler.shim:
        what = f"the gate does not stand before {handler.shim or handler.kind}"
        yield Finding(Code.BINARY_NAME, subject, what, "take it out of config.toml")
        return
    program = _program(look, engine, handler.binary or "runc")
    if program is None or not program.is_gate:
        named = f"BinaryName is {handler.binary}" if handler.binary else "no BinaryName"
        finds = program or "nothing"
        mend = (
            f'BinaryName = "{gate_place(look)}" (the gate) in its options in '
            "/etc/containerd/config.toml; systemctl restart containerd"
        )
        what = f"{named}, so it runs {finds}, which is not the gate"
        yield Finding(Code.BINARY_NAME, subject, what, mend)
        return
    yield f"{subject} runs the gate as {program}"
    if handler.binary:  # in PATH it is looked at as each daemon's
        yield from gate_problems(look, program)


def _program(look: Look, engine: EngineSettings, named: str) -> Program | None:
    """Return what a name stands for where this daemon starts programs."""
    root = look.process(engine).root
    if named.startswith("/"):
        program = Program(Path(named), root / named.lstrip("/"))
        return program if program.runs else None
    for program in found_in(folders_of(look, engine), root, named):
        if program.runs:
            return program
    return None


def _docker(look: Look, engine: EngineSettings) -> Iterator[Finding | str]:
    info = look.docker_info(engine)
    subject = f"docker ({engine.root})"
    runtimes = info.get("Runtimes")
    if not isinstance(runtimes, dict):
        raise UnseenError(subject, "dockerd names no runtimes", "docker info")
    others = sorted(n for n, v in runtimes.items() if not _is_gate(look, engine, n, v))
    default = info.get("DefaultRuntime")
    if default in others or default not in runtimes:
        yield Finding(
            Code.DEFAULT_RUNTIME,
            subject,
            f"its default runtime is {default}, which is not the gate",
            "take default-runtime out of /etc/docker/daemon.json; "
            "systemctl restart docker",
        )
    else:
        yield f"the default runtime of {subject} is {default}"
    if others and look.asks_plugin(engine):
        return  # the authorization plug-in refuses every other runtime
    for name in others:
        path = under(runtimes[name], "path") or under(runtimes[name], "runtimeType")
        yield Finding(
            Code.OTHER_RUNTIME,
            subject,
            f"runtime {name} is {path}, and the gate does not stand before it",
            "take it out of `runtimes` in /etc/docker/daemon.json and systemctl "
            "reload docker, or turn on enforcer's plug-in (enforcer-authz)",
        )


def _is_gate(look: Look, engine: EngineSettings, name: str, value: object) -> bool:
    """Whether a runtime of dockerd's is runc from PATH, or the gate by another name."""
    path, kind = under(value, "path"), under(value, "runtimeType")
    if kind not in (None, *RUNC_SHIMS):
        return False
    if path == "runc" and name in OWN_RUNTIMES:
        return True  # which runc that is, is the business of `gate`
    binary = path or under(value, "options", "BinaryName")
    program = (
        _program(look, engine, os.fspath(binary)) if isinstance(binary, str) else None
    )
    return program is not None and program.is_gate

"""What the gate itself costs: a shell for every runc, and a Python for every create."""

import re
from collections.abc import Callable
from functools import partial

from enforcer.gate import ask
from tests.bench.measure import Group, Probe, interleave, rounds, rows, spawn, timed
from tests.bench.stage import Running, Stage
from tests.engines.enforced import SYSTEM_PYTHON
from tests.engines.path import REAL_RUNC

ROUNDS = 30
_ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
_ISOLATED = (str(SYSTEM_PYTHON), "-I", "-S", "-E")
_BASELINES = {
    "gate --version": "runc --version",
    "gate state ID": "runc state ID",
    "ask.py, told what it does not know": "python3 -I -S -E -c pass",
    "ask.py, asks and gets a yes": "python3 -I -S -E -c pass",
}


def measure(stage: Stage) -> Group:
    """Spawn each program to its end."""
    runc, gate = str(REAL_RUNC), str(stage.host.gate / "runc")
    state = ("--root", stage.signed.root, "state", stage.signed.id)
    commands: dict[str, tuple[tuple[str, ...], int]] = {
        "sh -c :": (("/bin/sh", "-c", ":"), 0),
        "runc --version": ((runc, "--version"), 0),
        "gate --version": ((gate, "--version"), 0),
        "runc state ID": ((runc, *state), 0),
        "gate state ID": ((gate, *state), 0),
        "python3 -I -S -E -c pass": ((*_ISOLATED, "-c", "pass"), 0),
        "ask.py, told what it does not know": (_ask(stage, "nonsense"), ask.REFUSED),
        "ask.py, asks and gets a yes": (_ask(stage, *_create(stage.signed)), ask.YES),
    }
    probes: dict[str, Probe] = {
        name: timed(_expecting(status, partial(spawn, command, _ENVIRONMENT), name))
        for name, (command, status) in commands.items()
    }
    made = rows(interleave(probes, rounds(ROUNDS)), _BASELINES)
    return Group("the gate's own programs, spawn to exit", made)


def _ask(stage: Stage, *runc_arguments: str) -> tuple[str, ...]:
    """The gate's call of its Python, word for word."""
    host = stage.host
    options = {
        "--socket": host.run / "ask.sock",
        "--conf": host.config / "gate.conf",
        "--gate-log": host.state / "log" / "gate.log",
    }
    words = [word for name, path in options.items() for word in (name, str(path))]
    asker = re.search(r"^ask='(.*)'$", (host.gate / "runc").read_text(), re.MULTILINE)
    if asker is None:
        raise RuntimeError(f"{host.gate / 'runc'} does not say what it asks with")
    return (*_ISOLATED, asker[1], *words, "--", *runc_arguments)


def _create(container: Running) -> tuple[str, ...]:
    bundle = str(container.bundle)
    return ("--root", container.root, "create", "--bundle", bundle, container.id)


def _expecting(status: int, run: Callable[[], int], name: str) -> Callable[[], None]:
    """Do not measure how fast something else happens."""

    def action() -> None:
        found = run()
        if found != status:
            raise RuntimeError(f"`{name}` exits {found}, not {status}")

    return action

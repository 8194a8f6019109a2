"""What can become of the gate, and of what the engines find besides it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from enforcer.gate.render import render_gate
from tests.engines.enforced import SYSTEM_PYTHON
from tests.engines.path import REAL_RUNC
from tests.real.sabotage.victim import (
    Happens,
    Sabotage,
    Victim,
    linked,
    rewritten,
    with_mode,
)

NAMED = {"runc": REAL_RUNC, "python": SYSTEM_PYTHON}
ASKS = "command='' value"  # the line at which the gate begins to look at its arguments


@contextlib.contextmanager
def runc_in_front(victim: Victim) -> Iterator[Sequence[str]]:
    """As /opt/containerd/bin on a host: containerd looks there before its PATH."""
    with linked(victim.containerd.home / "opt" / "bin" / "runc", REAL_RUNC):
        yield ()


@contextlib.contextmanager
def runc_behind(victim: Victim) -> Iterator[Sequence[str]]:
    """As after an upgrade of its package: in a later folder of PATH."""
    with linked(victim.containerd.programs / "runc", REAL_RUNC):
        yield ()


@contextlib.contextmanager
def _removed(victim: Victim) -> Iterator[Sequence[str]]:
    victim.gate.unlink()
    try:
        yield ()
    finally:
        victim.stage.host.write_gate()


@contextlib.contextmanager
def _removed_and_installed(victim: Victim) -> Iterator[Sequence[str]]:
    with _removed(victim), runc_behind(victim):
        yield ()


@contextlib.contextmanager
def _replaced(victim: Victim) -> Iterator[Sequence[str]]:
    with _removed(victim), linked(victim.gate, REAL_RUNC):
        yield ()


@contextlib.contextmanager
def _not_executable(victim: Victim) -> Iterator[Sequence[str]]:
    with with_mode(victim.gate, 0o644), runc_behind(victim):
        yield ()


@contextlib.contextmanager
def _writable(victim: Victim) -> Iterator[Sequence[str]]:
    with with_mode(victim.gate, 0o777):
        yield ()


@contextlib.contextmanager
def _edited(victim: Victim) -> Iterator[Sequence[str]]:
    """One line more, and everything becomes runc before anybody is asked."""
    text = victim.gate.read_text().replace(ASKS, f'exec {REAL_RUNC} "$@"\n{ASKS}')
    with rewritten(victim.gate, text):
        yield ()


@contextlib.contextmanager
def _of_another_host(victim: Victim) -> Iterator[Sequence[str]]:
    host = victim.stage.host
    text = render_gate(
        runc=REAL_RUNC,
        python=SYSTEM_PYTHON,
        run_dir=Path("/nowhere"),
        config_dir=host.config,
        log_dir=host.state / "log",
    )
    with rewritten(victim.gate, text):
        yield ()


def _naming(name: str, path: str) -> Happens:
    """Have the gate name another program, as one that is gone after an upgrade."""

    @contextlib.contextmanager
    def happens(victim: Victim) -> Iterator[Sequence[str]]:
        text = victim.gate.read_text()
        text = text.replace(f"{name}='{NAMED[name]}'", f"{name}='{path}'")
        with rewritten(victim.gate, text):
            yield ()

    return happens


GATE_ROWS = (
    Sabotage("runc in front of it", "docker", runc_in_front, "ENF-2110", "start"),
    Sabotage("gate removed", "docker", _removed, "ENF-2111"),
    Sabotage(
        "gate removed, runc installed", "docker", _removed_and_installed, "ENF-2110",
        "start",
    ),
    Sabotage("gate not executable", "docker", _not_executable, "ENF-2110", "start"),
    Sabotage("gate replaced by runc", "docker", _replaced, "ENF-2110", "start"),
    Sabotage("gate edited", "docker", _edited, "ENF-2112", "start"),
    Sabotage("gate of another host", "docker", _of_another_host, "ENF-2112"),
    Sabotage("gate writable by all", "docker", _writable, "ENF-2160"),
    Sabotage("no python", "docker", _naming("python", "/nowhere/python3"), "ENF-2113"),
    Sabotage("real runc gone", "docker", _naming("runc", "/nowhere/runc"), "ENF-2115"),
    Sabotage("a second runc behind it", "docker", runc_behind, "ENF-2114"),
)  # fmt: skip

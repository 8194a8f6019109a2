"""Runs every check on its own: one that fails, hangs or lies spoils no other."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.host.doctor import (
    authz,
    dates,
    enforcerd,
    engines,
    gate,
    nri,
    permissions,
    room,
    runtimes,
    units,
    verifier,
)
from enforcer.host.doctor.finding import AS_ROOT, Finding, Report, UnseenError
from enforcer.host.doctor.look import Look

# A check asks two engines at most, each within 5 s, and runs `containerd config dump`.
CHECK_SECONDS = 20.0
TOTAL_SECONDS = 50.0

# Yields what it found, and as plain text what it saw to be well.
Check = Callable[[Look], Iterator[Finding | str]]

CHECKS: dict[str, Check] = {
    "engines": engines.check,
    "gate": gate.check,
    "runtimes": runtimes.check,
    "pulls": verifier.check,
    "docker plug-in": authz.check,
    "nri": nri.check,
    "enforcerd": enforcerd.check,
    "gate.conf": enforcerd.check_gate_conf,
    "units": units.check,
    "permissions": permissions.check,
    "room": room.check,
    "clock": dates.check_clock,
    "trust": dates.check_trust,
    "evidence": dates.check_evidence,
}


def examine(
    look: Look,
    checks: dict[str, Check] | None = None,
    *,
    check_seconds: float = CHECK_SECONDS,
) -> Report:
    """Run the checks one after the other, each within its time."""
    checked: list[tuple[str, str]] = []
    findings: dict[Finding, None] = {}  # two engines may share what is amiss
    end = time.monotonic() + TOTAL_SECONDS
    for name, check in (checks or CHECKS).items():
        left = min(check_seconds, end - time.monotonic())
        for seen in _run(name, check, look, max(left, 0)):
            if isinstance(seen, Finding):
                findings[seen] = None
            else:
                checked.append((name, seen))
    ordered = sorted(findings, key=lambda f: (f.severity, f.code))
    return Report(tuple(checked), tuple(ordered))


def _run(
    name: str, check: Check, look: Look, seconds: float
) -> Iterable[Finding | str]:
    """Return what a check yields before it ends or its time is up.

    In a thread that nobody waits for: a file system may hang where no call has a
    timeout.
    """
    seen: list[Finding | str] = []
    thread = threading.Thread(
        target=lambda: seen.extend(_seen(name, check, look)), daemon=True
    )
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        why = f"looking took longer than {seconds:g} s"
        return [Finding(Code.UNSEEN, name, why, "find out what hangs, then try again")]
    return seen


def _seen(name: str, check: Check, look: Look) -> Iterator[Finding | str]:
    try:
        yield from check(look)
    except UnseenError as error:
        yield error.finding
    except EnforcerError as error:
        remedy = error.remedy if os.geteuid() == 0 else AS_ROOT
        yield Finding(Code.UNSEEN, name, error.what, remedy)
    except OSError as error:
        what = f"could not find out: {error.strerror or error} {error.filename or ''}"
        yield Finding(Code.UNSEEN, name, what.strip(), _as_root())
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not look well
        what = f"could not find out: {type(error).__name__}: {error}"
        yield Finding(Code.UNSEEN, name, what, "please report this")


def _as_root() -> str:
    return "try again" if os.geteuid() == 0 else AS_ROOT

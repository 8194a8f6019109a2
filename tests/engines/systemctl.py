#!/usr/bin/python3 -IS
"""A stand-in for systemctl on a private host: real programs, known by their pids.

Units of ours are read from /etc/systemd/system; the engines' are in a table. Sockets
are made here and handed over as systemd does, with the mode a unit asks for.
"""

import contextlib
import fcntl
import grp
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

STATE = Path("/run/standin")
UNITS = Path("/etc/systemd/system")
READY_SECONDS = 60
STOP_SECONDS = 20


def main(words: list[str]) -> int:
    word, *names = words
    if word == "show":
        _, what, _, name = names
        table = json.loads((STATE / "services.json").read_text())
        known = {"MainPID": _pid(name), "ActiveState": _active(name)}
        print(known.get(what, table.get(name, {}).get(what, "")))
        return 0
    if word == "is-active":
        print(_active(names[0]))
        return 0 if _pid(names[0]) else 3
    if word in ("daemon-reload", "reset-failed"):
        return 0
    jobs = {"start": start, "stop": stop, "restart": restart, "reload": reload}
    return _to_the_end(jobs[word], names)


def _to_the_end(job: Callable[[str], None], names: list[str]) -> int:
    """Do it as systemd does: one job after the other, and also if who asked is killed.

    The job is in a session of its own, so a signal to a group of processes spares it.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    os.setsid()
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in names:
            job(name)
    return 0


def start(name: str) -> None:
    if not name.endswith(".service") or _pid(name):
        return
    table = json.loads((STATE / "services.json").read_text())
    known = table.get(name) or {"argv": _unit(name)["ExecStart"].split(), "env": {}}
    listeners = _listeners(name)
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **known["env"]}
    here = len(listeners)

    def hand_over() -> None:
        for at, (_, listener) in enumerate(listeners):
            os.dup2(listener.fileno(), 100 + at)
        for at in range(here):
            os.dup2(100 + at, 3 + at)
            os.close(100 + at)

    argv = known["argv"]
    if here:
        env |= {
            "LISTEN_FDS": str(here),
            "LISTEN_FDNAMES": ":".join(n for n, _ in listeners),
        }
        argv = ["/bin/sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh", *argv]
    with (STATE / f"{name}.log").open("ab") as log:
        child = subprocess.Popen(
            argv, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            start_new_session=True, preexec_fn=hand_over if here else None,
            pass_fds=range(3, 3 + here), cwd="/",
        )  # fmt: skip
    (STATE / f"{name}.pid").write_text(str(child.pid))
    deadline = time.monotonic() + READY_SECONDS
    while known.get("ready") and not _accepts(known["ready"]):
        if child.poll() is not None or time.monotonic() > deadline:
            sys.exit(
                f"{name} did not start: {(STATE / f'{name}.log').read_text()[-1500:]}"
            )
        time.sleep(0.05)


def stop(name: str) -> None:
    pid = _pid(name)
    if pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        while _pid(name):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    (STATE / f"{name}.pid").unlink(missing_ok=True)
    if name.endswith(".socket") and (UNITS / name).exists():
        Path(_unit(name)["ListenStream"]).unlink(missing_ok=True)


def restart(name: str) -> None:
    stop(name)
    start(name)


def reload(name: str) -> None:
    table = json.loads((STATE / "services.json").read_text())
    os.kill(_pid(name), table[name].get("reload", signal.SIGHUP))
    time.sleep(0.2)  # systemd waits no longer either


def _listeners(service: str) -> list[tuple[str, socket.socket]]:
    found = []
    for path in sorted(UNITS.glob("*.socket")):
        unit = _unit(path.name)
        if unit.get("Service", path.stem + ".service") == service:
            place = Path(unit["ListenStream"])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(place))
            place.chmod(int(unit["SocketMode"], 8))
            with contextlib.suppress(KeyError):
                os.chown(place, 0, grp.getgrnam(unit.get("SocketGroup", "root")).gr_gid)
            listener.listen(128)
            found.append((unit.get("FileDescriptorName", path.name), listener))
    return found


def _unit(name: str) -> dict[str, str]:
    return dict(re.findall(r"^(\w+)=(.*)$", (UNITS / name).read_text(), re.MULTILINE))


def _pid(name: str) -> int:
    try:
        pid = int((STATE / f"{name}.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return 0
    return 0 if state in "ZX" else pid


def _active(name: str) -> str:
    known = (STATE / f"{name}.pid").exists()
    return "active" if _pid(name) else "failed" if known else "inactive"


def _accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(path) == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

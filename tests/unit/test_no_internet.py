"""A process that gave up the internet, and what it starts, has unix sockets alone."""

import subprocess
import sys
from pathlib import Path

from enforcer.no_internet import give_up_internet

KINDS = ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK")
_TRIES = """
import errno, socket, sys
for name in sys.argv[1:]:
    try:
        socket.socket(getattr(socket, name)).close()
        print(name, "made")
    except OSError as error:
        print(name, errno.errorcode[error.errno])
"""
_CHILD = f"""
import subprocess, sys
from enforcer.no_internet import give_up_internet
tries = {_TRIES!r}
print(give_up_internet(), flush=True)
exec(tries)
sys.stdout.flush()
subprocess.run([sys.executable, "-c", tries, *sys.argv[1:]], check=True)
"""


def _run(script: str, *words: str) -> list[str]:
    command = [sys.executable, "-c", script, *words]
    environment = {"PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_kernel_refuses_it_and_its_children_all_but_unix_sockets() -> None:
    """Whatever a library tries out: there is no such address family for it."""
    before = _run(_TRIES, "AF_INET", "AF_INET6")
    after = _run(_CHILD, "AF_UNIX", *KINDS)

    refused = ["AF_UNIX made", *(f"{name} EAFNOSUPPORT" for name in KINDS)]
    assert before == ["AF_INET made", "AF_INET6 made"]
    assert after == ["True", *refused, *refused]


def test_another_kind_of_machine_is_left_as_it_is() -> None:
    """The numbers of its calls are not known here, and a wrong one would break it."""
    assert give_up_internet("s390x") is False

"""enforcer-cri as systemd sees it. A real process; no root and no engine needed."""

import shutil
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.systemd import WAIT_SECONDS, Systemd, managing


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with managing("enforcer.hooks.cri") as manager:
        yield manager


def _settings(systemd: Systemd, *engines: str) -> None:
    lines = ["apiVersion: enforcer/v1", f"engines: [{', '.join(engines)}]", ""]
    (systemd.home / "config/enforcer.yaml").write_text("\n".join(lines))


def _engine(systemd: Systemd) -> str:
    home = systemd.home
    return f"{{kind: containerd, socket: {home}/c.sock, root: {home}, state: {home}}}"


def _ask(path: Path) -> grpc.StatusCode:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        call = channel.unary_unary("/runtime.v1.RuntimeService/Version")
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=WAIT_SECONDS, wait_for_ready=True)
        return caught.value.code()


def test_serves_without_containerd_and_stops_when_told(systemd: Systemd) -> None:
    """At boot it may be first; kubelet is told that there is no runtime yet."""
    _settings(systemd, _engine(systemd))
    process = systemd.start()
    systemd.hears(b"READY=1")
    path = systemd.home / "run/cri.sock"

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert _ask(path) is grpc.StatusCode.UNAVAILABLE
    systemd.hears(b"WATCHDOG=1")
    process.send_signal(signal.SIGTERM)
    systemd.hears(b"STOPPING=1")
    assert process.wait(WAIT_SECONDS) == 0


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="no systemd here"
)
def test_takes_the_socket_that_systemd_made(systemd: Systemd) -> None:
    """Callers queue on it while the proxy restarts."""
    _settings(systemd, _engine(systemd))
    path = systemd.home / "cri.sock"
    systemd.start(
        before=("systemd-socket-activate", "--fdname=cri.sock", f"--listen={path}")
    )

    assert _ask(path) is grpc.StatusCode.UNAVAILABLE
    assert not (systemd.home / "run/cri.sock").exists()


def test_a_second_one_for_the_same_folder_does_not_serve(systemd: Systemd) -> None:
    """It would take the socket from the first."""
    _settings(systemd, _engine(systemd))
    systemd.start()
    systemd.hears(b"READY=1")

    assert systemd.start().wait(WAIT_SECONDS) == 3
    assert b"another enforcer-cri serves here" in (systemd.home / "log").read_bytes()


def test_without_a_containerd_in_the_settings_it_does_not_start(
    systemd: Systemd,
) -> None:
    """Whose CRI it were is anybody's guess."""
    _settings(systemd)

    assert systemd.start().wait(WAIT_SECONDS) == 4
    log = (systemd.home / "log").read_bytes()
    assert b"no containerd among `engines`. List the one that serves CRI." in log

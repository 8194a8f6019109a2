"""Which engine is one to install for: told by what runs, whatever is configured."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from enforcer.host.install.docker_change import docker_change
from enforcer.host.install.engines import Docker, find_containerd, find_docker
from enforcer.host.install.manager import ManagerError, require_systemd
from enforcer.host.install.processes import InstallError, running
from enforcer.host.processes import Process
from tests.limits import SOMEBODY


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of main processes, each in a file named for its unit."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nfor unit; do :; done\ncd "{tmp_path}"\n'
        'cat "$unit" 2>/dev/null || echo 0\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def somebodys() -> Iterator[int]:
    """A process that root does not run."""
    with subprocess.Popen(["/bin/sleep", "1000"], user=SOMEBODY) as process:
        yield process.pid
        process.kill()


def test_no_docker_is_said(units: Path) -> None:
    with pytest.raises(InstallError, match=r"Docker does not run on this host.*2303"):
        find_docker()
    with pytest.raises(InstallError, match=r"containerd does not run on.*2303"):
        find_containerd()


def test_a_snap_is_refused(units: Path, somebodys: int) -> None:
    """Its runc is in a file system that cannot be changed."""
    (units / "snap.docker.dockerd.service").write_text(str(somebodys))

    with pytest.raises(InstallError, match=r"Docker is a snap.*ENF-2304"):
        find_docker()


def test_a_docker_of_somebody_else_is_refused(units: Path, somebodys: int) -> None:
    """What a user runs in namespaces of their own never meets the gate."""
    (units / "docker.service").write_text(str(somebodys))

    with pytest.raises(InstallError, match=r"Docker is rootless.*ENF-2304"):
        find_docker()


def test_the_socket_that_needs_no_name_is_dockers_own(units: Path) -> None:
    """`-H unix://` stands in many a unit, and means /var/run/docker.sock."""
    words = ["/bin/sh", "-c", "read line", "-H", "unix://"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        (units / "docker.service").write_text(str(process.pid))
        try:
            found = str(find_docker().socket)
        except InstallError as error:  # there is no Docker here
            found = error.what
        finally:
            process.kill()

    assert "/var/run/docker.sock" in found


def test_an_engine_that_has_just_ended_is_an_error_in_words() -> None:
    with pytest.raises(InstallError, match="process 999999999 cannot be read"):
        running(999999999)


def test_without_systemd_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ManagerError, match=r"by hand.*ENF-2302"):
        require_systemd()


def _docker(config: Path, *words: str) -> Docker:
    process = Process(1, ("dockerd", *words), (), program=Path("/bin/true"))
    return Docker(process, config, Path("/x"), {}, None, Path("/run/docker"))


@pytest.mark.parametrize(
    "words",
    [("--authorization-plugin=opa",), ("--debug", "--authorization-plugin", "opa")],
)
def test_the_same_setting_as_a_flag_and_in_a_file_is_refused(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """dockerd does not start with both."""
    with pytest.raises(InstallError, match="--authorization-plugin=opa on its comm"):
        docker_change(_docker(tmp_path / "daemon.json", *words))


def _options(words: str, *names: str) -> list[str]:
    return Process(1, ("d", *words.split()), ()).options(*names)


def test_options_are_read_in_both_their_spellings() -> None:
    words = "-c /a --config=/b --other"

    assert _options(words, "--config", "-c") == ["/a", "/b"]
    assert _options(words, "--other") == [""]
    assert _options(words, "--none") == []


@pytest.mark.parametrize("word", ["-config", "--config", "-c", "--c"])
def test_containerd_takes_its_options_after_any_dashes(word: str) -> None:
    """Or the file that is changed would not be the one that it reads."""
    words = f"{word} /a -root=/b config dump"

    assert _options(words, "--config", "-c") == ["/a"]
    assert _options(words, "--root") == ["/b"]
    assert _options(words, "--log-level") == []


def test_of_an_option_that_is_given_twice_the_last_counts() -> None:
    """So do the engines read it."""
    process = Process(1, ("d", "--root=/a", "--root", "/b", "--debug", ""), ())

    assert process.option("--root") == "/b"
    assert process.option("--config") == ""

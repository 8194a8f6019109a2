"""What can be changed in the engines' own configuration, and around it."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from enforcer.host.processes import SLACK_SECONDS
from tests.engines.path import REAL_RUNC
from tests.real.sabotage.gate import runc_behind
from tests.real.sabotage.victim import Happens, Sabotage, Victim, linked, rewritten

BINDIR = """
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{folder}"
"""
MAX_VERIFIERS = 10  # as containerd has it
RUNTIMES = 'plugins."io.containerd.cri.v1.runtime".containerd.runtimes'
IMAGES = '[plugins."io.containerd.cri.v1.images"'
ANY = "#!/bin/sh\nexit 0\n"

# Each alone makes CRI of containerd 2.1 pull without a question.
LOCAL_PULLS = {
    "use_local_image_pull": "true",
    "max_concurrent_downloads": "5",
    "disable_snapshot_annotations": "false",
    "discard_unpacked_layers": "true",
    "image_pull_with_sync_fs": "true",
    'registry.mirrors."example.org".endpoint': '["http://127.0.0.1:1"]',
    'registry.configs."example.org".tls.insecure_skip_verify': "true",
    'registry.auths."https://example.org".username': '"somebody"',
}


@contextlib.contextmanager
def _reconfigured(victim: Victim, change: Callable[[str], str]) -> Iterator[None]:
    """Have containerd run with other words in its configuration."""
    containerd = victim.containerd
    try:
        with rewritten(containerd.config, change(containerd.config.read_text())):
            containerd.stop()
            containerd.start()
            yield
    finally:
        containerd.stop()
        containerd.start()


@contextlib.contextmanager
def _not_restarted(victim: Victim, change: Callable[[str], str]) -> Iterator[None]:
    """Have other words in containerd's file than it began with."""
    containerd = victim.containerd
    time.sleep(SLACK_SECONDS + 0.2)  # the row before may just have started it
    try:
        with rewritten(containerd.config, change(containerd.config.read_text())):
            yield
    finally:  # the file is newer than containerd again
        containerd.stop()
        containerd.start()


def _without_name(victim: Victim) -> Callable[[str], str]:
    return lambda text: text.replace(f'BinaryName = "{victim.gate}"', "")


@contextlib.contextmanager
def _name_lost(victim: Victim) -> Iterator[Sequence[str]]:
    """The line goes, and CRI takes what PATH has: the package's runc."""
    with runc_behind(victim), _reconfigured(victim, _without_name(victim)):
        yield ()


@contextlib.contextmanager
def _name_lost_on_disk(victim: Victim) -> Iterator[Sequence[str]]:
    """It goes at the next restart; till then all is well."""
    with _not_restarted(victim, _without_name(victim)):
        yield ()


@contextlib.contextmanager
def _config_edited(victim: Victim) -> Iterator[Sequence[str]]:
    """Of what it runs with nobody can tell then."""
    with _not_restarted(victim, lambda text: f"{text}# mended\n"):
        yield ()


@contextlib.contextmanager
def _old_shim(victim: Victim) -> Iterator[Sequence[str]]:
    """A container was started before the gate was there: its shim keeps its PATH."""
    image, name = victim.stage.image("old"), victim.stage.name("old")
    name, ctr = victim.containerd.container_id(name), victim.containerd.ctr
    with _another_path(victim):
        ctr("run", "--detach", image.full, name, "/bin/sleep", "600")
    try:
        yield ()
    finally:
        ctr("tasks", "rm", "--force", name)
        ctr("containers", "rm", name)


def _more_config(more: str) -> Happens:
    @contextlib.contextmanager
    def happens(victim: Victim) -> Iterator[Sequence[str]]:
        with _reconfigured(victim, lambda text: text + more):
            yield ()

    return happens


_another_handler = _more_config(f"""
[{RUNTIMES}.free]
  runtime_type = "io.containerd.runc.v2"
[{RUNTIMES}.free.options]
  BinaryName = "{REAL_RUNC}"
""")
_another_path = _more_config(f"""
[plugins."io.containerd.shim.v1.manager"]
  env = ["PATH={REAL_RUNC.parent}:{os.defpath}"]
""")


def _pulls_locally(setting: str, value: str) -> Happens:
    @contextlib.contextmanager
    def happens(victim: Victim) -> Iterator[Sequence[str]]:
        pinned = f"{IMAGES}.pinned_images]"
        line = f"{IMAGES}]\n  {setting} = {value}\n{pinned}"
        with _reconfigured(victim, lambda text: text.replace(pinned, line)):
            yield ()

    return happens


@contextlib.contextmanager
def _bindir_emptied(victim: Victim) -> Iterator[Sequence[str]]:
    (victim.bindir / "00-enforcer").unlink()
    try:
        yield ()
    finally:
        victim.stage.host.enforcer("gate", "--bindir", victim.bindir)


@contextlib.contextmanager
def _bindir_removed(victim: Victim) -> Iterator[Sequence[str]]:
    away = victim.bindir.rename(victim.bindir.with_name("away"))
    try:
        yield ()
    finally:
        away.rename(victim.bindir)


@contextlib.contextmanager
def _outnumbered(victim: Victim) -> Iterator[Sequence[str]]:
    others = [victim.bindir / f"00-0-{number}" for number in range(MAX_VERIFIERS)]
    for other in others:
        other.write_text(ANY)
        other.chmod(0o755)
    try:
        yield ()
    finally:
        for other in others:
            other.unlink()


@contextlib.contextmanager
def _verifier_replaced(victim: Victim) -> Iterator[Sequence[str]]:
    with rewritten(victim.bindir / "00-enforcer", ANY):
        yield ()


def _daemon_json(changes: Mapping[str, object]) -> Happens:
    """Have dockerd run with other settings; None takes a key out."""

    @contextlib.contextmanager
    def happens(victim: Victim) -> Iterator[Sequence[str]]:
        docker = victim.stage.docker
        settings = json.loads(docker.config.read_text()) | changes
        kept = {key: value for key, value in settings.items() if value is not None}
        try:
            with rewritten(docker.config, json.dumps(kept)):
                docker.restart()
                yield ()
        finally:
            docker.restart()

    return happens


FREE = {"free": {"path": str(REAL_RUNC)}}
_unlisted = _daemon_json({"authorization-plugins": None})
_default_runtime = _daemon_json(
    {"runtimes": FREE, "default-runtime": "free", "authorization-plugins": None}
)
_another_runtime = _daemon_json({"runtimes": FREE, "authorization-plugins": None})


@contextlib.contextmanager
def _authz_socket_gone(victim: Victim) -> Iterator[Sequence[str]]:
    victim.authz.relay.close()
    try:
        yield ()
    finally:
        victim.authz.relay.start()


@contextlib.contextmanager
def _authz_hung(victim: Victim) -> Iterator[Sequence[str]]:
    os.kill(victim.authz.relay.pid, signal.SIGSTOP)
    try:
        yield ()
    finally:
        os.kill(victim.authz.relay.pid, signal.SIGCONT)


@contextlib.contextmanager
def _authz_socket_masked(victim: Victim) -> Iterator[Sequence[str]]:
    """systemd's folder as doctor sees it: mounted in a namespace of its own."""
    units = victim.stage.host.home / "units"
    script = f'mount --bind {units} /etc/systemd/system && exec "$@"'
    with linked(units / "enforcer-authz.socket", Path(os.devnull)):
        yield ("/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh")


def _hung(who: Literal["dockerd", "containerd"]) -> Happens:
    @contextlib.contextmanager
    def happens(victim: Victim) -> Iterator[Sequence[str]]:
        pid = victim.stage.docker.pid if who == "dockerd" else victim.containerd.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield ()
        finally:
            os.kill(pid, signal.SIGCONT)

    return happens


@contextlib.contextmanager
def _dockerd_down(victim: Victim) -> Iterator[Sequence[str]]:
    victim.stage.docker.kill()
    try:
        yield ()
    finally:
        victim.stage.docker.start()


ENGINE_ROWS = (
    Sabotage("another PATH", "kubernetes", _another_path, "ENF-2110", "start"),
    Sabotage("BinaryName lost", "named", _name_lost, "ENF-2120", "start"),
    Sabotage("BinaryName lost on disk", "named", _name_lost_on_disk, "ENF-2105"),
    Sabotage("config.toml edited", "kubernetes", _config_edited, "ENF-2105"),
    Sabotage("a shim with an old PATH", "kubernetes", _old_shim, "ENF-2110"),
    Sabotage("another handler", "kubernetes", _another_handler, "ENF-2120", "start"),
    Sabotage("bindir emptied", "kubernetes", _bindir_emptied, "ENF-2131", "pull"),
    Sabotage("bindir removed", "kubernetes", _bindir_removed, "ENF-2130", "pull"),
    Sabotage("eleventh verifier", "kubernetes", _outnumbered, "ENF-2132", "pull"),
    Sabotage("verifier replaced", "kubernetes", _verifier_replaced, "ENF-2131", "pull"),
    *(
        Sabotage(
            f"local pulls: {name}", "kubernetes", _pulls_locally(name, value),
            "ENF-2134", "pull",
        )
        for name, value in LOCAL_PULLS.items()
    ),
    Sabotage("authz not listed", "docker", _unlisted, "ENF-2140"),
    Sabotage("authz socket gone", "docker", _authz_socket_gone, "ENF-2141"),
    Sabotage("authz hung", "docker", _authz_hung, "ENF-2141"),
    Sabotage("authz socket masked", "docker", _authz_socket_masked, "ENF-2164"),
    Sabotage("default runtime", "docker", _default_runtime, "ENF-2121", "start"),
    Sabotage("another runtime", "docker", _another_runtime, "ENF-2122", "start"),
    Sabotage("dockerd hung", "docker", _hung("dockerd"), "ENF-2101", status=3),
    Sabotage(
        "containerd hung", "kubernetes", _hung("containerd"), "ENF-2101", status=3
    ),
    Sabotage("dockerd down", "docker", _dockerd_down, "ENF-2102", status=3),
)  # fmt: skip

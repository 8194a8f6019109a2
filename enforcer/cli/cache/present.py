"""Which images are on this host, for `cache gc`: all that any of its engines has.

An engine whose store is not there may be one whose disk is not mounted: then nobody
knows. Only of Docker, and only where enforcer.yaml lists no engines, no trace at all
says that there is none. Of containerd nothing does: Docker may have one of its own.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.ports import EngineError
from enforcer.settings import DEFAULT_ENGINES, EngineSettings, Settings

# What a Docker leaves that is stopped, and whose data is elsewhere or not mounted.
_TRACES = (
    "/etc/docker",
    "/var/snap/docker",
    *(f"/{name}/dockerd" for name in ("usr/bin", "usr/sbin", "usr/local/bin")),
    *(f"/{name}/systemd/system/docker.service" for name in ("etc", "lib", "usr/lib")),
)
_OWN = Path("containerd/daemon")  # of Docker's root and state: a containerd it starts


def present_images(settings: Settings) -> set[Digest]:
    """Return a digest of every image that an engine of enforcer.yaml's has.

    Raises:
        EngineError: One of them does not say, so that nobody knows (ENF-1405).
    """
    from enforcer.sources.engines.stores import held_by_containerd, held_by_docker

    held = {"containerd": held_by_containerd, "docker": held_by_docker}
    found: set[Digest] = set()
    for engine in settings.engines:
        # By identity: whoever lists the same engines means that they are here.
        if settings.engines is DEFAULT_ENGINES and _is_no_docker(engine):
            continue
        try:
            found |= held[engine.kind](engine.root)
        except EngineError as error:
            if error.code is not Code.IMAGES_UNKNOWN:
                raise
            remedy = f"{error.remedy} {_advice(settings.engines, engine)}"
            raise EngineError(error.what, remedy=remedy, code=error.code) from error
    return found


def may_be_there(path: Path) -> bool:
    """Whether there is something, or it is for somebody else to say."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def _is_no_docker(engine: EngineSettings) -> bool:
    traces = (engine.root, engine.state, engine.api, *map(Path, _TRACES))
    return engine.kind == "docker" and not any(map(may_be_there, traces))


def _advice(engines: Sequence[EngineSettings], unknown: EngineSettings) -> str:
    """Say which lines make enforcer.yaml right, for whoever knows what is here."""
    others = [engine for engine in engines if engine is not unknown]
    if unknown.kind == "docker":
        return f"If there is no such Docker, enforcer.yaml has to say {_lines(others)}"
    for docker in others:
        root, state = docker.root / _OWN, docker.state / _OWN
        if docker.kind == "docker" and may_be_there(root):
            socket = docker.state / "containerd" / "containerd.sock"
            own = EngineSettings("containerd", socket, root, state)
            right = _lines([own, replace(docker, socket=socket)])
            return (
                f"If Docker starts its own containerd, enforcer.yaml has to say {right}"
            )
    return f"If its root is another, enforcer.yaml has to say which: {_lines(engines)}"


def _lines(engines: Sequence[EngineSettings]) -> str:
    return f"`engines: [{', '.join(f'{{{engine.text}}}' for engine in engines)}]`"

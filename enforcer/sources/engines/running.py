"""What runs now, read from containerd's state folder and from /proc, not asked for.

So it is known while an engine hangs, and costs little enough to be looked at often. A
task's folder outlives its process: what counts is a living process whose parent is a
shim of that namespace.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.strictjson import parse_json, require_object
from enforcer.files import read_file
from enforcer.ports import Roll, RunningContainer
from enforcer.sources.engines.bundle import MAX_SPEC_BYTES
from enforcer.sources.engines.containerd import Containerd
from enforcer.sources.engines.docker import NAMESPACE, Docker

MAX_RUNNING = 4096  # a node is sized for a hundred pods; each costs a few reads
MAX_NAMESPACES = 256

_GONE = (FileNotFoundError, ProcessLookupError, NotADirectoryError)
_ENDED = (b"Z", b"X", b"x")
# What CRI writes into a container's runtime specification (containerd, internal/cri).
_POD = ("sandbox-namespace", "sandbox-name", "container-name")
_CRI = "io.kubernetes.cri."


@dataclass(frozen=True, slots=True)
class Process:
    """A process and when it began: no two have both in common."""

    pid: int
    parent: int
    began: str

    @property
    def name(self) -> str:
        """What no other process of this boot is called."""
        return f"{self.pid}-{self.began}"


class RollCall:
    """Says what runs. Names are read once: they do not change while it does."""

    def __init__(
        self, containerds: Sequence[Containerd], dockers: Sequence[Docker]
    ) -> None:
        self._containerds = containerds
        self._dockers = dockers
        self._names: dict[tuple[str, str], str] = {}

    def roll(self) -> Roll:
        """Look at everything; what cannot be looked at is a problem in words."""
        problems: list[str] = []
        found = [c for engine in self._containerds for c in self._all(engine, problems)]
        if len(found) > MAX_RUNNING:
            problems.append(
                f"more than {MAX_RUNNING} containers run; the others are not judged "
                f"[{Code.SWEEP_TOO_MANY}]"
            )
        running = tuple(found[:MAX_RUNNING])
        self._names = {(c.bundle, c.started): c.name for c in running}
        return Roll(running, tuple(problems))

    def _all(
        self, engine: Containerd, problems: list[str]
    ) -> Iterator[RunningContainer]:
        for namespace in _folders(engine.tasks, MAX_NAMESPACES, problems):
            for bundle in _folders(namespace, MAX_RUNNING + 1, problems):
                try:
                    process = init_process(bundle)
                except OSError as error:
                    problems.append(f"{clip(str(bundle))}: {error.strerror}")
                    continue
                if process is not None:
                    yield self._container(engine, bundle, process)

    def _container(
        self, engine: Containerd, bundle: Path, process: Process
    ) -> RunningContainer:
        docker = self._docker_of(engine, bundle)
        started = process.name
        name = self._names.get((str(bundle), started))
        if name is None:
            name = docker.name_of(bundle.name) if docker else _pod_name(bundle)
        return RunningContainer(
            engine="docker" if docker else "containerd",
            root=str(docker.root if docker else engine.root),
            namespace=bundle.parent.name,
            id=bundle.name,
            name=clip(name or bundle.name),
            started=started,
            bundle=str(bundle),
            shim_pid=process.parent,
        )

    def _docker_of(self, engine: Containerd, bundle: Path) -> Docker | None:
        if bundle.parent.name != NAMESPACE:
            return None
        owners = (d for d in self._dockers if d.containerd is engine)
        return next((docker for docker in owners if docker.has(bundle.name)), None)


def init_process(bundle: Path) -> Process | None:
    """Return the first process of a bundle's container, if it lives, else None.

    Its number may be another's by now: only a child of a shim of this namespace is it.

    Raises:
        OSError: It cannot be looked at.
    """
    try:
        pid = int((bundle / "init.pid").read_bytes()[:20])
        _, _, rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")
        state, parent, *others = (
            rest.split()
        )  # proc(5): fields 3 and 4; 22 is its start
        shim = Path(f"/proc/{int(parent)}/cwd").readlink()
    except (*_GONE, ValueError):  # not yet written, or ended
        return None
    if state in _ENDED or shim.parent != bundle.parent:
        return None
    return Process(pid, int(parent), others[17].decode("ascii"))


def _folders(place: Path, limit: int, problems: list[str]) -> list[Path]:
    try:
        listed = list(islice(place.iterdir(), limit + 1))
    except _GONE:
        return []
    except OSError as error:
        problems.append(f"{clip(str(place))} cannot be listed: {error.strerror}")
        return []
    if len(listed) > limit:
        problems.append(f"{clip(str(place))} holds more than {limit} folders")
    return sorted(listed)[:limit]


def _pod_name(bundle: Path) -> str:
    """Return `namespace/pod/container` of a container of CRI's, else ""."""
    with suppress(EnforcerError):
        path = bundle / "config.json"
        raw = read_file(path, max_bytes=MAX_SPEC_BYTES)
        document = parse_json(raw, what=str(path), max_bytes=MAX_SPEC_BYTES)
        spec = require_object(document, what=str(path), known=("annotations",))
        notes = spec.get("annotations")
        if isinstance(notes, dict):
            words = (str(notes.get(_CRI + word) or "") for word in _POD)
            return "/".join(word for word in words if word)
    return ""

"""The engines, the daemon and the images that are measured; nothing is left of them."""

import contextlib
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd, Store
from tests.engines.enforced import EnforcedHost
from tests.engines.images import full_name, layout_to_tar, write_layout
from tests.engines.path import ungated

SIGNED, UNSIGNED = "signed:1", "unsigned:1"
STORES: tuple[Store, ...] = ("containerd", "graphdriver")
TASKS = "io.containerd.runtime.v2.task"

_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Running:
    """A container that stays, with its bundle: one can ask about it again and again."""

    id: str
    bundle: Path
    root: str = "/run/containerd/runc/default"  # where ctr keeps runc's state


@dataclass(frozen=True, slots=True)
class Dockers:
    """Two dockerds that differ in nothing but the gate."""

    gated: Dockerd
    bare: Dockerd


@dataclass
class Stage:
    """One enforcerd, and engines with and without its gate.

    The daemon knows the containerd without a gate too, so it can be asked about a
    container of an unsigned image, which the gate would never have let start.
    """

    docker: bool = True  # dockerds take the longest to start
    dockers: dict[Store, Dockers] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def __enter__(self) -> Self:
        try:
            self._build()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _build(self) -> None:
        self.host = _kept(self._stack, EnforcedHost, EnforcedHost.close)
        self.images = _kept(self._stack, _temporary, shutil.rmtree)
        bare = ungated(self.images / "bare")
        self.gated = self._containerd(self.host.gate)
        self.bare = self._containerd(bare)
        for store in STORES if self.docker else ():
            gated, free = (self._dockerd(g, store) for g in (self.host.gate, bare))
            self.dockers[store] = Dockers(gated, free)
        gated_dockers = (pair.gated for pair in self.dockers.values())
        self.host.configure(self.gated, self.bare, *gated_dockers)
        self.host.start()
        self._load_images()
        self.signed = run_forever(self.gated, SIGNED)
        self.unsigned = run_forever(self.bare, UNSIGNED)

    def _containerd(self, gate: Path) -> Containerd:
        engine = _kept(self._stack, lambda: Containerd(gate), Containerd.close)
        return engine.start()

    def _dockerd(self, gate: Path, store: Store) -> Dockerd:
        engine = _kept(self._stack, lambda: Dockerd(gate, store=store), Dockerd.close)
        engine.containerd.start()
        return engine.start()

    def _load_images(self) -> None:
        """Give every engine both images, and the daemon the one signature."""
        self.digests = {}
        for tag in (SIGNED, UNSIGNED):
            layout = self.images / tag.partition(":")[0]
            self.digests[tag] = write_layout(layout, text=f"I am {tag}", tag=tag)
            archive = layout_to_tar(layout, layout.with_suffix(".tar"))
            for containerd in (self.gated, self.bare):
                containerd.ctr("images", "import", archive)
            for pair in self.dockers.values():
                for docker in (pair.gated, pair.bare):
                    docker.docker("load", "--input", archive)
        layout = self.images / SIGNED.partition(":")[0]
        self.host.notation.sign_layout(layout, self.digests[SIGNED])
        self.host.enforcer("cache", "import", f"oci-layout:{layout}")


def run_forever(engine: Containerd, tag: str) -> Running:
    """Start a container that sleeps until its engine is closed."""
    name = engine.container_id("stays")
    engine.ctr("run", "-d", full_name(tag), name, "/bin/sleep", "86400")
    return Running(name, engine.state / TASKS / "default" / name)


def _kept(
    stack: contextlib.ExitStack,
    make: Callable[[], _Made],
    close: Callable[[_Made], object],
) -> _Made:
    """Make something that is removed when the stack is, whatever comes between."""
    with _undisturbed():
        made = make()
        stack.callback(close, made)
    return made


def _temporary() -> Path:
    return Path(tempfile.mkdtemp(prefix="enf-", dir="/tmp"))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Hold Ctrl-C back until what was made is noted down for removal."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)

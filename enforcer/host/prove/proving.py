"""Every door of every engine that enforcer.yaml lists, tried one after the other.

Bounded: each door has DOOR_SECONDS, and an engine that hung once and does not answer
at all afterwards is not waited for again.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Protocol

from enforcer.assembly import assemble
from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.files import locked
from enforcer.host.prove.containerd import ContainerdEngine
from enforcer.host.prove.decisions import find_decision
from enforcer.host.prove.docker import DockerEngine
from enforcer.host.prove.door import Door, Leftovers
from enforcer.host.prove.outcome import (
    FAILURES,
    Decisions,
    DoorResult,
    HungError,
    NotLiveError,
    Result,
    shown,
    told,
    tried,
)
from enforcer.host.prove.specimen import Specimen, make_specimen
from enforcer.ports import CacheError
from enforcer.settings import EngineSettings, Settings
from enforcer.sources.engines.host import host_platform

DOOR_SECONDS = 30.0  # dockerd tries a plug-in that is away for 32, and then it is told
CLEAN_SECONDS = 20.0
PROBE_SECONDS = 5.0  # an engine that lives answers in milliseconds
DOORS = (
    "docker-create",
    "docker-start",
    "docker-runtime",
    "docker-build",
    "docker-mount",
    "containerd-task",
    "containerd-k8s",
    "containerd-handler",
    "containerd-pull",
    "cri-pod",
    "cri-proxy",
    "cri-pull",
)


class Engine(Protocol):
    """One engine that answers."""

    label: str

    def doors(self) -> Iterator[Door]:
        """Return every door, live or not."""

    def leftovers(self, until: float) -> Iterator[Leftovers]:
        """Return what earlier runs left."""

    def probe(self, until: float) -> None:
        """Return if it answers at all; raises as a door's attempt."""

    def close(self) -> None:
        """Hang up."""


def prove(
    settings: Settings,
    *,
    only: Collection[str] = (),
    door_seconds: float = DOOR_SECONDS,
    stopped: Callable[[], bool] = lambda: False,
) -> tuple[DoorResult, ...]:
    """Try every door, or `only` those of these names; say what happened at each.

    Once `stopped`, no further door is tried. An engine goes on with a call whose caller
    is gone, and leaves what nobody waits for: so a door is always tried to its end.

    Raises:
        EnforcerError: No engine answers, or another run is under way.
        KeyboardInterrupt: It was stopped; all is cleaned up.
    """
    with _alone(settings):
        runs = [
            _Run(settings, engine, only, door_seconds, stopped)
            for engine in settings.engines
        ]
        results = [result for run in runs for result in run.results()]
        if stopped():
            raise KeyboardInterrupt
        if not any(run.answered for run in runs):
            raise EnforcerError(
                "no engine that enforcer.yaml lists can be reached",
                remedy="Start one, or mend `engines` in enforcer.yaml.",
                code=Code.PROVE_NO_ENGINE,
            )
    return tuple(results)


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Hold a lock of our own: another run would take what we make for leftovers.

    Not on the run folder itself, which anybody may open.
    """
    if not settings.run_dir.is_dir():  # nothing is made for this
        yield
        return
    with locked(settings.run_dir / "prove.lock", wait=False) as held:
        if not held:
            raise EnforcerError(
                "another `enforcer prove` is under way",
                remedy="Wait for its end.",
                code=Code.BUSY,
            )
        yield


class _Run:
    """One engine's part of a run."""

    def __init__(
        self,
        settings: Settings,
        engine: EngineSettings,
        only: Collection[str],
        seconds: float,
        stopped: Callable[[], bool],
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._only = only
        self._seconds = seconds
        self._stopped = stopped
        self._uncleaned: list[tuple[Door, Specimen]] = []
        self._decisions: Decisions = partial(find_decision, settings)
        self.answered = True

    def results(self) -> Iterator[DoorResult]:
        """Try its doors."""
        kind = self._engine.kind
        socket = self._engine.api if kind == "docker" else self._engine.socket
        label = f"{kind} {socket}"
        make = DockerEngine if kind == "docker" else ContainerdEngine
        until = time.monotonic() + PROBE_SECONDS
        engine: Engine
        try:
            engine = make(self._settings, self._engine, label, until)
        except NotLiveError as error:
            self.answered = False
            yield DoorResult(label, kind, Result.SKIPPED, "", "", shown(error))
            return
        except HungError as error:
            yield DoorResult(
                label, kind, Result.HUNG, Code.PROVE_HUNG, "", shown(error)
            )
            return
        except FAILURES as error:
            yield _not_proven(label, kind, told(error))
            return
        with contextlib.closing(engine):
            with contextlib.suppress(*FAILURES):  # once more at the end
                _remove_leftovers(engine)
            yield from self._doors(engine)
            yield from self._tidy(engine)

    def _tidy(self, engine: Engine) -> Iterator[DoorResult]:
        """Remove what could not be removed before; what still cannot is a result.

        An engine may still have been at work for a run that was killed.
        """
        try:
            engine.probe(time.monotonic() + PROBE_SECONDS)
            for door, specimen in self._uncleaned:
                door.clean_up(specimen, time.monotonic() + CLEAN_SECONDS)
            _remove_leftovers(engine)
        except FAILURES as error:
            what = f"something may be left, for the next run to remove: {told(error)}"
            yield DoorResult(
                engine.label, "clean-up", Result.UNPROVEN, Code.PROVE_LEFT, "", what
            )

    def _doors(self, engine: Engine) -> Iterator[DoorResult]:
        hung = False
        for door in engine.doors():
            if self._only and not {door.name, door.kind} & set(self._only):
                continue
            if self._stopped():
                return
            if hung and not _answers(engine):
                why = "not tried: the engine has not answered since"
                yield DoorResult(
                    door.engine, door.name, Result.HUNG, Code.PROVE_HUNG, "", why
                )
                continue
            result = self._door(door)
            hung = hung or result.result is Result.HUNG
            yield result

    def _door(self, door: Door) -> DoorResult:
        specimen = make_specimen(host_platform().architecture)
        _require_unknown(self._settings, specimen)
        until = time.monotonic() + self._seconds
        try:
            found = tried(
                lambda: door.attempt(specimen, until), specimen.digests, self._decisions
            )
        finally:
            try:
                door.clean_up(specimen, time.monotonic() + CLEAN_SECONDS)
            except FAILURES:
                self._uncleaned.append((door, specimen))
        return DoorResult(door.engine, door.name, *found)


def _remove_leftovers(engine: Engine) -> None:
    """Remove what earlier runs left; raises as a door's clean-up."""
    for leftovers in engine.leftovers(time.monotonic() + CLEAN_SECONDS):
        leftovers.remove()


def _require_unknown(settings: Settings, specimen: Specimen) -> None:
    """Return if the cache has nothing that names the image, as it cannot have."""
    config = Digest.parse(specimen.config.digest)
    with contextlib.suppress(CacheError):
        if assemble(settings).cache.manifests_about(config, ()):
            raise EnforcerError(
                "the signature cache knows an image that was made this moment",
                remedy="Run `enforcer cache fsck`.",
                code=Code.CACHE_CORRUPT,
            )


def _answers(engine: Engine) -> bool:
    try:
        engine.probe(time.monotonic() + PROBE_SECONDS)
    except FAILURES:
        return False
    return True


def _not_proven(label: str, door: str, what: str) -> DoorResult:
    return DoorResult(label, door, Result.UNPROVEN, Code.PROVE_UNPROVEN, "", what)

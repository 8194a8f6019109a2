"""Stop and start containers: begun here, ended in threads that nobody waits for."""

import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.ports import EngineError, RefusedContainer, RunningContainer
from enforcer.sources.engines.containerd import Containerd
from enforcer.sources.engines.docker import Docker
from enforcer.sources.engines.running import init_process

MAX_AT_ONCE = 64  # threads that wait for containers to end; others are asked later
BEGIN_SECONDS = 0.1  # an engine that is down, or says no, does so at once
LOOK_SECONDS = 0.2  # whether a container has ended

_Engine = TypeVar("_Engine", Containerd, Docker)


class Background:
    """A bounded number of threads; none keeps this process from ending."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MAX_AT_ONCE)

    def begin(self, work: Callable[[], object]) -> None:
        """Have work done; raise what goes wrong with it at once.

        What goes wrong later shows in the container: it has not ended, or not begun.

        Raises:
            EngineError: It failed within BEGIN_SECONDS, or too much is being done.
        """
        if not self._places.acquire(blocking=False):
            raise EngineError(
                f"{MAX_AT_ONCE} containers are being stopped or started already",
                remedy="It is tried again by itself.",
                code=Code.BUSY,
            )
        failed: list[EnforcerError] = []

        def run() -> None:
            try:
                work()
            except EnforcerError as error:
                failed.append(error)
            finally:
                self._places.release()

        thread = threading.Thread(target=run, name="container", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads for this process
            self._places.release()
            raise EngineError(
                "there is no thread left", remedy="Look at limits.", code=Code.BUSY
            ) from error
        thread.join(BEGIN_SECONDS)
        if failed:
            raise failed[0]


class Stopper:
    """Stops containers of either engine, and has Docker start its own."""

    def __init__(
        self, containerds: Sequence[Containerd], dockers: Sequence[Docker]
    ) -> None:
        self._containerds = {str(engine.root): engine for engine in containerds}
        self._dockers = {str(engine.root): engine for engine in dockers}
        self._background = Background()

    def stop(self, container: RunningContainer, grace_seconds: int) -> None:
        """Begin to stop a container; see `ports.LiveEngines`."""
        id_ = container.id
        if container.engine == "docker":
            api = _of(self._dockers, container.root).api
            self._background.begin(lambda: api.stop(id_, grace_seconds))
            return
        engine = _of(self._containerds, container.root)
        self._background.begin(lambda: _end(engine, container, grace_seconds))

    def start(self, container: RefusedContainer) -> None:
        """Begin to start a container; see `ports.LiveEngines`."""
        api = _of(self._dockers, container.root).api
        self._background.begin(lambda: api.start(container.id))


def _end(engine: Containerd, container: RunningContainer, grace_seconds: int) -> None:
    """Send SIGTERM, and SIGKILL to what is there when the grace is over."""
    until = time.monotonic() + grace_seconds
    where = (container.namespace, container.id)
    engine.send_signal(*where, signal.SIGTERM)
    while _is_same(container):
        if time.monotonic() >= until:
            engine.send_signal(*where, signal.SIGKILL)
            return
        time.sleep(LOOK_SECONDS)


def _is_same(container: RunningContainer) -> bool:
    """Whether what runs is still the process that was to be stopped."""
    try:
        process = init_process(Path(container.bundle))
    except OSError:
        return True  # who cannot look must not forget to kill
    return process is not None and process.name == container.started


def _of(engines: Mapping[str, _Engine], root: str) -> _Engine:
    if root not in engines:
        raise EngineError(
            f"no engine has the root {clip(root)}",
            remedy="Restart enforcerd.",
            code=Code.ENGINE_UNKNOWN,
        )
    return engines[root]

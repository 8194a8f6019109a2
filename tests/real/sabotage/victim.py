"""A healthy host, what is done to one, and how doctor is run on it."""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.engines.containerd import SANDBOX_IMAGE, Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.process import run
from tests.real.authz import AuthzStage
from tests.real.stage import Stage

SECONDS = 60  # what doctor promises to take at most
PATIENCE_SECONDS = 180  # with either: prove has many doors

# docker: with the plug-in; kubernetes: CRI with the verifier; named: by BinaryName.
Kind = Literal["docker", "kubernetes", "named"]
# What something unsigned could do in that state that it may not do on a healthy host.
Opens = Literal["start", "pull", "nothing"]


@dataclass(frozen=True, slots=True)
class Victim:
    """A host with one engine. `bindir` is where its containerd looks for verifiers."""

    stage: Stage
    bindir: Path = Path("/nowhere")

    @property
    def gate(self) -> Path:
        """The gate's file."""
        return self.stage.host.gate / "runc"

    @property
    def containerd(self) -> Containerd:
        """Its containerd, Docker's or the only engine."""
        engine = self.stage.engine
        return engine.containerd if isinstance(engine, Dockerd) else engine

    @property
    def authz(self) -> AuthzStage:
        """A stage with the plug-in."""
        if not isinstance(self.stage, AuthzStage):
            raise TypeError("this host has no plug-in")
        return self.stage

    @property
    def words(self) -> list[str]:
        """The options for names that a test may not take for itself."""
        if isinstance(self.stage, AuthzStage):
            return ["--docker-plugin", self.stage.relay.name]
        return []

    def doctor(self, before: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
        """Run the real command, started by `before`; return its status and JSON."""
        return self._run(before, "doctor", *self.words)

    def prove(self, before: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
        """Run the real command, as above."""
        return self._run(before, "prove")

    def _run(self, before: Sequence[str], *words: str) -> tuple[int, dict[str, Any]]:
        folders = self.stage.host.folders
        command = [sys.executable, "-m", "enforcer", *folders, *words, "-o", "json"]
        done = run(
            [*before, *command],
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
            check=False,
            timeout_seconds=PATIENCE_SECONDS,
        )
        report: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, report


Happens = Callable[[Victim], AbstractContextManager[Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Sabotage:
    """One row: what is done to which host, and what has to be said about it.

    `happens` yields the words to start programs with that are to see the state; for
    most rows there are none.
    """

    name: str
    host: Kind
    happens: Happens
    code: str
    opens: Opens = "nothing"
    status: int = 5

    @property
    def opens_door(self) -> bool:
        """Whether prove has to find a door open."""
        return self.opens != "nothing"

    def __str__(self) -> str:
        return self.name


def sign_pause(stage: Stage) -> None:
    """Have the image of pods' first containers there and signed: pods start then."""
    command = ("/bin/sleep", "600")
    stage.sign(
        stage.image("pause", name=SANDBOX_IMAGE, cmd=command, namespace="k8s.io")
    )


@contextlib.contextmanager
def rewritten(path: Path, text: str) -> Iterator[None]:
    """Have other words in a file for a while; mode and owner stay."""
    before = path.read_text()
    if before == text:
        raise ValueError(f"nothing changes in {path}")
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)


@contextlib.contextmanager
def with_mode(path: Path, mode: int) -> Iterator[None]:
    """Have another mode on a file for a while."""
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    try:
        yield
    finally:
        path.chmod(before)


@contextlib.contextmanager
def linked(path: Path, target: Path) -> Iterator[None]:
    """Have a link somewhere for a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    try:
        yield
    finally:
        path.unlink()

"""A host with enforcer and one engine, and images on it that nobody signed yet."""

import itertools
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd, Store
from tests.engines.enforced import EnforcedHost
from tests.engines.images import full_name, layout_to_tar, write_layout
from tests.engines.notation import Signer
from tests.engines.path import Release
from tests.engines.process import EngineError, wait_until

END_OF_TAR = bytes(2 * 512)
Done = subprocess.CompletedProcess[str]
Signing = Literal["notation", "notation-cose", "enforcer"]

# For the runc handler of containerd 2.
_NAMED = """
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  BinaryName = "{}/runc"
"""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Image:
    """One image of our making: its name, what it prints, and where its layout is."""

    name: str
    text: str
    layout: Path
    digest: str
    archive: Path

    @property
    def full(self) -> str:
        """The name containerd knows it by."""
        return full_name(self.name)


class Stage:
    """A running enforcerd with one engine behind its gate.

    Names of images and containers are new for every test, so that tests can share
    the engine and still find their own lines in the audit log.
    """

    def __init__(
        self,
        kind: type[Containerd | Dockerd],
        *,
        release: Release,
        store: Store,
        cri: bool = False,
        nri: bool = False,
        extra_config: str = "",
        build: Path | None = None,
        by_name: bool = False,
        alone: bool = False,
        before: Sequence[str] = (),
    ) -> None:
        self.host = EnforcedHost(before=before)
        gate = self.host.gate
        self.engine: Containerd | Dockerd
        if issubclass(kind, Dockerd):
            self.engine = Dockerd(
                gate, release=release, store=store, alone=alone, before=before,
                settings={"experimental": True} if alone else None,
            )  # fmt: skip
        elif by_name:
            self.engine = Containerd(None, cri=cri, extra_config=_NAMED.format(gate))
        else:
            self.engine = Containerd(
                gate,
                release=release,
                cri=cri,
                nri=nri,
                extra_config=extra_config,
                build=build,
                before=before,
            )
        self._images = Path(tempfile.mkdtemp(prefix="img-", dir=self.host.home))

    @property
    def containerd(self) -> Containerd:
        """The containerd of a stage that has no Docker."""
        if isinstance(self.engine, Dockerd):
            raise TypeError("this stage has a Docker")
        return self.engine

    @property
    def is_docker(self) -> bool:
        """Whether this stage has a Docker."""
        return isinstance(self.engine, Dockerd)

    @property
    def docker(self) -> Dockerd:
        """The Docker of a stage that has one."""
        if isinstance(self.engine, Containerd):
            raise TypeError("this stage has no Docker")
        return self.engine

    def name(self, word: str) -> str:
        """Return a name nobody used before, for an image or a container."""
        return f"{word}-{next(_numbers)}"

    def image(
        self,
        word: str,
        *,
        name: str | None = None,
        text: str | None = None,
        index: bool = False,
        cmd: Sequence[str] | None = None,
        namespace: str = "default",
    ) -> Image:
        """Make an image and give it to the engine; `name` moves an existing tag.

        Images with the same `text` have the same root file system.
        """
        text = text or f"this is {self.name(word)}"
        tag = name or f"{self.name(word)}:1"
        layout = self._images / self.name("layout")
        digest = write_layout(layout, text=text, tag=tag, index=index, cmd=cmd)
        archive = layout_to_tar(layout, layout.with_suffix(".tar"))
        image = Image(tag, text, layout, digest, archive)
        self.load(image, namespace=namespace)
        return image

    def load(self, image: Image, *, namespace: str = "default") -> None:
        """Give an image to the engine."""
        if isinstance(self.engine, Dockerd):
            self.engine.docker("load", "--input", image.archive)
        else:
            self.engine.ctr("images", "import", image.archive, namespace=namespace)

    def id_of(self, image: Image) -> str:
        """Return what Docker calls an image that nobody named."""
        words = ("image", "inspect", "--format", "{{.Id}}", image.name)
        return self.docker.docker(*words).stdout.strip()

    def save(self, image: Image) -> Image:
        """Export an image by its name, as the engine writes it.

        ctr 2.1 may end before it has written the last that containerd sends.
        """
        archive = self._images / f"{self.name('saved')}.tar"
        if isinstance(self.engine, Dockerd):
            self.engine.docker("save", "--output", archive, image.name)
            return replace(image, archive=archive)
        for _ in range(10):
            self.engine.ctr("images", "export", archive, image.full)
            if archive.read_bytes().endswith(END_OF_TAR):
                return replace(image, archive=archive)
        raise EngineError(f"ctr does not export the whole of {image.full}")

    def sign(
        self, image: Image, *, by: Signing = "notation", signer: Signer | None = None
    ) -> None:
        """Have the image signed, by whichever tool, and the signature in the cache."""
        target = f"oci-layout:{image.layout}@{image.digest}"
        if by != "enforcer":
            key = (signer or self.host.acme).name
            self.host.notation.sign_layout(
                image.layout,
                image.digest,
                key=key,
                envelope="cose" if by == "notation-cose" else "jws",
            )
            self.host.enforcer("cache", "import", target)
        elif isinstance(self.engine, Dockerd):
            self.host.sign(f"docker:{image.name}", signer)
        else:
            self.host.sign(f"containerd:{image.full}", signer)

    def rename(self, image: Image, name: str) -> Image:
        """Give an image one more name; `name` moves if something has it already."""
        renamed = replace(image, name=name)
        if isinstance(self.engine, Dockerd):
            self.engine.docker("tag", image.name, name)
        else:
            self.engine.ctr("images", "tag", "--force", image.full, renamed.full)
        return renamed

    def unsign(self, image: Image) -> None:
        """Forget the signatures about an image."""
        self.host.enforcer("cache", "remove", image.digest)

    def run(self, image: Image, *words: str, namespace: str = "default") -> Done:
        """Start the image with the engine's own client, and wait for its end."""
        if isinstance(self.engine, Dockerd):
            return self.engine.docker("run", "--rm", image.name, *words, check=False)
        name = self.container(self.name("run"))
        return self.engine.run(
            image.full, name, *words, namespace=namespace, check=False
        )

    def container(self, name: str) -> str:
        """Return what a container is to be called; ctr's share one folder."""
        engine = self.engine
        return name if isinstance(engine, Dockerd) else engine.container_id(name)

    def reconfigure(self, **settings: object) -> None:
        """Have the daemon read other keys of enforcer.yaml, and wait until it has."""
        self.host.configure(**settings)
        before = self.host.log.count("policy in force")
        os.kill(self.host.pid, signal.SIGHUP)
        wait_until(
            lambda: self.host.log.count("policy in force") > before, "it has read it"
        )

    def verdicts(self, image: Image) -> list[tuple[bool, str]]:
        """Return what the audit log says about an image: allowed or not, and why."""
        return [
            (record["allowed"], record["code"])
            for record in self.host.decisions()
            if record["reference"] in (image.name, image.full)
        ]

    def __enter__(self) -> Self:
        try:
            self.engine.__enter__()
            self.host.configure(self.engine)
            self.host.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop everything and leave nothing."""
        try:
            self.engine.close()
        finally:
            self.host.close()


def containerd_stage(
    release: Release = "forky",
    *,
    cri: bool = False,
    nri: bool = False,
    extra_config: str = "",
    build: Path | None = None,
    by_name: bool = False,
    before: Sequence[str] = (),
) -> Stage:
    """Make a stage with containerd alone, serving Kubernetes with `cri`.

    With `nri` it listens for plug-ins on a socket of its own; `build` is a folder with
    another containerd than Debian's. With `by_name` no runc at all is in its PATH, and
    CRI is told where the gate is.
    """
    return Stage(
        Containerd,
        release=release,
        store="containerd",
        cri=cri,
        nri=nri,
        extra_config=extra_config,
        build=build,
        by_name=by_name,
        before=before,
    )


def docker_stage(
    store: Store,
    release: Release = "forky",
    *,
    alone: bool = False,
    before: Sequence[str] = (),
) -> Stage:
    """Make a stage with Docker, and images in one or the other of its stores.

    `alone` is for swarms and checkpoints: its own network, experiments on.
    """
    return Stage(Dockerd, release=release, store=store, alone=alone, before=before)


def said(done: Done) -> str:
    """Everything a person saw."""
    return done.stdout + done.stderr

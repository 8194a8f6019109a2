"""The places a signature may be in: how it gets there, and how it gets away again.

Between places it travels as an OCI layout, by the tools people have.
"""

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from enforcer.core.collected import SignatureFile
from enforcer.sources.layout import open_layout
from tests.engines.oras import Oras
from tests.engines.process import run
from tests.registry.fake import REPOSITORY, FakeRegistry
from tests.registry.server import serving
from tests.unit.cli.host import Host

TAG = "1"


class Place(Protocol):
    """One place, for one image and what is signed about it.

    Layouts are OCI image layouts whose image has the tag TAG.
    """

    def put(self, layout: Path) -> None:
        """Bring there what a layout holds."""

    def target(self) -> tuple[str, ...]:
        """Return what `enforcer verify` is to be asked."""

    def take(self, layout: Path) -> None:
        """Fetch what is there into a new layout."""


class InLayout:
    """A folder, as oras copies it."""

    def __init__(self, home: Path, oras: Oras) -> None:
        self._path, self._oras = home / "layout", oras

    def put(self, layout: Path) -> None:
        """Copy it."""
        copy(self._oras, layout, self._path)

    def target(self) -> tuple[str, ...]:
        """Name the folder."""
        return (f"oci-layout:{self._path}",)

    def take(self, layout: Path) -> None:
        """Copy it."""
        copy(self._oras, self._path, layout)


class InArchive:
    """A tar of a folder."""

    def __init__(self, home: Path) -> None:
        self._path = home / "archive.tar"

    def put(self, layout: Path) -> None:
        """Pack it."""
        self._tar("--create", "--directory", layout, ".")

    def target(self) -> tuple[str, ...]:
        """Name the file."""
        return (f"oci-archive:{self._path}",)

    def take(self, layout: Path) -> None:
        """Unpack it."""
        layout.mkdir()
        self._tar("--extract", "--directory", layout)

    def _tar(self, *words: str | Path) -> None:
        run(["/bin/tar", "--file", self._path, *words], env={})


class InCache:
    """A host's signature cache, about an image whose layout has no signature."""

    def __init__(self, host: Host) -> None:
        self.host = host

    def put(self, layout: Path) -> None:
        """Import it."""
        done = self.host.run("cache", "import", f"oci-layout:{layout}")
        assert done.status == 0, done.err

    def target(self) -> tuple[str, ...]:
        """Name the bare image, and have the cache count."""
        return (self.host.target, "--with-cache")

    def take(self, layout: Path) -> None:
        """Export it with the image."""
        words = ("--with-image", self.host.target, f"oci-layout:{layout}")
        done = self.host.run("cache", "export", *words)
        assert done.status == 0, done.err


class InRegistry:
    """A registry at an address, read as oras reads it."""

    def __init__(self, name: str, oras: Oras) -> None:
        self._name, self._oras = name, oras

    def put(self, layout: Path) -> None:
        """Push it: what is about the image gets a tag where there is no API."""
        words = ("--from-oci-layout", f"{layout}:{TAG}", "--to-plain-http", self._name)
        self._oras.oras("copy", "--recursive", "--no-tty", *words)

    def target(self) -> tuple[str, ...]:
        """Name the image."""
        return (self._name,)

    def take(self, layout: Path) -> None:
        """Pull it, and all that is about it."""
        words = ("--from-plain-http", self._name, "--to-oci-layout", f"{layout}:{TAG}")
        self._oras.oras("copy", "--recursive", "--no-tty", *words)


class AtReferrers(InRegistry):
    """A registry that has the Referrers API, and no tag for what it lists there."""

    def __init__(self, name: str, oras: Oras, fake: FakeRegistry) -> None:
        super().__init__(name, oras)
        self._fake = fake

    def put(self, layout: Path) -> None:
        """Have the registry hold it: it takes no pushes."""
        with open_layout(layout, archive=False) as read:
            image = read.find(tag=TAG)
            for item in read.collect(image.descriptor.digest):
                if isinstance(item, SignatureFile):
                    self._fake.attach(item)
        self._fake.push(image, TAG)
        for path in (layout / "blobs" / "sha256").iterdir():
            self._fake.blobs.setdefault(f"sha256:{path.name}", path.read_bytes())


def copy(oras: Oras, source: Path, target: Path) -> None:
    """Copy a layout to a new one with all that is about its image."""
    layouts = (f"{path}:{TAG}" for path in (source, target))
    words = zip(("--from-oci-layout", "--to-oci-layout"), layouts, strict=True)
    oras.oras("copy", "--recursive", "--no-tty", *itertools.chain(*words))


@contextlib.contextmanager
def with_referrers(oras: Oras) -> Iterator[AtReferrers]:
    """Run a registry that has the Referrers API."""
    fake = FakeRegistry()
    with serving(fake) as server:
        yield AtReferrers(f"{server.host}/{REPOSITORY}:{TAG}", oras, fake)

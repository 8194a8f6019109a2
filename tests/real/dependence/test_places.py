"""The same signature in five places: the verdict and the evidence id are the same."""

import contextlib
import itertools
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.rfc3339 import format_rfc3339
from tests.engines.images import blob_path, describe, write_layout
from tests.engines.notation import Notation
from tests.engines.oras import Oras
from tests.engines.registry import running_registry
from tests.real.dependence.places import (
    TAG,
    InArchive,
    InCache,
    InLayout,
    InRegistry,
    Place,
    with_referrers,
)
from tests.real.dependence.table import places
from tests.unit.cli.host import SCOPE, Host
from tests.unit.sources.signed import AT

PLACES = places()
COMPARED = ("allowed", "code", "statement", "subject", "signatures")
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def oras(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Oras:
    return Oras(tmp_path_factory.mktemp("oras"))


@pytest.fixture(scope="module")
def notation(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Notation:
    """Somebody who signs, and is trusted."""
    notation = Notation(tmp_path_factory.mktemp("notation"))
    notation.trust("acme", notation.add_signer("acme"))
    return notation


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image nobody signed."""
    layout = tmp_path_factory.mktemp("image") / "layout"
    write_layout(layout, text="hi", tag="app:1")
    return layout


@pytest.fixture(scope="module")
def registry(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry without the Referrers API, as Debian has it."""
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@pytest.fixture(params=["jws", "cose"])
def signed(
    request: pytest.FixtureRequest, notation: Notation, image: Path, tmp_path: Path
) -> Path:
    """The image's layout after notation signed it, once."""
    layout, envelope = tmp_path / "signed", request.param
    shutil.copytree(image, layout)
    notation.sign_layout(layout, describe(image).top, key="acme", envelope=envelope)
    return layout


@dataclass(frozen=True, slots=True)
class Road:
    """Makes places, each new and empty, and judges what lies there."""

    home: Path
    new_host: Callable[[Path], Host]
    oras: Oras
    registry: str
    stack: contextlib.ExitStack

    def place(self, name: str) -> Place:
        """Make one of those that the documentation names."""
        number = next(_numbers)
        home = self.home / f"place-{number}"
        home.mkdir()
        if name == "referrers API":
            return self.stack.enter_context(with_referrers(self.oras))
        made: dict[str, Callable[[], Place]] = {
            "layout": lambda: InLayout(home, self.oras),
            "archive": lambda: InArchive(home),
            "cache": lambda: InCache(self.new_host(home)),
            "fallback tag": lambda: InRegistry(
                f"{self.registry}/app-{number}:{TAG}", self.oras
            ),
        }
        return made[name]()

    def judged(self, place: Place) -> Any:  # a decision's JSON
        """Judge by the host whose cache it is, or by one that knows nothing yet."""
        if isinstance(place, InCache):
            return judged(place.host, *place.target())
        home = self.home / f"host-{next(_numbers)}"
        home.mkdir()
        return judged(self.new_host(home), *place.target())


def judged(host: Host, *target: str) -> Any:  # a decision's JSON
    """Judge; leave out what every decision has of its own."""
    words = (*target, "--scope", SCOPE, "--at", format_rfc3339(AT), "-o", "json")
    done = host.run("verify", *words)
    assert done.out, done.err
    return {name: done.json[name] for name in COMPARED}


@pytest.fixture
def road(
    image: Path,
    oras: Oras,
    registry: str,
    notation: Notation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Road]:
    """Places, and hosts that trust who signed."""

    def new_host(home: Path) -> Host:
        host = Host(home, image, capsys)
        trusted = notation.config / "truststore"
        shutil.copytree(trusted, host.notation / "truststore", dirs_exist_ok=True)
        return host

    with contextlib.ExitStack() as stack:
        yield Road(tmp_path, new_host, oras, registry, stack)


@pytest.mark.parametrize("source", PLACES)
def test_a_signature_means_the_same_wherever_it_was_moved_from_and_to(
    source: str, road: Road, signed: Path, tmp_path: Path
) -> None:
    """What notation signed once: from one place to each of the five, and judged there.

    The whole decision is the same but for its name, id and duration; the evidence id
    is the digest of the bytes that notation wrote.
    """
    carried = tmp_path / "carried"
    first = road.place(source)
    first.put(signed)
    first.take(carried)

    decisions = {}
    for target in PLACES:
        place = road.place(target)
        place.put(carried)
        decisions[target] = road.judged(place)

    original = judged(road.new_host(tmp_path), f"oci-layout:{signed}")
    (signature,) = original["signatures"]
    assert original["code"] == "ENF-1000"
    assert blob_path(signature["digest"]) in _files(signed)
    assert decisions == dict.fromkeys(PLACES, original)


def _files(layout: Path) -> set[str]:
    return {str(p.relative_to(layout)) for p in layout.rglob("*") if p.is_file()}


def test_an_image_alone_is_denied_in_every_place(road: Road, image: Path) -> None:
    """Else a place might be passed over, and a decision come from elsewhere."""
    codes = {}
    for name in PLACES:
        place = road.place(name)
        place.put(image)
        codes[name] = road.judged(place)["code"]

    assert codes == dict.fromkeys(PLACES, "ENF-1001")

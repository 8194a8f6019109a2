"""What happens to a host's state, step by step, and what it must hold after each.

Imports of one and of many, again of what is there and what was removed, removals by
signature and by subject, repair, garbage collection, and three rounds of revocation
evidence, of which the last revokes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.collected import Collected, Origin, SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.evidence import Evidence, Item, Slot
from enforcer.core.revocation_chain import AuthenticatedChain
from enforcer.core.subject import Content
from enforcer.core.x509chain import parse_chain
from enforcer.sources.cache import DiskCache
from enforcer.sources.revocation.store import EvidenceStore
from tests.pki import NOW, Party, ders
from tests.revoker import DAY, Listed, make_crl, points, signer_chain
from tests.unit.sources.signed import Image, image, signature

LIST_URL = "http://ca.example/list"


@dataclass(frozen=True)
class Signed:
    """A signature, and what it is about."""

    content: Content
    file: SignatureFile

    @property
    def digest(self) -> Digest:
        """The envelope's."""
        return Digest.of(self.file.envelope)


@dataclass(frozen=True)
class Step:
    """One change: the signatures it adds and takes away, and evidence it brings."""

    name: str
    act: Callable[[DiskCache, EvidenceStore], object]
    adds: frozenset[Signed] = frozenset()
    drops: frozenset[Signed] = frozenset()
    evidence: int = 0


@dataclass(frozen=True)
class Expected:
    """What must be held between two steps."""

    signatures: frozenset[Signed]
    evidence: int

    @property
    def code(self) -> Code | None:
        """What the revocation of CHAIN's leaf is judged to be; None: it passes."""
        last = {0: Code.REVOCATION_UNKNOWN, LAST_EVIDENCE: Code.CERTIFICATE_REVOKED}
        return last.get(self.evidence)


LAST_EVIDENCE = 3  # this one revokes


@cache
def images() -> tuple[Image, ...]:
    """Four images."""
    return tuple(image(text) for text in ("one", "two", "three", "four"))


@cache
def signed() -> dict[str, Signed]:
    """Signatures by name: the image's number, the signer, and `i` about its index."""
    found = {}
    for number, one in enumerate(images()):
        for by in ("acme", "wabbit"):
            found[f"{number}{by[0]}"] = Signed(
                one.manifest, signature(one.manifest, by)
            )
        found[f"{number}i"] = Signed(one.index, signature(one.index))
    return found


@cache
def chain() -> tuple[Party, Party, Party]:
    """A chain whose leaf names a list."""
    return signer_chain(points([LIST_URL]))


@cache
def chains() -> list[AuthenticatedChain]:
    """The same, as who syncs knows it."""
    parsed = parse_chain(ders(chain()))
    return [AuthenticatedChain(parsed, frozenset({chain()[-1].der}))]


@cache
def crl(number: int) -> Item:
    """The list of this number."""
    leaf, issuer, _ = chain()
    listed = [Listed(leaf.certificate.serial_number)] * (number == LAST_EVIDENCE)
    at = NOW - DAY + timedelta(minutes=number)
    der = make_crl(issuer, *listed, number=number, this_update=at)
    return Item(Slot.crl(key_digest(issuer.certificate), LIST_URL), LIST_URL, NOW, der)


@cache
def steps() -> tuple[Step, ...]:
    """All of them, in order."""
    first, second, third, fourth = images()
    return (
        _import("0a"),
        _import("1a", "1w", "2a"),
        _sync(1),
        _import("0a", "0w"),
        _remove(signed()["1w"].digest, "1w"),
        _sync(2),
        _import("3a", "3w", "3i"),
        _remove(third.manifest.descriptor.digest, "2a"),
        _repair(),
        _import("2a", "2w", "1w"),
        _remove(first.manifest.descriptor.digest, "0a", "0w"),
        _collect(third, "1a", "1w", "3a", "3w", "3i"),
        _sync(LAST_EVIDENCE),
        _import(*signed()),
        _remove(second.manifest.descriptor.digest, "1a", "1w"),
        _remove(fourth.index.descriptor.digest, "3i"),
    )


@cache
def expected(done: int) -> Expected:
    """What must be held after so many steps."""
    held: set[Signed] = set()
    evidence = 0
    for step in steps()[:done]:
        held = (held | step.adds) - step.drops
        evidence = max(evidence, step.evidence)
    return Expected(frozenset(held), evidence)


def _import(*names: str) -> Step:
    added = [signed()[name] for name in names]
    items: list[Collected] = []
    for one in added:
        (about,) = (i for i in images() if one.content in (i.manifest, i.index))
        items += [about.manifest, about.index, one.file]
    return Step(
        f"import {' '.join(names)}",
        lambda cache, _: cache.add(items, origin=Origin("a test", NOW)),
        adds=frozenset(added),
    )


def _remove(digest: Digest, *names: str) -> Step:
    return Step(
        f"remove {' '.join(names)}",
        lambda cache, _: cache.remove(digest),
        drops=frozenset(signed()[name] for name in names),
    )


def _collect(present: Image, *names: str) -> Step:
    """Drop all but what is about one image."""
    here = [present.config_digest]
    return Step(
        f"gc {' '.join(names)}",
        lambda cache, _: cache.gc(here, keep_seconds=-1),
        drops=frozenset(signed()[name] for name in names),
    )


def _repair() -> Step:
    return Step("fsck --repair", lambda cache, _: cache.check(repair=True))


def _sync(number: int) -> Step:
    gathered = Evidence((crl(number),))
    return Step(
        f"sync {number}",
        lambda _, evidence: evidence.add(chains(), gathered, NOW),
        evidence=number,
    )


def all_signed() -> Sequence[Signed]:
    """Every signature there is."""
    return tuple(signed().values())

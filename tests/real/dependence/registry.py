"""What a registry may do to this host's decisions, which never ask one.

It is there while the host imports from it, and down when the host judges.
"""

from collections.abc import Callable

from enforcer.core.collected import SignatureFile
from enforcer.core.digest import Digest
from tests.pki import issue, leaf_template
from tests.real.dependence.world import Situations, World, around_now
from tests.registry.fake import REPOSITORY, FakeRegistry, at
from tests.registry.server import Reply, serving
from tests.revoker import revoking_ca
from tests.unit.sources.signed import image

TAG = "1"
Change = Callable[[FakeRegistry, SignatureFile], None]


def _as_it_is(_: FakeRegistry, __: SignatureFile) -> None:
    """Answer as a registry should."""


def _imports(world: World, change: Change = _as_it_is) -> SignatureFile:
    """Have the host import from a registry that holds the image and a signature."""
    content = world.content()
    signature = world.signature(world.signer())
    fake = FakeRegistry()
    fake.push(content, TAG)
    fake.attach(signature)
    change(fake, signature)
    with serving(fake) as server:
        world.takes(f"{server.host}/{REPOSITORY}:{TAG}")
    return signature


def imported(world: World) -> None:
    _imports(world)


def not_yet(world: World) -> None:
    _imports(world, lambda fake, _: fake.about.clear())


def no_more(world: World) -> None:
    _imports(world)
    not_yet(world)


def down(world: World) -> None:
    with serving(FakeRegistry()) as server:
        gone = server.host
    world.takes(f"{gone}/{REPOSITORY}:{TAG}")


def down_since(world: World) -> None:
    _imports(world)
    down(world)


def other_bytes(world: World) -> None:
    def change(fake: FakeRegistry, signature: SignatureFile) -> None:
        envelope = str(Digest.of(signature.envelope))
        other = signature.envelope.replace(b"payload", b"Payload")
        fake.blobs[envelope] = other

    _imports(world, change)


def about_another(world: World) -> None:
    """List a good signature about another image as one about this."""

    def change(fake: FakeRegistry, _: SignatureFile) -> None:
        other = image("another").manifest
        fake.push(other)
        fake.about.clear()
        fake.attach(world.signature(world.signer(), about=other))
        listed = fake.about.popitem()[1]
        fake.about[str(world.content().descriptor.digest)] = listed

    _imports(world, change)


def by_a_stranger(world: World) -> None:
    """Have somebody sign who calls the CA what acme calls it."""

    def change(fake: FakeRegistry, _: SignatureFile) -> None:
        root = issue(around_now(revoking_ca()))
        leaf = issue(around_now(leaf_template()), root)
        fake.about.clear()
        fake.attach(world.signature(leaf, issuer=root))

    _imports(world, change)


def another_image(world: World) -> None:
    """Answer for the tag with an image nobody signed."""

    def change(fake: FakeRegistry, _: SignatureFile) -> None:
        fake.push(image("another").manifest, TAG)

    _imports(world, change)


def another_type(world: World) -> None:
    """List the signature as if it were something else, as to hide it."""

    def change(fake: FakeRegistry, signature: SignatureFile) -> None:
        fake.about.clear()
        fake.attach(signature, artifactType="application/vnd.example.sbom")

    _imports(world, change)


def no_list(world: World) -> None:
    _imports(world, lambda fake, _: fake.rules.append(at("/referrers/", Reply(500))))


SITUATIONS: Situations = {
    "fresh": {
        "the signature was imported from it": imported,
    },
    "stale": {
        "a mirror that does not know the signature yet": not_yet,
        "it has deleted the signature, which was imported before": no_more,
    },
    "missing": {
        "down since the signature was imported": down_since,
        "down when the signature was to be imported": down,
        "its list of signatures is an error": no_list,
    },
    "lying": {
        "other bytes under the digest of the signature": other_bytes,
        "a good signature about another image, listed for this one": about_another,
        "a signature by a stranger": by_a_stranger,
        "another image under the tag": another_image,
        "the signature listed as an SBOM": another_type,
    },
}

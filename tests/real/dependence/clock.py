"""What this host's clock may do to its decisions; faketime sets it, not `--at`."""

from enforcer.core.digest import Digest
from enforcer.core.evidence import Floor, Memory, Slot
from enforcer.sources.revocation.floors import Floors
from tests.real.dependence.world import Situations, World
from tests.revoker import DAY, Listed, make_crl, points
from tests.unit.sources.signed import AT

LIST = "/list.crl"


def _signed(world: World) -> None:
    world.holds(world.signature(world.signer()))


def _listed(world: World, *, revoked: bool = False) -> None:
    """Have it signed by somebody who is on a list of yesterday, or not."""
    leaf = world.signer(points([world.revoker.url(LIST)]))
    world.holds(world.signature(leaf))
    entry = Listed(leaf.certificate.serial_number, at=AT - DAY)
    body = make_crl(
        world.issuer,
        *([entry] if revoked else []),
        this_update=AT - DAY,
        next_update=AT + DAY,
    )
    world.revoker.serve(LIST, body)
    world.sync()


def _expired(world: World) -> None:
    """Have it signed for a day, which was over when the host saw its newest proof."""
    expired = world.signature(world.signer(), at=AT - 3 * DAY, life=DAY)
    world.holds(expired)
    _proven(world)


def _proven(world: World) -> None:
    """Have the host seen a list of yesterday, whoever's."""
    state = world.host.root / "state"
    floors = Floors(state / "floors.db", state / "cache" / "evidence" / "memory")
    slot = Slot.crl(Digest.of(b"another issuer's key"), "http://crl.example/1")
    floors.remember(Memory(floors={slot: Floor(AT - DAY)}))


def right(world: World) -> None:
    _listed(world)


def weeks_behind(world: World) -> None:
    _signed(world)
    _proven(world)
    world.clock = "-60d"


def days_behind(world: World) -> None:
    _listed(world)
    world.clock = "-2d"


def in_1970(world: World) -> None:
    _signed(world)
    _proven(world)
    world.clock = "@1970-01-02 00:00:00"


def in_1970_without_proof(world: World) -> None:
    _signed(world)
    world.clock = "@1970-01-02 00:00:00"


def set_back(world: World) -> None:
    _expired(world)
    world.clock = "-60h"


def set_back_before_a_revocation(world: World) -> None:
    _listed(world, revoked=True)
    world.clock = "-2d"


def set_forward(world: World) -> None:
    _listed(world)
    world.clock = "+2d"


def set_far_forward(world: World) -> None:
    _signed(world)
    world.clock = "+400d"


SITUATIONS: Situations = {
    "fresh": {"it is right": right},
    "stale": {
        "weeks behind, before the signer's certificate began": weeks_behind,
        "two days behind, so that the list is of tomorrow": days_behind,
    },
    "missing": {
        "no battery: it is 1970": in_1970,
        "the same, on a host that never had proof of any time": in_1970_without_proof,
    },
    "lying": {
        "set back to when an expired signature still counted": set_back,
        "set back to before the signer was revoked": set_back_before_a_revocation,
        "set forward, beyond the list's nextUpdate": set_forward,
        "set forward, beyond the signer's certificate": set_far_forward,
    },
}

"""What a time stamping authority may do to this host's decisions.

`enforcer sign` would refuse most of these tokens; here somebody else did the signing.
"""

from dataclasses import replace
from datetime import datetime

from tests.asn1 import generalized
from tests.real.dependence.world import Situations, World, around_now
from tests.revoker import DAY, Listed, make_crl, points, revoking_ca
from tests.tsa import Authority, tsa_chain, tsa_template
from tests.unit.sources.signed import AT

OVER = AT + 30 * DAY  # what ends then
AFTERWARDS = AT + 60 * DAY
LIST = "/tsa.crl"


def authority(*, ends: datetime = AT + 300 * DAY, lists: str = "") -> Authority:
    """A TSA whose certificate ends then, and names a list if it has one."""
    root = around_now(revoking_ca("C=US,ST=WA,O=tsa,CN=tsa root"))
    leaf = tsa_template()
    if lists:
        leaf = replace(leaf, extra=(*leaf.extra, (points([lists]), False)))
    return Authority(tsa_chain(around_now(leaf, ends=ends), root=root))


def _countersigned(
    world: World, tsa: Authority, *, at: datetime = AT, ends: datetime = OVER
) -> None:
    """Have the TSA say `at` of a signature whose certificate ends."""
    world.demand("tsa:clock")
    signed = min(AT, ends - DAY)
    time = generalized(at)
    signature = world.signature(
        world.signer(ends=ends),
        at=signed,
        timestamp=lambda value: tsa.token(value, gen_time=time),
    )
    world.holds(signature)


def _trusted(world: World, tsa: Authority) -> Authority:
    world.trust("tsa/clock", tsa.chain[-1])
    return tsa


def trusted(world: World) -> None:
    _countersigned(world, _trusted(world, authority()))
    world.at = AFTERWARDS


def over_too(world: World) -> None:
    _countersigned(world, _trusted(world, authority(ends=OVER)))
    world.at = AFTERWARDS


def listed_long_ago(world: World) -> None:
    _listed(world, next_update=AT - DAY)


def revoked(world: World) -> None:
    _listed(world, next_update=AT + DAY, revoked=True)


def _listed(world: World, *, next_update: datetime, revoked: bool = False) -> None:
    tsa = _trusted(world, authority(lists=world.revoker.url(LIST)))
    leaf, root = tsa.chain
    entry = Listed(leaf.certificate.serial_number, at=AT - 9 * DAY)
    body = make_crl(
        root,
        *([entry] if revoked else []),
        this_update=AT - 8 * DAY,
        next_update=next_update,
    )
    world.revoker.serve(LIST, body)
    _countersigned(world, tsa)
    world.sync()


def nothing(world: World) -> None:
    world.trust("tsa/clock", authority().chain[-1])
    world.demand("tsa:clock")
    world.holds(world.signature(world.signer()))


def stranger(world: World) -> None:
    world.trust("tsa/clock", authority().chain[-1])
    _countersigned(world, authority())


def of_tomorrow(world: World) -> None:
    _countersigned(world, _trusted(world, authority()), at=AT + DAY)


def dated_back(world: World) -> None:
    _countersigned(world, _trusted(world, authority()), at=AT - 2 * DAY, ends=AT - DAY)


SITUATIONS: Situations = {
    "fresh": {
        "a trusted TSA countersigned; the signer's certificate is over since": trusted,
    },
    "stale": {
        "the same, and the TSA's certificate is over, too": over_too,
        "the list about the TSA's certificate is out of date": listed_long_ago,
    },
    "missing": {
        "not countersigned, since no TSA answered": nothing,
    },
    "lying": {
        "a TSA that is not trusted countersigned": stranger,
        "a trusted TSA says it is tomorrow": of_tomorrow,
        "a trusted TSA dates it back to when the certificate counted": dated_back,
        "the same, and its certificate is on a list by now": revoked,
    },
}

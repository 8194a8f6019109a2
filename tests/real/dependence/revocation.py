"""What lists and responders may do to this host's decisions."""

import shutil
from datetime import datetime

from tests.pki import Party, issue
from tests.real.dependence.world import Situations, World, around_now
from tests.revoker import (
    DAY,
    REVOKED,
    UNKNOWN,
    Listed,
    Single,
    make_crl,
    make_ocsp,
    points,
    responders,
    revoking_ca,
)
from tests.unit.sources.signed import AT

LIST, RESPONDER = "/list.crl", "/ocsp"
TOMORROW, YESTERDAY = AT + DAY, AT - DAY


def _listed(
    world: World,
    leaf: Party,
    *,
    revoked: bool = False,
    number: int = 1,
    made: datetime = YESTERDAY,
    until: datetime = TOMORROW,
    by: Party | None = None,
) -> None:
    """Serve a list, and have the host fetch it."""
    entry = Listed(leaf.certificate.serial_number, at=made)
    body = make_crl(
        world.issuer,
        *([entry] if revoked else []),
        number=number,
        this_update=made,
        next_update=until,
        signer=by,
    )
    world.revoker.serve(LIST, body)
    world.sync()


def _answered(
    world: World,
    leaf: Party,
    status: str = "good",
    *,
    made: datetime = YESTERDAY,
    until: datetime = TOMORROW,
    by: Party | None = None,
) -> None:
    """Serve a responder's answer, and have the host fetch it."""
    single = Single(
        leaf.certificate,
        world.issuer.certificate,
        status,
        this_update=made,
        next_update=until,
        at=made,
    )
    signer = by or world.issuer
    world.revoker.serve(RESPONDER, make_ocsp(single, signer=signer, produced=made))
    world.sync()


def _by_list(world: World) -> Party:
    leaf = world.signer(points([world.revoker.url(LIST)]))
    world.holds(world.signature(leaf))
    return leaf


def _by_responder(world: World) -> Party:
    leaf = world.signer(responders(world.revoker.url(RESPONDER)))
    world.holds(world.signature(leaf))
    return leaf


def _mallory() -> Party:
    """Somebody who calls himself what the issuer is called."""
    return issue(around_now(revoking_ca()))


# -- lists ------------------------------------------------------------------------


def list_of_yesterday(world: World) -> None:
    _listed(world, _by_list(world))


def list_server_down(world: World) -> None:
    list_of_yesterday(world)
    world.revoker.routes.clear()
    world.sync()


def list_over(world: World) -> None:
    _listed(world, _by_list(world), made=AT - 9 * DAY, until=YESTERDAY)


def list_of_last_week(world: World) -> None:
    _listed(world, _by_list(world), made=AT - 9 * DAY)


def list_never_fetched(world: World) -> None:
    _by_list(world)
    world.sync()


def list_lost(world: World) -> None:
    list_of_yesterday(world)
    shutil.rmtree(world.host.root / "state" / "cache" / "evidence")


def list_of_somebody_else(world: World) -> None:
    _listed(world, _by_list(world), by=_mallory())


def list_replayed(world: World) -> None:
    leaf = _by_list(world)
    _listed(world, leaf, revoked=True, number=2)
    _listed(world, leaf, made=AT - 2 * DAY)


def list_forgetting(world: World) -> None:
    leaf = _by_list(world)
    _listed(world, leaf, revoked=True)
    _listed(world, leaf, number=2, made=AT - DAY / 24)


def list_of_a_liar_after_a_good_one(world: World) -> None:
    leaf = _by_list(world)
    _listed(world, leaf)
    _listed(world, leaf, number=2, revoked=True, by=_mallory())


# -- responders -------------------------------------------------------------------


def answer_of_yesterday(world: World) -> None:
    _answered(world, _by_responder(world))


def responder_down(world: World) -> None:
    answer_of_yesterday(world)
    world.revoker.routes.clear()
    world.sync()


def answer_over(world: World) -> None:
    _answered(world, _by_responder(world), made=AT - 9 * DAY, until=YESTERDAY)


def answer_never_fetched(world: World) -> None:
    _by_responder(world)
    world.sync()


def answer_of_somebody_else(world: World) -> None:
    _answered(world, _by_responder(world), by=_mallory())


def answer_about_another(world: World) -> None:
    _by_responder(world)
    _answered(world, world.signer())


def answer_unknown(world: World) -> None:
    _answered(world, _by_responder(world), UNKNOWN)


def answer_replayed(world: World) -> None:
    leaf = _by_responder(world)
    _answered(world, leaf, REVOKED)
    _answered(world, leaf, made=AT - 2 * DAY)


LISTS: Situations = {
    "fresh": {
        "a list of yesterday, synced": list_of_yesterday,
        "the same, and its server is down since": list_server_down,
        "of nine days ago, and good until tomorrow": list_of_last_week,
    },
    "stale": {
        "its nextUpdate is over, and nobody gave a newer one": list_over,
    },
    "missing": {
        "never fetched, since its server is down": list_never_fetched,
        "fetched, and lost from this host's disk": list_lost,
    },
    "lying": {
        "signed by somebody else than the issuer": list_of_somebody_else,
        "somebody else's, after a good one": list_of_a_liar_after_a_good_one,
        "an older one, after one that revoked the signer": list_replayed,
        "a newer one, that revokes the signer no more": list_forgetting,
    },
}
ANSWERS: Situations = {
    "fresh": {
        "an answer of yesterday, synced": answer_of_yesterday,
        "the same, and the responder is down since": responder_down,
    },
    "stale": {
        "its nextUpdate is over, and nobody gave a newer one": answer_over,
    },
    "missing": {
        "never asked, since the responder is down": answer_never_fetched,
    },
    "lying": {
        "signed by somebody else than the issuer": answer_of_somebody_else,
        "an answer about another certificate": answer_about_another,
        'the responder says "unknown"': answer_unknown,
        'an older "good", after "revoked"': answer_replayed,
    },
}

"""Revocation on the command line: synced before, judged without a network after."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import pytest
from cryptography import x509

from tests.pki import Party, Template, issue, leaf_template, pems
from tests.revoker import (
    DAY,
    REVOKED,
    Listed,
    Revoker,
    Single,
    make_crl,
    make_ocsp,
    points,
    responders,
    revoking_ca,
)
from tests.unit.cli.host import SCOPE, Done, Host
from tests.unit.sources.signed import AT

CRL, OCSP = "/list.crl", "/ocsp"


@dataclass(frozen=True)
class Signer:
    """A chain that is valid now, and what its issuer says about its leaf."""

    leaf: Party
    issuer: Party
    root: Party

    def crl(self, number: int = 1, *, revoked: bool = False, age: int = 1) -> bytes:
        """A list made `age` days ago, good until tomorrow."""
        listed = [Listed(self.leaf.certificate.serial_number, at=AT - age * DAY)]
        return make_crl(
            self.issuer,
            *(listed if revoked else []),
            number=number,
            this_update=AT - age * DAY,
            next_update=AT + DAY,
        )

    def ocsp(self, status: str = "good") -> bytes:
        """An answer of an hour ago, good until tomorrow."""
        made = AT - DAY / 24
        single = Single(
            self.leaf.certificate,
            self.issuer.certificate,
            status,
            this_update=made,
            next_update=AT + DAY,
            at=made,
        )
        return make_ocsp(single, signer=self.issuer, produced=made)


def signer(*pointers: x509.ExtensionType) -> Signer:
    """Make a chain around the real time, which `cache sync` goes by."""
    root = issue(_now(revoking_ca()))
    issuer = issue(_now(revoking_ca("C=US,ST=WA,O=acme,CN=issuing")), root)
    leaf = replace(leaf_template(), extra=tuple((one, False) for one in pointers))
    return Signer(issue(_now(leaf), issuer), issuer, root)


def _now(template: Template) -> Template:
    return replace(template, starts=AT - 30 * DAY, ends=AT + 300 * DAY)


def signs(host: Host, who: Signer, *, trusted: bool = True) -> None:
    """Sign the host's image, into the cache and the layout."""
    (host.root / "who.key").write_bytes(who.leaf.key_pem)
    (host.root / "who.crt").write_bytes(pems((who.leaf, who.issuer, who.root)))
    if trusted:
        store = host.notation / "truststore" / "x509" / "ca" / "acme"
        (store / "who.crt").write_bytes(who.root.pem)
    host.sign("--write-layout", by="who")


def code(host: Host, *words: str) -> tuple[int, str]:
    """Verify; return the exit status and the decision's code."""
    done = host.verify("--scope", SCOPE, "-o", "json", *words)
    return done.status, done.json["code"]


def sync(host: Host, *, status: int = 0) -> Done:
    done = host.run("cache", "sync", "-o", "json")
    assert done.status == status, done.err
    return done


def about_evidence(found: dict[str, object]) -> dict[str, object]:
    """What a sync says, without its registries: there is no engine, and no list."""
    assert (found["registries"], found["engines"], found["local"]) == ([], [], 0)
    return {name: found[name] for name in ("chains", "kept", "problems")}


def stored(host: Host) -> dict[str, bytes]:
    """Every file the host keeps."""
    state = host.root / "state"
    return {
        str(path.relative_to(state)): path.read_bytes()
        for path in sorted(state.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def revoker() -> Iterator[Revoker]:
    with Revoker() as revoker:
        yield revoker


@pytest.fixture
def who(host: Host, revoker: Revoker) -> Signer:
    """A trusted signer with a list, who signed the image."""
    who = signer(points([revoker.url(CRL)]))
    revoker.serve(CRL, who.crl())
    signs(host, who)
    return who


@pytest.mark.usefixtures("who")
def test_without_evidence_nothing_is_allowed_and_nobody_is_asked(
    host: Host, revoker: Revoker
) -> None:
    """Strict means strict: what cannot be known denies, and verifying is offline."""
    done = host.verify("--scope", SCOPE)

    assert done.status == 1
    assert "[ENF-1007]" in done.out
    assert revoker.asked == []


def test_what_was_synced_is_enough_without_a_network(host: Host) -> None:
    """The way to run: sync by a timer, verify at every start."""
    with Revoker() as revoker:
        who = signer(points([revoker.url(CRL)]))
        revoker.serve(CRL, who.crl())
        signs(host, who)
        found = sync(host).json
        asked = revoker.paths()

    assert code(host) == (0, "ENF-1000")
    assert asked == [CRL]
    assert about_evidence(found) == {"chains": 1, "kept": 1, "problems": []}


def test_a_second_sync_with_nothing_new_keeps_nothing(
    host: Host, revoker: Revoker, who: Signer
) -> None:
    revoker.serve(CRL, who.crl())
    sync(host)
    before = stored(host)

    found = sync(host).json

    assert found["kept"] == 0
    assert stored(host).keys() == before.keys()


def test_a_sync_that_gets_nothing_says_so_and_what_is_held_still_counts(
    host: Host, revoker: Revoker, who: Signer
) -> None:
    """A responder that is down for an hour stops no container."""
    revoker.serve(CRL, who.crl())
    sync(host)
    del revoker.routes[CRL]

    found = sync(host, status=1)

    assert [p["url"] for p in found.json["problems"]] == [revoker.url(CRL)]
    assert revoker.url(CRL) in found.err
    assert code(host) == (0, "ENF-1000")


@pytest.mark.parametrize(
    ("number", "age"), [(1, 2), (9, 0)], ids=["an older list", "a newer list"]
)
def test_once_revoked_no_good_list_brings_it_back(
    host: Host, revoker: Revoker, who: Signer, number: int, age: int
) -> None:
    """An attacker replays old lists; a CA drops entries from new ones."""
    sync(host)
    good = code(host)

    revoker.serve(CRL, who.crl(2, revoked=True))
    sync(host)
    revoked = code(host)
    revoker.serve(CRL, who.crl(number, age=age))
    host.run("cache", "sync")

    assert good == (0, "ENF-1000")
    assert revoked == (1, "ENF-1014")
    assert code(host) == (1, "ENF-1014")
    assert code(host, "--online") == (1, "ENF-1014")


def test_a_revocation_outlives_the_evidence_of_it(
    host: Host, revoker: Revoker, who: Signer
) -> None:
    """Throwing the cache away, and syncing with an old list, gains nothing."""
    revoker.serve(CRL, who.crl(2, revoked=True))
    sync(host)

    shutil.rmtree(host.root / "state" / "cache" / "evidence")
    lost = code(host)
    revoker.serve(CRL, who.crl(1, age=2))
    host.run("cache", "sync")

    assert lost == (1, "ENF-1014")
    assert code(host) == (1, "ENF-1014")


@pytest.mark.usefixtures("who")
def test_evidence_that_was_held_and_is_gone_denies_until_the_next_sync(
    host: Host,
) -> None:
    """Deleting a list that says "revoked" must not be worth more than having none."""
    sync(host)
    held = code(host)

    shutil.rmtree(host.root / "state" / "cache" / "evidence")
    lost = code(host)
    sync(host)

    assert (held, lost) == ((0, "ENF-1000"), (1, "ENF-1016"))
    assert code(host) == (0, "ENF-1000")


@pytest.mark.usefixtures("who")
def test_a_memory_that_is_gone_denies_until_root_resets_it(host: Host) -> None:
    """No sync heals it: what was forgotten may have been a revocation."""
    sync(host)
    (host.root / "state" / "floors.db").unlink()

    lost = code(host)
    synced = host.run("cache", "sync")
    still = code(host)
    reset = host.run("floors", "reset", "--reason", "the disk was replaced")
    host.run("cache", "sync")

    assert (lost, still) == ((1, "ENF-1016"), (1, "ENF-1016"))
    assert synced.status == 1
    assert "enforcer floors reset" in synced.err
    assert reset.status == 0
    assert code(host) == (0, "ENF-1000")


@pytest.mark.usefixtures("who")
def test_evidence_grows_stale(host: Host) -> None:
    """A list is good for as long as it says."""
    sync(host)

    later = (AT + 3 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")

    assert code(host, "--at", later) == (1, "ENF-1015")


def test_a_responder_alone_is_enough_offline(host: Host) -> None:
    """Some CAs publish no lists at all."""
    with Revoker() as revoker:
        who = signer(responders(revoker.url(OCSP)))
        revoker.serve(OCSP, who.ocsp())
        signs(host, who)
        before = code(host)
        sync(host)

    assert before == (1, "ENF-1007")
    assert code(host) == (0, "ENF-1000")


def test_a_responder_that_says_revoked_is_believed_for_good(
    host: Host, revoker: Revoker
) -> None:
    who = signer(responders(revoker.url(OCSP)))
    signs(host, who)
    revoker.serve(OCSP, who.ocsp(REVOKED))
    sync(host)

    revoked = code(host)
    revoker.serve(OCSP, who.ocsp())
    host.run("cache", "sync")

    assert revoked == (1, "ENF-1014")
    assert code(host) == (1, "ENF-1014")


@pytest.mark.usefixtures("who")
def test_online_asks_now_and_keeps_nothing(host: Host, revoker: Revoker) -> None:
    """A what-if must not decide what the daemon allows afterwards."""
    before = stored(host)

    online = code(host, "--online")

    assert online == (0, "ENF-1000")
    assert revoker.paths() == [CRL]
    assert stored(host) == before
    assert code(host) == (1, "ENF-1007")


def test_online_sees_what_was_revoked_since(
    host: Host, revoker: Revoker, who: Signer
) -> None:
    sync(host)
    revoker.serve(CRL, who.crl(2, revoked=True))
    before = stored(host)

    online = code(host, "--online")

    assert online == (1, "ENF-1014")
    assert stored(host) == before


@pytest.mark.usefixtures("who")
def test_online_without_an_answer_says_who_gave_none(
    host: Host, revoker: Revoker
) -> None:
    revoker.routes.clear()

    done = host.verify("--scope", SCOPE, "--online")

    assert done.status == 1
    assert "[ENF-1007]" in done.out
    assert f"{revoker.url(CRL)} gave nothing of use: answered 404" in done.err


def test_urls_of_a_signer_nobody_trusts_are_never_asked(
    host: Host, revoker: Revoker
) -> None:
    """Law 2: whoever can push a signature must not choose whom this host calls."""
    stranger = signer(points([revoker.url(CRL)]), responders(revoker.url(OCSP)))
    revoker.serve(CRL, stranger.crl())
    revoker.serve(OCSP, stranger.ocsp())
    signs(host, stranger, trusted=False)

    found = sync(host).json
    online = code(host, "--online")

    assert about_evidence(found) == {"chains": 0, "kept": 0, "problems": []}
    assert online == (1, "ENF-1004")
    assert revoker.asked == []


def test_a_trusted_signers_list_is_asked_and_a_strangers_beside_it_is_not(
    host: Host, revoker: Revoker, who: Signer
) -> None:
    """The two lie in one cache, about one image."""
    stranger = signer(points([revoker.url("/stranger")]))
    revoker.serve("/stranger", stranger.crl())
    signs(host, stranger, trusted=False)

    found = sync(host).json
    online = code(host, "--online")

    assert about_evidence(found) == {"chains": 1, "kept": 1, "problems": []}
    assert online == (0, "ENF-1000")
    assert set(revoker.paths()) == {CRL}
    assert who.root != stranger.root


# -- T-CA-6: what is lost never allows what was denied ---------------------------------


def by_notation(host: Host) -> None:
    """Judge by the Notation policy that is there."""


def by_host_policy(host: Host, *, on_stale: str = "deny") -> None:
    """Judge by a policy of the host's own, with the same stores."""
    host.settings()
    shutil.copytree(host.notation / "truststore", host.root / "config" / "trust")
    acme = {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}}
    document = {
        "apiVersion": "enforcer/v1",
        "signers": {"acme": acme},
        "always": "acme",
        "statements": [{"name": "all", "scopes": ["*"], "require": "acme"}],
        "revocation": {"maxAge": "7d", "onStale": on_stale},
    }
    folder = host.root / "config" / "policy.d"
    folder.mkdir()
    (folder / "policy.yaml").write_text(json.dumps(document))


POLICIES: dict[str, Callable[[Host], None]] = {
    "notation": by_notation,
    "deny": by_host_policy,
    "use-stale": partial(by_host_policy, on_stale="use-stale"),
    "allow-and-flag": partial(by_host_policy, on_stale="allow-and-flag"),
}


def listed(host: Host, revoker: Revoker) -> Signer:
    """Have the image signed by somebody with a list, which is here and good."""
    who = signer(points([revoker.url(CRL)]))
    revoker.serve(CRL, who.crl())
    signs(host, who)
    sync(host)
    assert code(host) == (0, "ENF-1000")
    return who


def revoked(host: Host, revoker: Revoker) -> None:
    """The certificate is on a newer list."""
    revoker.serve(CRL, listed(host, revoker).crl(2, revoked=True))
    sync(host)


def revoked_by_responder(host: Host, revoker: Revoker) -> None:
    """Somebody else's responder says it."""
    other = signer(responders(revoker.url(OCSP)))
    revoker.serve(OCSP, other.ocsp(REVOKED))
    signs(host, other)
    sync(host)


def withdrawn(host: Host, revoker: Revoker) -> None:
    """The signer is no longer in the trust store; the evidence is good."""
    listed(host, revoker)
    (host.notation / "truststore" / "x509" / "ca" / "acme" / "who.crt").unlink()


DENIED = {
    "revoked": revoked,
    "revoked by a responder": revoked_by_responder,
    "withdrawn": withdrawn,
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("situation", DENIED)
def test_nothing_that_is_lost_allows_what_was_denied(
    situation: str, policy: str, host: Host, revoker: Revoker
) -> None:
    """Whoever can delete files of the state must not gain a start by it."""
    DENIED[situation](host, revoker)
    POLICIES[policy](host)
    state, kept = host.root / "state", host.root / "kept"
    before = code(host, "--with-cache")
    shutil.copytree(state, kept)

    after = {}
    for place in sorted(path.relative_to(kept) for path in kept.rglob("*")):
        lost = state / place
        if lost.is_dir():
            shutil.rmtree(lost)
        else:
            lost.unlink()
        after[str(place)] = code(host, "--with-cache")
        shutil.rmtree(state)
        shutil.copytree(kept, state)

    assert before[0] == 1
    assert {place: found for place, found in after.items() if found[0] != 1} == {}

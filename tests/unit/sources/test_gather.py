"""Gathering: whom we ask, how long and how much we listen, and whom we never ask."""

import ipaddress
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from enforcer.core.certificate import ChainError
from enforcer.core.evidence import MAX_CRL_BYTES, MAX_OCSP_BYTES, Evidence
from enforcer.core.fetching import FetchError, Request
from enforcer.core.findings import Result
from enforcer.core.revocation import judge_chain_revocation
from enforcer.core.revocation_chain import AuthenticatedChain, authenticated_chains
from enforcer.core.truststore import TrustStore, TrustStores
from enforcer.core.verify import StoredSignature
from enforcer.core.x509chain import parse_chain
from enforcer.sources.revocation.fetch import HttpFetcher
from enforcer.sources.revocation.gather import Gathered, Limits, gather
from tests.pki import IMAGE, NOW, Party, ders, make_envelope, payload_for
from tests.revoker import (
    DAY,
    GOOD,
    REVOKED,
    UNKNOWN,
    Listed,
    Reply,
    Revoker,
    Single,
    answer,
    delegate,
    freshest,
    make_crl,
    make_ocsp,
    points,
    responders,
    signer_chain,
)
from tests.unit.core.test_verify import ACME, JWS, OTHER, STORES, statement, stored

QUICK = Limits(ocsp_seconds=0.5, crl_seconds=0.5, total_seconds=3)  # nothing comes
PATIENT = Limits(ocsp_seconds=20, crl_seconds=20, total_seconds=60)
LATE_SECONDS = 10.0  # for what is over within one, on a busy machine
DEAD = "http://127.0.0.1:1/dead"


@pytest.fixture
def revoker() -> Iterator[Revoker]:
    with Revoker() as revoker:
        yield revoker


def authentic(chain: Sequence[Party]) -> AuthenticatedChain:
    return AuthenticatedChain(parse_chain(ders(chain)), frozenset({chain[-1].der}))


def ask(
    chain: Sequence[Party], *, thorough: bool = False, limits: Limits = PATIENT
) -> Gathered:
    return gather(
        [authentic(chain)],
        NOW,
        fetcher=HttpFetcher(),
        thorough=thorough,
        limits=limits,
    )


def passes(chain: Sequence[Party], found: Gathered) -> bool:
    certificates = [party.certificate for party in chain]
    outcome = judge_chain_revocation(certificates, found.evidence, NOW)
    return outcome.result is Result.PASSED


def trusting(chain: Sequence[Party]) -> TrustStores:
    return TrustStores({ACME: TrustStore(ACME, (chain[-1].der,))})


def becauses(found: Gathered) -> list[str]:
    return [problem.because for problem in found.problems]


# -- law 2 ------------------------------------------------------------------------


def test_a_chain_that_nobody_trusts_cannot_be_asked_about() -> None:
    """Law 2 by construction: gather takes a proof, and there is none to be had."""
    chain, stranger = signer_chain(), signer_chain()

    with pytest.raises(ChainError, match="in a trust store"):
        AuthenticatedChain(parse_chain(ders(chain)), frozenset({stranger[-1].der}))


def test_a_chain_with_a_link_that_does_not_hold_is_no_proof() -> None:
    """A stranger's leaf, with URLs of its own, below a trusted root."""
    mine, theirs = signer_chain(), signer_chain(responders("http://169.254.169.254/"))
    mixed = (theirs[0], mine[1], mine[2])

    with pytest.raises(ChainError):
        AuthenticatedChain(parse_chain(ders(mixed)), frozenset({mine[-1].der}))


def test_a_signature_that_is_not_authentic_leads_nowhere(revoker: Revoker) -> None:
    """Law 2: not by a stranger, not about another image, not broken; nor in audit.

    facts 2.2: notation asks the URLs of an untrusted chain when the level is audit.
    """
    url = revoker.serve("/o", b"")
    chain = signer_chain(responders(url))
    envelope = make_envelope(chain)
    trusted = trusting(chain)
    broken = StoredSignature(stored(envelope).digest, JWS, envelope[:-40] + b'x"}')

    cases: list[tuple[StoredSignature, TrustStores, str]] = [
        (stored(envelope), STORES, "strict"),
        (stored(envelope), STORES, "audit"),
        (stored(make_envelope(chain, payload=payload_for(OTHER))), trusted, "audit"),
        (broken, trusted, "audit"),
        (stored(envelope), trusted, "skip"),
    ]
    for signature, stores, level in cases:
        found = authenticated_chains(signature, [IMAGE], statement(level), stores, NOW)
        assert found == ()
        gather(found, NOW, fetcher=HttpFetcher())
    assert revoker.asked == []
    (known,) = authenticated_chains(
        stored(envelope), [IMAGE], statement("audit"), trusted, NOW
    )
    gather([known], NOW, fetcher=HttpFetcher(), limits=PATIENT)
    assert revoker.paths() == ["/o"]


def test_revocation_that_the_policy_skips_is_not_asked_about() -> None:
    """Vector rev-ocsp-revoked-skip."""
    chain = signer_chain(responders(DEAD))
    skipping = statement(override={"revocation": "skip"})

    assert (
        authenticated_chains(
            stored(make_envelope(chain)), [IMAGE], skipping, trusting(chain), NOW
        )
        == ()
    )


def test_a_forged_list_leads_nowhere(revoker: Revoker) -> None:
    """Who is on the network answers with a list of his own, and deltas to follow."""
    trap = revoker.serve("/trap", b"")
    url = revoker.url("/list")
    chain, stranger = signer_chain(points([url])), signer_chain()
    lure = ((freshest(trap), False),)
    named = chain[1].certificate.subject
    revoker.serve("/list", make_crl(stranger[1], issuer_name=named, extra=lure))

    found = ask(chain)

    assert revoker.paths() == ["/list"]
    assert found.evidence == Evidence()
    revoker.serve("/list", make_crl(chain[1], extra=lure))
    ask(chain)
    assert revoker.paths()[1:] == ["/list", "/trap"]


def test_a_forged_delegate_leads_nowhere(revoker: Revoker) -> None:
    """An answer's own certificate names URLs, too."""
    trap = revoker.serve("/trap", b"")
    chain = signer_chain(responders(revoker.url("/o")))
    single = Single(chain[0].certificate, chain[1].certificate)
    forger = replace(signer_chain()[1], certificate=chain[1].certificate)
    for issuer, asked in ((forger, ["/o"]), (chain[1], ["/o", "/trap"])):
        signer = delegate(issuer, points([trap]), no_check=False)
        revoker.asked.clear()
        revoker.serve("/o", make_ocsp(single, signer=signer, embedded=[signer]))

        ask(chain)

        assert revoker.paths() == asked


# -- what is asked ----------------------------------------------------------------


def test_a_responder_is_asked_by_get(revoker: Revoker) -> None:
    """R3: base64 shorter than 255 goes into the path (RFC 6960 A.1)."""
    chain = signer_chain(responders(revoker.url("/o")))
    revoker.serve("/o", answer(chain[0], chain[1]))

    found = ask(chain)

    assert passes(chain, found)
    assert [method for method, _, _ in revoker.asked] == ["GET"]
    assert found.problems == ()


def test_a_long_question_is_posted(revoker: Revoker) -> None:
    """R3; a serial number has at most 20 octets, so this takes a longer name."""
    request = Request(revoker.serve("/o", b"yes"), "*/*", 10, 1, b"question", "a/b")

    assert HttpFetcher().fetch(request) == b"yes"
    assert revoker.asked == [("POST", "/o", b"question")]


def test_lists_are_fetched_only_where_no_answer_settles_it(revoker: Revoker) -> None:
    """R1; thoroughly, both are had."""
    urls = revoker.url("/o"), revoker.url("/l")
    chain = signer_chain(responders(urls[0]), points([urls[1]]))
    revoker.serve("/l", make_crl(chain[1]))
    for status, asked in (
        (GOOD, ["/o"]),
        (REVOKED, ["/o"]),
        (UNKNOWN, ["/o", "/l"]),
    ):
        revoker.asked.clear()
        revoker.serve("/o", answer(chain[0], chain[1], status))

        ask(chain)

        assert revoker.paths() == asked
    revoker.serve("/o", answer(chain[0], chain[1]))
    revoker.asked.clear()
    assert len(ask(chain, thorough=True).evidence.items) == 2
    assert revoker.paths() == ["/o", "/l"]


def test_alternates_are_asked_in_turn_until_one_is_of_use(revoker: Revoker) -> None:
    """R3, R8: dead, wrong, stale, then right; and no further."""
    paths = ("/404", "/garbage", "/old", "/good", "/never")
    chain = signer_chain(responders(DEAD, *map(revoker.url, paths)))
    single = Single(chain[0].certificate, chain[1].certificate)
    old = replace(single, next_update=NOW - DAY)
    revoker.serve("/404", Reply(status=404))
    revoker.serve("/garbage", b"garbage")
    revoker.serve("/old", make_ocsp(old, signer=chain[1]))
    revoker.serve("/good", answer(chain[0], chain[1]))

    found = ask(chain)

    assert passes(chain, found)
    assert revoker.paths() == ["/404", "/garbage", "/old", "/good"]
    assert len(becauses(found)) == 4
    assert becauses(found)[1] == "answered 404, not 200"


def test_an_answer_of_unknown_ends_the_asking(revoker: Revoker) -> None:
    """R3: it is an answer."""
    chain = signer_chain(responders(revoker.url("/a"), revoker.url("/b")))
    revoker.serve("/a", answer(chain[0], chain[1], UNKNOWN))

    assert not passes(chain, ask(chain))
    assert revoker.paths() == ["/a"]


def test_deltas_and_a_responders_own_lists_are_followed(revoker: Revoker) -> None:
    """R7, R11: what is wanted next shows in what was found."""
    urls = [revoker.url(path) for path in ("/o", "/l", "/d")]
    chain = signer_chain(responders(urls[0]))
    single = Single(chain[0].certificate, chain[1].certificate)
    signer = delegate(chain[1], points([urls[1]]), no_check=False)
    revoker.serve("/o", make_ocsp(single, signer=signer, embedded=[signer]))
    base = make_crl(chain[1], number=1, extra=((freshest(urls[2]), False),))
    revoker.serve("/l", base)
    revoker.serve("/d", make_crl(chain[1], number=2, base_number=1))

    found = ask(chain)

    assert revoker.paths() == ["/o", "/l", "/d"]
    assert passes(chain, found)


def test_what_is_shared_by_two_chains_is_asked_for_once(revoker: Revoker) -> None:
    """Also: a run has an end, whatever the chains say."""
    chain = signer_chain(points([revoker.url("/l")]))
    revoker.serve("/l", make_crl(chain[1], Listed(5)))

    known = authentic(chain)
    gather([known, known], NOW, fetcher=HttpFetcher(), limits=PATIENT)

    assert revoker.paths() == ["/l"]


# -- how it goes wrong ------------------------------------------------------------

WRONG: dict[str, tuple[Reply, str]] = {
    "500": (Reply(status=500), "answered 500, not 200"),
    "206": (Reply(b"x", status=206), "answered 206, not 200"),
    "204": (Reply(status=204), "answered 204, not 200"),
    "redirect": (
        Reply(status=302, headers=(("Location", "http://127.0.0.1/"),)),
        "answered 302, not 200",
    ),
    "truncated": (Reply(b"short", length=99), "IncompleteRead"),
    "slow": (Reply(b"x", wait_seconds=60), "took more than 0.5 s"),
    "dripping": (Reply(b"x" * 500, drip_seconds=0.1), "took more than 0.5 s"),
    "endless": (Reply(b"x" * 4096, endless=True), f"gives {MAX_OCSP_BYTES} bytes or"),
    "huge": (Reply(bytes(MAX_OCSP_BYTES)), f"gives {MAX_OCSP_BYTES} bytes or more"),
    "gzip": (
        Reply(b"x", headers=(("Content-Encoding", "gzip"),)),
        "answered in an encoding nobody asked for",
    ),
    "empty": (Reply(), "cannot be read"),
    "html": (Reply(b"<html>sign in</html>"), "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_whatever_a_responder_does_is_a_line_and_no_evidence(
    revoker: Revoker, case: str
) -> None:
    """Law 6; D14: within the deadline, within the limit, and never an exception."""
    reply, because = WRONG[case]
    chain = signer_chain(responders(revoker.serve("/o", reply)))

    started = time.monotonic()
    found = ask(chain, limits=QUICK if "took" in because else PATIENT)

    assert time.monotonic() - started < LATE_SECONDS
    assert not passes(chain, found)
    assert because in becauses(found)[0]


def test_all_of_it_has_a_deadline(revoker: Revoker) -> None:
    """Ten responders that never answer take no longer than one run may."""
    urls = [revoker.serve(f"/{n}", Reply(wait_seconds=60)) for n in range(8)]
    chain = signer_chain(responders(*urls))
    limits = Limits(ocsp_seconds=1.5, total_seconds=2)

    started = time.monotonic()
    found = gather([authentic(chain)], NOW, fetcher=HttpFetcher(), limits=limits)

    assert time.monotonic() - started < LATE_SECONDS  # and not twelve
    assert becauses(found)[-1] == "was not asked: no time left"


def test_a_certificate_with_many_urls_is_asked_about_few_times(
    revoker: Revoker,
) -> None:
    """Law 6: MAX_URLS."""
    urls = [revoker.url(f"/{n}") for n in range(20)]
    chain = signer_chain(responders(*urls))

    ask(chain)

    assert len(revoker.asked) == 8


def test_a_list_has_a_limit_of_its_own(revoker: Revoker) -> None:
    """D14: 32 MiB, while streaming; nothing that large is kept."""
    endless = Reply(bytes(1024 * 1024), endless=True)
    chain = signer_chain(points([revoker.serve("/l", endless)]))

    found = gather(
        [authentic(chain)], NOW, fetcher=HttpFetcher(), limits=Limits(crl_seconds=30)
    )

    assert becauses(found) == [f"gives {MAX_CRL_BYTES} bytes or more"]


# -- addresses --------------------------------------------------------------------

REFUSED = [
    "http://169.254.169.254/latest/meta-data",
    "http://169.254.1.1:8080/",
    "http://[fe80::1]/",
    "http://[::ffff:169.254.169.254]/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://[64:ff9b::a9fe:a9fe]/",
    "http://[2002:a9fe:a9fe::1]/",
    "http://[::169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://2852039166/",  # 169.254.169.254 as one number
    "http://0.0.0.0/",
    "http://[::]/",
    "http://224.0.0.1/",
]


def request(url: str) -> Request:
    return Request(url, "*/*", 100, 1)


@pytest.mark.parametrize("url", REFUSED)
def test_a_machines_own_addresses_are_never_asked(url: str) -> None:
    """1B row 62: the address counts, however the URL writes it."""
    with pytest.raises(FetchError, match="which is "):
        HttpFetcher().fetch(request(url))


def test_a_name_is_judged_by_its_addresses(
    monkeypatch: pytest.MonkeyPatch, revoker: Revoker
) -> None:
    """And the address that was judged is the one that is asked: no second look-up."""
    asked: list[str] = []
    answers = ["169.254.169.254", "127.0.0.1"]

    def rebinding(host: str, *_: object, **__: object) -> list[object]:
        asked.append(host)
        address = (answers[len(asked) - 1], revoker.port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address)]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **k: (
            rebinding(host) if host == "ca.example" else real(host, *a, **k)
        ),
    )
    url = f"http://ca.example:{revoker.port}/o"
    revoker.serve("/o", b"yes")

    with pytest.raises(FetchError, match="link-local"):
        HttpFetcher().fetch(request(url))
    assert HttpFetcher().fetch(request(url)) == b"yes"
    assert asked == ["ca.example"] * 2


def test_this_host_is_asked_unless_that_is_turned_off(revoker: Revoker) -> None:
    """A responder may run beside its CA."""
    url = revoker.serve("/o", b"yes")

    assert HttpFetcher().fetch(request(url)) == b"yes"
    with pytest.raises(FetchError, match="which is this host"):
        HttpFetcher(loopback=False).fetch(request(url))
    mapped = f"http://[::ffff:127.0.0.1]:{revoker.port}/o"
    with pytest.raises(FetchError, match="which is this host"):
        HttpFetcher(loopback=False).fetch(request(mapped))
    assert ipaddress.ip_address("::1").is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "http:///path",
        "http://user:secret@127.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:x/",
        "http://[::1/",
        "http://127.0.0.1/a\r\nHost: b",
    ],
)
def test_other_urls_are_refused(url: str) -> None:
    """Row 61, 62: schemes, credentials, line ends."""
    with pytest.raises(FetchError):
        HttpFetcher().fetch(request(url))


def test_a_proxy_in_the_environment_is_not_used(
    monkeypatch: pytest.MonkeyPatch, revoker: Revoker
) -> None:
    """A proxy would choose the address after we checked it."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, DEAD)

    assert HttpFetcher().fetch(request(revoker.serve("/o", b"yes"))) == b"yes"


def test_a_name_that_does_not_resolve_is_told() -> None:
    """Missing, unreachable and wrong are three errors."""
    with pytest.raises(FetchError, match=r"cannot be resolved|took more"):
        HttpFetcher().fetch(request("http://does-not-exist.invalid/"))
    with pytest.raises(FetchError, match="cannot be reached: Connection refused"):
        HttpFetcher().fetch(request(DEAD))

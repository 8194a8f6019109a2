"""`enforcer sign --tsa`: countersigned signatures outlive their certificate."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.asn1 import generalized, integer, seq
from tests.pki import Template, ca_template, issue, leaf_template, pems
from tests.revoker import DAY
from tests.tsa import Authority, tsa_chain, tsa_template
from tests.tsa_server import Reply, serve
from tests.unit.cli.host import SCOPE, Done, Host
from tests.unit.sources.signed import AT

FORMATS = ["jws", "cose"]
MEDIA_TYPES = {"jws": "application/jose+json", "cose": "application/cose"}
AFTERWARDS = (AT + 60 * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
NOBODY = "http://127.0.0.1:1/tsr"


def around_now(template: Template, days: int = 900) -> Template:
    return replace(template, starts=AT - 30 * DAY, ends=AT + days * DAY)


def authority() -> Authority:
    """A TSA for years, with the host's clock."""
    root = ca_template("C=US,ST=WA,O=tsa,CN=tsa root")
    return Authority(tsa_chain(around_now(tsa_template()), root=around_now(root)))


TSA, OTHER = authority(), authority()


def right(request: bytes) -> Reply:
    return Reply(TSA.answer(request, gen_time=generalized(datetime.now(UTC))))


@pytest.fixture
def clocked(host: Host) -> Host:
    """A host whose signer's certificates end in a month, and that trusts the TSA."""
    root = issue(around_now(ca_template(), 30))
    leaf = issue(around_now(leaf_template(), 30), root)
    (host.root / "who.key").write_bytes(leaf.key_pem)
    (host.root / "who.crt").write_bytes(pems((leaf, root)))
    (host.root / "tsa.crt").write_bytes(TSA.chain[-1].pem)
    (host.root / "other.crt").write_bytes(OTHER.chain[-1].pem)
    stores = host.notation / "truststore" / "x509"
    (stores / "ca" / "acme" / "who.crt").write_bytes(root.pem)
    (stores / "tsa" / "clock").mkdir(parents=True)
    (stores / "tsa" / "clock" / "tsa.crt").write_bytes(TSA.chain[-1].pem)
    asks_for(host, "always")
    return host


def asks_for(host: Host, when: str) -> None:
    host.policy(
        trustStores=["ca:acme", "tsa:clock"],
        signatureVerification={"level": "strict", "verifyTimestamp": when},
    )


def sign(host: Host, *words: str | Path) -> Done:
    return host.run(
        "sign", host.target, "--write-layout", *host.keys("who"), *words, "-o", "json"
    )


def stamped(host: Host, form: str = "jws") -> None:
    """Sign the host's image with a countersignature."""
    with serve(right) as tsa:
        root = host.root / "tsa.crt"
        words = ("--tsa", tsa.url, "--tsa-root", root, "--signature-format", form)
        done = sign(host, *words)
    assert (done.status, done.err) == (0, "")
    assert len(tsa.requests) == 1


def code(host: Host, *words: str) -> tuple[int, str]:
    done = host.verify("--scope", SCOPE, "-o", "json", *words)
    return done.status, done.json["code"]


def nothing_was_stored(host: Host, layout: dict[str, bytes]) -> bool:
    return not (host.root / "state" / "cache").exists() and content(host) == layout


def content(host: Host) -> dict[str, bytes]:
    files = (path for path in host.layout.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("when", ["always", "afterCertExpiry"])
def test_a_countersigned_signature_outlives_its_certificate(
    clocked: Host, form: str, when: str
) -> None:
    """What the TSA is for: the image still starts when the certificate is over."""
    asks_for(clocked, when)
    stamped(clocked, form)

    assert code(clocked) == (0, "ENF-1000")
    assert code(clocked, "--at", AFTERWARDS) == (0, "ENF-1000")


@pytest.mark.parametrize("form", FORMATS)
def test_the_format_asked_for_signs_and_verifies(clocked: Host, form: str) -> None:
    clocked.policy()

    done = sign(clocked, "--signature-format", form)

    assert done.status == 0
    listed = clocked.run("cache", "list", "-o", "json").json
    assert [entry["mediaType"] for entry in listed] == [MEDIA_TYPES[form]]
    assert code(clocked) == (0, "ENF-1000")
    assert code(clocked, "--at", AFTERWARDS) == (1, "ENF-1006")


def test_another_format_is_usage(clocked: Host) -> None:
    assert sign(clocked, "--signature-format", "dsse").status == 2


def test_without_a_countersignature_a_statement_that_wants_one_denies(
    clocked: Host,
) -> None:
    assert sign(clocked).status == 0

    assert code(clocked) == (1, "ENF-1013")
    asks_for(clocked, "afterCertExpiry")
    assert code(clocked) == (0, "ENF-1000")
    assert code(clocked, "--at", AFTERWARDS) == (1, "ENF-1013")


def test_a_countersignature_by_a_tsa_the_host_does_not_trust_is_none(
    clocked: Host,
) -> None:
    """--tsa-root is the signer's choice; the host has its own."""
    stamped(clocked)
    store = clocked.notation / "truststore" / "x509" / "tsa" / "clock"
    (store / "tsa.crt").write_bytes(OTHER.chain[-1].pem)

    assert code(clocked) == (1, "ENF-1013")
    assert code(clocked, "--at", AFTERWARDS) == (1, "ENF-1013")


def test_without_a_tsa_store_a_countersignature_saves_nothing(clocked: Host) -> None:
    stamped(clocked)
    clocked.policy()

    assert code(clocked) == (0, "ENF-1000")
    assert code(clocked, "--at", AFTERWARDS) == (1, "ENF-1006")


def refusal(host: Host, url: str, root: str = "tsa.crt") -> Done:
    """Try to sign; nothing may have been stored."""
    before = content(host)
    done = sign(host, "--tsa", url, "--tsa-root", host.root / root)
    assert done.out == ""
    assert nothing_was_stored(host, before)
    return done


def test_another_root_than_the_tsas_signs_nothing(clocked: Host) -> None:
    with serve(right) as tsa:
        done = refusal(clocked, tsa.url, "other.crt")

    assert done.status == 1
    assert f'time stamping authority "{tsa.url}"' in done.err
    assert "the countersignature is not trusted" in done.err
    assert "Check --tsa-root and the clock. [ENF-1307]" in done.err


def test_a_tsa_that_is_down_signs_nothing(clocked: Host) -> None:
    done = refusal(clocked, NOBODY)

    assert done.status == 3
    assert f'time stamping authority "{NOBODY}": it cannot be reached' in done.err
    assert "Check the URL and the network, then try again. [ENF-1305]" in done.err


def test_a_tsa_that_says_no_signs_nothing(clocked: Host) -> None:
    with serve(lambda _: Reply(seq(seq(integer(2))))) as tsa:
        done = refusal(clocked, tsa.url)

    assert done.status == 1
    assert "it gave no countersignature: " in done.err
    assert "[ENF-1306]" in done.err


def test_a_tsa_with_another_clock_signs_nothing(clocked: Host) -> None:
    late = generalized(AT + DAY)
    with serve(lambda request: Reply(TSA.answer(request, gen_time=late))) as tsa:
        done = refusal(clocked, tsa.url)

    assert (done.status, "but here it is" in done.err) == (1, True)


@pytest.mark.parametrize("url", ["ftp://tsa.example/", "tsa", "http://u:p@h/"])
def test_what_is_no_address_of_a_tsa_signs_nothing(clocked: Host, url: str) -> None:
    done = refusal(clocked, url)

    assert (done.status, "[ENF-1209]" in done.err) == (1, True)


def test_a_root_that_is_no_certificate_asks_nobody(clocked: Host) -> None:
    (clocked.root / "junk").write_bytes(b"junk")
    with serve(right) as tsa:
        done = refusal(clocked, tsa.url, "junk")

    assert done.status != 0
    assert "junk" in done.err
    assert tsa.requests == []


@pytest.mark.parametrize(
    "words",
    [["--tsa", NOBODY], ["--tsa-root", "tsa.crt"], ["--tsa", "", "--tsa-root", "x"]],
)
def test_a_tsa_and_its_root_go_together(clocked: Host, words: list[str]) -> None:
    """Without a root, whoever answers at that URL would be the clock."""
    before = content(clocked)

    done = sign(clocked, *words)

    assert done.status == 2
    assert done.err == "enforcer: --tsa and --tsa-root go together\n"
    assert nothing_was_stored(clocked, before)

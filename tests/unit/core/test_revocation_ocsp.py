"""OCSP: who may answer, about whom, and when (RFC 6960 4.2.2.2; facts 2.1.2)."""

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from enforcer.core.certificate import key_digest
from enforcer.core.codes import Code
from enforcer.core.evidence import MAX_OCSP_BYTES, Evidence, Item, Slot
from enforcer.core.findings import Result
from enforcer.core.notary import Outcome
from enforcer.core.revocation import judge_revocation
from enforcer.core.revocation_inquiry import Inquiry, certificate_id
from enforcer.core.revocation_ocsp import ocsp_request, read_answer
from enforcer.core.revocation_places import learn
from enforcer.core.revocation_rules import NOTATION_RULES
from enforcer.core.revocation_signed import EvidenceError, verify_signed
from tests.pki import NOW, Party, issue, leaf_template, rsa_key
from tests.revoker import (
    GOOD,
    REVOKED,
    TRY_LATER,
    Listed,
    Single,
    answer,
    delegate,
    make_crl,
    make_ocsp,
    points,
    responders,
    signer_chain,
)

URL, LIST = "http://ca.example/ocsp", "http://ca.example/responders"
CHAIN = signer_chain(responders(URL))
LEAF, MIDDLE, ROOT = CHAIN
CERTIFICATES = tuple(party.certificate for party in CHAIN)
WHAT = f"the OCSP response from {URL}"
RIGHT = Single(LEAF.certificate, MIDDLE.certificate)
ID = certificate_id(LEAF.certificate, MIDDLE.certificate)


def item(der: bytes) -> Item:
    return Item(Slot.ocsp(ID), URL, NOW, der)


def judge(der: bytes, *more: Item) -> Outcome:
    evidence = Evidence((item(der), *more))
    return judge_revocation(CERTIFICATES, evidence, NOW).outcome


def said(der: bytes, *more: Item) -> str:
    found = judge(der, *more)
    assert (found.result, found.code) == (Result.INCONCLUSIVE, Code.REVOCATION_UNKNOWN)
    return found.because.partition('": ')[2]


def is_good(der: bytes, *more: Item) -> bool:
    return judge(der, *more).result is Result.PASSED


def by(signer: Party, *, embedded: bool = True, single: Single = RIGHT) -> bytes:
    return make_ocsp(single, signer=signer, embedded=[signer] if embedded else [])


@pytest.mark.parametrize("by_key", [True, False])
@pytest.mark.parametrize("hash_name", ["sha1", "sha256", "sha384", "sha512"])
def test_the_issuer_itself_answers(hash_name: str, *, by_key: bool) -> None:
    """Both forms of responder id; every hash to name an issuer by."""
    single = replace(RIGHT, hash_name=hash_name)

    assert is_good(make_ocsp(single, signer=MIDDLE, by_key=by_key))


def test_a_delegate_answers() -> None:
    """R4, vector rev-ocsp-delegated."""
    assert is_good(by(delegate(MIDDLE)))
    revoked = by(delegate(MIDDLE), single=replace(RIGHT, status=REVOKED))
    assert judge(revoked).code is Code.CERTIFICATE_REVOKED


@pytest.mark.parametrize(
    ("responder", "why"),
    [
        (
            delegate(MIDDLE, purposes=[ExtendedKeyUsageOID.CODE_SIGNING]),
            "is signed by a certificate without OCSPSigning",
        ),
        (
            delegate(MIDDLE, purposes=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
            "is signed by a certificate without OCSPSigning",
        ),
        (delegate(MIDDLE, purposes=[]), "is signed by a certificate without OCSPSig"),
        (delegate(ROOT), "is signed by a delegate of another issuer"),
        (
            delegate(MIDDLE, ends=NOW - timedelta(seconds=1)),
            "is signed by a delegate that is not valid now",
        ),
        (
            delegate(replace(signer_chain()[1], certificate=MIDDLE.certificate)),
            "is signed by a delegate whose certificate has a signature that does not",
        ),
    ],
)
def test_not_every_certificate_of_the_issuer_is_a_delegate(
    responder: Party, why: str
) -> None:
    """2.1.2 (S): notation asks for none of this."""
    assert said(by(responder)).startswith(f"{WHAT} {why}")


def test_a_delegate_has_to_be_in_the_response() -> None:
    """Nobody looks for it elsewhere."""
    nobody = f"{WHAT} is signed by nobody the issuer lets answer"

    assert said(by(delegate(MIDDLE), embedded=False)) == nobody
    assert said(by(signer_chain()[1])) != nobody  # it is named as the issuer is
    assert "does not verify" in said(by(signer_chain()[1]))


def test_a_signing_certificate_is_never_its_own_responder() -> None:
    """2.1.2, the worst case: vector x-ocsp-signed-by-the-leaf-itself, with the EKU."""
    both = replace(
        leaf_template(),
        purposes=(ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.OCSP_SIGNING),
        extra=((responders(URL), False), (x509.OCSPNoCheck(), False)),
    )
    leaf = issue(both, MIDDLE)
    again = issue(both, MIDDLE, key=leaf.key)  # the same key, certified twice
    single = Single(leaf.certificate, MIDDLE.certificate)
    slot = Slot.ocsp(certificate_id(leaf.certificate, MIDDLE.certificate))

    for signer in (leaf, again):
        own = Item(slot, URL, NOW, by(signer, single=single))
        chain = (leaf.certificate, MIDDLE.certificate, ROOT.certificate)
        found = judge_revocation(chain, Evidence((own,)), NOW).outcome
        assert "is signed by a certificate of the same chain" in found.because


def _responder_lists(*listed: Listed) -> Item:
    slot = Slot.crl(key_digest(MIDDLE.certificate), LIST)
    return Item(slot, LIST, NOW, make_crl(MIDDLE, *listed))


def test_a_delegate_without_nocheck_is_checked_itself() -> None:
    """R7, TP624: by its lists; without one at hand it does not count."""
    checked = delegate(MIDDLE, points([LIST]), no_check=False)
    unlisted = delegate(MIDDLE, no_check=False)
    response = by(checked)

    assert is_good(response, _responder_lists())
    revoked = _responder_lists(Listed(checked.certificate.serial_number))
    assert "own certificate is revoked" in said(response, revoked)
    assert "own certificate is unknown" in said(response)
    assert "own certificate is unknown" in said(by(unlisted))


def test_a_revoked_delegate_is_remembered() -> None:
    """A list that forgets it does not bring it back."""
    checked = delegate(MIDDLE, points([LIST]), no_check=False)
    revoked = _responder_lists(Listed(checked.certificate.serial_number))
    response = item(by(checked))

    lesson = learn(CERTIFICATES, Evidence((response, revoked)), NOW)

    clear = make_crl(MIDDLE, number=9)
    evidence = Evidence((response, replace(_responder_lists(), untrusted_der=clear)))
    found = judge_revocation(CERTIFICATES, evidence.remembering(lesson), NOW).outcome
    assert found.because.endswith("is signed by a revoked delegate")


@pytest.mark.parametrize(
    "single",
    [
        replace(RIGHT, serial=RIGHT.certificate.serial_number + 1),
        replace(RIGHT, issuer=ROOT.certificate),
        replace(RIGHT, hash_name="sha256", issuer=ROOT.certificate),
    ],
)
def test_an_answer_about_another_certificate_is_none(single: Single) -> None:
    """R4: "must be for this serial", and of this issuer."""
    response = make_ocsp(single, signer=MIDDLE)

    assert said(response) == f"{WHAT} holds no answers about the certificate"


def test_of_several_answers_ours_counts_and_only_one_may_be_ours() -> None:
    """Which of two contradictory ones is meant is not guessed."""
    other = replace(RIGHT, serial=1, status=REVOKED)
    ours = replace(RIGHT, status=REVOKED)

    assert is_good(make_ocsp(other, RIGHT, signer=MIDDLE))
    both = make_ocsp(RIGHT, ours, signer=MIDDLE)
    assert said(both) == f"{WHAT} holds 2 answers about the certificate"
    many = make_ocsp(*[other] * 16, RIGHT, signer=MIDDLE)
    assert said(many) == f"{WHAT} holds more than 16 answers"


def test_an_answer_is_dated() -> None:
    """R5, 2.1.3 (S): not from the future; nextUpdate there (C) and ahead."""
    second = timedelta(seconds=1)
    skew = timedelta(minutes=5)

    near = replace(RIGHT, this_update=NOW + skew)
    assert is_good(make_ocsp(near, signer=MIDDLE, produced=NOW + skew))
    far = replace(RIGHT, this_update=NOW + skew + second)
    assert said(make_ocsp(far, signer=MIDDLE)) == f"{WHAT} is from the future"
    made = make_ocsp(RIGHT, signer=MIDDLE, produced=NOW + skew + second)
    assert said(made) == f"{WHAT} is from the future"
    for until in (None, NOW - second):
        stale = make_ocsp(replace(RIGHT, next_update=until), signer=MIDDLE)
        assert judge(stale).code is Code.EVIDENCE_STALE
    assert is_good(make_ocsp(replace(RIGHT, next_update=NOW), signer=MIDDLE))


def test_an_expired_revocation_still_counts() -> None:
    """Stricter than notation, where the lists would be asked."""
    over = replace(RIGHT, status=REVOKED, next_update=NOW - timedelta(seconds=1))

    found = judge(make_ocsp(over, signer=MIDDLE))

    assert found.code is Code.CERTIFICATE_REVOKED


def test_a_responder_that_says_no_more_than_later_is_no_evidence() -> None:
    """T-CR-8: tryLater."""
    response = make_ocsp(signer=MIDDLE, status=TRY_LATER)

    assert said(response) == f"the OCSP responder at {URL} said try_later"


def test_what_is_critical_must_be_understood() -> None:
    """RFC 6960 4.4: in the response, and in the answer."""
    in_response = make_ocsp(RIGHT, signer=MIDDLE, critical="1.2.3.4.9")
    revoked = replace(RIGHT, status=REVOKED, critical="1.2.3.4.9")

    assert said(in_response) == f"{WHAT} demands that 1.2.3.4.9 be understood"
    assert "1.2.3.4.9" in said(make_ocsp(revoked, signer=MIDDLE))


def test_sha1_vouches_for_nothing() -> None:
    """Stricter than notation (S)."""
    response = make_ocsp(RIGHT, signer=MIDDLE, sha1=True)

    assert "(SHA-1 never is)" in said(response)


def test_a_signature_fits_its_key() -> None:
    """An algorithm of another kind of key is no way around."""
    key = rsa_key(2048).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    sha1_rsa = x509.ObjectIdentifier("1.2.840.113549.1.1.5")

    with pytest.raises(EvidenceError, match="is not allowed here"):
        verify_signed(key, b"", b"", sha1_rsa, None)


def test_a_response_as_large_as_the_limit_is_refused() -> None:
    """D14: == fails, as in notation."""
    assert said(bytes(MAX_OCSP_BYTES)) == f"{WHAT} has {MAX_OCSP_BYTES} bytes or more"
    right = answer(LEAF, MIDDLE)
    assert "cannot be read" in said(right + bytes(1))


def test_the_question_names_the_certificate_by_its_issuer() -> None:
    """R3: SHA-1, one certificate, short enough for a GET."""
    asked = ocsp.load_der_ocsp_request(
        ocsp_request(LEAF.certificate, MIDDLE.certificate)
    )

    assert asked.serial_number == LEAF.certificate.serial_number
    assert asked.hash_algorithm.name == "sha1"


INQUIRY = Inquiry(
    LEAF.certificate,
    MIDDLE.certificate,
    CERTIFICATES,
    Evidence(),
    NOW,
    None,
    NOTATION_RULES,
)
BYTES = by(delegate(MIDDLE), single=replace(RIGHT, status=GOOD))


@settings(max_examples=300)
@given(st.integers(0, len(BYTES) - 1), st.binary(min_size=1, max_size=4))
def test_hostile_bytes_are_one_error(at: int, patch: bytes) -> None:
    """What the library throws never leaves, a panic included."""
    raw = BYTES[:at] + patch + BYTES[at + len(patch) :]

    with suppress(EvidenceError):
        assert read_answer(item(raw), INQUIRY).status is ocsp.OCSPCertStatus.GOOD

"""Trust stores: what may stand there, and what is said when it may not."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.policy import StoreName, StoreType
from enforcer.core.truststore import (
    MAX_STORE_FILE_BYTES,
    TrustStore,
    TrustStoreInvalidError,
    TrustStoreMissingError,
    TrustStores,
    parse_store_file,
)
from tests.pki import ca_template, issue, leaf_template, make_chain, pems

CA = StoreName(StoreType.CA, "acme")
TSA = StoreName(StoreType.TSA, "time")
LEAF, MIDDLE, ROOT = make_chain()


def parse(raw: bytes, store: StoreName = CA) -> tuple[bytes, ...]:
    return parse_store_file(raw, store=store, file_name="a.pem")


def problem(raw: bytes, store: StoreName = CA) -> str:
    with pytest.raises(TrustStoreInvalidError) as caught:
        parse(raw, store)
    assert caught.value.code is Code.TRUST_STORE_INVALID
    return caught.value.what


def test_der_and_pem_are_read() -> None:
    """S6: one DER certificate or several PEM ones, roots and intermediates."""
    assert parse(ROOT.der) == (ROOT.der,)
    assert parse(pems((ROOT, MIDDLE))) == (ROOT.der, MIDDLE.der)


def test_text_around_pem_is_passed_over() -> None:
    """RFC 7468 section 2; `openssl x509 -text` writes it."""
    assert parse(b"Certificate:\n  Data:\n" + ROOT.pem + b"that was it") == (ROOT.der,)


@pytest.mark.parametrize(
    "raw",
    [
        ROOT.pem + MIDDLE.pem[:-10],
        ROOT.pem + LEAF.key_pem,
        ROOT.pem.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"),
        ROOT.pem.replace(b"-----END CERTIFICATE-----", b""),
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n-----\n",
        ROOT.pem.replace(b"\nMII", b"\nM*I"),
    ],
)
def test_what_is_no_whole_certificate_is_refused_not_skipped(raw: bytes) -> None:
    """A damaged anchor that goes unseen is found when nothing starts any more."""
    assert problem(raw).startswith(
        '"a.pem" in trust store "ca:acme" holds something else than whole PEM'
    )


def test_broken_base64_is_refused() -> None:
    """The block is whole, its content is not."""
    raw = b"-----BEGIN CERTIFICATE-----\nAAA\n-----END CERTIFICATE-----\n"

    assert problem(raw).endswith("holds a PEM block that is not base64")


def test_a_leaf_is_no_anchor_unless_self_signed() -> None:
    """S7: a leaf in a store would trust one key for ever, by accident."""
    assert problem(LEAF.der).endswith(
        "holds a certificate that is neither a CA's nor self-signed"
    )
    self_signed = issue(leaf_template())
    assert parse(self_signed.der) == (self_signed.der,)


def test_a_tsa_store_holds_roots_only() -> None:
    """S7: that is what notation takes there."""
    assert parse(ROOT.der, TSA) == (ROOT.der,)
    for party in (MIDDLE, issue(leaf_template())):
        assert "is not a self-signed root CA" in problem(party.der, TSA)


def test_size_is_bounded() -> None:
    """Law 6."""
    assert "more than 1048576" in problem(b"\n" * (MAX_STORE_FILE_BYTES + 1))


def test_a_missing_store_says_how_to_fill_it() -> None:
    """Missing and empty are the same to whoever has to mend it."""
    for stores in (TrustStores({}), TrustStores({CA: TrustStore(CA, ())})):
        with pytest.raises(TrustStoreMissingError) as caught:
            stores.get(CA)
        assert str(caught.value) == (
            'trust store "ca:acme" is missing or empty. Run `enforcer trust add '
            "--type ca --store acme FILE` with the certificate of the CA. [ENF-1203]"
        )


def test_a_store_that_could_not_be_loaded_fails_alone() -> None:
    """S8: it is an authenticity result of the statements that name it."""
    broken = TrustStoreInvalidError("x is broken", remedy="Mend it.")
    stores = TrustStores({CA: broken, TSA: TrustStore(TSA, (ROOT.der,))})

    assert stores.get(TSA).certificates == (ROOT.der,)
    with pytest.raises(EnforcerError, match="x is broken") as caught:
        stores.get(CA)
    assert caught.value.code is Code.TRUST_STORE_INVALID
    assert stores.fingerprints([CA, TSA]) == {Digest.of(ROOT.der)}


def test_stores_do_not_change_under_a_decision() -> None:
    """A reload makes new ones."""
    given_stores: dict[StoreName, TrustStore | EnforcerError] = {}
    stores = TrustStores(given_stores)
    given_stores[CA] = TrustStore(CA, (ROOT.der,))

    with pytest.raises(TrustStoreMissingError):
        stores.get(CA)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_invalid_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    problem(raw)


@given(st.integers(0, len(ROOT.pem) - 1), st.integers(1, 255))
def test_a_damaged_file_reads_or_is_invalid(at: int, mask: int) -> None:
    """Law 5, closer to home."""
    damaged = bytearray(ROOT.pem)
    damaged[at] ^= mask
    with contextlib.suppress(TrustStoreInvalidError):
        parse(bytes(damaged))


def test_a_ca_whose_name_has_another_issuer_is_no_tsa_root() -> None:
    """Self-signed by key, but issued by somebody else by name."""
    template = ca_template()
    other = replace(template, subject=ca_template("C=US,ST=WA,O=x").subject).subject
    party = issue(template, issuer_name=other)

    assert "is not a self-signed root CA" in problem(party.der, TSA)

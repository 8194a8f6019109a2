"""Asking a TSA: what is sent, what is taken, and three kinds of going wrong."""

import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from enforcer.core.codes import Code
from enforcer.core.timestamp import verify_countersignature
from enforcer.sources.tsa import MAX_ANSWER_BYTES, TsaError, request_timestamp
from tests.asn1 import integer, oid, seq, tlv
from tests.pki import NOW, ca_template, issue, leaf_template, pems
from tests.tsa import Authority, at_offset, read_request, tsa_chain
from tests.tsa_server import Reply, serve

SIGNED = b"the primitive signature"
TSA = Authority(tsa_chain())
OTHER = Authority(tsa_chain())
HALF = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/timestamp-reply\r\n"
    b"Content-Length: 99\r\n\r\n0"
)
NOBODY = "http://127.0.0.1:1/tsr"


def right(request: bytes) -> Reply:
    return Reply(TSA.answer(request))


def ask(url: str, hash_name: str = "sha256", **changes: Any) -> bytes:
    options: dict[str, Any] = {"roots": (TSA.root,), "at": NOW, "deadline_seconds": 30}
    return request_timestamp(url, SIGNED, hash_name, **(options | changes))


def refusal(url: str, **changes: Any) -> TsaError:
    with pytest.raises(TsaError) as caught:
        ask(url, **changes)
    assert caught.value.what.startswith('time stamping authority "')
    return caught.value


def refused(reply: Reply) -> tuple[Code, str]:
    """The code and the sentence without its beginning."""
    with serve(lambda _: reply) as tsa:
        error = refusal(tsa.url)
    return error.code, error.what.partition('": ')[2]


@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_a_granted_token_is_verified_and_returned(hash_name: str) -> None:
    """The story: one POST in the form RFC 3161 3.4 asks for."""
    with serve(right) as tsa:
        token = ask(tsa.url, hash_name)

    assert verify_countersignature(token, SIGNED, (TSA.root,)).not_after == NOW
    ((path, headers, body),) = tsa.requests
    assert path == "/tsr"
    assert headers["Content-Type"] == "application/timestamp-query"
    assert headers["Accept"] == "application/timestamp-reply"
    asked = read_request(body)
    assert (asked.hash, asked.certificates) == (hash_name, True)


def test_every_request_has_a_nonce_of_its_own() -> None:
    """What ties the answer to this request, and not to one of yesterday."""
    with serve(right) as tsa:
        for _ in range(3):
            ask(tsa.url)

    nonces = {read_request(body).nonce for _, _, body in tsa.requests}
    assert len(nonces) == 3
    assert all(0 <= nonce < 2**64 for nonce in nonces)


def test_an_answer_to_another_request_is_not_used() -> None:
    """A replayed token verifies, but its nonce is not ours."""
    with serve(lambda request: Reply(TSA.answer(request, nonce=1))) as tsa:
        replayed = refusal(tsa.url)
    with serve(lambda request: Reply(TSA.answer(request, nonce=None))) as tsa:
        without = refusal(tsa.url)

    assert replayed.code is without.code is Code.TSA_ANSWER_INVALID
    assert replayed.what.endswith('": its countersignature answers another request')
    assert without.what.endswith('": its countersignature answers another request')


def test_an_answer_by_another_hash_is_not_used() -> None:
    """The digest asked for is the signer's to choose, not the TSA's."""

    def answer(request: bytes) -> Reply:
        nonce = read_request(request).nonce
        token = TSA.token(SIGNED, hash="sha512", nonce=nonce)
        return Reply(seq(seq(integer(0)), token))

    with serve(answer) as tsa:
        assert "answers another request" in refusal(tsa.url).what


def test_a_token_by_a_tsa_nobody_trusts_is_not_used() -> None:
    """--tsa-root decides, whoever answered at that URL."""
    with serve(right) as tsa:
        error = refusal(tsa.url, roots=(OTHER.root,))

    assert error.code is Code.TSA_ANSWER_INVALID
    assert ": the countersignature is not trusted: certificate #1 has" in error.what
    assert error.remedy == "Nothing was used. Check --tsa-root and the clock."


def test_a_token_about_something_else_is_not_used() -> None:
    """H5 holds when signing, too."""
    with serve(lambda request: Reply(TSA.answer(request, imprint=bytes(32)))) as tsa:
        assert "is about another signature" in refusal(tsa.url).what


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_tsa_whose_clock_is_far_off_is_not_used(seconds: int) -> None:
    """Either it or this host is wrong, and somebody should know before it is signed."""
    answer = {"gen_time": at_offset(seconds)}
    with serve(lambda request: Reply(TSA.answer(request, **answer))) as tsa:
        error = refusal(tsa.url)

    assert error.code is Code.TSA_ANSWER_INVALID
    assert error.what.endswith(", but here it is 2026-06-01T12:00:00+00:00")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (seq(integer(2)), "rejection"),
        (
            seq(integer(2), seq(tlv(0x0C, b"no \x1b[31mtime"))),
            'rejection: "no \\x1b[31mtime"',
        ),
        (seq(integer(2), tlv(0x03, b"\x07\x00")), "rejection"),
        (seq(integer(1)), "granted with modifications"),
        (seq(integer(3)), "waiting"),
        (seq(integer(77)), "status 77"),
        (seq(integer(2), seq(b"\x0c\x09junk"[:2])), "rejection"),
    ],
)
def test_a_tsa_that_says_no_is_quoted(status: bytes, said: str) -> None:
    """RFC 3161 2.4.2; only "granted" is taken. Its words are made safe to show."""
    assert refused(Reply(seq(status))) == (
        Code.TSA_REFUSED,
        f"it gave no countersignature: {said}",
    )


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (
            Reply(b"<html>", media_type="text/html"),
            'it sent "text/html", expected application/timestamp-reply',
        ),
        (
            Reply(b""),
            "the time stamping authority's answer lacks its outermost element:",
        ),
        (Reply(b"junk"), "the time stamping authority's answer is cut short"),
        (
            Reply(seq(seq(integer(0)))),
            "the time stamping authority's answer lacks token: expected tag 0x30",
        ),
        (
            Reply(seq(seq(integer(0)), seq(oid("data")))),
            "the countersignature is not CMS SignedData",
        ),
        (
            Reply(seq(seq(integer(0)), TSA.token(SIGNED), b"\5\0")),
            "the time stamping authority's answer has something nobody asked for",
        ),
        (
            Reply(bytes(MAX_ANSWER_BYTES + 1)),
            f"it sent more than {MAX_ANSWER_BYTES} bytes",
        ),
    ],
)
def test_an_answer_that_is_none_says_what_it_is(reply: Reply, what: str) -> None:
    """Whatever a server sends is one error, and never a token."""
    code, found = refused(reply)

    assert code is Code.TSA_ANSWER_INVALID
    assert found.startswith(what)


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        (Reply(b"", 500), "it answered with HTTP status 500, expected 200"),
        (Reply(b"", 404), "it answered with HTTP status 404, expected 200"),
        (
            Reply(b"", 307, headers={"Location": "https://other.example/"}),
            'it redirects (307) to "https://other.example/", which is not followed',
        ),
        (
            Reply(b"", 302, headers={"Location": "file:///etc/passwd"}),
            'it redirects (302) to "file:///etc/passwd", which is not followed',
        ),
    ],
)
def test_another_status_than_200_is_a_refusal(reply: Reply, what: str) -> None:
    """No redirect is followed: not to other schemes, not inside the network."""
    with serve(lambda _: reply) as tsa:
        error = refusal(tsa.url)

    assert error.code is Code.TSA_REFUSED
    assert error.what.endswith(what)
    assert len(tsa.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "tsa.example",
        "ftp://tsa.example/",
        "file:///etc/passwd",
        "http://",
        "http://me:secret@tsa.example/",
        "http://[::1/",
    ],
)
def test_what_is_no_address_is_not_asked(url: str) -> None:
    """Said before anything is sent, or signed."""
    assert refusal(url).code is Code.TSA_INVALID


def test_without_a_root_nobody_is_asked() -> None:
    """What could not be verified is not worth having."""
    assert refusal(NOBODY, roots=()).code is Code.TSA_INVALID


def test_nobody_there_is_unreachable() -> None:
    """Missing is another error than wrong."""
    error = refusal(NOBODY)

    assert error.code is Code.TSA_UNREACHABLE
    assert error.what.startswith(
        f'time stamping authority "{NOBODY}": it cannot be reached: '
    )


@pytest.mark.parametrize("sent", [b"", HALF])
def test_a_server_that_hangs_up_is_unreachable(sent: bytes) -> None:
    """Half an answer is none."""
    with serve(right, raw=lambda: iter([sent])) as tsa:
        assert refusal(tsa.url).code is Code.TSA_UNREACHABLE


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"", b"HTTP/1.1 200"])
def test_a_server_that_drips_is_given_up_on(start: bytes) -> None:
    """T-RG-3: a byte now and then keeps a socket's own timeout from ever firing."""

    def drip() -> Iterator[bytes]:
        yield start
        for _ in range(1000):
            time.sleep(0.05)
            yield b"x"

    with serve(right, raw=drip) as tsa:
        began = time.monotonic()
        error = refusal(tsa.url, deadline_seconds=0.3)
        took = time.monotonic() - began

    assert error.code is Code.TSA_UNREACHABLE
    assert error.what.endswith('": it did not answer within 0.3 seconds')
    assert took < 15  # and not fifty


def test_an_https_server_must_have_a_certificate_the_host_trusts(
    tmp_path: Path,
) -> None:
    """Who asks for https gets it: no falling back."""
    root = issue(ca_template())
    host = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    server = issue(replace(leaf_template(), purposes=(), extra=((host, False),)), root)
    file = tmp_path / "server.pem"
    file.write_bytes(server.key_pem + pems((server, root)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    with serve(right, tls=context) as tsa:
        error = refusal(tsa.url)

    assert error.code is Code.TSA_UNREACHABLE
    assert "CERTIFICATE_VERIFY_FAILED" in error.what
    assert not tsa.requests

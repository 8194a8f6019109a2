"""Asking a time stamping authority for a countersignature: RFC 3161 over HTTP.

One POST, for `enforcer sign`. No proxy, no redirect, no credentials. What comes back is
verified against the root the caller trusts before anybody gets it, so plain http is as
good as https here: both protect only whom one asks.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta

import urllib3
from urllib3.exceptions import HTTPError, LocationParseError
from urllib3.util import Url, parse_url

from enforcer import __version__
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.timestamp import (
    MAX_TOKEN_BYTES,
    TimeRange,
    parse_tst_info,
    verify_countersignature,
)
from enforcer.core.tsp import (
    ANSWER_MEDIA_TYPE,
    REQUEST_MEDIA_TYPE,
    build_request,
    parse_answer,
)

DEADLINE_SECONDS = 20.0  # public TSAs take well under one
MAX_ANSWER_BYTES = MAX_TOKEN_BYTES + 1024  # a token, and its status
MAX_CLOCK_DIFFERENCE = timedelta(minutes=5)  # of the TSA's clock and this host's
NONCE_BITS = 64  # as long as some TSAs take (RFC 3161 2.4.1: "e.g., ... 64 bits")

_REMEDIES = {
    Code.TSA_INVALID: "Give an http or https URL, and the TSA's root certificate.",
    Code.TSA_UNREACHABLE: "Check the URL and the network, then try again.",
    Code.TSA_REFUSED: "Check the URL, or ask another TSA.",
    Code.TSA_ANSWER_INVALID: "Nothing was used. Check --tsa-root and the clock.",
}


class TsaError(EnforcerError):
    """No countersignature could be had; the code says at whose door to knock."""

    default_code = Code.TSA_ANSWER_INVALID

    def __init__(self, url: str, what: str, *, code: Code) -> None:
        super().__init__(
            f'time stamping authority "{clip(url)}": {what}',
            remedy=_REMEDIES[code],
            code=code,
        )


def request_timestamp(
    url: str,
    signature_value: bytes,
    hash_name: str,
    *,
    roots: Sequence[bytes],
    at: datetime,
    deadline_seconds: float = DEADLINE_SECONDS,
) -> bytes:
    """Return a countersignature of `signature_value`, verified against `roots`.

    `hash_name` is sha256, sha384 or sha512, `roots` are DER, `at` is now. All of it,
    from the name look-up to the last byte, takes at most `deadline_seconds`.

    Raises:
        TsaError: It is not to be had (TSA_INVALID, TSA_UNREACHABLE, TSA_REFUSED), or
            what came is not what was asked for (TSA_ANSWER_INVALID).
    """
    _check_url(url)
    if not roots:
        raise TsaError(url, "no root to verify it is given", code=Code.TSA_INVALID)
    nonce = secrets.randbits(NONCE_BITS)
    request = build_request(signature_value, hash_name=hash_name, nonce=nonce)
    raw = _within(deadline_seconds, lambda: _post(url, request, deadline_seconds), url)
    try:
        answer = parse_answer(raw)
        if answer.token is None:
            what = f"it gave no countersignature: {answer.reason}"
            raise TsaError(url, what, code=Code.TSA_REFUSED)
        time = verify_countersignature(answer.token, signature_value, roots)
        stated = parse_tst_info(answer.token)
    except TsaError:
        raise
    except EnforcerError as error:
        raise _invalid(url, error.what) from error
    if stated.nonce != nonce or stated.hash_name != hash_name:
        raise _invalid(url, "its countersignature answers another request")
    _require_now(url, time, at)
    return answer.token


def _check_url(url: str) -> Url:
    try:
        parsed = parse_url(url)
    except LocationParseError as error:
        raise TsaError(url, "this is not a URL", code=Code.TSA_INVALID) from error
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.auth:
        what = "expected an http or https URL with a host and without credentials"
        raise TsaError(url, what, code=Code.TSA_INVALID)
    return parsed


def _post(url: str, request: bytes, seconds: float) -> bytes:
    """Send the request and return the body, whatever it is."""
    headers = {
        "Content-Type": REQUEST_MEDIA_TYPE,
        "Accept": ANSWER_MEDIA_TYPE,
        "User-Agent": f"enforcer/{__version__}",
    }
    try:
        with urllib3.PoolManager(timeout=urllib3.Timeout(total=seconds)) as pool:
            response = pool.request(
                "POST",
                url,
                body=request,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                _check_head(url, response)
                body = _read(response)
            finally:
                response.close()
    except (HTTPError, OSError) as error:
        what = f"it cannot be reached: {clip(str(error))}"
        raise TsaError(url, what, code=Code.TSA_UNREACHABLE) from error
    if len(body) > MAX_ANSWER_BYTES:
        raise _invalid(url, f"it sent more than {MAX_ANSWER_BYTES} bytes")
    return body


def _read(response: urllib3.BaseHTTPResponse) -> bytes:
    """Return the body, or one byte more than it may have."""
    body = b""
    # To its end, not only to its limit: that it is whole is only said there.
    while len(body) <= MAX_ANSWER_BYTES:
        part = response.read(MAX_ANSWER_BYTES + 1 - len(body))
        if not part:
            break
        body += part
    return body


def _check_head(url: str, response: urllib3.BaseHTTPResponse) -> None:
    status = response.status
    if 300 <= status < 400:
        # Whoever can redirect a request over http could send it anywhere inside.
        there = clip(response.headers.get("Location", ""))
        what = f'it redirects ({status}) to "{there}", which is not followed'
        raise TsaError(url, what, code=Code.TSA_REFUSED)
    if status != 200:
        what = f"it answered with HTTP status {status}, expected 200"
        raise TsaError(url, what, code=Code.TSA_REFUSED)
    sent = response.headers.get("Content-Type", "")
    if sent.partition(";")[0].strip().lower() != ANSWER_MEDIA_TYPE:
        what = f'it sent "{clip(sent, limit=80)}", expected {ANSWER_MEDIA_TYPE}'
        raise _invalid(url, what)


def _require_now(url: str, time: TimeRange, at: datetime) -> None:
    """RFC 3161 2.4.1: the time is checked "against a local trusted time reference"."""
    if abs(time.not_before - at) > MAX_CLOCK_DIFFERENCE:
        what = f"it says it is {time}, but here it is {at.isoformat()}"
        raise _invalid(url, what)


def _within(seconds: float, call: Callable[[], bytes], url: str) -> bytes:
    """Return what `call` returns, or give up on it.

    A socket's timeout starts anew with every byte and knows nothing of name look-ups,
    so a whole deadline takes a thread. One that is given up on ends with its socket's
    timeout, or with the process.
    """
    answer: Future[bytes] = Future()

    def run() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again by result()
            answer.set_exception(error)

    threading.Thread(target=run, name="tsa", daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        what = f"it did not answer within {seconds:g} seconds"
        raise TsaError(url, what, code=Code.TSA_UNREACHABLE) from error


def _invalid(url: str, what: str) -> TsaError:
    return TsaError(url, what, code=Code.TSA_ANSWER_INVALID)

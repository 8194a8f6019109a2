"""Questions to engines, each bounded in time and length: HTTP, programs, CRI."""

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import grpc

from enforcer import unix_http
from enforcer.core.errors import EnforcerError
from enforcer.core.strictjson import Json, parse_json
from enforcer.host.doctor.finding import UnseenError
from enforcer.ttrpc import (
    ProtocolError,
    decode_fields,
    encode_fields,
    list_fields,
    text,
)

CALL_SECONDS = 5.0  # /info of a busy dockerd takes one
PROGRAM_SECONDS = 10.0  # `containerd config dump` takes 50 ms
MAX_ANSWER_BYTES = 4 * 1024 * 1024  # /info has some 20 KiB
CRI_STATUS = "/runtime.v1.RuntimeService/Status"
MAX_CRI_FIELDS = 64  # a Status has half a dozen


def call_http(
    path: Path, method: str, uri: str, *, seconds: float = CALL_SECONDS
) -> tuple[int, bytes]:
    """Ask over a unix socket; return status and body of the answer.

    Raises:
        UnseenError: No answer, not in time, or nothing like one.
    """
    until = time.monotonic() + seconds
    try:
        return unix_http.call(
            path, method, uri, until=until, max_bytes=MAX_ANSWER_BYTES
        )
    except OSError as error:
        late = isinstance(error, TimeoutError)
        why = f"no answer within {seconds:g} s" if late else error.strerror or error
        raise _unseen(path, f"{method} {uri}: {why}") from error


def fetch_json(
    path: Path, uri: str, *, seconds: float = CALL_SECONDS
) -> dict[str, Json]:
    """GET one JSON object; as `call_http`, or when it is none."""
    status, body = call_http(path, "GET", uri, seconds=seconds)
    found = parsed(path, body) if status == 200 else None
    if not isinstance(found, dict):
        raise _unseen(path, f"GET {uri} was answered with status {status}")
    return found


def parsed(path: Path, raw: bytes) -> Json:
    """Read JSON that an engine gave, or raise UnseenError."""
    try:
        return parse_json(raw, what=str(path), max_bytes=MAX_ANSWER_BYTES)
    except EnforcerError as error:
        raise _unseen(path, error.what) from error


def run_program(
    command: Sequence[str | Path], *, cwd: str = "/", seconds: float = PROGRAM_SECONDS
) -> tuple[int, bytes]:
    """Run to the end within `seconds`; return its status and what it printed.

    Raises:
        UnseenError: It cannot be started, does not end, or prints without end.
    """
    shown = " ".join(str(word) for word in command)
    with tempfile.TemporaryFile() as output:
        try:
            done = subprocess.run(  # noqa: S603 - a path of ours, or root's own process
                [os.fspath(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
                cwd=cwd,
                timeout=seconds,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnseenError(
                shown, f"cannot be run: {error}", "try it by hand"
            ) from error
        output.seek(0)
        printed = output.read(MAX_ANSWER_BYTES + 1)
    if len(printed) > MAX_ANSWER_BYTES:
        raise UnseenError(shown, "prints more than 4 MiB", "try it by hand")
    return done.returncode, printed


def cri_configuration(path: Path) -> dict[str, Json] | None:
    """Return what containerd's CRI says it runs with; None where it serves no CRI."""
    options = [("grpc.default_authority", "localhost")]
    with grpc.insecure_channel(f"unix:{path}", options=options) as channel:
        try:
            status: grpc.UnaryUnaryMultiCallable[bytes, bytes]
            status = channel.unary_unary(CRI_STATUS)
            answer = status(encode_fields((1, 1)), timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                return None
            raise _unseen(path, f"CRI Status: {error.code().name}") from error
    try:
        for number, value in list_fields(answer, MAX_CRI_FIELDS):
            entry = decode_fields(value) if isinstance(value, bytes) else {}
            if number == 2 and text(entry, 1) == "config":
                found = parsed(path, text(entry, 2).encode())
                return found if isinstance(found, dict) else {}
    except ProtocolError as error:
        raise _unseen(path, f"CRI Status: {error}") from error
    raise _unseen(path, "CRI Status says nothing about its configuration")


def _unseen(path: Path, what: str) -> UnseenError:
    return UnseenError(
        str(path),
        f"could not be asked: {what}",
        "see whether its daemon runs and answers",
    )

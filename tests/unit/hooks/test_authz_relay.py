"""The plug-in's process without dockerd: every question gets an answer, in time.

enforcerd is a stand-in that answers, refuses, is silent or breaks; what comes over the
socket is real.
"""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from enforcer import ttrpc
from enforcer.api.sockets import bind_socket
from enforcer.core.codes import Code
from enforcer.gate.ask import RefusalError
from enforcer.hooks.asking import ACT, IMAGE, Asker
from enforcer.hooks.authz.judge import MAX_CALL_BYTES, Judge
from enforcer.hooks.authz.relay import Limits, Relay

SAFETY_SECONDS = 60  # a hung test fails instead
# dockerd has two seconds for a question; a busy machine may need more.
PATIENT = Limits(read_seconds=SAFETY_SECONDS)
QUESTION = "/AuthZPlugin.AuthZReq"


@dataclass
class Enforcerd:
    """Says yes to `app:1` and to builds, and remembers what it was asked."""

    breaks: BaseException | None = None
    allow_acts: bool = False
    seconds: float = 0
    asked: list[str] = field(default_factory=list)
    acts: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, path: str, request: ttrpc.Request) -> bytes:
        time.sleep(self.seconds)
        if self.breaks:
            raise self.breaks
        fields = ttrpc.decode_fields(request.payload)
        act = ttrpc.decode_fields(ttrpc.octets(fields, ACT))
        if act:
            code = ttrpc.text(act, 2)
            self.acts.append((ttrpc.text(act, 1), code))
            return self._answer(self.allow_acts, code, ttrpc.text(act, 3))
        image = ttrpc.decode_fields(ttrpc.octets(fields, IMAGE))
        if not image:
            name = f"{ttrpc.text(fields, 2)} {ttrpc.text(fields, 3)}"
            self.asked.append(name)
            return self._answer(name.startswith("app "), Code.UNSIGNED, name)
        name = ttrpc.text(image, 3)
        self.asked.append(name)
        code = Code.CONTENT_MISSING if name.startswith("app@") else Code.UNSIGNED
        return self._answer(name == "app:1", code, f"{name} is not signed")

    @staticmethod
    def _answer(allowed: bool, code: str, message: str) -> bytes:  # noqa: FBT001
        return ttrpc.encode_fields(
            (1, int(allowed)), (2, str(code)), (3, message), (4, "06H"), (10, "enforce")
        )


@dataclass
class Door:
    """A relay that serves, and a client of it."""

    path: Path
    enforcerd: Enforcerd

    async def send(self, raw: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(raw)
            async with asyncio.timeout(SAFETY_SECONDS):
                return await reader.read()
        finally:
            writer.close()

    async def post(self, path: str, document: object) -> dict[str, Any]:
        body = json.dumps(document).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: plugin\r\nContent-Length: {len(body)}"
        return parse(await self.send(head.encode() + b"\r\n\r\n" + body))

    async def ask(
        self, method: str, uri: str, body: object = None, **more: object
    ) -> dict[str, Any]:
        question = {"RequestMethod": method, "RequestUri": uri, **more}
        if body is not None:
            raw = json.dumps(body).encode()
            question["RequestBody"] = base64.b64encode(raw).decode()
        return await self.post(QUESTION, question)


def parse(raw: bytes) -> dict[str, Any]:
    """Read an answer as dockerd does; nothing at all is a failure."""
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n"), raw
    assert f"Content-Length: {len(body)}\r\n".encode() in head
    answer: dict[str, Any] = json.loads(body)
    return answer


@asynccontextmanager
async def _door(
    folder: Path,
    enforcerd: Enforcerd | None = None,
    limits: Limits = PATIENT,
    threads: Executor | None = None,
) -> AsyncIterator[Door]:
    enforcerd = enforcerd or Enforcerd()
    asker = Asker(
        "authz", folder / "ask", folder / "gate.conf", folder / "log", enforcerd
    )
    relay = Relay(Judge(asker, "/var/lib/docker"), limits, threads)
    listener = bind_socket(folder / "p.sock", mode=0o600)
    listener.setblocking(False)  # noqa: FBT003
    server = await relay.start(listener)
    try:
        yield Door(folder / "p.sock", enforcerd)
    finally:
        server.close()
        await server.wait_closed()


async def test_it_activates_as_an_authorization_plugin(tmp_path: Path) -> None:
    """dockerd does not boot without this answer."""
    async with _door(tmp_path) as door:
        assert await door.post("/Plugin.Activate", {}) == {"Implements": ["authz"]}
        raw = await door.send(b"POST /Plugin.Activate HTTP/1.1\r\nHost: p\r\n\r\n")

    assert parse(raw) == {"Implements": ["authz"]}


async def test_reading_calls_and_answers_of_docker_ask_nobody(tmp_path: Path) -> None:
    """`docker ps` works whatever state enforcerd is in."""
    async with _door(tmp_path, Enforcerd(breaks=TimeoutError())) as door:
        asked = await door.ask("GET", "/v1.51/containers/json", User="x")
        answered = await door.post("/AuthZPlugin.AuthZRes", {"RequestMethod": "POST"})

    assert asked == answered == {"Allow": True}
    assert not door.enforcerd.asked


async def test_a_container_of_a_signed_image_may_be_created(tmp_path: Path) -> None:
    """The plain case."""
    async with _door(tmp_path) as door:
        answer = await door.ask("POST", "/containers/create", {"Image": "app:1"})

    assert answer == {"Allow": True}
    assert door.enforcerd.asked == ["app:1"]


async def test_pulls_ask_nobody(tmp_path: Path) -> None:
    """What is pulled has still to be signed to start."""
    async with _door(tmp_path) as door:
        answer = await door.ask("POST", "/images/create?fromImage=evil&tag=1")

    assert answer == {"Allow": True}
    assert not door.enforcerd.asked


async def test_an_unsigned_image_is_refused_in_enforcerds_words(tmp_path: Path) -> None:
    """A person reads this at the end of `docker create`."""
    async with _door(tmp_path) as door:
        answer = await door.ask("POST", "/containers/create", {"Image": "evil:1"})

    assert answer == {
        "Allow": False,
        "Msg": "enforcer: evil:1 is not signed [ENF-1001]; next: enforcer explain 06H",
    }


async def test_every_image_of_a_container_is_asked_about(tmp_path: Path) -> None:
    """An image mount brings programs along as well."""
    mounts = [{"Type": "image", "Source": "evil:1"}]
    body = {"Image": "app:1", "HostConfig": {"Mounts": mounts}}
    async with _door(tmp_path) as door:
        answer = await door.ask("POST", "/containers/create", body)

    assert not answer["Allow"]
    assert door.enforcerd.asked == ["app:1", "evil:1"]


async def test_what_is_not_here_is_judged_by_its_digest(tmp_path: Path) -> None:
    """A swarm's client resolves names at the registry; its nodes pull them later."""
    digest = "sha256:" + "a1" * 32
    spec = {"TaskTemplate": {"ContainerSpec": {"Image": f"app@{digest}"}}}
    async with _door(tmp_path) as door:
        answer = await door.ask("POST", "/services/create", spec)

    assert answer == {"Allow": True}
    assert door.enforcerd.asked == [f"app@{digest}", f"app {digest}"]


@pytest.mark.parametrize(
    ("method", "uri", "body", "code"),
    [
        ("POST", "/nothing", None, Code.DOCKER_CALL_UNKNOWN),
        ("POST", "/plugins/pull?remote=x", [], Code.DOCKER_PLUGIN),
        ("POST", "/build?remote=x", None, Code.BUILD_REFUSED),
        ("POST", "/grpc", None, Code.BUILD_REFUSED),
        ("POST", "/session", None, Code.BUILD_REFUSED),
        (
            "POST",
            "/images/create?fromImage=docker.io/moby/buildkit&tag=1",
            None,
            Code.BUILD_REFUSED,
        ),
        ("POST", "/containers/x/start?checkpoint=c", None, Code.DOCKER_CHECKPOINT),
        ("POST", "/containers/create", None, Code.DOCKER_BODY_UNREADABLE),
        ("POST", "/containers/create", [], Code.DOCKER_BODY_UNREADABLE),
        ("POST", "/containers/create", {"Cmd": []}, Code.NO_IMAGE),
        ("POST", "/services/create", None, Code.DOCKER_BODY_UNREADABLE),
        (
            "POST",
            "/containers/create?platform=linux/s390x",
            {"Image": "app:1"},
            Code.DOCKER_PLATFORM,
        ),
    ],
)
async def test_a_refusal_of_the_doors_own_is_put_on_record(
    method: str, uri: str, body: object, code: Code, tmp_path: Path
) -> None:
    """Law 7: a denial is never silent. enforcerd writes it down, and has the say."""
    async with _door(tmp_path) as door:
        denied = await door.ask(method, uri, body)
        door.enforcerd.allow_acts = True  # mode: monitor, or builds: allow
        allowed = await door.ask(method, uri, body)

    assert not denied["Allow"]
    assert f"[{code}]" in denied["Msg"]
    assert allowed == {"Allow": True}
    shown = f"{method} {uri.partition('?')[0]}"
    if code is Code.BUILD_REFUSED:  # the answer begins with it
        shown = f"an image build ({shown})"
    assert door.enforcerd.acts == [(shown, code)] * 2
    assert not door.enforcerd.asked


@pytest.mark.parametrize(
    ("breaks", "code"),
    [
        (FileNotFoundError(2, "no such file"), Code.GATE_UNREACHABLE),
        (TimeoutError(), Code.GATE_SILENT),
        (ConnectionResetError(), Code.GATE_UNREACHABLE),
        (ttrpc.ProtocolError("noise"), Code.GATE_GARBLED),
        (RefusalError("not root's [ENF-1603]"), Code.GATE_UNTRUSTED_PEER),
        (MemoryError(), Code.INTERNAL),
        (RecursionError(), Code.INTERNAL),
        (SystemExit(0), Code.INTERNAL),
        (KeyboardInterrupt(), Code.INTERNAL),
        (GeneratorExit(), Code.INTERNAL),
    ],
)
async def test_no_answer_of_enforcerd_is_a_refusal(
    breaks: BaseException, code: Code, tmp_path: Path
) -> None:
    """Law 1, and the plug-in lives on: the next question is answered, too."""
    async with _door(tmp_path, Enforcerd(breaks=breaks)) as door:
        denied = await door.ask("POST", "/containers/create", {"Image": "app:1"})
        door.enforcerd.breaks = None
        allowed = await door.ask("POST", "/containers/create", {"Image": "app:1"})

    assert not denied["Allow"]
    assert f"[{code}]" in denied["Msg"]
    assert allowed == {"Allow": True}


async def test_without_enforcerd_the_doors_own_reason_is_shown(tmp_path: Path) -> None:
    """ "Plug-ins are refused" helps; "nobody answered" would only be half of it."""
    async with _door(tmp_path, Enforcerd(breaks=TimeoutError())) as door:
        answer = await door.ask("POST", "/plugins/pull", [])

    assert answer["Msg"] == (
        "enforcer: Docker's plug-ins are refused on this host. They run as root and "
        "nobody judges them [ENF-1504]"
    )


@pytest.mark.alone
async def test_a_hung_enforcerd_delays_nobody_but_its_own_question(
    tmp_path: Path,
) -> None:
    """dockerd would wait for ever; it is told no, and everything else goes on."""
    limits = Limits(answer_seconds=2)
    async with _door(tmp_path, Enforcerd(seconds=4), limits) as door:
        hung = asyncio.create_task(
            door.ask("POST", "/containers/create", {"Image": "app:1"})
        )
        await asyncio.sleep(0.05)
        began = time.monotonic()
        listed = await door.ask("GET", "/containers/json")
        seconds = time.monotonic() - began
        denied = await hung

    assert listed == {"Allow": True}
    assert seconds < limits.answer_seconds / 2
    assert (denied["Allow"], "[ENF-1602]" in denied["Msg"]) == (False, True)


async def test_beyond_the_bound_a_question_is_refused_at_once(
    tmp_path: Path,
) -> None:
    """Law 6; and when the load is gone, so is the refusal."""
    body = {"Image": "app:1"}
    async with _door(tmp_path, Enforcerd(seconds=0.3), Limits(asking=4)) as door:
        calls = (door.ask("POST", "/containers/create", body) for _ in range(12))
        answers = await asyncio.gather(*calls)
        later = await door.ask("POST", "/containers/create", body)

    allowed = [answer for answer in answers if answer["Allow"]]
    refused = [answer for answer in answers if not answer["Allow"]]
    assert 4 <= len(allowed) < 12
    assert all("[ENF-1508]" in answer["Msg"] for answer in refused)
    assert later == {"Allow": True}


_HEAD = b"POST /AuthZPlugin.AuthZReq HTTP/1.1\r\nHost: p\r\n"
_GARBAGE = {
    "noise": b"\xff\x00" * 50 + b"\r\n\r\n",
    "another method": b"GET /Plugin.Activate HTTP/1.1\r\n\r\n",
    "another version": b"POST /Plugin.Activate HTTP/2\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "an unknown call": b"POST /VolumeDriver.Create HTTP/1.1\r\n\r\n",
    "a long head": _HEAD + b"X: y\r\n" * 10_000 + b"\r\n",
    "two lengths": _HEAD + b"Content-Length: 2\r\nContent-length: 3\r\n\r\n{}",
    "no length": _HEAD + b"\r\n",
    "a negative length": _HEAD + b"Content-Length: -1\r\n\r\n",
    "a hexadecimal length": _HEAD + b"Content-Length: 0x2\r\n\r\n{}",
    "chunks": _HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "an absurd length": _HEAD + b"Content-Length: 999999999999\r\n\r\n",
    "no JSON": _HEAD + b"Content-Length: 3\r\n\r\n{]}",
    "a list": _HEAD + b"Content-Length: 2\r\n\r\n[]",
    "nothing": _HEAD + b"Content-Length: 2\r\n\r\n{}",
    "deep": _HEAD + b"Content-Length: 9000\r\n\r\n" + b"[" * 9000,
}


@pytest.mark.parametrize("raw", _GARBAGE.values(), ids=_GARBAGE)
async def test_garbage_is_answered_with_a_refusal(raw: bytes, tmp_path: Path) -> None:
    """Nobody but dockerd gets here; should it ever send this, it may not wait."""
    async with _door(tmp_path) as door:
        answer = parse(await door.send(raw))
        after = await door.ask("GET", "/_ping")

    assert answer["Allow"] is False
    assert "[ENF-" in answer["Msg"]
    assert after == {"Allow": True}


@pytest.mark.parametrize(
    "question",
    [
        {"RequestMethod": "GET"},
        {"RequestUri": "/_ping"},
        {"RequestMethod": ["GET"], "RequestUri": "/_ping"},
        {"RequestMethod": "GET", "RequestUri": None},
        {"RequestMethod": "GET", "requestmethod": "POST", "RequestUri": "/x"},
        {"RequestMethod": "GET", "RequestUri": "/x", "RequestURI": "/y"},
        {"RequestMethod": "POST", "RequestUri": "/containers/create", "RequestBody": 1},
        *(
            {
                "RequestMethod": "POST",
                "RequestUri": "/containers/create",
                "RequestBody": body,
            }
            for body in ("e30", "e30=\n", "{}", "e3 0=", "\u0430", "e30=e30=", "=")
        ),
    ],
)
async def test_a_question_that_is_not_dockerds_is_refused(
    question: dict[str, object], tmp_path: Path
) -> None:
    """Its names once, its base64 strict."""
    async with _door(tmp_path) as door:
        answer = await door.post(QUESTION, question)

    assert answer["Allow"] is False
    assert "[ENF-1110]" in answer["Msg"] or "[ENF-1502]" in answer["Msg"]


async def test_a_huge_body_is_refused_and_its_sender_hears_it(tmp_path: Path) -> None:
    """Else dockerd sees a broken pipe, and tries for half a minute."""
    async with _door(tmp_path) as door:
        for size in (MAX_CALL_BYTES, 3 * MAX_CALL_BYTES):
            answer = await door.ask("POST", "/containers/create", "x" * size)

            assert answer["Allow"] is False
            assert "[ENF-1502]" in answer["Msg"]
        answer = await door.post("/AuthZPlugin.AuthZRes", "x" * 3 * MAX_CALL_BYTES)

    assert answer == {"Allow": True}


@pytest.mark.parametrize(
    "raw", [b"", b"POST", _HEAD, _HEAD + b"Content-Length: 10\r\n\r\n{"]
)
async def test_a_slow_client_is_refused_in_time(raw: bytes, tmp_path: Path) -> None:
    """Whoever stops in the middle does not keep its place."""
    async with _door(tmp_path, limits=Limits(read_seconds=0.2)) as door:
        answer = parse(await door.send(raw))

    assert (answer["Allow"], "[ENF-1301]" in answer["Msg"]) == (False, True)


@pytest.mark.parametrize(
    "said", [b"", b"PO", _HEAD + b"Content-Length: 4000000\r\n\r\n"]
)
@pytest.mark.alone
async def test_idle_clients_make_room_for_those_who_ask(
    said: bytes, tmp_path: Path
) -> None:
    """All places taken by clients that never finish a question."""
    async with _door(tmp_path, limits=Limits(connections=16)) as door:
        idle = []
        for _ in range(60):
            _, writer = await asyncio.open_unix_connection(door.path)
            writer.write(said)
            idle.append(writer)
        began = time.monotonic()
        listed = await door.ask("GET", "/containers/json")
        created = await door.ask("POST", "/containers/create", {"Image": "app:1"})
        seconds = time.monotonic() - began
        for writer in idle:
            writer.close()

    assert listed == created == {"Allow": True}
    assert seconds < Limits().read_seconds / 2


async def test_in_monitor_mode_a_plugin_that_cannot_ask_lets_pass_and_says_so(
    tmp_path: Path,
) -> None:
    """The same word of root's as at the gate, and the same log."""
    conf = tmp_path / "gate.conf"
    conf.write_text("mode=monitor\n")
    conf.chmod(0o644)
    async with _door(tmp_path, Enforcerd(breaks=MemoryError())) as door:
        answer = await door.ask("POST", "/containers/create", {"Image": "app:1"})

    assert answer == {"Allow": True}
    assert "would refuse: the plug-in failed" in (tmp_path / "log").read_text()


async def test_without_threads_it_refuses(tmp_path: Path) -> None:
    """No process ids left on the host: law 1."""
    threads = ThreadPoolExecutor(1)
    threads.shutdown()  # it raises what one without threads to be had raises
    async with _door(tmp_path, threads=threads) as door:
        answer = await door.ask("POST", "/containers/create", {"Image": "app:1"})

    assert (answer["Allow"], "[ENF-1901]" in answer["Msg"]) == (False, True)

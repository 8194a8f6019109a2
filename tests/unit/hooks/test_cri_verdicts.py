"""What reaches containerd of a CreateContainer, for each thing enforcerd may say."""

from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from enforcer import ttrpc
from enforcer.hooks.asking import Asker
from enforcer.hooks.cri.proxy import CriProxy
from enforcer.ttrpc import encode_fields
from tests.unit.hooks.test_cri_transport import RUNTIME, Engine, Line, serving

CONFIG = "sha256:" + "c" * 64
YES = encode_fields((1, 1), (2, "ENF-1000"), (4, "ID"), (6, encode_fields((3, CONFIG))))
NO = encode_fields((2, "ENF-1001"), (3, "it is not signed"), (4, "ID"))
MONITORED = NO + encode_fields((10, "monitor"))


class Enforcerd:
    """Says the same to everybody, and remembers what it was asked."""

    def __init__(self) -> None:
        self.says: bytes | Exception = b""
        self.asked: list[bytes] = []

    def __call__(self, _: str, request: ttrpc.Request) -> bytes:
        self.asked.append(ttrpc.octets(ttrpc.decode_fields(request.payload), 5))
        if isinstance(self.says, Exception):
            raise self.says
        return self.says


@pytest.fixture
def enforcerd() -> Enforcerd:
    return Enforcerd()


@pytest.fixture
async def line(tmp_path: Path, enforcerd: Enforcerd) -> AsyncIterator[Line]:
    """A channel through a proxy that asks this enforcerd."""
    engine = Engine()
    asker = Asker(
        "cri", tmp_path / "a", tmp_path / "conf", tmp_path / "log", call=enforcerd
    )
    async with (
        serving(engine, tmp_path / "engine") as inner,
        serving(CriProxy(inner, asker, "/root"), tmp_path / "proxy") as channel,
    ):
        yield Line(channel, engine)


def _request(image: str) -> bytes:
    return encode_fields((1, "pod"), (2, encode_fields((2, encode_fields((1, image))))))


async def test_a_yes_lets_the_judged_id_through(
    line: Line, enforcerd: Enforcerd
) -> None:
    """Not the name that was asked about."""
    enforcerd.says = YES

    sent = await line.unary(f"{RUNTIME}CreateContainer")(_request("app:1"))

    assert sent == _request(CONFIG)
    assert enforcerd.asked == [encode_fields((1, "/root"), (2, "k8s.io"), (3, "app:1"))]


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (NO, "ENF-1001"),
        (MONITORED, "ENF-1001"),  # gate.conf does not say so
        (encode_fields((1, 1), (2, "ENF-1000")), "ENF-1604"),  # a yes about nothing
        (encode_fields((1, 2)), ""),
        (b"", ""),
        (b"\xff", "ENF-1604"),
        (TimeoutError(), "ENF-1602"),
        (ConnectionRefusedError(), "ENF-1601"),
        (ttrpc.ProtocolError("noise"), "ENF-1604"),
    ],
)
async def test_what_is_no_plain_yes_is_a_no(
    says: bytes | Exception, code: str, line: Line, enforcerd: Enforcerd
) -> None:
    """And containerd never hears of it."""
    enforcerd.says = says

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await line.unary(f"{RUNTIME}CreateContainer")(_request("app:1"))

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert f"[{code}]" in (caught.value.details() or "")
    assert line.engine.calls == []


async def test_in_monitor_mode_a_no_passes_as_it_was_asked(
    line: Line, enforcerd: Enforcerd, tmp_path: Path
) -> None:
    """There is no id to pin to, and nothing is to be refused."""
    (tmp_path / "conf").write_text("mode=monitor\n")
    (tmp_path / "conf").chmod(0o644)
    enforcerd.says = MONITORED

    sent = await line.unary(f"{RUNTIME}CreateContainer")(_request("app:1"))

    assert sent == _request("app:1")


async def test_of_two_messages_only_the_judged_one_goes_on(
    line: Line, enforcerd: Enforcerd
) -> None:
    """Whichever a server would take, it gets one."""
    enforcerd.says = YES
    call = line.streams(f"{RUNTIME}CreateContainer")()

    await call.write(_request("good:1"))
    await call.write(_request("evil:1"))
    await call.done_writing()
    answers = [answer async for answer in call]

    assert answers == [_request(CONFIG)]
    assert len(enforcerd.asked) == 1

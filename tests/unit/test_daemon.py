"""enforcerd as systemd sees it: notifications, signals, sockets handed over.

A real process with real sockets; no root and no engine needed.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from enforcer import ttrpc
from enforcer.api.sockets import bind_socket
from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from enforcer.assembly import resolver
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.daemon import Daemon
from enforcer.gate.ask import require_root, round_trip
from enforcer.settings import Settings, load_settings
from enforcer.sources.cache import DiskCache
from enforcer.sources.trust import load_host_policy
from tests.engines.process import wait_until
from tests.engines.service import UNITS
from tests.limits import SOMEBODY
from tests.systemd import WAIT_SECONDS, Systemd, managing, wait_for_listener
from tests.unit.sources.signed import image, pems

BY_ITSELF_SECONDS = 20  # design: one
SOCKETS = ("enforcer.sock", "admin.sock", "ask.sock")
DIGEST = "sha256:" + "a" * 64


@pytest.fixture
def systemd() -> Iterator[Systemd]:
    with managing("enforcer.daemon") as manager:
        yield manager


def ask(path: Path) -> pb.VerifyResponse:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        answer: pb.VerifyResponse = pb_grpc.VerifierStub(channel).Verify(
            pb.VerifyRequest(reference="app:1", digest=DIGEST), timeout=WAIT_SECONDS
        )
        return answer


def test_says_ready_when_it_answers_and_stops_when_told(systemd: Systemd) -> None:
    """Units ordered after it may rely on READY."""
    daemon = systemd.start()
    systemd.hears(b"READY=1")

    answer = ask(systemd.home / "run" / "enforcer.sock")

    assert (answer.allowed, answer.code) == (False, "ENF-1201")
    daemon.send_signal(signal.SIGTERM)
    systemd.hears(b"STOPPING=1")
    assert daemon.wait(WAIT_SECONDS) == 0


def test_feeds_the_watchdog(systemd: Systemd) -> None:
    """systemd restarts a daemon whose judging threads hang."""
    systemd.start()

    assert systemd.hears(b"WATCHDOG=1") == b"WATCHDOG=1"


def test_hangup_reloads_and_says_so(systemd: Systemd) -> None:
    """sd_notify(3): RELOADING with a time, then READY again."""
    daemon = systemd.start()
    systemd.hears(b"READY=1")

    daemon.send_signal(signal.SIGHUP)

    assert b"MONOTONIC_USEC=" in systemd.hears(b"RELOADING=1")
    assert b"there is no policy in" in systemd.hears(b"READY=1")


def test_a_second_daemon_on_the_same_sockets_refuses_to_start(
    systemd: Systemd,
) -> None:
    """grpcio would quietly take the live socket from the first one."""
    systemd.start()
    systemd.hears(b"READY=1")

    second = systemd.start()

    assert second.wait(WAIT_SECONDS) == 3
    assert b"another enforcerd serves here" in (systemd.home / "log").read_bytes()
    assert ask(systemd.home / "run" / "enforcer.sock").code == "ENF-1201"


def test_starts_over_the_sockets_of_one_that_was_killed(systemd: Systemd) -> None:
    """A crash leaves its sockets; they must not keep the next one from starting."""
    first = systemd.start()
    systemd.hears(b"READY=1")
    first.kill()
    first.wait()

    systemd.start()
    systemd.hears(b"READY=1")

    assert ask(systemd.home / "run" / "enforcer.sock").code == "ENF-1201"


def test_a_file_in_place_of_a_socket_is_left_alone(systemd: Systemd) -> None:
    """Whatever that file is, it is not ours to delete."""
    (systemd.home / "run").mkdir()
    (systemd.home / "run" / "ask.sock").write_text("precious")

    daemon = systemd.start()

    assert daemon.wait(WAIT_SECONDS) == 3
    assert (systemd.home / "run" / "ask.sock").read_text() == "precious"


@pytest.mark.parametrize("place", ["run", "run/inner"])
@pytest.mark.parametrize("how", ["another's", "open to all"])
def test_a_folder_where_others_could_put_a_socket_is_not_served_in(
    how: str, place: str, systemd: Systemd
) -> None:
    """T-SK-5: whoever may replace a socket there says yes in our place."""
    if how == "another's" and os.geteuid() != 0:
        pytest.skip("giving folders away needs root")
    folder = systemd.home / place
    folder.mkdir(parents=True)
    if how == "another's":
        os.chown(folder, 1000, -1)
    else:
        folder.chmod(0o777)

    daemon = systemd.start()

    assert daemon.wait(WAIT_SECONDS) == 4
    assert str(folder) in (systemd.home / "log").read_text()
    assert not list((systemd.home / "run").glob("*.sock"))


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
def test_a_live_socket_of_somebody_else_is_not_in_the_way(systemd: Systemd) -> None:
    """T-SK-5: who was there first gets no question; our own takes its place."""
    path = systemd.home / "run" / "enforcer.sock"
    path.parent.mkdir(mode=0o755)
    with socket.socket(socket.AF_UNIX) as squatter:
        squatter.bind(str(path))
        os.chown(path, 1000, 1000)
        squatter.listen()
        squatter.settimeout(0)

        systemd.start()
        systemd.hears(b"READY=1")
        answer = ask(path)

        with pytest.raises(BlockingIOError):
            squatter.accept()
    assert answer.code == "ENF-1201"
    assert path.stat().st_uid == 0


@pytest.mark.skipif(
    not shutil.which("systemd-socket-activate"), reason="no systemd here"
)
def test_takes_the_sockets_systemd_hands_over(systemd: Systemd) -> None:
    """A caller that connects before the daemon runs is queued, then answered."""
    paths = [str(systemd.home / "run" / name) for name in SOCKETS]
    listen = [word for path in paths for word in ("--listen", path)]
    names = f"--fdname={':'.join(SOCKETS)}"
    told = ("--setenv=NOTIFY_SOCKET", "--setenv=WATCHDOG_USEC")
    activated = systemd.start(before=["systemd-socket-activate", *listen, names, *told])
    wait_for_listener(*map(Path, paths))
    inode = Path(paths[0]).stat().st_ino

    answer = ask(Path(paths[0]))

    assert answer.code == "ENF-1201"
    assert Path(paths[0]).stat().st_ino == inode  # systemd's, not bound anew
    activated.send_signal(signal.SIGTERM)
    assert activated.wait(WAIT_SECONDS) == 0
    assert Path(paths[2]).is_socket()  # the next daemon's callers queue here


@pytest.mark.parametrize(
    ("options", "code"), [((), "ENF-1113"), (("--in-process",), "ENF-1107")]
)
def test_asks_the_resolver_or_reads_the_engines_itself(
    options: tuple[str, ...], code: str, systemd: Systemd
) -> None:
    """Without a resolver all that an engine asks is refused; by itself it knows."""
    (systemd.home / "config/enforcer.yaml").write_text(
        "{apiVersion: enforcer/v1, engines: []}"
    )
    systemd.start(*options)
    systemd.hears(b"READY=1")
    container = ttrpc.encode_fields((1, "c1"), (2, "/nowhere/c1"), (4, "create"))
    question = ttrpc.encode_fields((1, "gate"), (4, container))

    answer = round_trip(
        str(systemd.home / "run/ask.sock"),
        ttrpc.Request("enforcer.api.v1.Verifier", "Verify", question),
        WAIT_SECONDS,
    )

    assert ttrpc.text(ttrpc.decode_fields(answer), 2) == code


def as_somebody(systemd: Systemd) -> list[str]:
    """Start it as its unit does, for a user without rights; return its sockets."""
    systemd.home.chmod(0o755)
    for name, owner in (("run", 0), ("run/inner", SOMEBODY), ("state", SOMEBODY)):
        (systemd.home / name).mkdir(mode=0o755)
        os.chown(systemd.home / name, owner, owner)
    paths = [str(systemd.home / "run" / name) for name in SOCKETS]
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(bind_socket(Path(p), mode=0o600)) for p in paths]
        given = [
            f"--socket={n}={s.fileno()}" for n, s in zip(SOCKETS, made, strict=True)
        ]
        unit = UNITS / "enforcer.service"
        words = [f"--unit={unit}", f"--user={SOMEBODY}", f"--writable={systemd.home}"]
        launcher = [sys.executable, "-m", "tests.service", *words, *given, "--"]
        systemd.start(before=launcher, handles=[s.fileno() for s in made])
    return paths


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
def test_a_socket_that_root_made_stays_roots_though_another_user_serves(
    systemd: Systemd,
) -> None:
    """The gate believes root alone, and listen(2) would make the daemon the peer."""
    paths = as_somebody(systemd)
    systemd.hears(b"READY=1")

    with socket.socket(socket.AF_UNIX) as client:
        client.connect(paths[2])
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        require_root(client, paths[2])
    answer = ask(Path(paths[0]))

    assert int.from_bytes(peer[4:8], sys.byteorder) == 0
    assert answer.code == "ENF-1201"
    assert f"\nUid:\t{SOMEBODY}" in Path(f"/proc/{systemd.pid}/status").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="being somebody else needs root")
@pytest.mark.parametrize("place", ["policy.d", "policy.d/policy.yaml", "trust"])
def test_what_its_user_may_not_read_is_a_problem_in_words(
    place: str, systemd: Systemd
) -> None:
    """Root wrote it for root alone: a policy that nobody judges by, told as that."""
    write_policy(systemd)
    store = systemd.home / "config/trust/x509/ca/acme"
    store.mkdir(parents=True)
    (store / "acme.crt").write_bytes(pems("acme")[2])
    path = systemd.home / "config" / place
    path.chmod(0o600 if path.is_file() else 0o700)

    as_somebody(systemd)
    systemd.hears(b"READY=1")
    found = status(systemd)
    answer = ask(systemd.home / "run" / "enforcer.sock")

    told = found.policy_problem + "".join(found.notices)
    assert str(systemd.home / "config" / place) in told
    assert "Permission denied" in told
    assert not answer.allowed


def test_offers_health_and_reflection(systemd: Systemd) -> None:
    """What gRPC tools expect of any server."""
    systemd.start()
    systemd.hears(b"READY=1")

    with grpc.insecure_channel(f"unix:{systemd.home / 'run/enforcer.sock'}") as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        health = check(health_pb2.HealthCheckRequest(), timeout=WAIT_SECONDS)
        reflect = channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflect(iter([listing]), timeout=WAIT_SECONDS)

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    assert {s.name for s in answer.list_services_response.service} == {
        "enforcer.api.v1.Verifier",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


def test_the_admin_service_is_on_roots_socket_only(systemd: Systemd) -> None:
    """A method that is not registered cannot be reached by a slip in a check."""
    systemd.start()
    systemd.hears(b"READY=1")

    for name, expected in (
        ("admin.sock", None),
        ("enforcer.sock", grpc.StatusCode.UNIMPLEMENTED),
    ):
        with grpc.insecure_channel(f"unix:{systemd.home / 'run' / name}") as channel:
            stub = pb_grpc.AdminStub(channel)
            if expected is None:
                assert stub.Status(pb.StatusRequest(), timeout=WAIT_SECONDS).version
                continue
            with pytest.raises(grpc.RpcError) as caught:
                stub.Status(pb.StatusRequest(), timeout=WAIT_SECONDS)
            assert caught.value.code() is expected


def test_a_container_may_be_asked_about_by_the_gate_only(systemd: Systemd) -> None:
    """Over gRPC any member of the group would make root read paths of their choice."""
    systemd.start()
    systemd.hears(b"READY=1")

    with grpc.insecure_channel(f"unix:{systemd.home / 'run/enforcer.sock'}") as channel:
        answer = pb_grpc.VerifierStub(channel).Verify(
            pb.VerifyRequest(container=pb.Container(id="x", bundle="/etc")),
            timeout=WAIT_SECONDS,
        )

    assert (answer.allowed, answer.code) == (False, "ENF-1110")


def test_modes_of_the_sockets_are_the_documented_ones(systemd: Systemd) -> None:
    """Who may ask is decided by the file system first."""
    systemd.start()
    systemd.hears(b"READY=1")

    modes = {n: (systemd.home / "run" / n).stat().st_mode & 0o777 for n in SOCKETS}

    assert modes == {"enforcer.sock": 0o660, "admin.sock": 0o600, "ask.sock": 0o600}
    assert (systemd.home / "run" / "inner").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["enforcer.sock", "admin.sock"])
def test_a_message_beyond_the_bound_is_refused_and_costs_nobody(
    name: str, systemd: Systemd
) -> None:
    """T-SK-8: a question is a name and a digest; more is not even read."""
    systemd.start()
    systemd.hears(b"READY=1")
    method = "Verifier/Verify" if name == "enforcer.sock" else "Admin/Status"

    with grpc.insecure_channel(f"unix:{systemd.home / 'run' / name}") as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        call = channel.unary_unary(f"/enforcer.api.v1.{method}")
        bombs = (
            pb.VerifyRequest(reference="x" * 70_000).SerializeToString(),
            b"\x7a\xf0\xa2\x04" + bytes(70_000),  # a field nobody knows
            bytes(3 * 1024 * 1024),
        )
        for bomb in bombs:
            with pytest.raises(grpc.RpcError) as caught:
                call(bomb, timeout=WAIT_SECONDS)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED

    assert ask(systemd.home / "run" / "enforcer.sock").code == "ENF-1201"


LAX = """\
apiVersion: enforcer/v1
signers: {acme: {x509: {trustStores: ["ca:acme"], identities: ["*"]}}}
always: acme
statements: [{name: all, scopes: ["*"], require: acme}]
"""
STRICT = f"{LAX}deny: [{{image: '{DIGEST}', since: 2026-01-02, reason: stolen}}]\n"


def test_a_policy_that_changes_while_it_is_read_is_not_put_in_force(
    tmp_path: Path,
) -> None:
    """An editor that begins just then leaves half of it for the daemon to read."""
    folders = [tmp_path / name for name in ("config", "state", "run")]
    policy = folders[0] / "policy.d" / "10-policy.yaml"
    policy.parent.mkdir(parents=True)
    (folders[0] / "enforcer.yaml").write_text("{apiVersion: enforcer/v1, engines: []}")
    policy.write_text(STRICT)
    edits: list[str] = []

    def reread() -> Settings:
        for text in edits:
            policy.write_text(text)
        return load_settings(*folders)

    daemon = Daemon(reread(), reread, resolver(load_settings(*folders)))
    with contextlib.closing(daemon._judge):
        before = daemon.reload()
        edits.append(LAX)
        with pytest.raises(EnforcerError, match="changed while it was read"):
            daemon.reload()
        status = daemon.status()
        edits.clear()
        after = daemon.reload()

    assert status.force is not None
    assert str(status.force.policy.digest) == before
    assert "changed while it was read" in status.policy_problem
    assert after != before


def test_a_service_manager_that_does_not_listen_holds_nothing_up(
    systemd: Systemd,
) -> None:
    """Its socket takes ten messages; the eleventh must not wait for somebody."""
    systemd.start()
    systemd.hears(b"READY=1")
    full = time.monotonic() + 4  # of a watchdog that speaks five times a second

    while time.monotonic() < full:
        started = time.monotonic()
        assert ask(systemd.home / "run" / "enforcer.sock").code == "ENF-1201"
        assert time.monotonic() - started < WAIT_SECONDS / 2


# -- what changes on disk is in force by itself --------------------------------------


def write_policy(systemd: Systemd, **changes: object) -> str:
    """Write policy.d anew, as an administrator would; return its digest."""
    x509 = {"trustStores": ["ca:acme"], "identities": ["*"]}
    document = {
        "apiVersion": "enforcer/v1",
        "signers": {"acme": {"x509": x509}},
        "always": "acme",
        "statements": [{"name": "all", "scopes": ["*"], "require": "acme"}],
    }
    folder = systemd.home / "config" / "policy.d"
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(json.dumps(document | changes, indent=1))
    return str(load_host_policy(folder, folder, trusted=False).policy.digest)


def write_settings(systemd: Systemd, **members: object) -> Path:
    path = systemd.home / "config" / "enforcer.yaml"
    path.write_text(json.dumps({"apiVersion": "enforcer/v1", **members}))
    return path


def status(systemd: Systemd) -> pb.StatusResponse:
    with grpc.insecure_channel(f"unix:{systemd.home / 'run/admin.sock'}") as channel:
        found: pb.StatusResponse = pb_grpc.AdminStub(channel).Status(
            pb.StatusRequest(), timeout=WAIT_SECONDS
        )
        return found


def becomes(
    systemd: Systemd, wanted: Callable[[pb.StatusResponse], object]
) -> pb.StatusResponse:
    """Ask for the status until it is as wanted; the last one if it never is."""
    deadline = time.monotonic() + BY_ITSELF_SECONDS
    found = status(systemd)
    while not wanted(found) and time.monotonic() < deadline:
        systemd.drain()
        time.sleep(0.05)
        found = status(systemd)
    assert wanted(found), found
    return found


def test_a_changed_policy_is_in_force_by_itself(systemd: Systemd) -> None:
    """Also for what was asked before: no verdict is remembered across it."""
    first = write_policy(systemd)
    systemd.start()
    systemd.hears(b"READY=1")
    socket_ = systemd.home / "run" / "enforcer.sock"
    assert status(systemd).policy_digest == first
    assert ask(socket_).code == "ENF-1001"

    exemption = {"digest": DIGEST, "role": "x", "reason": "y", "until": "2999-01-01"}
    second = write_policy(systemd, exempt=[exemption])
    found = becomes(systemd, lambda s: s.policy_digest == second)
    exempt = ask(socket_)
    third = write_policy(systemd)
    becomes(systemd, lambda s: s.policy_digest == third)

    assert len({first, second}) == 2
    assert third == first
    assert any(n.startswith("exempt until 2999-01-01") for n in found.notices)
    assert (exempt.allowed, exempt.code) == (True, "ENF-1020")
    assert (ask(socket_).allowed, ask(socket_).code) == (False, "ENF-1001")


def test_a_broken_policy_leaves_the_last_good_one_in_force(systemd: Systemd) -> None:
    """And says where it is broken, until it is mended."""
    good = write_policy(systemd)
    systemd.start()
    systemd.hears(b"READY=1")
    more = systemd.home / "config" / "policy.d" / "more.yaml"

    more.write_text("apiVersion: enforcer/v1\nexpiry: never\n")
    broken = becomes(systemd, lambda s: f"{more}:2: " in s.policy_problem)
    still = ask(systemd.home / "run" / "enforcer.sock")
    more.write_text("apiVersion: enforcer/v1\nexpiry: now\n")
    mended = becomes(systemd, lambda s: s.policy_digest != good)

    assert broken.policy_digest == good
    assert still.code == "ENF-1001"  # judged, not refused for want of a policy
    assert mended.policy_problem == ""
    (systemd.home / "config" / "policy.d").chmod(0o777)
    opened = becomes(systemd, lambda s: s.policy_problem)
    assert "policy.d can be written by group or others" in opened.policy_problem
    assert opened.policy_digest == mended.policy_digest


def test_a_policy_that_comes_late_is_in_force_by_itself(systemd: Systemd) -> None:
    """Till then all is denied."""
    systemd.start()
    systemd.hears(b"READY=1")
    assert status(systemd).policy_digest == ""

    digest = write_policy(systemd)

    found = becomes(systemd, lambda s: s.policy_digest == digest)
    assert found.policy_problem == ""


def test_changed_settings_are_in_force_by_themselves(systemd: Systemd) -> None:
    """What they say, and who could change them."""
    write_policy(systemd)
    path = write_settings(systemd, mode="enforce")
    systemd.start()
    systemd.hears(b"READY=1")
    assert status(systemd).mode == "enforce"

    write_settings(systemd, mode="monitor")
    monitor = becomes(systemd, lambda s: s.mode == "monitor")
    path.chmod(0o666)
    opened = becomes(systemd, lambda s: s.policy_problem)
    path.chmod(0o644)
    becomes(systemd, lambda s: not s.policy_problem)
    write_settings(systemd, mode="frobnicate")
    broken = becomes(systemd, lambda s: "frobnicate" in s.policy_problem)
    write_settings(systemd, mode="enforce")
    back = becomes(systemd, lambda s: s.mode == "enforce")

    assert any(n.startswith("mode: monitor - nothing") for n in monitor.notices)
    assert "enforcer.yaml can be written by group or others" in opened.policy_problem
    assert broken.mode == "monitor"
    assert (back.policy_problem, list(back.notices)[1:]) == ("", [])


def test_a_trust_store_that_comes_late_is_in_force_by_itself(systemd: Systemd) -> None:
    """Status has a notice for as long as a signer cannot be recognised."""
    digest = write_policy(systemd)
    systemd.start()
    systemd.hears(b"READY=1")
    assert list(status(systemd).notices) == [
        'trust store "ca:acme" is missing or empty'
    ]

    store = systemd.home / "config" / "trust" / "x509" / "ca" / "acme"
    store.mkdir(parents=True)
    (store / "acme.crt").write_bytes(pems("acme")[2])

    found = becomes(systemd, lambda s: not s.notices)
    assert found.policy_digest == digest


def test_a_policy_that_nobody_reads_is_a_notice(systemd: Systemd) -> None:
    """Else somebody tightens policy.d and believes that it is in force."""
    write_policy(systemd)
    write_settings(systemd, notationConfig=str(systemd.home / "notation"))
    systemd.start()
    systemd.hears(b"READY=1")

    assert f"{systemd.home}/config/policy.d is not read: notationConfig names " in (
        "".join(status(systemd).notices)
    )


def test_a_cache_that_is_nearly_full_is_a_notice(systemd: Systemd) -> None:
    """Before an import is refused on a Friday evening."""
    write_policy(systemd)
    one = image("one")
    DiskCache(systemd.home / "state" / "cache").add([one.manifest, one.index])
    write_settings(systemd, cache={"maxFiles": 2})
    systemd.start()
    systemd.hears(b"READY=1")

    assert "the signature cache is 100% full" in "".join(status(systemd).notices)

    write_settings(systemd, cache={"maxFiles": 20})
    becomes(systemd, lambda s: "full" not in "".join(s.notices))


def test_what_a_dead_writer_left_is_gone_once_the_daemon_runs(
    systemd: Systemd,
) -> None:
    write_policy(systemd)
    cache = systemd.home / "state" / "cache"
    DiskCache(cache).add([image("one").manifest])
    stray = cache / "blobs" / "sha256" / Digest.of(b"half an import").hex
    stray.write_bytes(b"half an import")
    (cache / "pending").write_text(f"{stray.name}\n")
    (cache / "incoming" / "0").write_bytes(b"half a blob")

    systemd.start()
    systemd.hears(b"READY=1")

    wait_until(lambda: not (cache / "pending").exists(), "it is settled")
    assert not stray.exists()
    assert not list((cache / "incoming").iterdir())

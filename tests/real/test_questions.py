"""What other programs ask enforcerd over gRPC, and people on the command line."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from enforcer.api.v1 import enforcer_pb2, enforcer_pb2_grpc
from tests.engines.images import describe
from tests.real.stage import Stage

VERIFIER = "enforcer.api.v1.Verifier"
CALL_SECONDS = 30  # the daemon takes three at most; the machine may be busy
# What a name must not smuggle into a terminal, a log or a comparison.
BAD_NAMES = {
    "escape": "docker.io/library/\x1b[2Jhello:1",
    "newline": "docker.io/library/hello:1\nallowed",
    "nul": "docker.io/library/hello\0:1",
    "right to left": "docker.io/library/\u202eolleh:1",
    "look-alike": "docker.io/library/hellо:1",  # noqa: RUF001 - a Cyrillic o
    "parent folder": "docker.io/../hello:1",
    "long": "docker.io/library/" + "h" * 5000 + ":1",
    "empty": "",
}


@pytest.fixture
def stage(gated_containerd: Stage) -> Stage:
    """Questions by name and digest reach no engine; this host's daemon will do."""
    return gated_containerd


@pytest.fixture
def channel(stage: Stage) -> Iterator[grpc.Channel]:
    """A client of enforcer.sock, as any local program may be one."""
    with grpc.insecure_channel(f"unix:{stage.host.run / 'enforcer.sock'}") as channel:
        yield channel


def _verify(
    channel: grpc.Channel, reference: str, digest: str
) -> enforcer_pb2.VerifyResponse:
    stub = enforcer_pb2_grpc.VerifierStub(channel)
    request = enforcer_pb2.VerifyRequest(
        asked_by="test", reference=reference, digest=digest
    )
    answer: enforcer_pb2.VerifyResponse = stub.Verify(request, timeout=CALL_SECONDS)
    return answer


def test_the_health_check_says_that_it_serves(channel: grpc.Channel) -> None:
    """What a service manager or a probe asks."""
    check = channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )

    answer = check(health_pb2.HealthCheckRequest(), timeout=CALL_SECONDS)

    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    """grpcurl and its like need no copy of our proto; Admin is not on this socket."""
    reflect = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    (answer,) = reflect(iter([asked]), timeout=CALL_SECONDS)

    names = {service.name for service in answer.list_services_response.service}
    assert VERIFIER in names
    assert "grpc.health.v1.Health" in names
    assert "enforcer.api.v1.Admin" not in names


def test_admin_is_not_served_to_everybody(channel: grpc.Channel) -> None:
    """Only root's own socket shows and reloads what is in force."""
    stub = enforcer_pb2_grpc.AdminStub(channel)

    with pytest.raises(grpc.RpcError) as caught:
        stub.Reload(enforcer_pb2.ReloadRequest(), timeout=CALL_SECONDS)

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("top", ["manifest", "index"])
def test_a_digest_is_allowed_once_it_is_signed(
    top: str, channel: grpc.Channel, stage: Stage
) -> None:
    """The same verdict as the gate's, with every check, and on record."""
    image = stage.image("hello", index=top == "index")

    unsigned = _verify(channel, image.full, image.digest)
    stage.sign(image)
    signed = _verify(channel, image.full, image.digest)

    assert (unsigned.allowed, unsigned.code) == (False, "ENF-1001")
    assert (signed.allowed, signed.code) == (True, "ENF-1000")
    assert "O=acme" in signed.message
    assert image.digest in (signed.subject.manifest, signed.subject.index)
    assert {check.result for check in signed.signatures[0].checks} >= {"passed"}
    records = {record["id"]: record for record in stage.host.decisions()}
    assert records[unsigned.id]["allowed"] is False
    assert records[signed.id]["allowed"] is True
    assert records[signed.id]["asked_by"] == "test"


def test_a_signed_index_does_not_speak_for_a_digest_it_was_not_asked_about(
    channel: grpc.Channel, stage: Stage
) -> None:
    """Asked by digest, the answer is about that digest and nothing around it."""
    image = stage.image("hello", index=True)
    stage.sign(image)

    answer = _verify(channel, image.full, describe(image.layout).manifest)

    assert (answer.allowed, answer.code) == (False, "ENF-1001")


def test_only_the_gate_may_ask_about_containers(
    channel: grpc.Channel, stage: Stage
) -> None:
    """Resolving one reads root's files on behalf of whoever asks."""
    request = enforcer_pb2.VerifyRequest(
        container=enforcer_pb2.Container(id="x", bundle="/etc", command="create")
    )

    answer = enforcer_pb2_grpc.VerifierStub(channel).Verify(
        request, timeout=CALL_SECONDS
    )

    assert (answer.allowed, answer.code) == (False, "ENF-1110")


@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_a_hostile_name_is_a_denial_with_a_code_over_grpc(
    name: str, channel: grpc.Channel, stage: Stage
) -> None:
    """Also for a signed digest; and what is shown of it is printable ASCII."""
    image = stage.image("hello")
    stage.sign(image)

    answer = _verify(channel, name, image.digest)

    assert (answer.allowed, answer.code) == (False, "ENF-1109")
    assert answer.message.isascii()
    assert answer.message.isprintable()
    log = stage.host.audit_log.read_bytes()
    assert set(log) <= {0x0A, *range(0x20, 0x7F)}


@pytest.mark.parametrize(
    "digest", ["", "sha256:", "sha256:zz", "md5:" + "0" * 32, "\x1b[2J", "x" * 5000]
)
def test_a_hostile_digest_is_a_denial_with_a_code_over_grpc(
    digest: str, channel: grpc.Channel
) -> None:
    """Nothing to look up is nothing to allow."""
    answer = _verify(channel, "docker.io/library/hello:1", digest)

    assert answer.allowed is False
    assert answer.code.startswith("ENF-1")
    assert answer.code != "ENF-1901"
    assert answer.message.isascii()
    assert answer.message.isprintable()


@pytest.mark.parametrize("option", ["target", "scope"])
@pytest.mark.parametrize("kind", sorted(BAD_NAMES.keys() - {"nul", "empty"}))
def test_a_hostile_name_is_an_error_with_a_code_on_the_command_line(
    kind: str, option: str, stage: Stage
) -> None:
    """The operator's terminal is not to be told what to do."""
    name = BAD_NAMES[kind]
    words = [f"containerd:{name}"]
    if option == "scope":
        words = [f"oci-layout:{stage.image('hello').layout}", "--scope", name]

    done = stage.host.enforcer("verify", *words, check=False)

    # A target is looked up as it is, so it is not there; a scope has to be a name.
    expected = (2, "[ENF-1109]") if option == "scope" else (3, "[ENF-1101]")
    assert (done.returncode, done.stderr.split()[-1]) == expected
    assert done.stdout == ""
    assert done.stderr.isascii()
    assert done.stderr.strip().isprintable()


@pytest.mark.parametrize("namespace", ["default", "k8s.io", "team-a"])
def test_the_command_line_finds_an_image_in_any_namespace(
    namespace: str, stage: Stage
) -> None:
    """`containerd:[NAMESPACE/]NAME`; Kubernetes' own has a dot in it."""
    image = stage.image("hello", namespace=namespace)
    target = f"containerd:{namespace}/{image.full}"

    unsigned = stage.host.enforcer("verify", target, check=False)
    stage.sign(image)
    signed = stage.host.enforcer("verify", target, check=False)

    assert unsigned.returncode == 1
    assert "[ENF-1001]" in unsigned.stdout
    assert signed.returncode == 0
    assert "[ENF-1000]" in signed.stdout


def _no_key(path: Path) -> None:
    assert not path.exists()


def _folder(path: Path) -> None:
    path.mkdir()


def _garbage(path: Path) -> None:
    path.write_bytes(b"\0\xff" * 100)


def _encrypted(path: Path) -> None:
    label = "ENCRYPTED PRIVATE KEY"
    path.write_text(f"-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("make", [_no_key, _folder, _garbage, _encrypted, _pipe])
def test_an_unusable_key_is_an_error_that_names_it(
    make: Callable[[Path], None], stage: Stage, tmp_path: Path
) -> None:
    """Signing fails loudly and at once, and leaves nothing half signed."""
    image = stage.image("hello")
    key = tmp_path / "key.pem"
    make(key)

    done = stage.host.enforcer(
        "sign", f"containerd:{image.full}", "--key", key, "--cert",
        stage.host.acme.chain, check=False,
    )  # fmt: skip
    listed = json.loads(stage.host.enforcer("cache", "list", "-o", "json").stdout)

    assert done.returncode in (1, 3)
    assert done.stderr.startswith("enforcer: ")
    assert "[ENF-1208]" in done.stderr or str(key) in done.stderr
    assert "Traceback" not in done.stderr
    assert [e for e in listed if e["subject"] == image.digest] == []
    assert stage.run(image).returncode == 1

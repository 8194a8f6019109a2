"""`make demo`: unsigned is refused, signed runs, on private engines of this machine.

Nothing here is acted: each command is run as shown (less the options that name this
demo's private folders) and what it prints is what you see.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import grpc

from enforcer.api.v1 import enforcer_pb2 as pb
from enforcer.api.v1 import enforcer_pb2_grpc as pb_grpc
from tests.engines.containerd import Containerd
from tests.engines.dockerd import Dockerd
from tests.engines.enforced import EnforcedHost
from tests.engines.images import dockerfile_context, layout_to_tar, write_layout

_COLOUR = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
BOLD, GREEN, RED, PLAIN = (
    f"\033[{code}m" if _COLOUR else "" for code in ("1", "32", "31", "0")
)


class DemoError(Exception):
    """Something went another way than this demo promises."""


def main() -> int:
    """Show it; 0 only if every start was refused or allowed as it should be."""
    try:
        if os.geteuid() == 0 and Path("/etc/debian_version").exists():
            _on_engines()
        else:
            _say(
                "This is not root on Debian, so no engine can be started here. The "
                "same decisions, through the gRPC API against an OCI layout:"
            )
            _on_layouts()
    except DemoError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    return 0


def _on_engines() -> None:
    with EnforcedHost() as host, Dockerd(host.gate) as docker:
        _say(
            "A private Docker (with its containerd) and enforcerd run below "
            f"{docker.home} and {host.home}.\nThe only `runc` these engines find is "
            "enforcer's gate. There is no registry."
        )
        host.configure(docker)
        host.start()
        _docker_part(host, docker)
        _containerd_part(host, docker.containerd)
        _audit_part(host)
    _say("Everything this demo started is stopped and removed.")


def _docker_part(host: EnforcedHost, docker: Dockerd) -> None:
    _title("1. An image built here is not signed, so it does not start")
    first = dockerfile_context(host.home / "first", "hello from hello-world:1")
    _command("docker build -t hello-world:1 .")
    docker.docker("build", "-q", "-t", "hello-world:1", first)
    _run_docker(docker, expected=False)

    _title("2. Signed, it starts")
    words = f"--key {host.acme.key.name} --cert {host.acme.chain.name}"
    _command(f"enforcer sign docker:hello-world:1 {words}")
    host.sign("docker:hello-world:1")
    _run_docker(docker, expected=True)

    _title("3. The same tag on other content is refused again")
    second = dockerfile_context(host.home / "second", "hello from somebody else")
    _command("docker build -t hello-world:1 ./other")
    docker.docker("build", "-q", "-t", "hello-world:1", second)
    _run_docker(docker, expected=False)


def _run_docker(docker: Dockerd, *, expected: bool) -> None:
    _command("docker run --rm hello-world:1")
    done = docker.docker("run", "--rm", "--network=none", "hello-world:1", check=False)
    _result(done, expected=expected)


def _containerd_part(host: EnforcedHost, containerd: Containerd) -> None:
    _title(
        "4. Signed by the stock notation in a layout, imported, started by containerd"
    )
    for signer in (host.acme, host.stranger):
        layout = host.home / f"by-{signer.name}"
        # The twin differs by one line, so that each has a signature of its own.
        tag = f"app-{signer.name}:1"
        digest = write_layout(layout, text=f"hello, {signer.name} signed me", tag=tag)
        _command(f"notation sign --oci-layout by-{signer.name}@{digest[:19]}…")
        host.notation.sign_layout(layout, digest, key=signer.name)
        _command(f"enforcer cache import oci-layout:by-{signer.name}")
        _show(host.enforcer("cache", "import", f"oci-layout:{layout}"))
        archive = layout_to_tar(layout, host.home / f"{signer.name}.tar")
        containerd.ctr("images", "import", archive)
        name = f"docker.io/library/{tag}"
        _command(f"ctr run --rm {name} {signer.name}")
        container = f"{signer.name}-{os.getpid()}"
        done = containerd.run(name, container, check=False)
        _result(done, expected=signer is host.acme)


def _audit_part(host: EnforcedHost) -> None:
    _title("5. The audit log has every decision")
    _command("cat audit.jsonl   # the main members of each line")
    for line in host.decisions():
        shown = {name: line[name] for name in ("time", "allowed", "code", "reference")}
        print(f"   {json.dumps(shown)}")


def _on_layouts() -> None:
    with EnforcedHost() as host:
        host.start()
        for signer, allowed in (
            (None, False),
            (host.acme, True),
            (host.stranger, False),
        ):
            word = signer.name if signer else "nobody"
            layout = host.home / f"by-{word}"
            digest = write_layout(layout, text=f"signed by {word}", tag=f"{word}:1")
            if signer:
                _command(f"enforcer sign oci-layout:by-{word} --key … --cert …")
                host.sign(f"oci-layout:{layout}", signer)
            _verify(host, f"{word}:1", digest, allowed=allowed)
        _audit_part(host)


def _verify(host: EnforcedHost, name: str, digest: str, *, allowed: bool) -> None:
    _command(f"grpc Verifier.Verify(reference={name}, digest={digest[:19]}…)")
    with grpc.insecure_channel(f"unix:{host.run / 'enforcer.sock'}") as channel:
        answer = pb_grpc.VerifierStub(channel).Verify(
            pb.VerifyRequest(reference=name, digest=digest), timeout=10
        )
    print(f"   {answer.message} [{answer.code}]")
    _verdict(answer.allowed, expected=allowed, yes="allowed")


def _result(done: subprocess.CompletedProcess[str], *, expected: bool) -> None:
    _show(done)
    _verdict(done.returncode == 0, expected=expected)


def _verdict(started: bool, *, expected: bool, yes: str = "started") -> None:  # noqa: FBT001
    print(f"   {GREEN}{yes}{PLAIN}" if started else f"   {RED}refused{PLAIN}")
    if started != expected:
        raise DemoError(f"expected {'a start' if expected else 'a refusal'} here")


def _show(done: subprocess.CompletedProcess[str]) -> None:
    for line in f"{done.stdout}{done.stderr}".splitlines():
        if line and not line.startswith("Run 'docker run --help'"):
            print(f"   {line}")


def _say(text: str) -> None:
    print(f"\n{text}", flush=True)


def _title(text: str) -> None:
    print(f"\n{BOLD}{text}{PLAIN}", flush=True)


def _command(text: str) -> None:
    print(f" $ {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

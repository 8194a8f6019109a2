"""Nodes of the scenarios: hosts at whose prompt somebody types.

A node has a folder to work in and a PATH with the engine's own client, `enforcer`,
`notation` and `oras`, each set up for this node alone, so that a test types what a
person would. Each typed line is printed as a row of the scenario table (`pytest -s`):
scenario, engine, node, command, result.
"""

import contextlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.engines.images import (
    describe,
    dockerfile_context,
    layout_to_tar,
    write_layout,
)
from tests.engines.network import Network
from tests.engines.path import program
from tests.engines.process import run
from tests.engines.watched import Watch
from tests.real.acme import People, Policy, acme_stage
from tests.real.stage import Done, Stage, said

CA_FILE = "SSL_CERT_FILE"  # what programs in Go trust
SYSTEM = "/usr/sbin:/usr/bin:/sbin:/bin"
SOAK = bool(os.environ.get("ENFORCER_SOAK"))
# Where an image is built and where it starts: each engine once, else all with all.
BUILDERS = ("docker", "graph-docker", "old-docker")
TARGETS = ("containerd", "docker", "graph-docker", "old-docker")
PAIRS = (
    [(builder, target) for builder in BUILDERS for target in TARGETS]
    if SOAK
    else [("docker", "containerd"), ("graph-docker", "old-docker")]
)
_PUSHED = re.compile(r"digest: (sha256:[0-9a-f]{64})")
_CODE = re.compile(r"\[(ENF-\d{4})\]")


class Node:
    """A host with an engine, and its prompt.

    `keys/` in its folder has everybody's keys; typed `notation` is ACME's. With a `ca`,
    whose certificate that is, registries speak TLS, else HTTP.
    """

    def __init__(
        self,
        stage: Stage,
        who: People,
        *,
        engine: str,
        network: Network | None = None,
        watch: Watch | None = None,
        ca: Path | None = None,
    ) -> None:
        self.stage = stage
        self.engine = engine
        self.folder = stage.host.home / "work"
        self.programs = stage.host.home / "bin"
        self._network = network
        self._before = watch.before_command if watch else ()
        self._ca = ca
        for folder in (self.folder, self.programs):
            folder.mkdir()
        (self.folder / "keys").symlink_to(who.release.key.parent)
        self._write_programs(who)
        self.scenario = self.name = ""
        self._policy: Policy = {}

    def called(self, name: str, scenario: str) -> "Node":
        """Say what to call it in the table, from now on; return it."""
        self.name, self.scenario = name, scenario
        return self

    def types(self, command: str, *, check: bool = True) -> Done:
        """Type a command at its prompt; unless `check` is off, it has to work."""
        inside = self._network.inside() if self._network else contextlib.nullcontext()
        with inside:
            done = run(
                [*self._before, "/bin/sh", "-c", command],
                env={"PATH": f"{self.programs}:{SYSTEM}", "NO_COLOR": "1"}
                | _trust(self._ca),
                cwd=self.folder,
                check=check,
            )
        row = (self.scenario, self.engine, self.name, command, _result(done))
        print(" | ".join(row))
        return done

    def fails(self, command: str, *words: str) -> Done:
        """Type a command that has to fail, and to show all these words."""
        done = self.types(command, check=False)
        assert done.returncode != 0, said(done)
        for word in words:
            assert word in said(done)
        return done

    def obeys(self, policy: Policy) -> None:
        """Give it a policy, and wait until that is in force."""
        if policy == self._policy:
            return
        with self.stage.host.policy_changes():
            self.stage.host.write_policy(policy)
        self._policy = policy

    # -- what every engine can, each in its own words ----------------------------------

    @property
    def is_docker(self) -> bool:
        """Whether somebody here types `docker`, else `ctr`."""
        return self.stage.is_docker

    def builds(self, name: str, text: str) -> None:
        """Build an image that prints `text`, under this name, which moves."""
        folder = self.stage.name("app")
        if self.is_docker:
            dockerfile_context(self.folder / folder, text)
            self.types(f"docker build -q -t {name} {folder}")
        else:  # a containerd alone builds nothing: it is given what others built
            self.layout(name, text, folder)
            self.loads(folder)

    def layout(self, name: str, text: str, folder: str) -> str:
        """Have an image as an OCI layout in a new folder; return its digest."""
        shutil.rmtree(self.folder / folder, ignore_errors=True)
        return write_layout(self.folder / folder, text=text, tag=name)

    def loads(self, layout: str) -> None:
        """Give the engine the image of a layout, as an archive."""
        layout_to_tar(self.folder / layout, self.folder / f"{layout}.tar")
        self.takes(f"{layout}.tar")

    def takes(self, archive: str) -> None:
        """Give the engine what an archive has."""
        words = "docker load -q -i" if self.is_docker else "ctr images import"
        self.types(f"{words} {archive}")

    def removes(self, name: str) -> None:
        """Remove an image from the engine."""
        words = "docker image rm" if self.is_docker else "ctr images remove --sync"
        self.types(f"{words} {name}")

    def digest_of(self, layout: str) -> str:
        """Return the digest of the one image in a layout."""
        return describe(self.folder / layout).top

    def target(self, name: str) -> str:
        """What our command line calls an image of this engine."""
        return f"docker:{name}" if self.is_docker else f"containerd:{name}"

    def pushes(self, name: str) -> str:
        """Push an image; return its digest in the registry."""
        done = self.types(f"docker push {name}")
        found = _PUSHED.search(done.stdout)
        assert found, done.stdout
        return found[1]

    def signs(self, image: str, by: str) -> None:
        """Sign what is in a registry, there."""
        insecure = "" if self._ca else "--insecure-registry "
        self.types(f"notation sign {insecure}--key {by} {image}")

    def brings(self, image: str) -> None:
        """Bring the signatures about something from its registry to this host."""
        self.types(f"enforcer cache import {image}")

    def pulls(self, name: str) -> None:
        """Pull an image."""
        if self.is_docker:
            self.types(f"docker pull -q {name}")
        else:
            insecure = "" if self._ca else "--plain-http "
            self.types(f"ctr images pull {insecure}{name}")

    def renames(self, name: str, other: str) -> None:
        """Give an image one more name."""
        words = "docker tag" if self.is_docker else "ctr images tag --force"
        self.types(f"{words} {name} {other}")

    def starts(self, name: str, text: str) -> None:
        """Start an image: it has to run, and be the one that prints `text`."""
        out = self.folder / self.stage.name("out")
        done = self.types(self._start(name, out), check=False)
        printed = out.read_text() if out.exists() else done.stdout
        assert (done.returncode, printed) == (0, f"{text}\n"), said(done)

    def refuses(self, name: str, *words: str) -> Done:
        """Start an image that must not run; the client has to show all these words."""
        done = self.fails(self._start(name), *words)
        assert done.stdout == ""
        return done

    def _start(self, name: str, out: Path | None = None) -> str:
        if self.is_docker:
            return f"docker run --rm {name}"
        container = self.stage.container(self.stage.name("run"))
        words = f"--log-uri=file://{out} " if out else ""  # see Containerd.run
        return f"ctr run --rm {words}{name} {container}"

    # -- its programs ------------------------------------------------------------------

    def _write_programs(self, who: People) -> None:
        home = {"HOME": str(self.folder), "PATH": f"{self.programs}:{SYSTEM}"}
        # Whom it trusts is said in enforcer.yaml.
        python = ["/usr/bin/env", "-u", CA_FILE, sys.executable]
        ours = [*python, "-m", "enforcer", *self.stage.host.folders]
        self._write("enforcer", home | {"PYTHONPATH": str(Path.cwd())}, ours)
        self._write("notation", who.notation.environment, [program("notation")])
        self._write("oras", home, [program("oras")])
        engine = self.stage.engine
        if self.is_docker:
            docker = self.stage.docker
            client = program("docker", docker.release)
            self._write("docker", docker.client_environment, [client])
        else:
            ctr = program("ctr", engine.release)
            self._write("ctr", home, [ctr, "--address", engine.socket])

    def _write(
        self, name: str, environment: Mapping[str, str], words: Sequence[str | Path]
    ) -> None:
        lines = [
            "#!/bin/sh",
            *(
                f"export {key}={shlex.quote(value)}"
                for key, value in environment.items()
            ),
            f'exec {shlex.join(map(str, words))} "$@"',
        ]
        path = self.programs / name
        path.write_text("\n".join(lines) + "\n")
        path.chmod(0o755)


def by_digest(name: str, digest: str) -> str:
    """Name an image by its digest, where `name` has a tag."""
    return f"{name.rpartition(':')[0]}@{digest}"


@contextmanager
def node(
    engine: str,
    who: People,
    policy: Policy,
    *,
    network: Network | None = None,
    watch: Watch | None = None,
    ca: Path | None = None,
) -> Iterator[Node]:
    """Run a node; with a `network`, in that alone, and with a `watch` under strace."""
    trusted = [f"{name}={value}" for name, value in _trust(ca).items()]
    before = ["/usr/bin/env", *trusted, *(watch.before if watch else ())]
    with ExitStack() as stack:
        with network.inside() if network else contextlib.nullcontext():
            stage = stack.enter_context(acme_stage(engine, who, policy, before=before))
        yield Node(stage, who, engine=engine, network=network, watch=watch, ca=ca)


def _trust(ca: Path | None) -> dict[str, str]:
    return {CA_FILE: str(ca)} if ca else {}


def _result(done: Done) -> str:
    """What the table says of a command: its code if it has one, else its last line."""
    code = _CODE.search(done.stderr)
    if done.returncode:
        return f"exit {done.returncode}" + (f" {code[1]}" if code else "")
    lines = done.stdout.strip().splitlines()
    return lines[-1].strip()[:72] if lines else "done"

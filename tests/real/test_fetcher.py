"""enforcer-fetcher on real engines and registries, in its unit's sandbox.

Signatures are made by notation and lie in a real docker-registry. enforcerd has no
network at all: what it knows of them came through the fetcher.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from enforcer.ttrpc import decode_fields, encode_fields, text
from tests.engines.enforced import FETCH_USER, USER
from tests.engines.images import describe
from tests.engines.registry import running_registry
from tests.engines.service import UNITS
from tests.real.canary import everything_in
from tests.real.cri import CriError, Node, running_node
from tests.real.stage import Done, Image, Stage, containerd_stage, said
from tests.real.test_bindir import BINDIR

PROMISED_SECONDS = 5.0
LOGIN = ("robot", "marked-41d9-password")


@dataclass(frozen=True, slots=True)
class Registry:
    """A docker-registry on this host; with a login nobody else may read it."""

    address: str
    log: Path
    login: tuple[str, str] | None = None

    def push(
        self,
        stage: Stage,
        word: str,
        *,
        signed: bool = True,
        cmd: Sequence[str] | None = None,
    ) -> tuple[Image, str]:
        """Put an image there and nowhere else, signed by notation into the registry."""
        image = stage.image(word, cmd=cmd)
        name = f"{self.address}/{image.name}"
        ctr = stage.containerd.ctr
        ctr("images", "tag", image.full, name)
        user = ["--user", ":".join(self.login)] if self.login else []
        ctr("images", "push", "--plain-http", *user, name)
        ctr("images", "remove", "--sync", name, image.full)
        if signed:
            self.sign(stage, f"{name.rpartition(':')[0]}@{image.digest}")
        return image, name

    def sign(self, stage: Stage, reference: str) -> None:
        notation = stage.host.notation
        user, password = self.login or ("", "")
        words = ["--username", user, "--password", password] if self.login else []
        key = ("--key", stage.host.acme.name)
        notation.notation("sign", "--insecure-registry", *words, *key, reference)

    def asked_about(self, image: Image) -> int:
        """How many requests named that digest since the registry was started."""
        return self.log.read_text(errors="replace").count(image.digest)


@contextlib.contextmanager
def registry_of(home: Path, login: tuple[str, str] | None = None) -> Iterator[Registry]:
    users = dict([login]) if login else None
    with running_registry(home, users=users) as address:
        yield Registry(address, home / "log", login)


@pytest.fixture(scope="module")
def registry(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    with registry_of(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def private(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """Another one, which wants a login."""
    with registry_of(tmp_path_factory.mktemp("private"), LOGIN) as found:
        yield found


@pytest.fixture(scope="module")
def stage(engines: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """containerd 2.1, which asks our verifier, and a fetcher."""
    folder = tmp_path_factory.mktemp("verifiers") / "bin"
    with containerd_stage(extra_config=BINDIR.format(folder=folder)) as stage:
        stage.host.enforcer("gate", "--bindir", folder)
        stage.host.start_fetcher()
        yield stage


@pytest.fixture(scope="module")
def node(engines: Path) -> Iterator[Node]:
    """containerd 2.1 behind the CRI proxy, and a fetcher."""
    with running_node("forky") as node:
        node.stage.host.start_fetcher()
        yield node


@contextlib.contextmanager
def settings(stage: Stage, **sync: object) -> Iterator[None]:
    """Have enforcer.yaml say something under `sync` for a while."""
    stage.reconfigure(sync=sync)
    try:
        yield
    finally:
        stage.host.settings.pop("sync")
        stage.reconfigure()


def pull(stage: Stage, name: str) -> tuple[Done, float]:
    began = time.monotonic()
    done = stage.containerd.ctr("images", "pull", "--plain-http", name, check=False)
    return done, time.monotonic() - began


def start(stage: Stage, name: str) -> Done:
    container = stage.containerd.container_id(stage.name("run"))
    return stage.containerd.run(name, container, check=False)


def verdicts(stage: Stage, name: str) -> list[tuple[str, str]]:
    return [
        (r["asked_by"], r["code"])
        for r in stage.host.decisions()
        if r["reference"] == name
    ]


# -- pulls -------------------------------------------------------------------------


def test_a_pull_asks_its_registry_only_where_that_is_set(
    stage: Stage, registry: Registry
) -> None:
    """By default nothing of ours uses the network for a pull, and it is refused."""
    image, name = registry.push(stage, "early")
    refused, _ = pull(stage, name)
    asked = registry.asked_about(image)

    with settings(stage, fetchOnPull=True):
        allowed, _ = pull(stage, name)
    started = start(stage, name)

    assert refused.returncode != 0
    assert "[ENF-1001]" in refused.stderr
    assert asked < registry.asked_about(image)
    assert allowed.returncode == 0, said(allowed)
    assert (started.returncode, started.stdout) == (0, f"{image.text}\n")
    assert verdicts(stage, name) == [
        ("bindir", "ENF-1001"),
        ("bindir", "ENF-1001"),
        ("bindir", "ENF-1000"),
        ("gate", "ENF-1000"),
    ]


@pytest.mark.alone
def test_what_nobody_signed_is_refused_in_words_about_the_registry(
    stage: Stage, registry: Registry
) -> None:
    """Whoever pulls must learn that its registry was asked."""
    _, name = registry.push(stage, "unsigned", signed=False)

    with settings(stage, fetchOnPull=True):
        refused, seconds = pull(stage, name)

    assert refused.returncode != 0
    assert "asked its registry: it has none" in refused.stderr
    assert "[ENF-1001]" in refused.stderr
    assert seconds < PROMISED_SECONDS


def test_a_registry_that_is_left_out_is_not_asked(
    stage: Stage, registry: Registry
) -> None:
    """In a closed network one server may be asked, and no other."""
    _, name = registry.push(stage, "closed")

    with settings(stage, fetchOnPull=True, registries=["internal.example"]):
        refused, _ = pull(stage, name)

    assert "sync.registries leaves its registry out" in refused.stderr


@pytest.mark.alone
def test_with_the_fetcher_dead_a_pull_is_refused_and_starts_go_on(
    stage: Stage, registry: Registry
) -> None:
    """No decision ever needs it: what is signed and known starts as before."""
    known = stage.image("known")
    stage.sign(known)
    _, name = registry.push(stage, "dead")

    with settings(stage, fetchOnPull=True):
        stage.host.fetcher.kill()
        try:
            refused, seconds = pull(stage, name)
            started = stage.run(known)
        finally:
            stage.host.start_fetcher()
        again, _ = pull(stage, name)

    assert "[ENF-2701]" in refused.stderr
    assert "[ENF-1001]" in refused.stderr
    assert seconds < PROMISED_SECONDS
    assert started.returncode == 0
    assert again.returncode == 0, said(again)


def test_kubelets_own_login_opens_its_registry_and_shows_nowhere(
    node: Node, private: Registry
) -> None:
    """It travels through proxy, enforcerd and fetcher, and is in nothing they leave."""
    stage = node.stage
    image, name = private.push(stage, "pod")
    with pytest.raises(CriError) as caught:
        _cri_pull(node, name)
    with settings(stage, fetchOnPull=True):
        pulled = _cri_pull(node, name)

    assert "[ENF-1001]" in caught.value.text
    assert pulled == describe(image.layout).config
    home = stage.host.home
    files = [path for path in everything_in(home) if path.is_file()]
    notation = home / "notation"  # its own configuration, of the test's making
    left = [
        path
        for path in files
        if not path.is_relative_to(notation) and LOGIN[1].encode() in _bytes_of(path)
    ]
    assert files
    assert left == []


def _bytes_of(path: Path) -> bytes:
    """What a file has; nothing where it is gone, as a daemon's own may be."""
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return b""


def _cri_pull(node: Node, name: str) -> str:
    """Pull as kubelet does with an imagePullSecret; return the image's id."""
    login = encode_fields(*enumerate(LOGIN, 1))
    asked = encode_fields((1, encode_fields((1, name))), (2, login))
    return text(decode_fields(node.proxied.call("ImageService/PullImage", asked)), 1)


# -- sync --------------------------------------------------------------------------


def sync(stage: Stage, *words: str) -> Done:
    """Run `cache sync` as its unit does: as enforcerd's user, without any network."""
    host = stage.host
    options = (f"--unit={UNITS / 'enforcer-sync.service'}", f"--user={USER}")
    writable = f"--writable={host.state}"
    launcher = (sys.executable, "-m", "tests.service", *options, writable, "--")
    program = (sys.executable, "-m", "enforcer", *host.folders, "cache", "sync")
    return subprocess.run(
        [*launcher, *program, "-o", "json", *words],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_is_on_the_host_is_synced_from_where_it_came(
    stage: Stage, registry: Registry
) -> None:
    """And what is local is asked about nowhere; then it starts without a network."""
    image, name = registry.push(stage, "here")
    stage.containerd.ctr(
        "images", "pull", "--local", "--plain-http", name
    )  # asks no verifier
    local = stage.image("homemade")
    before = start(stage, name)

    done = sync(stage)
    after = start(stage, name)

    assert before.returncode != 0
    assert "[ENF-1001]" in before.stderr
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (round_,) = (r for r in found["registries"] if r["registry"] == registry.address)
    assert round_["signatures"] >= 1
    assert found["local"] >= 1
    assert registry.asked_about(local) == 0
    assert [r["registry"] for r in found["registries"]] == [registry.address]
    assert (after.returncode, after.stdout) == (0, f"{image.text}\n")


def test_of_what_runs_alone_is_asked_where_that_is_wanted(
    stage: Stage, registry: Registry
) -> None:
    """A signature that was lost comes back before the container's next start."""
    running, name = registry.push(stage, "runs", cmd=("/bin/sleep", "600"))
    idle, other = registry.push(stage, "idle")
    ctr = stage.containerd.ctr
    for pulled in (name, other):
        ctr("images", "pull", "--local", "--plain-http", pulled)
    stage.host.enforcer("cache", "sync", name)
    container = stage.containerd.container_id(stage.name("run"))
    ctr("run", "--detach", name, container)
    try:
        stage.unsign(running)
        before = registry.asked_about(idle)
        done = sync(stage, "--running")
    finally:
        ctr("tasks", "rm", "--force", container, check=False)
    cached = stage.host.enforcer("cache", "list", "-o", "json").stdout

    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)["registries"]
    assert (found["images"], found["signatures"]) == (1, 1)
    assert running.digest in cached
    assert registry.asked_about(idle) == before


def test_the_timers_run_waits_until_it_is_due(stage: Stage, registry: Registry) -> None:
    """As the unit starts it, every few minutes."""
    image, _ = registry.push(stage, "listed")
    reference = f"{registry.address}/{image.name}"
    stage.host.configure(sync={"every": "6h", "list": [reference]})
    (stage.host.state / "sync.json").unlink(missing_ok=True)  # of the test before
    try:
        first = sync(stage, "--due")
        second = sync(stage, "--due")
    finally:
        stage.host.settings.pop("sync")
        stage.host.configure()
    verified = stage.host.enforcer("cache", "list", "-o", "json").stdout

    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["registries"]
    assert (second.returncode, second.stdout) == (0, "")
    assert image.digest in verified


# -- the sandbox -------------------------------------------------------------------

PROBES = {
    "the cache": "os.listdir(sys.argv[1])",
    "an engine": "socket.socket(socket.AF_UNIX).connect(sys.argv[2])",
    "the judge": "socket.socket(socket.AF_UNIX).connect(sys.argv[3] + '/ask.sock')",
    "its own": "socket.socket(socket.AF_UNIX).connect(sys.argv[3] + '/fetcher.sock')",
    "a packet socket": "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
    "become root": "os.setuid(0)",
    "write anywhere": "open('/tmp/enforcer-probe', 'w')",
    "the internet": "socket.socket(socket.AF_INET)",
}
_PROBE = """
import errno, json, os, socket, sys
said = {}
for name, code in json.loads(sys.argv[4]).items():
    try:
        exec(code)
        said[name] = "done"
    except OSError as error:
        said[name] = errno.errorcode[error.errno]
print(json.dumps(said))
"""


def test_whoever_takes_the_fetcher_over_has_a_network_and_nothing_else(
    stage: Stage,
) -> None:
    """The very calls, made as it runs."""
    host = stage.host
    options = (f"--unit={UNITS / 'enforcer-fetcher.service'}", f"--user={FETCH_USER}")
    launcher = (sys.executable, "-m", "tests.service", *options, "--")
    words = (host.state / "cache", stage.containerd.socket, host.run)
    probes = (*map(str, words), json.dumps(PROBES))
    done = subprocess.run(
        [*launcher, sys.executable, "-c", _PROBE, *probes],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert json.loads(done.stdout) == {
        "the cache": "EACCES",
        "an engine": "EACCES",
        "the judge": "EACCES",
        "its own": "EACCES",
        "a packet socket": "EPERM",
        "become root": "EPERM",
        "write anywhere": "EROFS",
        "the internet": "done",
    }


def test_the_fetcher_is_who_its_unit_says(stage: Stage) -> None:
    """No right of root's, a filter, and enforcerd's neither user nor network."""
    place = Path(f"/proc/{stage.host.fetcher.pid}")
    lines = (place / "status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)

    assert status["Uid"].split() == [str(FETCH_USER)] * 4
    assert int(status["CapBnd"], 16) == int(status["CapPrm"], 16) == 0
    assert (status["NoNewPrivs"].strip(), status["Seccomp"].strip()) == ("1", "2")
    ours = Path("/proc/self/ns/net").readlink()
    assert (place / "ns/net").readlink() == ours
    assert Path(f"/proc/{stage.host.pid}/ns/net").readlink() != ours

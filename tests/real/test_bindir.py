"""Pulls: containerd asks the verifier in its bin_dir before it fetches anything.

An early refusal and nothing more: where containerd does not ask, the image comes onto
the host, and the gate refuses to start it.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.process import wait_until
from tests.engines.registry import running_registry
from tests.real.cri import Cri, CriError
from tests.real.faults import DROPPED_SECONDS, FAULTS, Fault
from tests.real.stage import Done, Image, Stage, containerd_stage, said

PROMISED_SECONDS = 5.0
MAX_VERIFIERS = 10  # as containerd has it
BINDIR = """
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "{folder}"
"""


@dataclass(frozen=True, slots=True)
class Pulls:
    """A containerd with our verifier, its kubelet, and a registry to pull from."""

    stage: Stage
    cri: Cri
    registry: str
    bindir: Path

    def write_verifier(self) -> None:
        """Put it where containerd looks, and nothing else."""
        shutil.rmtree(self.bindir, ignore_errors=True)
        self.stage.host.enforcer("gate", "--bindir", self.bindir)

    def pushed(self, word: str, *, index: bool = False) -> tuple[Image, str]:
        """Make an image that is in the registry alone; return it with its name."""
        image = self.stage.image(word, index=index)
        name = f"{self.registry}/{image.name}"
        ctr = self.stage.containerd.ctr
        ctr("images", "tag", image.full, name)
        ctr("images", "push", "--plain-http", name)
        ctr("images", "remove", "--sync", name, image.full)
        return image, name

    def pull(self, name: str, *options: str) -> tuple[Done, float]:
        """Pull with ctr; return how that went, and how long it took."""
        began = time.monotonic()
        words = ("images", "pull", "--plain-http", *options, name)
        done = self.stage.containerd.ctr(*words, check=False)
        return done, time.monotonic() - began

    def run(self, name: str, *, namespace: str = "default") -> Done:
        """Start what was pulled."""
        containerd = self.stage.containerd
        container = containerd.container_id(self.stage.name("run"))
        return containerd.run(name, container, namespace=namespace, check=False)

    def allowed(self, name: str) -> bool:
        """Whether an allowed pull of that name is on record."""
        return any(
            r["allowed"] and (r["asked_by"], r["reference"]) == ("bindir", name)
            for r in self.stage.host.decisions()
        )

    def has(self, name: str) -> bool:
        """Whether containerd has an image of that name."""
        listed = self.stage.containerd.ctr("images", "list", "--quiet").stdout
        return name in listed.split()


def _short(image: Image) -> str:
    """A digest as a refusal shows it."""
    return image.digest[: len("sha256:") + 12]


@pytest.fixture(scope="module")
def stage(
    engines: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, Path]]:
    """containerd 2.1, told to ask verifiers."""
    folder = tmp_path_factory.mktemp("verifiers") / "bin"
    config = BINDIR.format(folder=folder)
    with containerd_stage(cri=True, extra_config=config) as stage:
        yield stage, folder


@pytest.fixture(scope="module")
def asked(
    stage: tuple[Stage, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pulls]:
    """The same with a registry and a kubelet."""
    host, folder = stage
    cri = Cri(host.containerd.socket, tmp_path_factory.mktemp("pods"))
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield Pulls(host, cri, address, folder)
    cri.close()


@pytest.fixture
def pulls(asked: Pulls) -> Pulls:
    """The verifier is in place, whatever the test before did to it."""
    asked.write_verifier()
    return asked


@pytest.mark.parametrize("top", ["manifest", "index"])
def test_an_image_is_pulled_once_it_is_signed(top: str, pulls: Pulls) -> None:
    """Judged by the digest its tag names, from the cache, before any blob comes."""
    image, name = pulls.pushed("pulled", index=top == "index")

    refused, _ = pulls.pull(name)
    was_there = pulls.has(name)
    pulls.stage.sign(image)
    allowed, _ = pulls.pull(name)
    started = pulls.run(name)

    why = f"enforcer: {name} is not signed: no signature about {_short(image)} is known"
    assert refused.returncode != 0
    assert f"image verifier bindir blocked pull of {name}" in refused.stderr
    assert "verifier 00-enforcer rejected image (exit code 10): " in refused.stderr
    assert why in refused.stderr
    assert "[ENF-1001]; next: enforcer explain 0" in refused.stderr
    assert not was_there
    assert allowed.returncode == 0, said(allowed)
    assert (started.returncode, started.stdout) == (0, f"{image.text}\n")
    doors = [
        (r["asked_by"], r["allowed"], r["code"])
        for r in pulls.stage.host.decisions()
        if r["reference"] == name
    ]
    assert doors == [
        ("bindir", False, "ENF-1001"),
        ("bindir", True, "ENF-1000"),
        ("gate", True, "ENF-1000"),
    ]


def test_kubelet_pulls_an_image_once_it_is_signed(pulls: Pulls) -> None:
    """CRI asks under repository@digest, after it looked up what the tag names."""
    image, name = pulls.pushed("pod")

    with pytest.raises(CriError) as caught:
        pulls.cri.pull(name)
    was_there = pulls.cri.has_image(name)
    pulls.stage.sign(image)
    pulls.cri.pull(name)

    assert "verifier 00-enforcer rejected image (exit code 10): " in str(caught.value)
    assert f"no signature about {_short(image)} is known" in str(caught.value)
    assert "[ENF-1001]" in str(caught.value)
    assert not was_there
    assert pulls.cri.has_image(name)


def test_a_moved_tag_is_judged_by_what_it_names_now(pulls: Pulls) -> None:
    """The registry decides what a tag names; the signature belongs to content."""
    good, name = pulls.pushed("good")
    pulls.stage.sign(good)
    before, _ = pulls.pull(name)
    pulls.stage.containerd.ctr("images", "remove", "--sync", name)
    evil = pulls.stage.image("evil", name=good.name)
    ctr = pulls.stage.containerd.ctr
    ctr("images", "tag", evil.full, name)
    ctr("images", "push", "--plain-http", name)
    ctr("images", "remove", "--sync", name, evil.full)

    after, _ = pulls.pull(name)

    assert before.returncode == 0, said(before)
    assert after.returncode != 0
    assert f"no signature about {_short(evil)} is known" in after.stderr


@pytest.mark.parametrize("fault", FAULTS, ids=str)
@pytest.mark.alone
def test_nothing_unsigned_is_pulled_and_the_signed_once_the_fault_is_gone(
    fault: Fault, pulls: Pulls
) -> None:
    """The gate's fault table at this door: in the time we promise, not containerd's."""
    (good, signed), (_, unsigned) = pulls.pushed("good"), pulls.pushed("bad")
    pulls.stage.sign(good)

    with fault.happens(pulls.stage):
        refused, seconds = pulls.pull(unsigned)
        meanwhile, _ = pulls.pull(signed)
        recorded = pulls.allowed(signed)
        if fault.ends_by_itself:  # it has to end by itself
            back = lambda: pulls.pull(signed)[0].returncode == 0  # noqa: E731
            wait_until(back, "the fault is over", DROPPED_SECONDS)
    back_again, _ = pulls.pull(signed)
    still, _ = pulls.pull(unsigned)

    assert refused.returncode != 0
    assert "verifier 00-enforcer rejected image (exit code 10): " in refused.stderr
    assert "[ENF-" in refused.stderr
    assert seconds < PROMISED_SECONDS
    if meanwhile.returncode == 0:
        assert recorded  # as in a last block of the log that had room
    else:
        assert any(f"[{code}]" in meanwhile.stderr for code in fault.codes)
        advice = fault.advice.replace("nothing starts", "nothing is pulled")
        assert advice in meanwhile.stderr
    assert back_again.returncode == 0, said(back_again)
    assert "[ENF-1001]" in still.stderr
    assert not pulls.has(unsigned)


def _not_executable(verifier: Path) -> None:
    verifier.chmod(0o644)


def _dangling(verifier: Path) -> None:
    verifier.unlink()
    verifier.symlink_to(verifier.parent / "nowhere")


def _folder(verifier: Path) -> None:
    verifier.unlink()
    verifier.mkdir()


def _cut(verifier: Path) -> None:
    verifier.write_bytes(b"")


@pytest.mark.parametrize("damage", [_not_executable, _dangling, _folder, _cut])
def test_a_damaged_verifier_refuses_every_pull(
    damage: Callable[[Path], None], pulls: Pulls
) -> None:
    """containerd starts whatever is in the folder, and what cannot be is a no."""
    image, name = pulls.pushed("hello")
    pulls.stage.sign(image)
    damage(pulls.bindir / "00-enforcer")

    refused, _ = pulls.pull(name)

    assert refused.returncode != 0
    assert not pulls.has(name)


def _missing(bindir: Path) -> None:
    (bindir / "00-enforcer").unlink()
    bindir.rmdir()


def _empty(bindir: Path) -> None:
    (bindir / "00-enforcer").unlink()


def _outnumbered(bindir: Path) -> None:
    for number in range(MAX_VERIFIERS):
        other = bindir / f"00-0-{number}"
        other.write_text("#!/bin/sh\nexit 0\n")
        other.chmod(0o755)


@pytest.mark.parametrize(
    ("change", "options"),
    [(_missing, ()), (_empty, ()), (_outnumbered, ()), (None, ("--local",))],
    ids=["no folder", "empty folder", "ten before it", "local pull"],
)
def test_what_containerd_does_not_ask_about_is_pulled_but_does_not_start(
    change: Callable[[Path], None] | None, options: tuple[str, ...], pulls: Pulls
) -> None:
    """The README's limits of this door, and why it guarantees nothing alone."""
    _, name = pulls.pushed("evil")
    if change:
        change(pulls.bindir)

    pulled, _ = pulls.pull(name, *options)
    started = pulls.run(name)

    assert pulled.returncode == 0, said(pulled)
    assert started.returncode != 0
    assert "is not signed" in started.stderr
    assert "[ENF-1001]" in started.stderr


@pytest.mark.parametrize(
    "setting",
    [
        "use_local_image_pull = true",
        "max_concurrent_downloads = 5",
        "disable_snapshot_annotations = false",
        "discard_unpacked_layers = true",
        "image_pull_with_sync_fs = true",
        'registry.mirrors."example.org".endpoint = ["http://127.0.0.1:1"]',
        'registry.configs."example.org".tls.insecure_skip_verify = true',
        'registry.configs."example.org".auth.username = "somebody"',
    ],
)
def test_where_kubelets_pulls_ask_nobody_the_gate_still_refuses(
    setting: str, engines: Path, tmp_path: Path
) -> None:
    """One line in containerd's configuration, and this door is open without a word."""
    config = BINDIR.format(folder=tmp_path / "bin")
    config += f'[plugins."io.containerd.cri.v1.images"]\n  {setting}\n'
    (tmp_path / "registry").mkdir()
    with (
        running_registry(tmp_path / "registry") as address,
        containerd_stage(cri=True, extra_config=config) as stage,
    ):
        cri = Cri(stage.containerd.socket, tmp_path)
        pulls = Pulls(stage, cri, address, tmp_path / "bin")
        pulls.write_verifier()
        _, name = pulls.pushed("evil")
        cri.pull(name)
        cri.close()
        started = pulls.run(name, namespace="k8s.io")

    assert started.returncode != 0
    assert f"{name} is not signed" in started.stderr


def test_in_monitor_mode_a_pull_is_allowed_and_the_denial_recorded(
    pulls: Pulls,
) -> None:
    """As at the gate, both root's gate.conf and enforcer.yaml have to say so."""
    _, name = pulls.pushed("watched")
    host = pulls.stage.host
    conf = host.config / "gate.conf"
    conf.write_text("mode=monitor\n")
    conf.chmod(0o644)
    try:
        enforced, _ = pulls.pull(name)
        host.stop()
        host.configure(mode="monitor")
        host.start()
        watched, _ = pulls.pull(name)
    finally:
        conf.unlink()
        host.stop()
        host.configure(mode="enforce")
        host.start()

    assert enforced.returncode != 0
    assert watched.returncode == 0, said(watched)
    (_, last) = [r for r in host.decisions() if r["reference"] == name]
    assert (last["asked_by"], last["allowed"], last["mode"]) == (
        "bindir",
        False,
        "monitor",
    )

"""A reader who has nothing but the refusal: is told the cause, and what to do next.

Ten refusals on real engines. The command that a text names is taken out of the text and
run, and what it says is looked at; then what it says is done, and the image starts.
Everything that was shown stands in `golden/`, for people to read; to write it anew,
ENFORCER_GOLDEN=write.
"""

import os
import re
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.sources.cache import DiskCache
from tests.engines.enforced import POLICY_SECONDS
from tests.engines.notation import Signer
from tests.engines.process import wait_until
from tests.pki import Party, Template, issue, leaf_template, pems
from tests.real.acme import (
    PRODUCTION,
    REGISTRY,
    People,
    Policy,
    acme_stage,
    assert_runs,
    bring_signatures,
    sign,
)
from tests.real.stage import Image, Stage, said
from tests.revoker import Listed, Revoker, make_crl, points, revoking_ca

GOLDEN = Path(__file__).parent / "golden"
STALE_SECONDS = 15  # to fetch a list while it counts; the machine is busy
DAY = timedelta(days=1)

# Statement production wants two signatures; here one is enough.
POLICY: Policy = {
    "apiVersion": "enforcer/v1",
    "signers": PRODUCTION["signers"],
    "always": PRODUCTION["always"],
    "statements": [
        {
            "name": "production",
            "scopes": [f"{REGISTRY}/prod/*"],
            "require": {"allOf": ["acme-release", "acme-qa"]},
        },
        {
            "name": "delivery",
            "scopes": [f"{REGISTRY}/delivery/*"],
            "require": "acme-release",
        },
    ],
}


@dataclass(frozen=True)
class Scene:
    """A host with an engine, those who sign, and who tells of revocations."""

    engine: str
    stage: Stage
    people: People
    revoker: Revoker

    def image(self, where: str, name: str) -> Image:
        return self.stage.image(name, name=f"{REGISTRY}/{where}/{name}:1")

    def run(self, command: str) -> str:
        """Run a command of ours as a person would type it; return what it printed."""
        program, *words = shlex.split(command)
        assert program == "enforcer"
        return said(self.stage.host.enforcer(*words, check=False))


@pytest.fixture(scope="module", params=["docker", "containerd"])
def scene(people: People, request: pytest.FixtureRequest) -> Iterator[Scene]:
    engine = str(request.param)
    with acme_stage(engine, people, POLICY) as stage, Revoker() as revoker:
        yield Scene(engine, stage, people, revoker)


# -- what is wrong, and what mends it --------------------------------------------------

Spoil = Callable[[Scene, str], Image]
Mend = Callable[[Scene, Image, str], None]  # told what the named command showed


def _unsigned(scene: Scene, name: str) -> Image:
    return scene.image("delivery", name)


def _wrong_signer(scene: Scene, name: str) -> Image:
    image = scene.image("delivery", name)
    sign(scene.stage, image, scene.people.stranger)
    return image


def _expired(scene: Scene, name: str) -> Image:
    image = scene.image("delivery", name)
    release = scene.people.release
    words = ("--key", release.key, "--cert", release.chain, "--expiry", "1s")
    target = f"oci-layout:{image.layout}@{image.digest}"
    scene.stage.host.enforcer("sign", target, *words)
    time.sleep(2)
    return image


def _revoked(scene: Scene, name: str) -> Image:
    leaf, ca = _revocable(scene, name)
    listed = Listed(leaf.certificate.serial_number, at=datetime.now(UTC) - DAY)
    return _delivered(scene, name, leaf, ca, listed)


def _stale(scene: Scene, name: str) -> Image:
    leaf, ca = _revocable(scene, name)
    image = _delivered(scene, name, leaf, ca, seconds=STALE_SECONDS)
    time.sleep(STALE_SECONDS)
    scene.revoker.serve(f"/{name}", _list(ca, number=2))
    return image


def _wrong_environment(scene: Scene, name: str) -> Image:
    image = scene.image("prod", name)
    sign(scene.stage, image, scene.people.dev)
    return image


def _too_few(scene: Scene, name: str) -> Image:
    image = scene.image("prod", name)
    sign(scene.stage, image, scene.people.release)
    return image


def _tampered(scene: Scene, name: str) -> Image:
    """Somebody, or the disk, changed one byte of a cached signature."""
    image = scene.image("delivery", name)
    sign(scene.stage, image, scene.people.release)
    cache = scene.stage.host.state / "cache"
    (entry,) = (e for e in DiskCache(cache).entries() if e.subject == image.digest)
    blob = cache / "blobs" / "sha256" / Digest.parse(entry.envelope).hex
    raw = bytearray(blob.read_bytes())
    raw[len(raw) // 2] ^= 1
    blob.write_bytes(raw)
    return image


def _daemon_down(scene: Scene, name: str) -> Image:
    image = scene.image("delivery", name)
    sign(scene.stage, image, scene.people.release)
    scene.stage.host.stop()
    return image


def _bad_policy(scene: Scene, name: str) -> Image:
    """With the last good one forgotten: the daemon was started anew."""
    image = scene.image("delivery", name)
    sign(scene.stage, image, scene.people.release)
    scene.stage.host.stop()
    scene.stage.host.write_policy("apiVersion: enforcer/v1\nalwyas: acme-release\n")
    scene.stage.host.start()
    return image


def _sign_as_told(scene: Scene, image: Image, shown: str) -> None:
    """Have exactly those sign whom the text names."""
    (told,) = re.findall(r"would pass if .*", shown)
    named = re.findall(r"([\w-]+) \(x509 ", told)
    assert named
    who = {one.name: one for one in (scene.people.release, scene.people.qa)}
    sign(scene.stage, image, *(who[name] for name in named))


def _run_as_told(scene: Scene, image: Image, shown: str) -> None:
    """Run the command that the text goes on to name."""
    (command,) = re.findall(r"(?<=: )enforcer cache sync|`(enforcer [^`]*)`", shown)
    scene.run(command or "enforcer cache sync")


def _repair_and_import(scene: Scene, image: Image, shown: str) -> None:
    assert "then import what was lost" in shown
    command = re.findall(r"`(enforcer cache fsck --repair)`", shown)[-1]
    assert "1 damaged" in scene.run("enforcer cache fsck")
    scene.run(command)
    bring_signatures(image, scene.stage)


def _start_daemon(scene: Scene, image: Image, shown: str) -> None:
    scene.stage.host.start()


def _check_policy(scene: Scene, image: Image, shown: str) -> None:
    """Run what names every problem, mend that, and see it in force."""
    (command,) = set(re.findall(r"`(enforcer policy check)`", shown))
    told = scene.run(command)
    assert "10-policy.yaml:2: " in told
    assert "alwyas" in told
    scene.stage.host.write_policy(POLICY)
    wait_until(
        lambda: scene.stage.host.policy()["problem"] == "", "mended", POLICY_SECONDS
    )


# -- a release signer whose certificate can be revoked ------------------------------


def _now(template: Template) -> Template:
    now = datetime.now(UTC).replace(microsecond=0)
    return replace(template, starts=now - 30 * DAY, ends=now + 300 * DAY)


def _revocable(scene: Scene, name: str) -> tuple[Party, Party]:
    ca = issue(_now(revoking_ca(f"C=US,ST=WA,O=acme,CN={name} root")))
    pointer = points([scene.revoker.url(f"/{name}")])
    template = leaf_template("C=US,ST=WA,O=acme-release,CN=release")
    leaf = issue(_now(replace(template, extra=((pointer, False),))), ca)
    return leaf, ca


def _list(ca: Party, *listed: Listed, number: int = 1, seconds: float = 86400) -> bytes:
    now = datetime.now(UTC).replace(microsecond=0)
    until = now + timedelta(seconds=seconds)
    return make_crl(
        ca, *listed, number=number, this_update=now - DAY, next_update=until
    )


def _delivered(
    scene: Scene,
    name: str,
    leaf: Party,
    ca: Party,
    *listed: Listed,
    seconds: float = 86400,
) -> Image:
    """Have an image signed by such a signer, and the list about it fetched."""
    home = scene.stage.host.home / f"keys-{name}"
    home.mkdir()
    files = {"key": leaf.key_pem, "chain": pems((leaf, ca)), f"{name}.crt": ca.pem}
    for file, raw in files.items():
        (home / file).write_bytes(raw)
    by = Signer(name, home / "key", home / "chain", home / f"{name}.crt", "")
    before = scene.stage.host.log.count("policy in force")
    scene.stage.host.trust("acme", by)
    wait_until(
        lambda: scene.stage.host.log.count("policy in force") > before,
        "the new CA counts",
        POLICY_SECONDS,
    )
    image = scene.image("delivery", name)
    sign(scene.stage, image, by)
    scene.revoker.serve(f"/{name}", _list(ca, *listed, seconds=seconds))
    scene.stage.host.enforcer("cache", "sync", check=False)
    return image


# -- the ten ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """What is wrong, its code, what the refusal and the named command say of it."""

    name: str
    code: str
    cause: str
    spoil: Spoil
    shows: str
    mend: Mend


CASES = (
    Case(
        "unsigned", "ENF-1001", "is not signed: no signature about", _unsigned,
        "would pass if signed by: acme-release (x509 ca:acme, ", _sign_as_told,
    ),
    Case(
        "wrong-signer", "ENF-1004", "signed by", _wrong_signer,
        "would pass if signed by: acme-release (x509 ca:acme, ", _sign_as_told,
    ),
    Case(
        "expired", "ENF-1005", "expired", _expired,
        "would pass if signed again, to last longer, by: acme-release", _sign_as_told,
    ),
    Case(
        "revoked", "ENF-1014", "revoked", _revoked,
        "would pass if signed with another certificate, not revoked, by: acme-release",
        _sign_as_told,
    ),
    Case(
        "stale", "ENF-1015", "revocation check: ", _stale,
        "fresh evidence that the signer's certificate is not revoked: enforcer cache "
        "sync", _run_as_told,
    ),
    Case(
        "wrong-environment", "ENF-1017", "missing: acme-qa, acme-release",
        _wrong_environment, "would pass if also signed by: acme-qa (x509 ca:acme, ",
        _sign_as_told,
    ),
    Case(
        "too-few", "ENF-1017", "missing: acme-qa", _too_few,
        "would pass if also signed by: acme-qa (x509 ca:acme, ", _sign_as_told,
    ),
    Case(
        "tampered", "ENF-1401", "holds other content under sha256:", _tampered,
        "enforcer cache fsck --repair", _repair_and_import,
    ),
    Case(
        "daemon-down", "ENF-1601", "enforcerd cannot be reached on", _daemon_down,
        "enforcerd cannot be asked on", _start_daemon,
    ),
    Case(
        "bad-policy", "ENF-1202", "10-policy.yaml:2: ", _bad_policy,
        "10-policy.yaml:2: ", _check_policy,
    ),
)  # fmt: skip

BYPASS = re.compile(r"monitor|break.?glass|gate\.conf|uninstall|allow:", re.IGNORECASE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_refusal_alone_leads_to_cause_and_remedy(scene: Scene, case: Case) -> None:
    image = case.spoil(scene, case.name)

    refused = scene.stage.run(image)
    told = said(refused)
    command = _next(told)
    shown = _run_named(scene, command)

    assert refused.returncode != 0
    assert image.text not in told
    assert case.cause in told
    assert f"[{case.code}]; next: " in told
    assert case.shows in shown
    assert not BYPASS.search(told + shown.replace("mode enforce", ""))
    _compare(scene, case, f"{told.strip()}\n\n$ {command}\n{shown}")
    case.mend(scene, image, shown)
    assert_runs(scene.stage, image)


def _next(told: str) -> str:
    """Take the one command out of a text; Docker goes on behind it."""
    (command,) = set(re.findall(r"; next: ((?:enforcer|systemctl)(?: [\w-]+)+)", told))
    return str(command)


def _run_named(scene: Scene, command: str) -> str:
    """Run what was named.

    No init system owns the private daemon of a test, so `enforcer status` stands in for
    `systemctl status enforcer`: both say that it does not run, and where it should be.
    """
    if command == "systemctl status enforcer":
        return scene.run("enforcer status")
    return scene.run(command)


# -- golden ----------------------------------------------------------------------------

_NORMAL = (
    (re.compile(r"^WARNING: .*\n", re.MULTILINE), ""),  # Docker's, about this machine
    (re.compile(r"/tmp/enf-\w+"), "HOST"),
    (re.compile(r"/tmp/[\w-]+"), "TMP"),
    (re.compile(r"\b0[0-9A-HJKMNP-TV-Z]{15}\b"), "DECISION"),
    (re.compile(r"sha256:[0-9a-f]{12,64}"), "sha256:DIGEST"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "CONTAINER"),
    (re.compile(r"\b[\w-]+-run-\d+\b"), "CONTAINER"),
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "TIME"),
    (re.compile(r"\b\d+\.\d ms"), "N ms"),
    (re.compile(r"127\.0\.0\.1:\d+"), "127.0.0.1:PORT"),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)


def _compare(scene: Scene, case: Case, text: str) -> None:
    """Compare with what people have read and found good."""
    for pattern, word in _NORMAL:
        text = pattern.sub(word, text)
    text = text.rstrip() + "\n"
    path = GOLDEN / f"{scene.engine}-{case.name}.txt"
    if os.environ.get("ENFORCER_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()

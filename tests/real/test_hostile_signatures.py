"""Too many signatures, too large ones, broken ones: refused with a code, in time."""

import datetime
import json
import os
import time
from pathlib import Path

import pytest

from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.weigher import MAX_SIGNATURES
from tests.engines.images import blob_path
from tests.real.stage import Done, Image, Stage, said

MANY = 9_999
HUGE_BYTES = 100 * 1024 * 1024
IN_TIME_SECONDS = 4.0  # the daemon's deadline is three, and a start takes a while
AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def stage(gated_containerd: Stage) -> Stage:
    """The cache is the same for every engine."""
    return gated_containerd


def _store(layout: Path, raw: bytes) -> str:
    digest = str(Digest.of(raw))
    (layout / blob_path(digest)).write_bytes(raw)
    return digest


def _add_signatures(image: Image, envelopes: list[bytes]) -> None:
    """Write signatures about an image into its layout, good or not."""
    subject = (image.layout / blob_path(image.digest)).read_bytes()
    about = Descriptor.of(MANIFEST, subject)
    index = image.layout / "index.json"
    listing = json.loads(index.read_text())
    for envelope in envelopes:
        _store(image.layout, envelope)
        named = Descriptor.of(JWS_MEDIA_TYPE, envelope)
        raw = build_signature_manifest(named, about, ("00" * 32,), AT)
        entry = {"mediaType": MANIFEST, "digest": _store(image.layout, raw)}
        listing["manifests"].append(entry | {"size": len(raw)})
    index.write_text(json.dumps(listing))


def _envelope(stage: Stage, image: Image, signer: str) -> dict[str, str]:
    """Let notation sign, and return the envelope it made."""
    before = set((image.layout / "blobs/sha256").iterdir())
    stage.host.notation.sign_layout(image.layout, image.digest, key=signer)
    new = set((image.layout / "blobs/sha256").iterdir()) - before
    (made,) = [path for path in new if b'"signature"' in path.read_bytes()]
    envelope: dict[str, str] = json.loads(made.read_bytes())
    return envelope


def _spoilt(envelope: dict[str, str], count: int) -> list[bytes]:
    """Copies that differ in their signature value, which none of them matches."""
    value = envelope["signature"]
    return [
        json.dumps(envelope | {"signature": f"{number:06d}{value[6:]}"}).encode()
        for number in range(count)
    ]


def _judged(stage: Stage, image: Image) -> tuple[Done, float]:
    began = time.monotonic()
    done = stage.run(image)
    return done, time.monotonic() - began


@pytest.mark.alone
def test_ten_thousand_signatures_are_judged_in_time(stage: Stage) -> None:
    """Whoever can add signatures to an image must not be able to stall its starts."""
    image = stage.image("popular")
    _add_signatures(image, _spoilt(_envelope(stage, image, "stranger"), MANY))
    stage.host.enforcer("cache", "import", f"oci-layout:{image.layout}")

    refused, refused_after = _judged(stage, image)
    stage.sign(image, by="enforcer")
    allowed, allowed_after = _judged(stage, image)

    assert refused.returncode == 1
    assert image.text not in said(refused)
    assert "more signatures than one decision looks at" in refused.stderr
    assert "[ENF-1302]" in refused.stderr
    assert refused_after < IN_TIME_SECONDS
    assert (allowed.returncode, allowed.stdout) == (0, f"{image.text}\n")
    assert allowed_after < IN_TIME_SECONDS
    assert stage.verdicts(image) == [(False, "ENF-1302"), (True, "ENF-1000")]


@pytest.mark.alone
def test_forgeries_that_name_the_right_signer_do_not_hide_the_good_one(
    stage: Stage,
) -> None:
    """Certificates are public: anybody can attach acme's to a signature of nobody's."""
    image = stage.image("envied")
    forgeries = _spoilt(_envelope(stage, image, "acme"), 3 * MAX_SIGNATURES)
    _add_signatures(image, forgeries)

    stage.host.enforcer("cache", "import", f"oci-layout:{image.layout}")
    done, seconds = _judged(stage, image)

    assert seconds < IN_TIME_SECONDS
    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("too large", "ENF-1303"),
        ("larger than it says", "ENF-1303"),
        ("truncated", "ENF-1104"),
        ("missing", "ENF-1105"),
    ],
)
def test_an_unusable_envelope_is_refused_at_import_and_the_others_are_not(
    fault: str, code: str, stage: Stage
) -> None:
    """One bad file in what somebody sends must not lose the good one beside it."""
    image = stage.image("hello")
    _envelope(stage, image, "acme")
    size = HUGE_BYTES if fault == "too large" else 1000
    envelope = b"{" + b" " * (size - 2) + b"}"
    _add_signatures(image, [envelope])
    stored = image.layout / blob_path(str(Digest.of(envelope)))
    if fault == "larger than it says":
        os.truncate(stored, HUGE_BYTES)
    elif fault == "truncated":
        os.truncate(stored, 500)
    elif fault == "missing":
        stored.unlink()

    source = f"oci-layout:{image.layout}"
    imported = stage.host.enforcer("cache", "import", source, check=False)
    done = stage.run(image)

    assert imported.returncode == 1
    assert "imported 1 signature(s)" in imported.stdout
    assert "enforcer: refused sha256:" in imported.stderr
    assert f"[{code}]" in imported.stderr
    assert (done.returncode, done.stdout) == (0, f"{image.text}\n")


def _damage(path: Path, fault: str) -> None:
    if fault == "grown to 100 MiB":
        os.truncate(path, HUGE_BYTES)
    elif fault == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.unlink()
        if fault == "a link":
            path.symlink_to("/dev/zero")
        elif fault == "a folder":
            path.mkdir()


@pytest.mark.parametrize(
    "fault", ["grown to 100 MiB", "truncated", "gone", "a link", "a folder"]
)
def test_a_damaged_cached_signature_is_a_denial_but_no_veto(
    fault: str, stage: Stage
) -> None:
    """Disks fail one file at a time; another good signature still counts."""
    image = stage.image("hello")
    stage.sign(image)
    listed = stage.host.enforcer("cache", "list", "--output=json").stdout
    (digest,) = [
        entry["signature"]
        for entry in json.loads(listed)
        if entry["subject"] == image.digest
    ]
    blobs = stage.host.state / "cache/blobs/sha256"

    try:
        _damage(blobs / digest.removeprefix("sha256:"), fault)
        refused = stage.run(image)
        stage.sign(image, by="enforcer")
        allowed = stage.run(image)
    finally:
        if (blobs / digest.removeprefix("sha256:")).is_dir():
            (blobs / digest.removeprefix("sha256:")).rmdir()
        stage.unsign(image)

    assert refused.returncode == 1
    assert image.text not in said(refused)
    assert "[ENF-1401]" in refused.stderr
    assert (allowed.returncode, allowed.stdout) == (0, f"{image.text}\n")

"""`cache export`: what goes onto a stick, and what another host makes of it."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from enforcer.cli import cache
from enforcer.core.collected import EvidenceFile, SignatureFile
from enforcer.core.digest import Digest
from enforcer.core.revocation_artifact import parse_evidence_manifest, untrusted_items
from enforcer.sources.cache import DiskCache
from enforcer.sources.layout import open_layout
from tests.engines.images import blob_path, describe, read_blob, write_layout
from tests.revoker import Revoker, points, responders
from tests.unit.cli.host import SCOPE, Done, Host
from tests.unit.cli.test_cli_evidence import CRL, OCSP, Signer, signer, signs
from tests.unit.sources.signed import AT

ALLOWED, UNSIGNED, UNKNOWN, REVOKED = "ENF-1000", "ENF-1001", "ENF-1007", "ENF-1014"


@pytest.fixture
def other(tmp_path: Path, image: Path, capsys: pytest.CaptureFixture[str]) -> Host:
    """A second host, which trusts the same and knows of no signature."""
    (tmp_path / "other").mkdir()
    return Host(tmp_path / "other", image, capsys)


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    (tmp_path / "stick").mkdir()
    return tmp_path / "stick"


def export(host: Host, *words: str | Path, status: int = 0) -> Done:
    done = host.run("cache", "export", *words)
    assert done.status == status, (done.out, done.err)
    return done


def judged(host: Host) -> str:
    """What a host's cache makes of its image."""
    words = ("--scope", SCOPE, "--with-cache", "-o", "json")
    code: str = host.verify(*words).json["code"]
    return code


def items(archive: Path) -> list[object]:
    with open_layout(archive, archive=archive.is_file(), whole=archive.is_file()) as it:
        return list(it.collect())


# -- signatures ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["oci-layout", "oci-archive"])
def test_signatures_go_from_host_to_host(
    host: Host, other: Host, stick: Path, kind: str
) -> None:
    """By the image's digest, which is all that a cache goes by."""
    host.sign()
    place = f"{kind}:{stick}/out"

    done = export(host, str(host.digest), place)
    before = judged(other)
    taken = other.run("cache", "import", place)

    assert done.out.startswith("exported 1 name(s), no image, 1 signature(s), 0 piece")
    assert (before, taken.status, judged(other)) == (UNSIGNED, 0, ALLOWED)


def test_a_configuration_names_its_image(host: Host, other: Host, stick: Path) -> None:
    """Docker's own store calls an image by that."""
    host.sign()
    config = describe(host.layout).config

    export(host, config, f"oci-archive:{stick}/out")
    other.run("cache", "import", f"oci-archive:{stick}/out")

    assert judged(other) == ALLOWED


def test_all_signatures_go_along_and_none_about_others(
    host: Host, stick: Path, image: Path
) -> None:
    host.sign()
    host.sign(by="wabbit")
    write_layout(host.root / "more", text="other", tag="more:1")
    host.run("sign", f"oci-layout:{host.root}/more", *host.keys())

    done = export(host, str(host.digest), f"oci-layout:{stick}/out", "-o", "json")

    assert done.json == {
        "exported": [str(host.digest)],
        "signatures": 2,
        "evidence": 0,
        "bytes": done.json["bytes"],
        "destination": f"oci-layout:{stick}/out",
        "noEvidence": "",
    }
    found = [item for item in items(stick / "out") if isinstance(item, SignatureFile)]
    assert len(found) == 2


def test_a_layout_with_its_image_is_whole_again(
    host: Host, other: Host, stick: Path
) -> None:
    """Out of a folder into an archive, with what the cache knows and it did not."""
    host.sign("--write-layout")
    host.sign(by="wabbit")
    out = stick / "out"

    done = export(host, "--with-image", host.target, f"oci-archive:{out}")
    again = export(host, "--with-image", f"oci-archive:{out}", f"oci-layout:{out}.d")

    assert done.out.startswith("exported 1 image(s), 2 signature(s), 0 piece(s)")
    assert again.out == done.out
    facts = describe(host.layout)
    (stick / "unpacked").mkdir()
    subprocess.run(["tar", "-x", "-f", out, "-C", stick / "unpacked"], check=True)
    for folder in (stick / "unpacked", Path(f"{out}.d")):
        for layer in read_blob(host.layout, facts.manifest)["layers"]:
            name = blob_path(layer["digest"])
            assert (folder / name).read_bytes() == (host.layout / name).read_bytes()
        (loadable,) = json.loads((folder / "manifest.json").read_bytes())
        assert loadable["Config"] == blob_path(facts.config)
        assert loadable["RepoTags"] == ["app:1"]
    other.run("cache", "import", f"oci-archive:{out}")
    assert judged(other) == ALLOWED


def test_the_same_export_is_the_same_bytes(host: Host, stick: Path) -> None:
    host.sign()
    for name in ("a", "b"):
        export(host, "--with-image", host.target, f"oci-archive:{stick}/{name}")

    assert (stick / "a").read_bytes() == (stick / "b").read_bytes()


def test_an_export_goes_through_a_pipe(host: Host, other: Host) -> None:
    """`enforcer cache export … oci-archive:- | ssh host enforcer cache import …:-`."""
    host.sign()
    python = [sys.executable, "-m", "enforcer"]
    export_ = ["cache", "export", str(host.digest), "oci-archive:-"]
    import_ = ["cache", "import", "oci-archive:-"]

    with subprocess.Popen(
        [*python, *host.folders(), *export_],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as writing:
        done = subprocess.run(
            [*python, *other.folders(), *import_],
            stdin=writing.stdout,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        _, said = writing.communicate(timeout=60)

    assert (writing.returncode, done.returncode) == (0, 0), (said, done.stderr)
    assert said.startswith(b"exported 1 name(s)")
    assert done.stdout == "imported 1 signature(s) from standard input\n"
    assert judged(other) == ALLOWED


# -- refusals --------------------------------------------------------------------------


def test_what_is_not_signed_is_not_exported(host: Host, stick: Path) -> None:
    place = f"oci-archive:{stick}/out"

    for words in ((str(host.digest),), ("--with-image", host.target), (host.target,)):
        done = export(host, *words, place, status=3)

        assert "[ENF-2814]" in done.err
    assert list(stick.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--with-image", "sha256:" + "0" * 64, "oci-archive:out"),
        ("sha256:" + "0" * 64, "oci-archive:"),
        ("sha256:" + "0" * 64, "docker:out"),
        ("sha256:" + "0" * 64, "out"),
        ("sha256:" + "0" * 64, "oci-archive:-", "-o", "json"),
        ("oci-archive:out",),
    ],
)
def test_words_that_do_not_go_together_are_a_mistake_of_usage(
    host: Host, words: tuple[str, ...]
) -> None:
    assert export(host, *words, status=2).out == ""


def damage_layer(host: Host) -> None:
    layer = read_blob(host.layout, describe(host.layout).manifest)["layers"][0]
    path = host.layout / blob_path(layer["digest"])
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def lose_layer(host: Host) -> None:
    layer = read_blob(host.layout, describe(host.layout).manifest)["layers"][0]
    (host.layout / blob_path(layer["digest"])).unlink()


def lose_config(host: Host) -> None:
    (host.layout / blob_path(describe(host.layout).config)).unlink()


@pytest.mark.parametrize("change", [damage_layer, lose_layer, lose_config])
def test_an_image_that_is_not_whole_is_not_exported(
    host: Host, stick: Path, change: Callable[[Host], None]
) -> None:
    host.sign()
    change(host)

    done = export(host, "--with-image", host.target, f"oci-layout:{stick}/x", status=3)

    assert "[ENF-2811]" in done.err
    assert list(stick.iterdir()) == []


def test_a_damaged_signature_is_not_left_out_in_silence(
    host: Host, stick: Path
) -> None:
    """Who exports believes to have all of them."""
    host.sign()
    host.sign(by="wabbit")
    root = host.root / "state" / "cache"
    entry = next(iter(DiskCache(root).entries()))
    path = root / "blobs/sha256" / Digest.parse(entry.envelope).hex
    path.write_bytes(path.read_bytes()[:-1] + b"?")

    done = export(host, str(host.digest), f"oci-archive:{stick}/x", status=1)

    assert "[ENF-1401]" in done.err
    assert list(stick.iterdir()) == []


def test_what_is_there_is_not_overwritten(host: Host, stick: Path) -> None:
    host.sign()
    (stick / "out").write_bytes(b"a letter")
    words = (str(host.digest), f"oci-archive:{stick}/out")

    done = export(host, *words, status=1)
    kept = (stick / "out").read_bytes()
    export(host, *words, "--force")

    assert "[ENF-2812]" in done.err
    assert kept == b"a letter"
    assert len(items(stick / "out")) == 2


def test_of_an_index_goes_what_is_here(host: Host, stick: Path, tmp_path: Path) -> None:
    """Other platforms were never pulled; Docker's own store loads this host's image."""
    layout = tmp_path / "index"
    write_layout(layout, text="hi", tag="many:1", index=True)
    facts = describe(layout)
    document = read_blob(layout, facts.top)
    absent = {**document["manifests"][0], "digest": "sha256:" + "0" * 64}
    absent["platform"] = {"os": "linux", "architecture": "s390x"}
    document["manifests"].insert(0, absent)
    raw = json.dumps(document).encode()
    (layout / blob_path(str(Digest.of(raw)))).write_bytes(raw)
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"][0] |= {"digest": str(Digest.of(raw)), "size": len(raw)}
    (layout / "index.json").write_bytes(json.dumps(index).encode())
    host.run("sign", f"oci-layout:{layout}", *host.keys())

    export(host, "--with-image", f"oci-layout:{layout}", f"oci-layout:{stick}/out")
    (stick / "out" / blob_path(facts.manifest)).unlink()
    gone = f"oci-layout:{stick}/out"
    done = export(host, "--with-image", gone, f"oci-archive:{stick}/x", status=3)

    (loadable,) = json.loads((stick / "out/manifest.json").read_bytes())
    assert loadable["Config"] == blob_path(facts.config)
    assert "[ENF-2811]" in done.err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("export", "sha256:" + "0" * 64, "oci-archive:x"), True),
        (("export", "docker:app", "oci-layout:y", "oci-archive:x"), True),
        (("export", "docker:app", "registry.test/app:1", "oci-archive:x"), False),
        (("import", "docker-archive:x"), True),
        (("import", "oci-archive:-"), True),
        (("import", "registry.test/app:1"), False),
        (("sync",), False),
    ],
)
def test_only_a_registry_needs_the_internet(
    words: tuple[str, ...], *, answer: bool
) -> None:
    """Such a process cannot even make a socket for it."""
    parser = argparse.ArgumentParser()
    cache.add_arguments(parser)

    assert cache.asks_nobody(parser.parse_args(words)) is answer


# -- revocation evidence ---------------------------------------------------------------


@pytest.fixture
def revoker() -> Iterator[Revoker]:
    with Revoker() as revoker:
        yield revoker


@pytest.fixture
def who(host: Host, other: Host, revoker: Revoker) -> Signer:
    """Signed the image, with a list; both hosts trust it, and one has asked for it."""
    who = signer(points([revoker.url(CRL)]))
    synced(host, revoker, who)
    signs(host, who)
    trust(other, who)
    host.run("cache", "sync")
    return who


def synced(host: Host, revoker: Revoker, who: Signer, **changes: Any) -> None:
    revoker.serve(CRL, who.crl(**changes))
    host.run("cache", "sync")


def trust(host: Host, who: Signer) -> None:
    store = host.notation / "truststore/x509/ca/acme"
    (store / "who.crt").write_bytes(who.root.pem)


def carry(host: Host, other: Host, stick: Path, name: str = "out") -> Done:
    """Export from one host with evidence, import on another."""
    place = f"oci-archive:{stick}/{name}"
    export(host, str(host.digest), place)
    return other.run("cache", "import", "-o", "json", place)


@pytest.mark.usefixtures("who")
def test_evidence_goes_along_and_nobody_is_asked(
    host: Host, other: Host, stick: Path, revoker: Revoker
) -> None:
    """A host without any network starts what needs a list (T, scenario offline)."""
    asked = len(revoker.asked)

    done = carry(host, other, stick)

    assert done.json["evidence"] == {"offered": 1, "kept": 1}
    assert (done.status, judged(other)) == (0, ALLOWED)
    assert len(revoker.asked) == asked


def test_without_its_evidence_the_signature_would_not_do(
    host: Host, other: Host, stick: Path, who: Signer
) -> None:
    """The control: what was carried is what counts."""
    export(host, str(host.digest), f"oci-layout:{stick}/out")
    files = [item for item in items(stick / "out") if isinstance(item, EvidenceFile)]
    (piece,) = untrusted_items(files[0], AT)
    (stick / "out/blobs/sha256" / Digest.of(piece.untrusted_der).hex).unlink()

    done = other.run("cache", "import", f"oci-layout:{stick}/out")

    assert done.status == 1
    assert "refused" in done.err
    assert judged(other) == UNKNOWN


def test_answers_of_a_responder_go_along(
    host: Host, other: Host, stick: Path, revoker: Revoker
) -> None:
    who = signer(responders(revoker.url(OCSP)))
    revoker.serve(OCSP, who.ocsp())
    signs(host, who)
    trust(other, who)
    host.run("cache", "sync")

    done = carry(host, other, stick)

    assert done.json["evidence"] == {"offered": 1, "kept": 1}
    assert judged(other) == ALLOWED


def test_a_revocation_goes_along(
    host: Host, other: Host, stick: Path, revoker: Revoker, who: Signer
) -> None:
    carry(host, other, stick, "good")
    synced(host, revoker, who, number=2, revoked=True, age=0)

    carry(host, other, stick, "bad")

    assert judged(other) == REVOKED


def test_an_older_list_from_a_stick_replaces_no_newer_one(
    host: Host, other: Host, stick: Path, revoker: Revoker, who: Signer
) -> None:
    """Somebody finds last year's stick, or keeps it for the purpose."""
    carry(host, other, stick, "old")
    synced(host, revoker, who, number=2, revoked=True, age=0)
    carry(host, other, stick, "new")

    again = other.run("cache", "import", "-o", "json", f"oci-archive:{stick}/old")

    assert again.json["evidence"] == {"offered": 1, "kept": 0}
    assert judged(other) == REVOKED


def test_evidence_about_a_signer_nobody_trusts_here_is_not_kept(
    host: Host, other: Host, stick: Path, who: Signer
) -> None:
    """Law 2, and an archive vouches for nothing."""
    (other.notation / "truststore/x509/ca/acme/who.crt").unlink()

    done = carry(host, other, stick)

    assert done.json["evidence"] == {"offered": 1, "kept": 0}
    assert not (other.root / "state/cache/evidence").exists()


def test_evidence_that_was_changed_is_not_kept(
    host: Host, other: Host, stick: Path, who: Signer
) -> None:
    """Its manifest can be made anew to fit, its issuer's signature cannot."""
    export(host, str(host.digest), f"oci-layout:{stick}/out")
    files = [item for item in items(stick / "out") if isinstance(item, EvidenceFile)]
    (piece,) = untrusted_items(files[0], AT)
    _exchange(stick / "out", files[0], piece.untrusted_der[:-1] + b"?")

    done = other.run("cache", "import", "-o", "json", f"oci-layout:{stick}/out")

    assert done.json["evidence"] == {"offered": 1, "kept": 0}
    assert judged(other) == UNKNOWN


def _exchange(layout: Path, file: EvidenceFile, other: bytes) -> None:
    """Put another piece into a layout, and everything above it anew."""
    document = json.loads(file.manifest)
    document["layers"][0] |= {"digest": str(Digest.of(other)), "size": len(other)}
    manifest = json.dumps(document).encode()
    assert parse_evidence_manifest(manifest) is not None
    index = json.loads((layout / "index.json").read_bytes())
    index["manifests"].append(
        {
            "mediaType": document["mediaType"],
            "digest": str(Digest.of(manifest)),
            "size": len(manifest),
        }
    )
    (layout / blob_path(str(Digest.of(file.manifest)))).unlink()
    for raw in (manifest, other):
        (layout / blob_path(str(Digest.of(raw)))).write_bytes(raw)
    (layout / "index.json").write_bytes(json.dumps(index).encode())


@pytest.mark.usefixtures("who")
def test_without_a_policy_no_evidence_is_taken_and_that_is_told(
    host: Host, other: Host, stick: Path
) -> None:
    """The signatures are: whose evidence would count, nobody can say yet."""
    (other.notation / "trustpolicy.json").unlink()

    done = carry(host, other, stick)

    assert done.status == 1
    assert done.json["signatures"] == 1
    assert done.json["evidence"] == {"offered": 1, "kept": 0}
    (refused,) = done.json["refused"]
    assert refused["what"].startswith("revocation evidence sha256:")
    assert "[ENF-1201]" in refused["why"]


@pytest.mark.usefixtures("who")
def test_an_exporter_without_a_policy_says_that_no_evidence_goes_along(
    host: Host, stick: Path
) -> None:
    (host.notation / "trustpolicy.json").unlink()

    done = export(host, str(host.digest), f"oci-archive:{stick}/out")

    assert "no revocation evidence goes along" in done.err
    assert "0 piece(s)" in done.out


def test_evidence_is_handed_on_with_its_layout(
    host: Host, other: Host, stick: Path, who: Signer
) -> None:
    """From one stick to another, by a host that has none of it in its own store."""
    export(host, str(host.digest), f"oci-layout:{stick}/one")
    shutil.rmtree(host.root / "state")
    (stick / "one/index.json").chmod(0o644)

    words = (f"oci-layout:{stick}/one@{host.digest}", f"oci-archive:{stick}/two")
    export(host, *words)
    other.run("cache", "import", f"oci-archive:{stick}/two")

    assert judged(other) == ALLOWED


def test_a_tag_in_a_layout_without_names_stays(host: Host, stick: Path) -> None:
    index = json.loads((host.layout / "index.json").read_bytes())
    del index["manifests"][0]["annotations"]["io.containerd.image.name"]
    (host.layout / "index.json").write_bytes(json.dumps(index).encode())
    host.sign()

    export(host, "--with-image", host.target, f"oci-layout:{stick}/out")

    with open_layout(stick / "out", archive=False) as found:
        assert found.find(tag="1").descriptor.digest == host.digest
    assert os.path.lexists(stick / "out/manifest.json")

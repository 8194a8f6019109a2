"""Layouts with something wrong around envelopes that are right."""

import random
from dataclasses import replace

from enforcer.core.digest import Digest
from tests.differential.envelopes import any_draft, draft, media_type
from tests.differential.tree import Node, Pairs, from_json, mutate, to_json
from tests.differential.world import COSE, JWS, OCI_MANIFEST, Case, Files, World, blob

SIGNATURE_TYPE = "application/vnd.cncf.notary.signature"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"

_APPLICATION = (
    "vnd.oci.image.index.v1+json", "vnd.oci.artifact.manifest.v1+json",
    "vnd.docker.distribution.manifest.v2+json", "jose+json;a=b", "Cose",
)  # fmt: skip
WORDS: tuple[Node, ...] = (
    "schemaVersion", "mediaType", "artifactType", "config", "layers", "subject",
    "blobs", "annotations", "manifests", "digest", "size", "data", "urls", "platform",
    SIGNATURE_TYPE, EMPTY_TYPE, JWS, COSE, OCI_MANIFEST,
    *(f"application/{name}" for name in _APPLICATION),
    "io.cncf.notary.x509chain.thumbprint#S256", "org.opencontainers.image.ref.name",
    "sha256:" + "0" * 64, "sha512:" + "0" * 128, "sha256:zz", "v1", "x", "",
    0, 1, 2, -1, 2.0, True, None, [], Pairs(), ["x"],
)  # fmt: skip


def relaid(world: World, rng: random.Random) -> Case:
    """Edits to a signature manifest, to index.json or to the files themselves."""
    right = any_draft(world, rng)
    files = world.signed(right.write(), media_type(right.format))
    done = []
    if rng.random() < 0.3:
        files, what = _second(world, files, rng)
        done.append(what)
    place = rng.choice(["manifest", "manifest", "index", "files"])
    if place == "manifest":
        files, what = _manifest(files, rng)
    elif place == "index":
        tree, what = mutate(from_json(files["index.json"]), rng, _words(world, files))
        files = files | {"index.json": to_json(tree)}
    else:
        files, what = _files(files, rng)
    done.append(f"{place}: {what}")
    return Case(f"layout {place}", "; ".join(done), files, str(world.target.digest))


def _words(world: World, files: Files) -> tuple[Node, ...]:
    """What belongs there elsewhere: digests and sizes of this very layout."""
    here: list[Node] = [f"sha256:{path[13:]}" for path in files if "blobs" in path]
    sizes: list[Node] = [len(raw) for raw in files.values()]
    return (*WORDS, *here, *sizes, world.target.media_type)


def _second(world: World, files: Files, rng: random.Random) -> tuple[Files, str]:
    """Put another signature beside the first: good, a stranger's, or damaged."""
    how = rng.choice(["good", "stranger", "damaged"])
    signer = world.stranger if how == "stranger" else world.chains["ES384"]
    other = draft(world, "cose", "ES256" if how == "stranger" else "ES384", signer, rng)
    raw = other.write()
    if how == "damaged":
        raw = raw[:-1]
    return world.added(files, raw, COSE), f"beside a {how} one"


def _manifest(files: Files, rng: random.Random) -> tuple[Files, str]:
    """Edit the first signature manifest, and mend what index.json says of it."""
    index = from_json(files["index.json"])
    entry = index.get("manifests")[1]
    old = entry.get("digest")
    tree = from_json(files[f"blobs/sha256/{old[7:]}"])
    here: list[Node] = [f"sha256:{path[13:]}" for path in files if "blobs" in path]
    done = []
    for _ in range(rng.choice([1, 1, 2])):
        tree, what = mutate(tree, rng, (*WORDS, *here))
        done.append(what)
    raw = to_json(tree)
    if rng.random() < 0.05:
        raw += rng.choice([b"\n", b" x", b"{}", b"\0"])
        done.append("something after it")
    new = {"digest": str(Digest.of(raw)), "size": len(raw)}
    entry[:] = [(key, new.get(key, value)) for key, value in entry]
    return _replaced(files, old, raw, index), "; ".join(done)


def _replaced(files: Files, old: str, manifest: bytes, index: Node) -> Files:
    """Return a layout with one manifest instead of another."""
    gone = f"blobs/sha256/{old[7:]}"
    kept = {path: raw for path, raw in files.items() if path != gone}
    return kept | dict([blob(manifest)]) | {"index.json": to_json(index)}


def _files(files: Files, rng: random.Random) -> tuple[Files, str]:
    name = rng.choice(sorted(files))
    raw = files[name]
    at = rng.randrange(len(raw))
    how = rng.choice(["remove", "flip", "truncate", "append", "empty"])
    if how == "remove":
        return {
            path: kept for path, kept in files.items() if path != name
        }, f"no {name}"
    changed = {
        "flip": raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :],
        "truncate": raw[:at],
        "append": raw + rng.choice([b"\n", b"x", b"{}"]),
        "empty": b"",
    }[how]
    return files | {name: changed}, f"{how} {name} at {at}"


def artifact_form(case: Case) -> Case:
    """Write a case's first signature manifest in the form with artifactType."""
    index = from_json(case.files["index.json"])
    entry = index.get("manifests")[1]
    old = entry.get("digest")
    tree = from_json(case.files[f"blobs/sha256/{old[7:]}"])
    config = Pairs(
        (key, EMPTY_TYPE if key == "mediaType" else value)
        for key, value in tree.get("config")
    )
    raw = to_json(
        Pairs(
            [("artifactType", SIGNATURE_TYPE)]
            + [(key, config if key == "config" else value) for key, value in tree]
        )
    )
    new = {"digest": str(Digest.of(raw)), "size": len(raw)}
    entry[:] = [(key, new.get(key, value)) for key, value in entry]
    files = _replaced(case.files, old, raw, index)
    return replace(case, kind="layout artifactType", files=files)

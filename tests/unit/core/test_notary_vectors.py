"""Every Notary signature vector, judged in-process by the pure core.

The vectors are ours (facts/notary.md section 3.4): config folder, OCI layout, and the
verdict the specification asks for. This reads them straight from the archive.

Not here: group `fs` (links, sub-folders, which policy file wins). Those rules belong
to what reads the host's trust files, and are tested with it.
"""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from enforcer.core.codes import Code
from enforcer.core.decide import Decision, decide
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.policy import StoreName, TrustPolicy, parse_trust_policy
from enforcer.core.signature_manifest import (
    SignatureManifest,
    parse_signature_manifest,
)
from enforcer.core.truststore import TrustStore, TrustStores, parse_store_file
from enforcer.core.verify import StoredSignature, verify_signature

ARCHIVE = Path(__file__).parents[2] / "vectors" / "notary.tar.gz"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)  # the vectors were made to be judged then
MAX_SIGNATURES = 100

LOADER_GROUPS = {"fs"}
# What this version has not built; an accept there may be a refusal that says so.
GIVEN_MORE_GROUPS = {"revocation", "plugin", "extra"}
GIVEN_MORE_CODES = {Code.PLUGIN_FAILED, Code.REVOCATION_UNKNOWN}


@dataclass(frozen=True)
class Vector:
    group: str
    id: str
    expect: str
    args: tuple[str, ...]
    scope: str

    @property
    def folder(self) -> str:
        return f"{self.group}/{self.id}"

    @property
    def user_metadata(self) -> dict[str, str]:
        pairs = zip(self.args, self.args[1:], strict=False)
        found = [value for flag, value in pairs if flag == "-m"]
        return dict(value.split("=", 1) for value in found)

    @property
    def max_signatures(self) -> int:
        if "--max-signatures" not in self.args:
            return MAX_SIGNATURES
        return int(self.args[self.args.index("--max-signatures") + 1])


@cache
def files() -> dict[str, bytes]:
    with tarfile.open(ARCHIVE) as archive:
        found: dict[str, bytes] = {}
        for member in archive:
            file = archive.extractfile(member) if member.isreg() else None
            if file is not None:
                found[member.name.removeprefix("./")] = file.read()
        return found


@cache
def vectors() -> tuple[Vector, ...]:
    listed: list[dict[str, Any]] = json.load(io.BytesIO(files()["index.json"]))
    return tuple(
        Vector(v["group"], v["id"], v["expect"], tuple(v["args"]), v["scope"])
        for v in listed
    )


def judged() -> list[Vector]:
    return [v for v in vectors() if v.group not in LOADER_GROUPS]


def layout(vector: Vector) -> Iterator[tuple[dict[str, Any], bytes | None]]:
    index = json.loads(files()[f"{vector.folder}/layout/index.json"])
    for entry in index["manifests"]:
        yield entry, blob(vector, entry["digest"])


def blob(vector: Vector, digest: str) -> bytes | None:
    raw = files().get(f"{vector.folder}/layout/blobs/{digest.replace(':', '/')}")
    return raw if raw is not None and Digest.parse(digest).matches(raw) else None


def target(vector: Vector) -> Descriptor:
    for entry, _ in layout(vector):
        if "org.opencontainers.image.ref.name" in entry.get("annotations", {}):
            return Descriptor(
                entry["mediaType"], Digest.parse(entry["digest"]), entry["size"]
            )
    raise AssertionError("no tagged manifest")


def signatures(vector: Vector, subject: Descriptor) -> Iterator[StoredSignature]:
    for _, raw in layout(vector):
        try:
            manifest = parse_signature_manifest(raw) if raw else None
        except EnforcerError:
            continue  # a bad one does not spoil the others (facts 2.2)
        if manifest is not None and manifest.subject == subject:
            yield from stored(vector, manifest)


def stored(vector: Vector, manifest: SignatureManifest) -> Iterator[StoredSignature]:
    named = manifest.envelope
    raw = blob(vector, str(named.digest))
    if raw is not None and len(raw) == named.size:
        yield StoredSignature(named.digest, named.media_type, raw)


def policy(vector: Vector) -> TrustPolicy:
    return parse_trust_policy(
        files()[f"{vector.folder}/config/notation/trustpolicy.json"]
    )


def stores(vector: Vector, names: tuple[StoreName, ...]) -> TrustStores:
    found: dict[StoreName, TrustStore | EnforcerError] = {}
    for name in names:
        folder = f"{vector.folder}/config/notation/truststore/x509/{name.type}"
        prefix = f"{folder}/{name.name}/"
        try:
            found[name] = TrustStore(
                name,
                tuple(
                    der
                    for path in sorted(files())
                    if path.startswith(prefix)
                    for der in parse_store_file(
                        files()[path], store=name, file_name=path.removeprefix(prefix)
                    )
                ),
            )
        except EnforcerError as error:
            found[name] = error
    return TrustStores(found)


def judge(vector: Vector) -> Decision:
    subject = target(vector)
    statement = policy(vector).statement_for(vector.scope)
    if statement is None:
        return decide(vector.scope, subject.digest.short, None, ())
    trusted = stores(vector, statement.trust_stores)
    found = list(signatures(vector, subject))
    looked_at = found[: vector.max_signatures]
    reports = [
        verify_signature(
            signature, (subject,), statement, trusted, NOW, vector.user_metadata
        )
        for signature in looked_at
    ]
    more = len(found) > len(looked_at)
    return decide(vector.scope, subject.digest.short, statement, reports, more=more)


def verdict(vector: Vector) -> Decision | EnforcerError:
    try:
        return judge(vector)
    except EnforcerError as error:
        return error


def is_given_more(vector: Vector) -> bool:
    return vector.group in GIVEN_MORE_GROUPS


def named(group: str) -> list[object]:
    return [pytest.param(v, id=v.id) for v in judged() if v.expect == group]


def test_the_archive_is_whole() -> None:
    """A vector that is silently not run is a promise not kept."""
    assert len(vectors()) == 452
    assert len(judged()) == 442


@pytest.mark.parametrize("vector", named("reject"))
def test_what_the_specification_rejects_is_never_accepted(vector: Vector) -> None:
    """Law 9: laxer than the specification is a hole, wherever it is."""
    found = verdict(vector)

    assert isinstance(found, EnforcerError) or not found.allowed, found


@pytest.mark.parametrize("vector", named("accept"))
def test_what_the_specification_accepts_is_accepted(vector: Vector) -> None:
    """A signature that notation accepts must not keep an image from starting."""
    found = verdict(vector)

    assert isinstance(found, Decision), found
    if not found.allowed:
        assert is_given_more(vector), found
        assert found.code in GIVEN_MORE_CODES, found


@pytest.mark.parametrize("vector", named("either"))
def test_where_the_specification_leaves_it_open_there_is_a_verdict(
    vector: Vector,
) -> None:
    """Free choice is about the answer, not about answering."""
    found = verdict(vector)

    assert isinstance(found, EnforcerError) or found.message


def test_every_signature_report_answers_every_check() -> None:
    """`explain` shows all checks; a hole in the list would hide one."""
    for vector in judged():
        found = verdict(vector)
        for report in found.signatures if isinstance(found, Decision) else ():
            assert len({finding.check for finding in report.findings}) == 6
            assert len(report.findings) == 6


def test_a_layouts_manifests_are_malformed_too_large_or_read() -> None:
    """Whatever lies in a layout, one of two errors says so."""
    codes = set()
    for vector in judged():
        for _, raw in layout(vector):
            try:
                parse_signature_manifest(raw or b"")
            except EnforcerError as error:
                codes.add(error.code)

    assert codes == {Code.INPUT_MALFORMED, Code.TOO_LARGE}

"""A host's state below a folder: signature cache, revocation evidence, floors."""

import re
from collections.abc import Iterator
from pathlib import Path

from enforcer.core.certificate import key_digest
from enforcer.core.descriptor import Descriptor
from enforcer.core.errors import EnforcerError
from enforcer.core.evidence import Evidence, Slot
from enforcer.core.findings import Result
from enforcer.core.revocation import judge_chain_revocation
from enforcer.sources.cache import DiskCache
from enforcer.sources.revocation.store import EvidenceStore
from tests.crash.kept import Problem
from tests.crash.steps import (
    LIST_URL,
    all_signed,
    chain,
    chains,
    expected,
    images,
    steps,
)
from tests.pki import NOW
from tests.unit.sources.signed import root_of

MOST = 100  # signatures asked for; there are fewer
# The hexadecimal ones are the evidence's, and counted. An index that could not be read
# to its end is put aside by fsck.
_FILES = re.compile(
    r"index\.db(-wal|-shm|\.[0-9a-f]{8})?$|lock$|floors\.db$|memory$|[0-9a-f]{64}$"
)


class Host:
    """The real thing."""

    def __init__(self, root: Path) -> None:
        self.steps = len(steps())
        self._root = root
        self._cache = DiskCache(root / "cache")
        self._evidence = EvidenceStore(root / "cache" / "evidence", root / "floors.db")

    def do(self, number: int) -> None:
        """Do a step."""
        steps()[number].act(self._cache, self._evidence)

    def problems(self, done: int, *, midway: bool) -> Iterator[Problem]:
        """Yield what an asker finds amiss: daemon and command line alike."""
        then = min(done + midway, self.steps)
        try:
            yield from self._signatures(done, then)
            yield from self._contents(done, then)
            list(self._cache.entries())
        except EnforcerError as error:
            yield Problem("corrupt", str(error))
        yield from self._judged(done, then)

    def start(self) -> None:
        """Open both as writers do."""
        self._cache.add([])
        self._evidence.add(chains(), Evidence(), NOW)

    def leftovers(self) -> Iterator[Problem]:
        """Yield what fsck finds, and files that are nobody's."""
        told = self._cache.check(repair=False)
        yield from (Problem("corrupt", f"fsck: {what}") for what in told.damaged)
        yield from (Problem("lost", f"fsck: {what}") for what in told.lost)
        yield from (Problem("orphan", f"fsck: {what}") for what in told.unnamed)
        cache = self._root / "cache"
        for path in self._root.rglob("*"):
            is_blob = path.parent == cache / "blobs" / "sha256"  # fsck looked there
            if path.is_file() and not is_blob and not _FILES.match(path.name):
                yield Problem("orphan", str(path.relative_to(self._root)))
        evidence = cache / "evidence"
        entries, pieces = (
            len(list((evidence / where).iterdir()))
            for where in ("index", "blobs/sha256")
        )
        if entries != pieces:
            yield Problem("orphan", f"{pieces} pieces of evidence, {entries} entries")

    def _signatures(self, done: int, then: int) -> Iterator[Problem]:
        before, after = expected(done).signatures, expected(then).signatures
        for one in all_signed():
            here = one.file.envelope in self._about(one.content.descriptor)
            if not here and one in before & after:
                yield Problem("lost", f"signature {one.digest}")
            if here and one not in before | after:
                yield Problem("corrupt", f"signature {one.digest} came back")

    def _about(self, target: Descriptor) -> set[bytes]:
        found, more = self._cache.signatures_about(
            [target], trusted=[root_of()], limit=MOST
        )
        assert not more
        return {each.envelope for each in found}

    def _contents(self, done: int, then: int) -> Iterator[Problem]:
        """What is signed must be found by the id of its configuration, too."""
        held = expected(done).signatures & expected(then).signatures
        for one in images():
            contents = {each.content for each in held} & {one.manifest, one.index}
            found = self._cache.manifests_about(one.config_digest, [])
            for content in contents:
                digest = content.descriptor.digest
                if self._cache.manifest(digest) != content or content not in found:
                    yield Problem("lost", f"content {digest}")

    def _judged(self, done: int, then: int) -> Iterator[Problem]:
        evidence = self._evidence.load(chains(), NOW)
        certificates = [party.certificate for party in chain()]
        outcome = judge_chain_revocation(certificates, evidence, NOW)
        code = None if outcome.result is Result.PASSED else outcome.code
        allowed = {expected(done).code, expected(then).code}
        if code not in allowed:
            yield Problem("lost", f"evidence: {outcome.because} [{code}]")
        slot = Slot.crl(key_digest(chain()[1].certificate), LIST_URL)
        floor = evidence.memory.floors.get(slot)
        least = expected(done).evidence
        if least and (floor is None or (floor.number or 0) < least):
            yield Problem("lost", f"floor {least}: {evidence.memory.problem or floor}")

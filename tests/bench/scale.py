"""What a large signature cache costs: importing, asking, and the daemon above it.

Each subject is one manifest with one signature by one ES256 key, valid and different.
The caches are on an ext4 of their own, as on one that much was deleted from just now a
new file costs ten times as much.
"""

import base64
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from enforcer.core.collected import Collected, Origin, SignatureFile
from enforcer.core.descriptor import Descriptor
from enforcer.core.digest import Digest
from enforcer.core.image import OCI_CONFIG, OCI_MANIFEST, image_manifest_bytes
from enforcer.core.quota import Quota
from enforcer.core.signature_manifest import JWS_MEDIA_TYPE, build_signature_manifest
from enforcer.core.signing import parse_signer, sign_jws, thumbprints
from enforcer.core.subject import Content
from enforcer.sources.cache import DiskCache
from tests.bench.grpc_clients import SyncClient, verify
from tests.bench.measure import (
    Group,
    Probe,
    Row,
    Samples,
    interleave,
    milliseconds_since,
    rounds,
    rows,
    start,
    timed,
)
from tests.bench.ready import ENVIRONMENT, SOCKETS, installed, wait_for
from tests.bench.stage import Stage
from tests.pki import NOW, ca_template, issue, leaf_template, pems

SIZES = (1_000, 10_000, 100_000)  # subjects
ROUNDS = 7
QUESTIONS = 500  # of one probe, each about another subject
ALONE = 10_001  # signatures about subjects that are there; no other cache's size
STARTS = 3  # of the daemon, over each cache
DECISIONS = 200  # of each daemon
DISK_BYTES = 4 * 1024**3  # sparse: 350,000 files of a block, and an index
INODES = 600_000
ROOM = Quota(max_bytes=1 << 40, max_files=1 << 30)
ORIGIN = Origin("oci-archive:bench.tar", NOW)


def measure(stage: Stage) -> Group:
    """Fill caches of all sizes, then ask them in turns, and the daemon above them."""
    stage.host.stop()
    signing = Signing()
    with _disk() as disk:
        made = [row for size in SIZES for row in _import(disk, size, signing)]
        made += _import(disk, ALONE, signing, alone=True)
        made += _asked(disk, signing)
        made += _daemons(stage, disk, signing)
    return Group("a signature cache of many subjects, one signature each", made)


class Signing:
    """Makes subjects, and signatures about them, as fast as a key signs."""

    def __init__(self) -> None:
        root = issue(ca_template())
        self._key = ec.generate_private_key(ec.SECP256R1())
        leaf = issue(leaf_template(), root, key=self._key)
        self._signer = parse_signer(leaf.key_pem, pems((leaf, root)), at=NOW)
        self._first = json.loads(sign_jws(subject(0).descriptor, self._signer, at=NOW))
        self.root = Digest.of(root.der)

    def signed(self, number: int) -> SignatureFile:
        """Sign a subject: the first one's envelope with another payload, signed."""
        about = subject(number).descriptor
        target = {
            "mediaType": about.media_type,
            "digest": str(about.digest),
            "size": about.size,
        }
        payload = _base64(_compact({"targetArtifact": target}))
        message = f"{self._first['protected']}.{payload}".encode()
        value = self._key.sign(message, ec.ECDSA(hashes.SHA256()))
        both = b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(value))
        members = {"payload": payload, "signature": _base64(both)}
        envelope = _compact(self._first | members)
        held = Descriptor.of(JWS_MEDIA_TYPE, envelope)
        names = thumbprints(self._signer.chain)
        return SignatureFile(
            build_signature_manifest(held, about, names, NOW), envelope
        )


def subject(number: int) -> Content:
    """Make the manifest of an image."""
    config = Descriptor.of(OCI_CONFIG, str(number).encode())
    return Content(OCI_MANIFEST, image_manifest_bytes(config, []))


@contextlib.contextmanager
def _disk() -> Iterator[Path]:
    """Lend an ext4 that nobody else uses."""
    with tempfile.TemporaryDirectory(prefix="enf-", dir="/tmp") as folder:
        image, place = Path(folder, "image"), Path(folder, "disk")
        place.mkdir()
        image.touch()
        os.truncate(image, DISK_BYTES)
        for command in (
            ("mkfs.ext4", "-q", "-F", "-N", str(INODES), str(image)),
            ("mount", "-o", "loop", str(image), str(place)),
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(("umount", str(place)), check=True)


def _cache(disk: Path, size: int) -> DiskCache:
    return DiskCache(disk / str(size) / "cache", ROOM)


def _import(
    disk: Path, size: int, signing: Signing, *, alone: bool = False
) -> list[Row]:
    """Import all at once, subjects, too, or before; signing them is not counted."""
    making = [0.0, 0.0]
    if alone:
        _cache(disk, size).add(subject(number) for number in range(size))

    def items() -> Iterator[Collected]:
        for number in range(size):
            began = _clocks()
            both = subject(number), signing.signed(number)
            making[:] = [
                spent + later - earlier
                for spent, earlier, later in zip(making, began, _clocks(), strict=True)
            ]
            yield from both[alone:]

    began = _clocks()
    count, refused = _cache(disk, size).add(items(), origin=ORIGIN)
    wall, cpu = (
        later - earlier - spent
        for earlier, later, spent in zip(began, _clocks(), making, strict=True)
    )
    if count != size or refused:
        raise RuntimeError(f"the cache took {count} of {size} signatures")
    name = f"import of {size} signatures {'alone' if alone else 'with their subjects'}"
    return [
        Row(name, [size / wall], None, "/s"),
        Row(f"{name}, by CPU alone", [size / cpu], None, "/s"),
    ]


def _clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _asked(disk: Path, signing: Signing) -> list[Row]:
    """Import one more, and find some by their subjects, in turns."""
    probes: dict[str, Probe] = {}
    baselines: dict[str, str] = {}
    for what, make in (("import of one", _one_more), ("QUESTIONS lookups", _look_up)):
        name = what.replace("QUESTIONS", str(QUESTIONS))
        for size in SIZES:
            probes[f"{name}, {size} cached"] = make(_cache(disk, size), size, signing)
            if size != SIZES[0]:
                baselines[f"{name}, {size} cached"] = f"{name}, {SIZES[0]} cached"
    return rows(interleave(probes, rounds(ROUNDS)), baselines)


def _one_more(cache: DiskCache, size: int, signing: Signing) -> Probe:
    numbers = itertools.count(size)

    def probe() -> float:
        number = next(numbers)
        items: list[Collected] = [subject(number), signing.signed(number)]
        return timed(lambda: cache.add(items, origin=ORIGIN))()

    return probe


def _look_up(cache: DiskCache, size: int, signing: Signing) -> Probe:
    chance = random.Random(size)  # noqa: S311 - which subjects does not matter
    some = [subject(chance.randrange(size)).descriptor for _ in range(QUESTIONS)]

    def look() -> None:
        for about in some:
            found, _ = cache.signatures_about([about], trusted=[signing.root], limit=9)
            if len(list(found)) != 1:
                raise RuntimeError(f"the signature about {about.digest} is not found")

    return timed(look)


def _daemons(stage: Stage, disk: Path, signing: Signing) -> list[Row]:
    """Start enforcerd over each cache: how long, and what it holds after questions."""
    ready: Samples = {}
    memory: Samples = {}
    for turn in range(rounds(STARTS)):
        for size in SIZES if turn % 2 else SIZES[::-1]:
            spent, held = _daemon(stage, disk / str(size), size, signing)
            ready.setdefault(f"enforcerd, until ready, {size} cached", []).append(spent)
            memory.setdefault(f"enforcerd, RSS, {size} cached", []).append(held)
    made = []
    for samples, unit in ((ready, "ms"), (memory, "MiB")):
        first: Row | None = None
        for size in SIZES:
            name = next(n for n in samples if f" {size} " in n)
            made.append(Row(name, samples[name], first, unit))
            first = first or made[-1]
    return made


def _daemon(
    stage: Stage, state: Path, size: int, signing: Signing
) -> tuple[float, float]:
    """Return milliseconds until every socket answered, and MiB after the questions."""
    run = stage.host.home / "scale"
    run.mkdir(exist_ok=True)
    folders = {"config": stage.host.config, "state": state, "run": run}
    options = [word for n, p in folders.items() for word in (f"--{n}-dir", str(p))]
    for name in SOCKETS:
        (run / name).unlink(missing_ok=True)
    command = (*installed(), "-m", "enforcer.daemon", *options)
    began = time.perf_counter()
    pid = start(command, ENVIRONMENT)
    try:
        wait_for(run)
        spent = milliseconds_since(began)
        _decide(run, size)
        return spent, _resident(pid)
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


def _decide(run: Path, size: int) -> None:
    client = SyncClient(run / "enforcer.sock")
    try:
        for number in random.Random(size).sample(range(size), DECISIONS):  # noqa: S311
            about = str(subject(number).descriptor.digest)
            answer = client.ask(verify(f"scale:{number}", about))
            if answer.allowed or not answer.signatures:
                raise RuntimeError(f"{answer.message} [{answer.code}]")
    finally:
        client.close()


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory")


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")

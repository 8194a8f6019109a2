"""The image that nobody signed: never the same twice, and it proves that it ran."""

import io
import json
import platform
import struct
import subprocess
import tarfile
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from enforcer.core.errors import EnforcerError
from enforcer.core.image import Manifest, parse_config, parse_manifest_or_index
from enforcer.host.prove.program import EXIT_STATUS, program
from enforcer.host.prove.specimen import (
    is_mark,
    layers_of_marked,
    make_specimen,
    mark_in,
)
from enforcer.sources.engines.host import host_platform

MACHINES = ("amd64", "arm64", "arm")
MAX_BYTES = 32 * 1024  # "a few KiB"


def test_the_program_ends_with_its_own_status_on_this_machine(tmp_path: Path) -> None:
    """No shell, no libc, nothing else in the image: the status is the proof."""
    path = tmp_path / "prove"
    path.write_bytes(program(host_platform().architecture))
    path.chmod(0o755)

    done = subprocess.run([path], check=False, capture_output=True, env={})

    assert (done.returncode, done.stdout, done.stderr) == (EXIT_STATUS, b"", b"")
    assert platform.machine()


@pytest.mark.parametrize("machine", MACHINES)
def test_the_program_is_a_static_executable_of_its_machine(
    machine: str, tmp_path: Path
) -> None:
    """Read by hand (elf(5)): one segment, loaded whole, entered behind its headers."""
    elf = program(machine)
    wide = elf[4] == 2
    kind, number, _ = struct.unpack_from("<HHI", elf, 16)
    entry = struct.unpack_from("<Q" if wide else "<I", elf, 24)[0]
    at = 64 if wide else 52
    if wide:
        _, flags, offset, address, _, size, *_ = struct.unpack_from(
            "<IIQQQQQQ", elf, at
        )
    else:
        _, offset, address, _, size, _, flags, _ = struct.unpack_from("<8I", elf, at)

    assert elf[:7] == b"\x7fELF" + bytes([2 if wide else 1, 1, 1])
    assert (kind, number) == (2, {"amd64": 62, "arm64": 183, "arm": 40}[machine])
    assert (offset, size, flags) == (0, len(elf), 5)
    assert entry - address == at + (56 if wide else 32)
    assert address % 0x1_0000 == 0


def test_the_arm_programs_say_exit_with_that_status() -> None:
    """Their instructions field by field: not every machine can run them."""
    move64, call64, enter64 = struct.unpack("<3I", program("arm64")[-12:])
    move32, call32, enter32 = struct.unpack("<3I", program("arm")[-12:])

    # MOVZ Xd, #imm16 (Arm ARM C6.2.254): 1101 0010 100i iiii iiii iiii iiid dddd
    assert (move64 >> 21, move64 >> 5 & 0xFFFF, move64 & 31) == (0x694, EXIT_STATUS, 0)
    assert (call64 >> 21, call64 >> 5 & 0xFFFF, call64 & 31) == (0x694, 93, 8)
    assert enter64 == 0xD4000001  # SVC #0
    # MOV Rd, #imm8 (Arm ARM F5.1.122): cond 0011 1010 0000 Rd 0000 imm8
    assert (move32 >> 16, move32 >> 12 & 15, move32 & 0xFFF) == (0xE3A0, 0, EXIT_STATUS)
    assert (call32 >> 16, call32 >> 12 & 15, call32 & 0xFFF) == (0xE3A0, 7, 1)
    assert enter32 == 0xEF000000


def test_a_machine_without_a_program_is_said() -> None:
    with pytest.raises(EnforcerError, match="prove has no program for mips"):
        make_specimen("mips")


@pytest.mark.parametrize("machine", MACHINES)
def test_no_two_images_share_anything(machine: str) -> None:
    """So that no cache, exemption or earlier decision can know one."""
    one, other = make_specimen(machine), make_specimen(machine)

    assert one.mark != other.mark
    assert one.digests.isdisjoint(other.digests)
    assert sum(len(blob.raw) for blob in one.blobs) < MAX_BYTES


def test_it_is_what_the_image_specification_asks_for() -> None:
    """Read by the parsers that judge."""
    specimen = make_specimen("amd64")

    manifest = parse_manifest_or_index(specimen.manifest.raw)
    config = parse_config(specimen.config.raw)

    assert isinstance(manifest, Manifest)
    assert manifest.config.digest == Digest.of(specimen.config.raw)
    assert str(config.chain_id) == specimen.chain_id


def test_its_archive_holds_all_of_it_for_every_docker() -> None:
    specimen = make_specimen("amd64")
    with tarfile.open(fileobj=io.BytesIO(specimen.archive())) as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers()}
        read = {name: file.read() for name, file in files.items() if file}

    (listed,) = json.loads(read["manifest.json"])
    (entry,) = json.loads(read["index.json"])["manifests"]
    assert read[listed["Config"]] == specimen.config.raw
    assert [read[name] for name in listed["Layers"]] == [specimen.layer.raw]
    assert listed["RepoTags"] == [specimen.name]
    assert entry["digest"] == specimen.manifest.digest
    assert read[f"blobs/{entry['digest'].replace(':', '/')}"] == specimen.manifest.raw


def test_a_mark_is_read_from_a_name_and_believed_only_with_what_is_inside() -> None:
    """Names and labels of strangers are left alone."""
    one, other = make_specimen("amd64"), make_specimen("amd64")

    assert mark_in(one.full_name) == mark_in(one.name) == one.mark
    assert mark_in(f"127.0.0.1:5000/{one.mark}:1") == one.mark
    for name in (f"{one.mark}:2", f"x-{one.mark}:1", f"{one.mark}/x:1", "", "x:1"):
        assert mark_in(name) == ""
    assert not is_mark(f"{one.mark}\n")
    assert layers_of_marked(one.mark, one.manifest.raw, one.config.raw) == (
        one.layer.digest,
    )
    assert layers_of_marked(one.mark, other.manifest.raw, other.config.raw) == ()
    assert layers_of_marked(one.mark, one.manifest.raw, b"{}") == ()
    assert layers_of_marked(one.mark, b"[]", one.config.raw) == ()
    labelless = json.dumps({"config": {"Labels": None}}).encode()
    assert layers_of_marked(one.mark, one.manifest.raw, labelless) == ()

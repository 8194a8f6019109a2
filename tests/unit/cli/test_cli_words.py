"""The command line as a whole, and the verbs that keep cache and trust stores."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from enforcer.cli.main import status_of
from enforcer.core.codes import PAGES, Code
from enforcer.core.digest import Digest
from enforcer.sources.cache import DiskCache
from tests.unit.cli.host import SCOPE, Host
from tests.unit.sources.signed import pems


def program(*words: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "enforcer", *words],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd()), **env},
    )


@pytest.mark.parametrize("code", list(Code))
def test_every_code_is_explained(host: Host, code: Code) -> None:
    text = host.run("explain", code.lower())
    found = host.run("explain", code, "-o", "json").json

    assert text.status == 0
    assert text.out.startswith(f"{code}  ")
    assert found == {
        "code": str(code),
        "meaning": PAGES[code][0],
        "remedy": PAGES[code][1],
    }
    assert status_of(code) in range(5)


@pytest.mark.parametrize("text", ["ENF-0000", "", "\033[31m"])
def test_what_is_no_code_is_usage(host: Host, text: str) -> None:
    done = host.run("explain", text)

    assert (done.status, "\033" in done.err) == (2, False)


@pytest.mark.parametrize(
    "words",
    [
        [], ["frobnicate"], ["verify"], ["verify", "a:b", "c"], ["cache"], ["trust"],
        ["cache", "frobnicate"], ["sign", "oci-layout:x"], ["verify", "x", "-o", "xml"],
        ["verify", "--sco", "x", "oci-layout:y"], ["trust", "add", "--type", "x", "f"],
    ],
)  # fmt: skip
def test_words_that_make_no_sense_are_usage(host: Host, words: list[str]) -> None:
    done = host.run(*words)

    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("usage: ")


def test_help_and_version_are_there_for_every_verb(host: Host) -> None:
    assert host.run("--version").out
    listed = host.run("--help").out
    for verb in ("verify", "cache", "trust", "status", "explain", "doctor", "gate"):
        assert f"    {verb} " in listed
        done = host.run(verb, "--help")
        assert (done.status, "--state-dir" in done.out) == (0, True)


def test_folders_are_taken_before_and_after_the_verb(host: Host) -> None:
    host.sign()
    for words in (
        [*host.folders(), "cache", "list"],
        ["cache", "list", *host.folders()],
        ["cache", *host.folders(), "list"],
        ["--state-dir", "/none", "cache", "list", *host.folders()],
    ):
        assert host.run(*words, folders=False).out.count("\n") == 1, words


def test_layout_targets_cache_and_trust_need_no_grpc(
    host: Host, tmp_path: Path
) -> None:
    """It takes longer to load than a whole verification."""
    host.sign("--write-layout")
    check = (
        "import sys; from enforcer.cli.main import main; status = main(sys.argv[1:])\n"
        "heavy = {'grpc', 'google.protobuf', 'structlog'} & set(sys.modules)\n"
        "sys.exit(f'{status} {sorted(heavy)}' if heavy else status)"
    )
    out = str(tmp_path / "keys")
    for words in (
        ["verify", host.target, "--scope", SCOPE],
        ["sign", host.target, *host.keys()],
        ["cache", "list"],
        ["cache", "import", host.target],
        ["trust", "list"],
        ["trust", "remove", "--store", "acme", "acme.crt", "--dry-run"],
        ["trust", "generate-test", "x", "--out", out],
        ["explain", "ENF-1001"],
    ):
        script = [sys.executable, "-c", check, *host.folders(), *words]
        done = subprocess.run(script, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), words


def test_a_reader_that_leaves_early_is_no_success(host: Host) -> None:
    """`verify | head` must not look allowed."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [*host.folders(), "verify", host.target, "--scope", SCOPE]
    done = subprocess.run(
        [sys.executable, "-m", "enforcer", *words],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (130, "")


def test_names_that_are_no_text_are_shown_somehow(tmp_path: Path) -> None:
    folder = os.fsdecode(bytes(tmp_path) + b"/\xff")

    done = program("trust", "generate-test", "x", "--out", folder)

    assert (done.returncode, done.stderr) == (0, "")
    assert "\\udcff" in done.stdout


def test_a_cache_is_filled_listed_and_emptied(host: Host) -> None:
    host.sign("--write-layout")
    host.sign("--write-layout", by="wabbit")
    other = ["--state-dir", str(host.root / "other")]

    taken = host.run("cache", "import", host.target, *other)
    assert (taken.status, taken.out) == (
        0,
        f"imported 2 signature(s) from {host.layout}\n",
    )
    again = host.run("cache", "import", f"{host.target}:1", *other, "-o", "json")
    assert (again.json["signatures"], again.json["refused"]) == (2, [])

    listed = host.run("cache", "list", *other, "-o", "json").json
    assert [list(entry) for entry in listed] == [
        ["subject", "signature", "manifest", "mediaType", "origins"]
    ] * 2
    assert {entry["origins"][0]["place"] for entry in listed} == {host.target}
    assert {entry["subject"] for entry in listed} == {str(host.digest)}
    text = host.run("cache", "list", *other).out
    assert all(entry["signature"] in text for entry in listed)
    assert text.count(f"  {host.target} at 20") == 2

    gone = host.run("cache", "remove", listed[0]["signature"], *other, "-o", "json")
    assert gone.json == {"removed": 1}
    assert host.run("cache", "remove", str(host.digest), *other).out == (
        "removed 1 signature(s)\n"
    )
    assert host.run("cache", "remove", str(host.digest), *other).status == 1
    assert host.run("cache", "remove", "x", *other).status == 2
    assert host.run("cache", "list", *other, "-o", "json").json == []


def test_an_import_says_what_it_refused_and_goes_on(host: Host) -> None:
    host.sign("--write-layout")
    host.sign("--write-layout", by="wabbit")
    listed = json.loads((host.layout / "index.json").read_text())["manifests"]
    bad = listed[-1]["digest"].removeprefix("sha256:")
    (host.layout / "blobs" / "sha256" / bad).write_bytes(b"\033[31m")

    done = host.run("cache", "import", host.target, "-o", "json")

    assert done.status == 1
    assert done.json["signatures"] == 1
    assert [item["what"] for item in done.json["refused"]] == [f"sha256:{bad}"]
    assert f"refused sha256:{bad}" in done.err
    for source in ("docker:x", "x", "oci-layout:"):
        assert host.run("cache", "import", source).status == 2
    assert host.run("cache", "import", "oci-layout:/none").status == 3


def test_fsck_tells_and_mends(host: Host) -> None:
    host.sign()
    cache = host.root / "state" / "cache"
    assert host.run("cache", "fsck").out == "4 good, 0 damaged, 0 lost, 0 unnamed\n"

    (cache / "blobs" / "sha256" / "junk").touch()
    envelope = next(iter(DiskCache(cache).entries())).envelope
    (cache / "blobs" / "sha256" / Digest.parse(envelope).hex).unlink()
    told = host.run("cache", "fsck", "-o", "json")
    assert told.status == 1
    found = {"good": 3, "damaged": ["junk"], "lost": [envelope], "unnamed": []}
    assert told.json == found
    assert "damaged: junk\n" in host.run("cache", "fsck").out
    assert f"lost: {envelope}; import it again" in host.run("cache", "fsck").out

    assert host.run("cache", "fsck", "--repair").status == 0
    assert host.run("cache", "fsck").status == 0
    (cache / "index.db").write_bytes(b"garbage")
    broken = host.run("cache", "list")
    assert (broken.status, "fsck --repair" in broken.err) == (1, True)
    assert host.run("cache", "fsck", "--repair").status == 0
    assert host.run("cache", "list").status == 0


def test_a_certificate_is_added_and_listed(host: Host) -> None:
    (host.root / "wabbit-ca.crt").write_bytes(pems("wabbit")[2])
    add = ["trust", "add", "--store", "wabbit", str(host.root / "wabbit-ca.crt")]

    done = host.run(*add)

    place = host.notation / "truststore" / "x509" / "ca" / "wabbit" / "wabbit-ca.crt"
    assert (done.status, place.read_bytes()) == (0, pems("wabbit")[2])
    assert place.stat().st_mode & 0o777 == 0o644
    assert f"trusted in ca:wabbit: {place}" in done.out
    assert host.run(*add).status == 0  # again, the same
    found = host.run("trust", "list", "-o", "json").json
    assert [item["store"] for item in found] == ["ca:acme", "ca:wabbit"]
    assert [list(item) for item in found] == [
        ["store", "file", "subject", "key", "until"]
    ] * 2
    assert (
        "ca:wabbit  wabbit-ca.crt  CN=wabbit,O=enforcer test root"
        in host.run("trust", "list").out
    )


def test_another_certificate_is_never_written_over(host: Host) -> None:
    """Not one that is there, and not one of the same command."""
    for name in ("a", "b"):
        (host.root / name).mkdir()
    (host.root / "a" / "ca.crt").write_bytes(pems("acme")[2])
    (host.root / "b" / "ca.crt").write_bytes(pems("wabbit")[2])
    both = [str(host.root / name / "ca.crt") for name in ("a", "b")]

    done = host.run("trust", "add", "--store", "new", *both)

    assert (done.status, "holds another certificate" in done.err) == (3, True)
    store = host.notation / "truststore" / "x509" / "ca" / "new"
    assert not store.exists()
    assert host.run("trust", "add", "--store", "new", both[0]).status == 0
    assert host.run("trust", "add", "--store", "new", both[1]).status == 3
    assert (store / "ca.crt").read_bytes() == pems("acme")[2]


@pytest.mark.parametrize("store", ["..", ".", "a/b", "../../x", "", "a b", "ä"])
def test_a_store_cannot_be_anywhere_else(host: Host, store: str) -> None:
    words = ["trust", "add", "--store", store, str(host.root / "acme.crt")]

    assert host.run(*words).status == 1


def test_junk_is_not_trusted(host: Host) -> None:
    for path, status in (("acme.key", 4), ("config", 3), ("none", 3)):
        done = host.run("trust", "add", "--store", "new", str(host.root / path))
        assert done.status == status, path
    assert not (host.notation / "truststore" / "x509" / "ca" / "new").exists()


def test_a_store_with_junk_is_named_and_the_others_are_listed(host: Host) -> None:
    junk = host.notation / "truststore" / "x509" / "ca" / "junk"
    junk.mkdir()
    (junk / "README").write_text("hello")

    done = host.run("trust", "list")

    assert done.status == 4
    assert "README" in done.err
    assert "ca:acme" in done.out


def test_trying_out_makes_what_signs(host: Host) -> None:
    out = host.root / "keys"
    assert host.run("trust", "generate-test", "try", "--out", out).status == 0
    keys = ["--key", str(out / "try.key"), "--cert", str(out / "try.crt")]
    assert (out / "try.key").stat().st_mode & 0o777 == 0o600

    assert host.run("sign", host.target, *keys, "--write-layout").status == 0
    assert host.verify("--scope", SCOPE).status == 1  # nothing trusts it by itself
    add = ["trust", "add", "--store", "acme", str(out / "try-ca.crt")]
    assert host.run(*add).status == 0
    assert host.verify("--scope", SCOPE).status == 0

    again = host.run("trust", "generate-test", "try", "--out", out)
    assert (again.status, "is there already" in again.err) == (3, True)
    for name in ("a/b", ".a", "..", "", "a\nb", "x" * 65):
        assert host.run("trust", "generate-test", name, "--out", out).status in (1, 2)


def test_no_daemon_is_unreachable(host: Host) -> None:
    done = host.run("status")

    assert (done.status, "systemctl status enforcer" in done.err) == (3, True)


def test_a_gate_is_printed_or_written(host: Host, tmp_path: Path) -> None:
    words = ["gate", "--runc", "/bin/true", "--python", sys.executable]

    printed = host.run(*words)
    assert host.run(*words, "--write", str(tmp_path / "runc")).status == 0

    assert printed.out.startswith("#!")
    assert (tmp_path / "runc").read_text() == printed.out
    assert (tmp_path / "runc").stat().st_mode & 0o777 == 0o755
    assert host.run("gate", "--runc", "/none").status == 3
    assert host.run(*words, "--write", "/none/runc").status == 3

"""Trust files: whom a host trusts must be written by its owner alone, and whole."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from enforcer.audit.clock import FixedClock
from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.policy import PolicyInvalidError, StoreName, StoreType
from enforcer.core.subject import ImageName, artifact_subject
from enforcer.core.truststore import TrustStoreMissingError
from enforcer.files import FileNotTrustedError
from enforcer.ports import PolicyInForce, PolicyMissingError
from enforcer.sources.carried import CarriedSignatures
from enforcer.sources.layout import open_layout
from enforcer.sources.trust import KeptPolicy, marks, read_store
from enforcer.sources.trust import load_notation_policy as load_policy
from enforcer.weigher import HostRules, Weigher
from tests.unit.sources.signed import SOAK, compact, pems

ACME = StoreName(StoreType.CA, "acme")
VECTORS = Path(__file__).parents[2] / "vectors" / "notary.tar.gz"
VECTORS_AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def policy(name: str = "default", store: str = "ca:acme", padding: int = 0) -> bytes:
    statement = {
        "name": name + "x" * padding,
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": [store],
        "trustedIdentities": ["*"],
    }
    return compact({"version": "1.0", "trustPolicies": [statement]})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Notation configuration folder that is as it should be."""
    root = tmp_path / "notation"
    store(root).mkdir(parents=True)
    (root / "trustpolicy.json").write_bytes(policy())
    (store(root) / "acme.crt").write_bytes(pems("acme")[2])
    return root


def store(root: Path) -> Path:
    return root / "truststore" / "x509" / "ca" / "acme"


def certificates(force: PolicyInForce) -> int:
    return len(force.stores.get(ACME).certificates)


def store_problem(folder: Path, *, trusted: bool = True) -> EnforcerError:
    force = load_policy(folder, trusted=trusted)
    with pytest.raises(EnforcerError) as caught:
        force.stores.get(ACME)
    return caught.value


def test_policy_and_stores_are_loaded_together(folder: Path) -> None:
    (store(folder) / "more.pem").write_bytes(pems("wabbit")[2])
    (store(folder) / "old").mkdir()  # S5: sub-folders are ignored
    (store(folder) / "old" / "junk").write_text("x")

    force = load_policy(folder)

    assert [statement.name for statement in force.policy.trusts] == ["default"]
    assert certificates(force) == 2
    assert [p.name for p, _ in read_store(folder / "truststore" / "x509", ACME)] == [
        "acme.crt",
        "more.pem",
    ]


def test_the_newer_name_of_the_policy_wins(folder: Path) -> None:
    """T1; and where it cannot be used, the older one is no way out."""
    newer = folder / "trustpolicy.oci.json"
    newer.write_bytes(policy("newer"))
    assert load_policy(folder).policy.trusts[0].name == "newer"

    newer.write_bytes(b"{")
    with pytest.raises(PolicyInvalidError):
        load_policy(folder)


@pytest.mark.parametrize("place", ["none", "empty"])
def test_no_policy_is_said_so(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()

    for trusted in (True, False):
        with pytest.raises(PolicyMissingError, match=r"no trust policy.*\[ENF-1201\]"):
            load_policy(tmp_path / place, trusted=trusted)


@pytest.mark.parametrize("how", ["link", "pipe", "folder", "dangling", "huge"])
def test_the_policy_must_be_a_file(folder: Path, how: str) -> None:
    """TP65."""
    path = folder / "trustpolicy.json"
    path.rename(folder / "real")
    replace: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to("real"),
        "dangling": lambda: path.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "huge": lambda: path.write_bytes(b" " * (1 << 20) + policy()),
    }
    replace[how]()

    for trusted in (True, False):
        with pytest.raises(PolicyInvalidError, match=r"trustpolicy\.json") as caught:
            load_policy(folder, trusted=trusted)
        assert caught.value.code is Code.POLICY_INVALID


@pytest.mark.parametrize("name", [".", "..", "trustpolicy.json"])
def test_nobody_else_may_change_the_policy(folder: Path, name: str) -> None:
    """T-PF-1; a person who asks with --notation-config asks about their own files."""
    (folder / name).chmod(0o777)

    with pytest.raises(FileNotTrustedError, match="can be written by group or others"):
        load_policy(folder)
    assert load_policy(folder, trusted=False).policy.trusts


@pytest.mark.parametrize(
    "name", ["acme", "acme/acme.crt", "../../x509", "../../../truststore"]
)
def test_nobody_else_may_change_a_store(folder: Path, name: str) -> None:
    (store(folder).parent / name).chmod(0o777)

    assert store_problem(folder).code is Code.FILE_NOT_TRUSTED
    assert certificates(load_policy(folder, trusted=False)) == 1


@pytest.mark.parametrize("trusted", [True, False])
def test_links_in_place_of_a_store_or_certificate_are_refused(
    folder: Path, *, trusted: bool
) -> None:
    """S4."""
    certificate = store(folder) / "acme.crt"
    certificate.rename(folder / "real.crt")
    certificate.symlink_to(folder / "real.crt")
    assert store_problem(folder, trusted=trusted).code is Code.TRUST_STORE_INVALID

    certificate.unlink()
    (folder / "real.crt").rename(certificate)
    store(folder).rename(folder / "real")
    store(folder).symlink_to(folder / "real")
    assert store_problem(folder, trusted=trusted).code in (
        Code.TRUST_STORE_INVALID,
        Code.FILE_NOT_TRUSTED,
    )


@pytest.mark.parametrize(
    ("name", "raw"),
    [("README", b"hello"), (".hidden", b""), ("key.pem", pems()[0]), ("leaf", b"\x30")],
)
def test_junk_in_a_store_spoils_that_store_and_is_named(
    folder: Path, name: str, raw: bytes
) -> None:
    """S6: any file is taken for a certificate, as notation does."""
    (store(folder) / name).write_bytes(raw)

    problem = store_problem(folder)

    assert problem.code is Code.TRUST_STORE_INVALID
    assert name in problem.what


def test_a_pipe_in_a_store_is_not_waited_for(folder: Path) -> None:
    os.mkfifo(store(folder) / "pipe")

    assert store_problem(folder).code is Code.TRUST_STORE_INVALID


def test_missing_and_empty_stores_say_what_to_do(folder: Path) -> None:
    """S8."""
    (store(folder) / "acme.crt").unlink()
    assert "missing or empty" in store_problem(folder).what
    store(folder).rmdir()
    assert "missing or empty" in store_problem(folder).what
    assert store_problem(folder).code is Code.TRUST_STORE_MISSING
    with pytest.raises(TrustStoreMissingError, match="enforcer trust add --type ca"):
        list(read_store(folder / "truststore" / "x509", ACME))


def test_a_store_of_too_many_certificates_is_refused_early(folder: Path) -> None:
    for number in range(11):
        (store(folder) / f"{number}.pem").write_bytes(pems()[2] * 100)

    assert "more than 1000" in store_problem(folder).what


def test_a_bad_reload_keeps_the_last_good_policy_and_says_why(folder: Path) -> None:
    source = KeptPolicy()
    with pytest.raises(PolicyMissingError):
        source.current()
    good = source.reload(lambda: load_policy(folder))

    (folder / "trustpolicy.json").write_bytes(b"{}")
    with pytest.raises(PolicyInvalidError):
        source.reload(lambda: load_policy(folder))
    assert source.current() is good
    assert _code(source) is Code.POLICY_INVALID

    (folder / "trustpolicy.json").write_bytes(policy("next"))
    assert source.reload(lambda: load_policy(folder)) is source.current()
    assert _code(source) is None
    assert source.current().policy.trusts[0].name == "next"


def _code(source: KeptPolicy) -> Code | None:
    return source.problem.code if source.problem else None


def test_a_policy_that_is_being_written_is_never_half_believed(folder: Path) -> None:
    """T-PF-2: an editor that writes in place, in pieces, while we reload."""
    path, stop = folder / "trustpolicy.json", threading.Event()
    versions = [policy("short"), policy("long", "ca:other", padding=5000)]
    path.write_bytes(versions[0])

    def scribble() -> None:
        while not stop.is_set():
            for raw in versions:
                with path.open("r+b", buffering=0) as file:
                    for start in range(0, len(raw), 512):
                        file.seek(start)
                        file.write(raw[start : start + 512])
                    file.truncate(len(raw))

    source = KeptPolicy()
    source.reload(lambda: load_policy(folder))
    writer = threading.Thread(target=scribble)
    writer.start()
    seen = set()
    for _ in range(20_000 if SOAK else 500):
        try:
            source.reload(lambda: load_policy(folder))
        except EnforcerError:
            assert source.problem is not None
        statement = source.current().policy.trusts[0]
        seen.add((statement.name[:5].rstrip("x"), str(statement.trust_stores[0])))
    stop.set()
    writer.join()

    assert seen <= {("short", "ca:acme"), ("long", "ca:other")}


def vectors(tmp_path: Path) -> list[Path]:
    unpack = ["tar", "-xzf", str(VECTORS), "-C", str(tmp_path), "--no-same-owner"]
    subprocess.run([*unpack, "--wildcards", "*fs/*"], check=True)
    return sorted((tmp_path / "fs").iterdir())


def test_the_vectors_about_files_are_judged_as_the_specification_says(
    tmp_path: Path,
) -> None:
    """Group `fs` of the Notary vectors; its links need a real file system."""
    judged = []
    for vector in vectors(tmp_path):
        case = json.loads((vector / "case.json").read_text())
        allowed = _judge(vector, case["scope"])
        if case["expect"] != "either":
            assert allowed == (case["expect"] == "accept"), case
            judged.append(vector.name)
    assert len(judged) >= 7
    shutil.rmtree(tmp_path / "fs")


def _judge(vector: Path, scope: str) -> bool:
    try:
        force = load_policy(vector / "config" / "notation", trusted=False)
    except EnforcerError:
        return False
    with open_layout(vector / "layout", archive=False) as layout:
        target = layout.find()
        cache = CarriedSignatures(layout.collect())
    subject = artifact_subject(scope, (ImageName(scope, scope),), target)
    clock = FixedClock(VECTORS_AT)
    weigher = Weigher(rules=HostRules(), cache=cache, clock=clock)
    return weigher.weigh(subject, force).allowed


def test_marks_change_with_what_they_are_of_and_cost_no_walk(tmp_path: Path) -> None:
    """They are looked at four times a second, over a cache of any size."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    (folder / "deep").mkdir()
    seen = [marks((folder, file))]
    for change in (
        file.touch,
        lambda: file.write_text("more"),
        lambda: (folder / "entry").touch(),
        lambda: (folder / "entry").rename(folder / "other"),
        lambda: (folder / "other").unlink(),
        lambda: shutil.rmtree(folder),
    ):
        change()
        seen.append(marks((folder, file)))

    assert all(len(one) == 2 for one in seen)
    assert len(set(seen)) == len(seen)

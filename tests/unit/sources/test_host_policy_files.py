"""`policy.d` and the host's trust stores: written by root alone, whole, and watched."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError
from enforcer.core.host_policy import HostPolicy
from enforcer.core.policy import PolicyInvalidError
from enforcer.core.statement import StoreName, StoreType
from enforcer.files import FileNotTrustedError
from enforcer.ports import PolicyInForce, PolicyMissingError
from enforcer.sources.trust import fingerprint, load_host_policy
from enforcer.sources.trust.host import MAX_FILE_BYTES, MAX_FILES
from enforcer.sources.trust.kept import MAX_WATCHED
from tests.unit.sources.signed import pems

ACME = StoreName(StoreType.CA, "acme")
SIGNERS = """apiVersion: enforcer/v1
signers:
  acme: {x509: {trustStores: ["ca:acme"], identities: ["*"]}}
"""
DEMANDS = """apiVersion: enforcer/v1
always: acme
statements:
  - {name: all, scopes: ["*"], require: acme}
"""
ONLY_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two owners")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy in two drop-ins; its trust stores are in `x509`, beside it."""
    place = tmp_path / "policy.d"
    place.mkdir()
    (place / "10-signers.yaml").write_text(SIGNERS)
    (place / "20-demands.yaml").write_text(DEMANDS)
    store(place).mkdir(parents=True)
    (store(place) / "acme.crt").write_bytes(pems("acme")[2])
    return place


def trust_dir(folder: Path) -> Path:
    return folder.parent / "x509"


def store(folder: Path) -> Path:
    return trust_dir(folder) / "ca" / "acme"


def load(place: Path, *, trusted: bool = True) -> PolicyInForce:
    return load_host_policy(place, trust_dir(place), trusted=trusted)


def host_policy(force: PolicyInForce) -> HostPolicy:
    assert isinstance(force.policy, HostPolicy)
    return force.policy


def invalid(place: Path, *, trusted: bool = True) -> PolicyInvalidError:
    with pytest.raises(PolicyInvalidError) as caught:
        load(place, trusted=trusted)
    assert caught.value.code is Code.POLICY_INVALID
    return caught.value


# -- loading ------------------------------------------------------------------------


def test_drop_ins_and_stores_are_loaded_together(folder: Path) -> None:
    force = load(folder)

    policy = host_policy(force)
    assert list(policy.signers) == ["acme"]
    assert [demand.name for demand in policy.statements] == ["all"]
    assert policy.statements[0].where == f"{folder}/20-demands.yaml:4"
    assert len(force.stores.get(ACME).certificates) == 1
    assert policy.warnings == ()


def test_a_single_file_is_a_policy_for_whoever_asks_what_if(tmp_path: Path) -> None:
    path = tmp_path / "mine"  # whatever it is called: somebody named it
    path.write_text(SIGNERS + DEMANDS.partition("\n")[2])

    assert list(host_policy(load(path, trusted=False)).signers) == ["acme"]


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("place", ["none", "empty", "hidden", "other names"])
def test_a_folder_without_a_policy_is_said_to_be_none(
    tmp_path: Path, place: str, *, trusted: bool
) -> None:
    """Not an empty policy: there is nothing to say yes by."""
    found = tmp_path / place
    names = {"hidden": ".policy.yaml", "other names": "policy.yml"}
    if place != "none":
        found.mkdir()
    if place in names:
        (found / names[place]).write_text(SIGNERS)

    with pytest.raises(PolicyMissingError) as caught:
        load(found, trusted=trusted)

    assert str(caught.value) == (
        f"there is no policy in {found}. Put a *.yaml file there (the README has one), "
        "or name `notationConfig: DIR` in enforcer.yaml. [ENF-1201]"
    )


def test_what_is_not_read_is_said_unless_it_is_hidden(folder: Path) -> None:
    """A statement in `prod.yml` that nobody reads must not go unnoticed."""
    for name in ("30-more.yml", "40-more.yaml.bak", "README", ".swp", ".x.yaml"):
        (folder / name).write_text("not a policy")
    (folder / "old").mkdir()

    assert host_policy(load(folder)).warnings == tuple(
        f"{folder / name} is not read"
        for name in ("30-more.yml", "40-more.yaml.bak", "README", "old")
    )


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize("how", ["link", "dangling", "pipe", "folder", "huge"])
def test_every_drop_in_must_be_a_file_of_reasonable_size(
    folder: Path, how: str, *, trusted: bool
) -> None:
    """Also one beside good ones: a policy is read whole, or not at all."""
    path = folder / "30-more.yaml"
    real = folder.parent / "real.yaml"
    real.write_text("apiVersion: enforcer/v1\n")
    make: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(real),
        "dangling": lambda: path.symlink_to("nowhere"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "huge": lambda: path.write_bytes(b"#" * (MAX_FILE_BYTES + 1)),
    }
    make[how]()

    assert str(path) in invalid(folder, trusted=trusted).what


def test_a_policy_that_is_a_link_is_refused(folder: Path) -> None:
    """A folder for the daemon, a single file for whoever asks."""
    link = folder.parent / "link"
    link.symlink_to(folder)
    with pytest.raises(FileNotTrustedError, match="link is not a folder"):
        load(link)

    link.unlink()
    link.symlink_to(folder / "10-signers.yaml")
    assert "symbolic link" in invalid(link, trusted=False).what


def test_the_number_of_files_is_bounded(folder: Path) -> None:
    for number in range(MAX_FILES - 2):
        (folder / f"{number:03}.yaml").write_text("apiVersion: enforcer/v1\n")
    assert list(host_policy(load(folder)).signers) == ["acme"]

    (folder / "one-more.yaml").write_text("apiVersion: enforcer/v1\n")

    assert invalid(folder).what == (
        f"{folder} holds {MAX_FILES + 1} files, more than {MAX_FILES}"
    )


@pytest.mark.parametrize("name", ["..", ".", "10-signers.yaml", "20-demands.yaml"])
@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_nobody_else_may_change_the_policy(folder: Path, name: str, mode: int) -> None:
    """Neither a file, nor the folder, nor exchange the folder for another."""
    path = folder / name
    path.chmod(path.stat().st_mode | mode)

    with pytest.raises(FileNotTrustedError, match="can be written by group or others"):
        load(folder)
    assert host_policy(load(folder, trusted=False)).signers


@ONLY_ROOT
@pytest.mark.parametrize("name", [".", "20-demands.yaml"])
def test_nobody_else_may_own_the_policy(folder: Path, name: str) -> None:
    os.chown(folder / name, 12345, 0)

    with pytest.raises(FileNotTrustedError, match="belongs to uid 12345, not to root"):
        load(folder)
    assert host_policy(load(folder, trusted=False)).signers


def test_every_problem_of_every_file_is_named_at_once(folder: Path) -> None:
    """With its file and line: whoever mends one wants to know of the others."""
    (folder / "10-signers.yaml").write_text(SIGNERS + "  acme: {}\nexpiri: now\n")
    (folder / "20-demands.yaml").write_text(DEMANDS.replace("acme}", "nobody}"))
    (folder / "30-broken.yaml").write_text("apiVersion: [\n")
    (folder / "40-empty.yaml").write_text("")

    error = invalid(folder)

    places = [problem.partition(": ")[0] for problem in error.problems]
    assert sorted(places) == [
        f"{folder}/10-signers.yaml:4",
        f"{folder}/10-signers.yaml:5",
        f"{folder}/20-demands.yaml:4",
        f"{folder}/30-broken.yaml is not YAML",
        f"{folder}/40-empty.yaml:1",
    ]
    assert all(problem in error.what for problem in error.problems)
    assert error.what.startswith("the host policy has 5 problems: ")


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"\0", b"a: &x [*x]", b"!!python/x {}"])
def test_hostile_bytes_are_a_problem_of_their_file(folder: Path, raw: bytes) -> None:
    (folder / "30-more.yaml").write_bytes(raw)

    problems = invalid(folder).problems

    assert problems
    assert all(p.startswith(f"{folder}/30-more.yaml") for p in problems)


@pytest.mark.parametrize(
    ("how", "code"),
    [
        ("missing", Code.TRUST_STORE_MISSING),
        ("empty", Code.TRUST_STORE_MISSING),
        ("junk", Code.TRUST_STORE_INVALID),
        ("link", Code.TRUST_STORE_INVALID),
        ("mode", Code.FILE_NOT_TRUSTED),
        ("mode above", Code.FILE_NOT_TRUSTED),
    ],
)
def test_a_store_that_cannot_be_used_fails_only_who_names_it(
    folder: Path, how: str, code: Code
) -> None:
    """The policy itself is in force: other signers are not spoilt."""
    certificate = store(folder) / "acme.crt"
    spoil: dict[str, Callable[[], object]] = {
        "missing": lambda: store(folder).rename(folder.parent / "gone"),
        "empty": certificate.unlink,
        "junk": lambda: (store(folder) / "README").write_text("x"),
        "link": lambda: (store(folder) / "b.crt").symlink_to(certificate),
        "mode": lambda: certificate.chmod(0o666),
        "mode above": lambda: store(folder).parent.chmod(0o777),
    }
    spoil[how]()

    force = load(folder)

    with pytest.raises(EnforcerError) as caught:
        force.stores.get(ACME)
    assert caught.value.code is code
    assert host_policy(force).signers


def test_a_policy_is_called_by_what_it_says_not_by_where_it_lies(
    folder: Path, tmp_path: Path
) -> None:
    """Two hosts with the same files show the same digest; any change shows another."""
    copy = tmp_path / "elsewhere" / "policy.d"
    copy.mkdir(parents=True)
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    first = load(folder).policy.digest
    assert load(copy).policy.digest == first

    digests = {first}
    (copy / "20-demands.yaml").write_text(DEMANDS + "# changed\n")
    digests.add(load(copy).policy.digest)
    (copy / "20-demands.yaml").rename(copy / "30-demands.yaml")
    digests.add(load(copy).policy.digest)
    (copy / "40-more.yaml").write_text("apiVersion: enforcer/v1\n")
    digests.add(load(copy).policy.digest)

    assert len(digests) == 4


# -- watching -----------------------------------------------------------------------

CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda f: (f / "20-demands.yaml").write_text(DEMANDS + "#"),
    "same size": lambda f: (f / "20-demands.yaml").write_text(
        DEMANDS.replace("name: all", "name: any")
    ),
    "same again": lambda f: (f / "20-demands.yaml").write_text(DEMANDS),
    "mode": lambda f: (f / "20-demands.yaml").chmod(0o646),
    "mode of the folder": lambda f: f.chmod(0o777),
    "rename": lambda f: (f / "20-demands.yaml").rename(f / "30-demands.yaml"),
    "added": lambda f: (f / "30-more.yaml").write_text(""),
    "removed": lambda f: (f / "20-demands.yaml").unlink(),
    "replaced": lambda f: replaced(f / "20-demands.yaml"),
    "a link": lambda f: linked(f / "20-demands.yaml"),
    "all gone": lambda f: f.rename(f.parent / "gone"),
    "certificate added": lambda f: (store(f) / "b.crt").write_bytes(b""),
    "store gone": lambda f: store(f).rename(store(f).parent / "acmf"),
}


def replaced(path: Path) -> None:
    """As editors do, keeping size and times: another file under the same name."""
    status = path.stat()
    other = path.with_name(".new")
    other.write_text(path.read_text().replace("name: all", "name: any"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.rename(path)
    assert path.stat().st_size == status.st_size


def linked(path: Path) -> None:
    path.rename(path.parent.parent / "real")
    path.symlink_to("../real")


@pytest.mark.parametrize("change", CHANGES)
def test_every_kind_of_change_changes_the_fingerprint(
    folder: Path, change: str
) -> None:
    """Else a policy that was tightened would not be in force until somebody reloads."""
    places = (folder, trust_dir(folder), folder.parent / "enforcer.yaml")
    before = fingerprint(places)
    assert fingerprint(places) == before

    CHANGES[change](folder)

    assert fingerprint(places) != before


@pytest.mark.parametrize("how", ["replaced", "in place"])
def test_a_file_of_the_same_size_and_time_is_another_one(
    folder: Path, how: str
) -> None:
    """Of the file alone, whose folder may not tell; touch(1) can set its time."""
    path = folder / "20-demands.yaml"
    status, before = path.stat(), fingerprint((path,))

    if how == "replaced":
        replaced(path)
    else:
        CHANGES["same size"](folder)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert fingerprint((path,)) != before


def test_a_file_that_appears_where_there_was_none_is_seen(tmp_path: Path) -> None:
    places = (tmp_path / "enforcer.yaml", tmp_path / "policy.d")
    before = fingerprint(places)

    (tmp_path / "enforcer.yaml").write_text("")
    with_file = fingerprint(places)
    (tmp_path / "policy.d").mkdir()

    assert len({before, with_file, fingerprint(places)}) == 3


def test_a_change_behind_a_link_to_a_folder_is_seen(
    folder: Path, tmp_path: Path
) -> None:
    """Trust stores may lie elsewhere; the loader follows such a link, too."""
    trust_dir(folder).rename(tmp_path / "shared")
    trust_dir(folder).symlink_to("shared")
    assert load(folder).stores.get(ACME).certificates
    before = fingerprint((trust_dir(folder),))

    (tmp_path / "shared" / "ca" / "acme" / "b.crt").write_bytes(b"")

    assert fingerprint((trust_dir(folder),)) != before


@pytest.mark.parametrize("name", ["missing", "a/b/c", "\0", "x" * 300, "pipe", "mode"])
def test_what_cannot_be_read_is_no_exception(tmp_path: Path, name: str) -> None:
    """The watcher lives as long as the daemon."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "mode").mkdir(mode=0)
    (tmp_path / "a").write_text("a file in place of a folder")

    assert len(fingerprint((tmp_path / name,))) == 1


def test_links_in_a_circle_end(folder: Path) -> None:
    """Two of them in one folder are 2 ** 40 paths before the kernel says no."""
    for name in ("a", "b"):
        (folder / name).symlink_to(folder)
    (folder / "self").symlink_to("self")

    assert len(fingerprint((folder,))) == MAX_WATCHED


@contextlib.contextmanager
def deep(place: Path, levels: int) -> Iterator[None]:
    """Folders in folders; pytest's own cleaning up would recurse too far."""
    made = [place]
    try:
        for _ in range(levels):
            made.append(made[-1] / "d")
            made[-1].mkdir()
        yield
    finally:
        for path in reversed(made[1:]):
            path.rmdir()


def test_folders_in_folders_end_as_well(folder: Path) -> None:
    """Deeper than Python may recurse."""
    with deep(folder, 1500):
        assert len(fingerprint((folder,))) == 1500 + 3


def test_a_crowded_folder_is_bounded_and_hides_nothing_else(folder: Path) -> None:
    """A policy.d that is a checkout has thousands of objects in its .git."""
    objects = folder / ".git" / "objects"
    objects.mkdir(parents=True)
    for number in range(20_000):
        (objects / str(number)).touch()
    places = (folder, trust_dir(folder))

    before = fingerprint(places)
    (store(folder) / "b.crt").write_bytes(b"")
    with_store = fingerprint(places)
    (folder / "20-demands.yaml").chmod(0o600)

    assert len(before) < MAX_WATCHED + 10
    assert len({before, with_store, fingerprint(places)}) == 3

"""`enforcer trust remove`: nobody loses an anchor unawares, and nothing else goes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from enforcer.core.certificate import key_digest, parse_certificate
from enforcer.core.digest import Digest
from enforcer.core.pem import parse_pem_certificates
from tests.unit.cli.host import SCOPE, Host
from tests.unit.cli.test_cli_policy import policy_d, write
from tests.unit.sources.signed import compact, pems

IN_FORCE = "a running enforcerd puts it in force within a second"


def der(name: str) -> bytes:
    (found,) = parse_pem_certificates(pems(name)[2], what=name, max_count=1)
    return found


def key(name: str) -> str:
    return str(key_digest(parse_certificate(der(name), what=name)))


@pytest.fixture
def store(host: Host) -> Path:
    """The store that the host's policy names: acme and wabbit are in it."""
    host.trust("wabbit")
    return host.notation / "truststore" / "x509" / "ca" / "acme"


@pytest.fixture
def ours(host: Host) -> Path:
    """The stores of the same host with a policy of its own: acme, wabbit, unused."""
    host.settings()
    write(policy_d(host) / "policy.yaml")
    stores = host.root / "config" / "trust" / "x509" / "ca"
    for name in ("acme", "wabbit"):
        (stores / name).mkdir(parents=True)
        (stores / name / f"{name}.crt").write_bytes(pems(name)[2])
    (stores / "unused").mkdir()
    (stores / "unused" / "again.crt").write_bytes(pems("acme")[2])
    return stores


def remove(*words: str, store: str = "acme") -> list[str]:
    return ["trust", "remove", "--store", store, *words]


def names(store: Path) -> list[str]:
    return sorted(path.name for path in store.iterdir())


def test_a_certificate_that_was_removed_vouches_no_more(
    host: Host, store: Path
) -> None:
    host.sign("--write-layout")
    assert host.verify("--scope", SCOPE).status == 0

    done = host.run(*remove("acme.crt"))

    assert (done.status, done.err) == (0, "")
    assert done.out.splitlines() == [
        "to be removed: acme.crt  CN=acme,O=enforcer test root,ST=WA,C=US",
        "ca:acme: the policy needs it: default",
        "ca:acme keeps 1 certificate(s): what none of these vouches for is refused",
        f"no longer trusted in ca:acme: {store / 'acme.crt'}",
        IN_FORCE,
    ]
    assert names(store) == ["wabbit.crt"]
    assert host.verify("--scope", SCOPE).status == 1
    add = ["trust", "add", "--store", "acme", str(host.root / "root.crt")]
    (host.root / "root.crt").write_bytes(pems("acme")[2])
    assert host.run(*add).status == 0
    assert host.verify("--scope", SCOPE).status == 0


@pytest.mark.parametrize("which", ["key", "certificate"])
def test_a_fingerprint_names_every_file_that_holds_it(
    host: Host, store: Path, which: str
) -> None:
    """Whoever takes a stolen key away wants it gone, under whatever name."""
    (store / "copy.crt").write_bytes(der("acme"))
    listed = host.run("trust", "list", "-o", "json").json
    assert key("acme") in {one["key"] for one in listed}
    named = {"key": key("acme"), "certificate": str(Digest.of(der("acme")))}

    done = host.run(*remove(named[which]), "-o", "json")

    assert done.status == 0
    assert names(store) == ["wabbit.crt"]
    assert done.json == {
        "removed": True,
        "store": "ca:acme",
        "files": [str(store / "acme.crt"), str(store / "copy.crt")],
        "certificates": [one for one in listed if one["key"] == key("acme")],
        "left": 1,
        "signers": [],
        "statements": ["default"],
        "policyProblem": "",
        "stillTrusted": [],
    }


def test_what_is_trusted_elsewhere_all_the_same_is_said(host: Host, ours: Path) -> None:
    """By another name, in this store or another: removing one is not enough."""
    (ours / "acme" / "copy.crt").write_bytes(der("acme"))

    done = host.run(*remove("acme.crt"))

    assert done.status == 0
    assert "the same key is still trusted in ca:acme: copy.crt\n" in done.out
    assert "the same key is still trusted in ca:unused: again.crt\n" in done.out
    assert names(ours / "acme") == ["copy.crt"]


def test_emptying_a_store_that_is_needed_is_asked_twice(host: Host, ours: Path) -> None:
    refused = host.run(*remove("acme.crt"))

    assert refused.status == 4
    assert refused.err == (
        'enforcer: trust store "ca:acme" would be empty; the policy needs it: '
        "always, production, both (by signer acme). Nothing was changed. Add its next "
        "certificate first (`enforcer trust add`), or add --yes. [ENF-1203]\n"
    )
    assert "ca:acme keeps no certificate: all that needs it is refused" in refused.out
    assert names(ours / "acme") == ["acme.crt"]
    quiet = host.run(*remove("acme.crt"), "-o", "json")
    assert (quiet.status, quiet.out) == (4, "")
    assert names(ours / "acme") == ["acme.crt"]
    shown = host.run(*remove("acme.crt", "--dry-run"), "-o", "json")
    assert (shown.status, shown.json["removed"], shown.json["left"]) == (0, False, 0)
    assert shown.json["signers"] == ["acme"]
    assert shown.json["statements"] == ["always", "production", "both"]
    assert names(ours / "acme") == ["acme.crt"]

    assert host.run(*remove("acme.crt", "--yes")).status == 0

    assert names(ours / "acme") == []
    told = host.run("policy", "check")
    assert (told.status, '"ca:acme" is missing or empty' in told.out) == (4, True)


def test_a_dry_run_says_it_all_and_changes_nothing(host: Host, ours: Path) -> None:
    done = host.run(*remove("wabbit.crt", "--dry-run", store="wabbit"))

    assert done.status == 0
    assert done.out.splitlines() == [
        "to be removed: wabbit.crt  CN=wabbit,O=enforcer test root,ST=WA,C=US",
        "ca:wabbit: the policy needs it: always, registry, both (by signer wabbit)",
        "ca:wabbit keeps no certificate: all that needs it is refused",
        "nothing was changed",
    ]
    assert names(ours / "wabbit") == ["wabbit.crt"]


def test_a_signer_in_no_statement_counts_as_need(host: Host, ours: Path) -> None:
    """`policy check` and `status` want its store, too."""
    one = {"name": "one", "scopes": ["*"], "require": "wabbit"}
    write(policy_d(host) / "policy.yaml", always="wabbit", statements=[one])

    done = host.run(*remove("acme.crt"))

    assert (done.status, names(ours / "acme")) == (4, ["acme.crt"])
    assert "the policy needs it: in no statement (by signer acme)" in done.out


def test_a_store_nobody_needs_may_be_emptied(host: Host, ours: Path) -> None:
    done = host.run(*remove("again.crt", store="unused"))

    assert done.status == 0
    assert "ca:unused: nothing in the policy needs it\n" in done.out
    assert names(ours / "unused") == []


@pytest.mark.parametrize("spoiled", ["missing", "junk", "writable"])
def test_without_a_policy_that_can_be_read_nobody_knows(
    host: Host, ours: Path, spoiled: str
) -> None:
    """A running daemon may hold the last good one, so that it is asked twice."""
    policy = policy_d(host) / "policy.yaml"
    if spoiled == "missing":
        policy.unlink()
    elif spoiled == "junk":
        policy.write_text("statements: {")
    else:
        policy.chmod(0o666)

    done = host.run(*remove("again.crt", store="unused"))

    assert (done.status, names(ours / "unused")) == (4, ["again.crt"])
    assert "nobody knows who needs it, without a policy: " in done.err
    assert str(policy_d(host)) in done.err
    assert host.run(*remove("again.crt", "--yes", store="unused")).status == 0
    assert names(ours / "unused") == []


def test_all_are_found_before_one_is_removed(host: Host, store: Path) -> None:
    done = host.run(*remove("acme.crt", "none.crt", "--yes"))

    assert (done.status, done.out) == (3, "")
    assert done.err == (
        'enforcer: there is no "none.crt" in ca:acme. `enforcer trust list` shows '
        "what there is. [ENF-1105]\n"
    )
    assert names(store) == ["acme.crt", "wabbit.crt"]
    both = remove("acme.crt", key("acme"), "acme.crt", "wabbit.crt")
    assert host.run(*both).status == 4
    assert host.run(*both, "--yes").status == 0
    assert names(store) == []
    assert host.run(*remove("acme.crt", "--yes")).status == 3


@pytest.mark.parametrize(
    "words",
    [("--store", "none"), ("--store", "acme", "--type", "tsa")],
    ids=["name", "type"],
)
def test_a_store_that_is_not_there_is_named(
    host: Host, store: Path, words: tuple[str, ...]
) -> None:
    done = host.run("trust", "remove", *words, "acme.crt", "--yes")

    assert (done.status, done.out) == (4, "")
    assert "there is no trust store" in done.err
    assert "`enforcer trust list` shows what there is. [ENF-1203]" in done.err
    assert names(store) == ["acme.crt", "wabbit.crt"]


HOSTILE = {
    "above": "../acme/acme.crt",
    "absolute": "/etc/passwd",
    "folder": "keys/acme.crt",
    "slash": "/",
    "newline": "acme.crt\n",
    "escape": "\033[31m",
    "bytes": "\udcff",
    "override": "\u202e",
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_name_no_file_has_in_a_store_is_usage(
    host: Host, store: Path, how: str
) -> None:
    (host.root / "notation" / "truststore" / "x509" / "ca" / "a.crt").touch()
    (store / "\033[31m").write_bytes(pems("acme")[2])
    before = names(store)

    done = host.run(*remove(HOSTILE[how], "--yes"))

    assert (done.status, done.out, names(store)) == (2, "", before)
    assert "is not the name of a file in a store" in done.err
    assert all(" " <= character <= "~" for character in done.err.rstrip("\n"))


@pytest.mark.parametrize("name", ["", ".", "..", "sub", "sha256:", "SHA256:x", "*"])
def test_what_is_no_certificate_is_not_found(
    host: Host, store: Path, name: str
) -> None:
    (store / "sub").mkdir()

    done = host.run(*remove(name, "--yes"))

    assert (done.status, done.out) == (3, "")
    assert names(store) == ["acme.crt", "sub", "wabbit.crt"]


@pytest.mark.parametrize("name", ["..", "a/b", "", "a b", "\033"])
def test_a_store_cannot_be_anywhere_else(host: Host, name: str) -> None:
    assert host.run(*remove("acme.crt", store=name)).status == 1


def test_one_of_a_bundle_is_not_removed_with_the_others(
    host: Host, store: Path
) -> None:
    (store / "bundle.pem").write_bytes(pems("wabbit")[2] + pems("other")[2])
    before = names(store)

    done = host.run(*remove(key("wabbit"), "--yes"))

    assert (done.status, names(store)) == (3, before)
    assert "bundle.pem holds 2 certificates, others than this, too" in done.err
    assert host.run(*remove("bundle.pem")).status == 0
    assert names(store) == ["acme.crt", "wabbit.crt"]


def test_what_spoils_a_store_can_be_removed(host: Host, store: Path) -> None:
    """It is what `trust list` and the errors about such a store ask for."""
    (store / "README").write_text("hello")
    (store / "link").symlink_to(host.root / "acme.crt")
    (store / "open.crt").write_bytes(pems("acme")[2])
    (store / "open.crt").chmod(0o666)
    host.sign("--write-layout")
    assert host.verify("--scope", SCOPE).status == 4

    one = host.run(*remove("README"))
    assert (one.status, "to be removed: README  no certificate\n" in one.out) == (
        0,
        True,
    )
    assert "link: it is a symbolic link" in one.err
    assert "open.crt can be written by group or others" in one.err
    assert host.run(*remove("link", "open.crt")).status == 0

    assert names(store) == ["acme.crt", "wabbit.crt"]
    assert (host.root / "acme.crt").exists()
    assert host.verify("--scope", SCOPE).status == 0


def test_what_cannot_be_used_is_no_certificate_that_is_left(
    host: Host, store: Path
) -> None:
    (store / "wabbit.crt").chmod(0o666)

    done = host.run(*remove("acme.crt"))

    assert (done.status, names(store)) == (4, ["acme.crt", "wabbit.crt"])
    assert "ca:acme keeps no certificate" in done.out


def test_a_store_others_can_change_is_left_alone(host: Host, store: Path) -> None:
    """What they put there in its place is not what was looked at."""
    store.chmod(0o777)
    done = host.run(*remove("wabbit.crt", "--yes"))
    assert (done.status, "[ENF-1205]" in done.err) == (4, True)

    store.chmod(0o755)
    aside = store.rename(store.with_name("aside"))
    store.symlink_to(aside)
    assert host.run(*remove("wabbit.crt", "--yes")).status == 4
    assert names(aside) == ["acme.crt", "wabbit.crt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="giving folders away needs root")
def test_a_store_of_somebody_else_is_left_alone(host: Host, store: Path) -> None:
    os.chown(store, 65534, 65534)

    done = host.run(*remove("wabbit.crt", "--yes"))

    assert (done.status, "belongs to uid 65534" in done.err) == (4, True)
    assert names(store) == ["acme.crt", "wabbit.crt"]


def test_what_cannot_be_removed_is_said_and_stays(host: Host, store: Path) -> None:
    """On a disk that is read-only after an error, say."""
    fails = ["strace", "-o", "/dev/null", "-e", "inject=unlink,unlinkat:error=EROFS"]
    words = [*fails, sys.executable, "-m", "enforcer", *host.folders()]

    done = subprocess.run(
        [*words, *remove("acme.crt", "wabbit.crt", "--yes")],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 3
    assert f"cannot remove {store}/acme.crt: Read-only file system" in done.stderr
    assert "no longer trusted" not in done.stdout
    assert names(store) == ["acme.crt", "wabbit.crt"]


def test_who_needs_a_store_is_shown_as_text(host: Host, store: Path) -> None:
    host.policy(name="\033[31mred")

    done = host.run(*remove("acme.crt"))

    assert (done.status, "\033" in done.out) == (0, False)
    assert "the policy needs it: \\x1b[31mred\n" in done.out


def test_statements_of_other_stores_need_nothing(host: Host, store: Path) -> None:
    statement = {
        "registryScopes": ["registry.example/other"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:other"],
        "trustedIdentities": ["*"],
    }
    more = {"name": "more", "trustStores": ["ca:other", "ca:acme"]}
    third = {"name": "third", "registryScopes": ["registry.example/third"]}
    (host.notation / "trustpolicy.json").write_bytes(
        compact(
            {
                "version": "1.0",
                "trustPolicies": [
                    statement | {"name": "other"},
                    statement | third | {"trustStores": ["tsa:acme", "ca:x"]},
                    statement | more | {"registryScopes": ["*"]},
                ],
            }
        )
    )

    found = host.run(*remove("acme.crt", "--dry-run"), "-o", "json").json

    assert found["statements"] == ["more"]
    assert names(store) == ["acme.crt", "wabbit.crt"]

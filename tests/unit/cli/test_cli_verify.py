"""`enforcer verify`: what is asked, what is said, and the exit status of each."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from enforcer.core.digest import Digest
from tests.engines.images import layout_to_tar
from tests.unit.cli.host import SCOPE, Host
from tests.unit.sources.signed import AT

CHECKS = [
    "integrity",
    "authenticity",
    "expiry",
    "authenticTimestamp",
    "revocation",
    "userMetadata",
]


def test_a_signed_artifact_is_allowed_an_unsigned_one_is_not(host: Host) -> None:
    denied = host.verify("--scope", SCOPE)
    host.sign("--write-layout")
    allowed = host.verify("--scope", SCOPE)

    assert (denied.status, allowed.status) == (1, 0)
    assert denied.out.startswith("DENIED  ")
    assert "is not signed" in denied.out
    assert "[ENF-1001]" in denied.out
    assert allowed.out.startswith("ALLOWED  ")
    assert '"CN=acme,O=enforcer test,ST=WA,C=US" [ENF-1000]' in allowed.out
    assert "statement  default" in allowed.out
    assert "ok       authenticity" in allowed.out


def test_an_exempt_artifact_is_allowed_by_the_exit_status_too(host: Host) -> None:
    """Scripts look at nothing else."""
    host.settings()
    place = host.root / "config" / "policy.d" / "10.yaml"
    place.parent.mkdir()
    place.write_text(
        'apiVersion: enforcer/v1\nsigners: {acme: {x509: {trustStores: ["ca:acme"], '
        'identities: ["*"]}}}\nalways: acme\nstatements: [{name: all, scopes: ["*"], '
        f"require: acme}}]\nexempt: [{{digest: '{host.digest}', role: sandbox, "
        "reason: pause, until: 2126-01-01}]\n"
    )

    done = host.verify("--scope", SCOPE)

    assert done.out.startswith("ALLOWED  ")
    assert "[ENF-1020]" in done.out
    assert done.status == 0


def test_a_strangers_signature_is_refused_with_every_check(host: Host) -> None:
    host.sign("--write-layout", by="wabbit")

    done = host.verify("--scope", SCOPE)

    assert done.status == 1
    assert "[ENF-1004]" in done.out
    assert "FAILED   authenticity" in done.out


def test_the_json_of_a_decision_is_the_documented_one(host: Host) -> None:
    """Design section 7: programs read it."""
    host.sign("--write-layout")

    found = host.verify("--scope", SCOPE, "-o", "json").json

    assert list(found) == [
        "allowed", "code", "message", "reference", "subject", "statement",
        "signatures", "whatif", "id", "duration_ms",
    ]  # fmt: skip
    assert found["allowed"] is True
    assert found["code"] == "ENF-1000"
    assert found["subject"] == {"manifest": str(host.digest)}
    assert found["statement"] == "default"
    assert found["whatif"] is True
    (report,) = found["signatures"]
    assert list(report) == [
        "digest",
        "format",
        "signer",
        "key",
        "signed",
        "vouchesFor",
        "checks",
    ]
    assert report["format"] == "jws"
    assert [check["name"] for check in report["checks"]] == CHECKS
    for check in report["checks"]:
        assert {"name", "result", "action", "message"} <= set(check)


def test_a_denial_is_json_too(host: Host) -> None:
    done = host.verify("--scope", SCOPE, "-o", "json")

    assert done.status == 1
    assert done.json["allowed"] is False
    assert done.json["code"] == "ENF-1001"
    assert done.json["signatures"] == []


def test_a_layout_is_judged_under_a_name(host: Host) -> None:
    """Whoever made it wrote its names; the full one is taken where it is recorded."""
    recorded = host.verify("-o", "json")
    assert recorded.status == 1
    assert recorded.json["whatif"] is False

    index = host.layout / "index.json"
    index.write_text(index.read_text().replace("io.containerd.image.name", "x"))
    nameless = host.verify()
    assert nameless.status == 2
    assert "add --scope" in nameless.err

    index.write_text(index.read_text().replace('"1"', '"registry.example/app:1"'))
    assert host.verify().status == 1


def test_the_scope_selects_the_statement(host: Host) -> None:
    host.policy(scope=SCOPE)
    host.sign("--write-layout")

    assert host.verify("--scope", SCOPE).status == 0
    other = host.verify("--scope", "registry.example/other")
    assert (other.status, "[ENF-1002]" in other.out) == (1, True)
    assert host.verify("--scope", "Not A Name").status == 2


def test_targets_name_a_tag_or_a_digest(host: Host) -> None:
    scope = ("--scope", SCOPE)
    host.sign("--write-layout")
    archive = layout_to_tar(host.layout, host.root / "a.tar")

    for target in (
        f"{host.target}:1",
        f"{host.target}@{host.digest}",
        f"oci-archive:{archive}",
        f"oci-archive:{archive}:1",
        f"oci-archive:{archive}:1@{host.digest}",
    ):
        assert host.run("verify", target, *scope).status == 0, target
    for target, status in (
        (f"{host.target}:2", 3),
        (f"{host.target}@{Digest.of(b'')}", 3),
        (f"{host.target}@sha256:abc", 2),
        (f"{host.target}:", 2),
        ("oci-layout:/none", 3),
        ("oci-archive:/none", 3),
        ("oci-archive:/etc/passwd", 1),
        (f"oci-layout:{host.root}", 3),
        ("oci-layout:", 2),
        ("what:ever", 2),
        ("plain", 2),
        ("", 2),
    ):
        done = host.run("verify", target, *scope)
        assert (done.status, bool(done.err)) == (status, True), target


def test_signatures_of_the_cache_count_for_a_layout_only_when_asked(
    host: Host,
) -> None:
    host.sign()

    assert host.verify("--scope", SCOPE).status == 1
    assert host.verify("--scope", SCOPE, "--with-cache").status == 0


def test_the_time_can_be_another(host: Host) -> None:
    host.sign("--write-layout", "--expiry", "24h")
    later = AT + timedelta(days=2)

    assert host.verify("--scope", SCOPE).status == 0
    expired = host.verify("--scope", SCOPE, "--at", f"{later:%Y-%m-%dT%H:%M:%SZ}")
    assert "[ENF-1005]" in expired.out
    for text in ("tomorrow", "2026-01-01", "2026-W01-1", ""):
        assert host.verify("--scope", SCOPE, "--at", text).status == 2


def test_metadata_can_be_asked_for(host: Host) -> None:
    host.sign("--write-layout", "-m", "build=7")

    assert host.verify("--scope", SCOPE, "-m", "build=7").status == 0
    assert "[ENF-1011]" in host.verify("--scope", SCOPE, "-m", "build=8").out
    assert host.verify("--scope", SCOPE, "-m", "build").status == 2


def test_only_so_many_signatures_are_looked_at(host: Host) -> None:
    for number in range(3):
        host.sign("--write-layout", "-m", f"n={number}", by="wabbit")

    few = host.verify("--scope", SCOPE, "--max-signatures", "2")

    assert "[ENF-1302]" in few.out
    host.sign("--write-layout")
    # A number means the first of that many as listed, as notation takes it; without
    # one, trusted signers are looked at first.
    assert host.verify("--scope", SCOPE, "--max-signatures", "3").status == 1
    assert host.verify("--scope", SCOPE).status == 0
    for text in ("0", "-1", "x", "1_0", "9" * 30, "٣"):
        assert host.verify("--scope", SCOPE, "--max-signatures", text).status == 2


@pytest.mark.parametrize("level", ["permissive", "audit", "skip"])
def test_laxer_levels_count_only_where_the_host_or_the_asker_allows_them(
    host: Host, level: str
) -> None:
    """Plain `verify` answers as the daemon would."""
    host.policy(level, scope=SCOPE)
    host.sign("--write-layout")
    scope = ("--scope", SCOPE)

    refused = host.verify(*scope)
    assert (refused.status, "[ENF-1206]" in refused.out) == (4, True)
    assert host.verify(*scope, "--notation-config", host.notation).status == 0
    allowed = {"allowLevels": [level]}
    host.settings(notationConfig=str(host.notation), notation=allowed)
    assert host.verify(*scope).status == 0


def test_a_missing_or_broken_policy_is_misconfiguration(host: Host) -> None:
    scope = ("--scope", SCOPE)
    (host.notation / "trustpolicy.json").write_text("{}")
    assert host.verify(*scope).status == 4
    (host.notation / "trustpolicy.json").unlink()
    missing = host.verify(*scope)
    assert (missing.status, "[ENF-1201]" in missing.err) == (4, True)
    assert host.verify(*scope, "--notation-config", "/none").status == 4
    host.settings()
    assert host.verify(*scope).status == 4
    host.settings(typo=1)
    broken = host.verify(*scope)
    assert (broken.status, "[ENF-1207]" in broken.err) == (4, True)


def test_a_trust_store_that_cannot_be_used_is_misconfiguration(host: Host) -> None:
    host.sign("--write-layout")
    store = host.notation / "truststore" / "x509" / "ca" / "acme"
    (store / "junk").touch()
    assert host.verify("--scope", SCOPE).status == 4
    (store / "junk").unlink()
    (store / "acme.crt").unlink()
    empty = host.verify("--scope", SCOPE)
    assert (empty.status, "[ENF-1203]" in empty.out) == (4, True)


def test_files_others_may_change_are_not_believed(host: Host) -> None:
    host.sign("--write-layout")
    host.notation.chmod(0o777)

    refused = host.verify("--scope", SCOPE)

    assert (refused.status, "[ENF-1205]" in refused.err) == (4, True)
    mine = host.verify("--scope", SCOPE, "--notation-config", host.notation)
    assert mine.status == 0


def test_a_damaged_layout_is_refused(host: Host) -> None:
    host.sign("--write-layout")
    for path in (host.layout / "blobs" / "sha256").iterdir():
        path.write_bytes(b"x")

    assert host.verify("--scope", SCOPE).status == 1


def test_a_damaged_cache_is_a_denial_that_says_so(host: Host) -> None:
    host.sign()
    (host.root / "state" / "cache" / "index.db").write_bytes(b"garbage")

    done = host.verify("--scope", SCOPE, "--with-cache", "-o", "json")

    assert done.status == 1
    assert done.json["code"] == "ENF-1401"


def test_engines_that_are_not_there_are_unreachable(host: Host) -> None:
    for target in ("docker:hello", "containerd:hello:1"):
        assert host.run("verify", target).status == 3
    host.settings(notationConfig=str(host.notation), engines=[])
    for target in ("docker:hello", "containerd:hello:1"):
        done = host.run("verify", target)
        assert (done.status, "lists no" in done.err) == (3, True)


def test_colour_is_for_terminals_and_can_be_refused(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """no-color.org; here the output is no terminal at all."""
    assert "\033" not in host.verify("--scope", SCOPE).out

    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        host.run("verify", host.target, "--scope", SCOPE)
        terminal.flush()
        coloured = os.read(master, 10_000)
        monkeypatch.setenv("NO_COLOR", "1")
        host.run("verify", host.target, "--scope", SCOPE)
        terminal.flush()
        plain = os.read(master, 10_000)
    os.close(master)

    assert b"\033[31mDENIED" in coloured
    assert b"\033" not in plain


def test_hostile_names_reach_the_terminal_escaped(host: Host, tmp_path: Path) -> None:
    done = host.run("verify", f"oci-layout:{tmp_path}/\033[31m\n\u202e", "--scope", "a")

    assert done.status == 3
    assert done.err.isascii()
    assert "\033" not in done.err
    assert done.err.count("\n") == 1

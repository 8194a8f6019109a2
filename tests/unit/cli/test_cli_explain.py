"""`enforcer explain`: an image, a decision of the past, a code."""

import pytest

from enforcer.admission import Admission
from enforcer.assembly import admission, assemble, engines, load_policy
from enforcer.audit.log import FileAuditLog
from enforcer.core.record import DecisionRecord
from enforcer.ports import AdmissionRequest
from enforcer.settings import load_settings
from tests.unit.cli.host import Host
from tests.unit.cli.test_cli_policy import ours, write
from tests.unit.sources.signed import compact

__all__ = ["ours"]

REFERENCE = "registry.example/app:1"  # statement production wants acme
UNKNOWN = "0" * 16


@pytest.fixture
def alone(ours: Host) -> Host:
    """A host with a policy and no engine, and an index that records a full name."""
    ours.settings(engines=[])
    return ours


def story(host: Host) -> Admission:
    """What the daemon would judge by."""
    settings = load_settings(*(host.root / n for n in ("config", "state", "run")))
    assembled = assemble(settings)
    assembled.policy.reload(lambda: load_policy(settings))
    return admission(
        assembled, settings, engines(settings), FileAuditLog(settings.audit_dir)
    )


def ask(host: Host) -> DecisionRecord:
    """Have the layout's image judged and recorded, as over gRPC."""
    request = AdmissionRequest("grpc", REFERENCE, str(host.digest))
    return story(host).judge(request, until=float("inf"))


def explain(host: Host, record: DecisionRecord, status: int = 0) -> str:
    done = host.run("explain", record.id)
    assert done.status == status, done.err
    return done.out


def test_a_refusal_of_the_past_is_told_with_what_would_let_it_pass(
    alone: Host,
) -> None:
    alone.sign(by="wabbit")

    record = ask(alone)
    out = explain(alone, record).splitlines()

    where = alone.root / "config" / "policy.d" / "policy.yaml"
    assert out[0] == f"{REFERENCE}   DENIED  ENF-1017 requirement unmet"
    assert out[1] == f"  why        {record.decision.message}"
    took = round(record.duration_ms, 2)  # as it is recorded
    assert f"asked by grpc   {took:.1f} ms   mode enforce" in out[2]
    assert out[2].endswith(record.id)
    assert f"  manifest   {alone.digest}" in out
    assert any(
        line.startswith(f"  rule       production   {where}:")
        and line.endswith("wants acme   scopes registry.example/app")
        for line in out
    )
    assert any(line.startswith("  and        always   ") for line in out)
    assert "    counts for wabbit" in out
    assert sum(line.startswith("    ok ") for line in out) > 1
    assert (
        "  would pass if also signed by: acme (x509 ca:acme, any certificate of it)"
        in out
    )
    assert out[-1] == "  now        the same: DENIED ENF-1017"


def test_what_is_different_now_is_said(alone: Host) -> None:
    alone.sign(by="wabbit")
    record = ask(alone)
    alone.sign()

    assert (
        explain(alone, record)
        .splitlines()[-1]
        .startswith(
            f"  now        different: ALLOWED ENF-1000: {REFERENCE} is signed by "
        )
    )


def test_a_policy_that_was_changed_since_names_nobody(alone: Host) -> None:
    """Who is wanted now was perhaps not wanted then."""
    alone.sign(by="wabbit")
    record = ask(alone)
    write(alone.root / "config" / "policy.d" / "policy.yaml", always="wabbit")

    out = explain(alone, record)

    assert "  would pass if also signed by: whom statement production wants\n" in out
    assert "  policy     another one is there since: sha256:" in out
    assert "different" not in out

    (alone.root / "config" / "policy.d" / "policy.yaml").write_text("{")
    assert "  policy     cannot be used now: " in explain(alone, record)
    assert "  now        cannot be told: " in explain(alone, record)


def test_content_that_is_gone_cannot_be_judged_again(alone: Host) -> None:
    out = explain(alone, ask(alone))

    assert "  signature  none was looked at\n" in out
    assert "would pass if signed by: acme (x509 ca:acme, any certificate of it)" in out
    assert out.endswith(
        "now        cannot be told: that content is not on this host any more\n"
    )


def test_an_allow_is_told_too_and_lacks_nothing(alone: Host) -> None:
    alone.sign()
    record = ask(alone)

    out = explain(alone, record)
    found = alone.run("explain", record.id, "-o", "json").json

    assert out.startswith(f"{REFERENCE}   ALLOWED  ENF-1000 allowed\n")
    assert "would pass" not in out
    assert (found["id"], found["allowed"], found["wouldPass"]) == (record.id, True, "")
    assert found["now"]["code"] == "ENF-1000"
    assert found["policyChanged"] == ""


def test_what_could_not_be_resolved_has_a_cause_all_the_same(alone: Host) -> None:
    """No record of the engine's, no digest: the record says that much."""
    request = AdmissionRequest("grpc", "Bad Name", "sha256:" + "a" * 64)
    record = story(alone).judge(request, until=float("inf"))

    out = explain(alone, record)

    assert out.startswith("Bad Name   DENIED  ENF-1109 reference invalid\n")
    assert "  now        cannot be told: " in out


def test_a_notation_policy_names_whom_its_statement_trusts(host: Host) -> None:
    host.settings(engines=[], notationConfig=str(host.notation))

    out = explain(host, ask(host))

    assert (
        "would pass if signed by: somebody whom it trusts (x509 ca:acme, any "
        "certificate of it)"
    ) in out


@pytest.mark.parametrize("as_json", [False, True])
def test_a_decision_that_is_not_there_is_no_success(
    alone: Host, *, as_json: bool
) -> None:
    ask(alone)

    done = alone.run("explain", UNKNOWN, *(["-o", "json"] if as_json else []))

    assert (done.status, done.out) == (3, "")
    assert f"has no decision {UNKNOWN}" in done.err
    assert "[ENF-2502]" in done.err


def test_a_damaged_log_still_tells_what_is_whole_in_it(alone: Host) -> None:
    """Bytes before it, half a line after it, and a line that only talks about it."""
    record = ask(alone)
    path = alone.root / "state" / "log" / "audit" / "audit.jsonl"
    talk = compact({"id": "x", "reference": record.id})
    path.write_bytes(
        b"\xff\x1b[2J" + record.id.encode() + b"\n" + talk + b"\n"
        + path.read_bytes() + record.id.encode()
    )  # fmt: skip

    assert explain(alone, record).startswith(f"{REFERENCE}   DENIED  ENF-1001")


def test_a_line_of_another_version_is_said_to_be_that(alone: Host) -> None:
    record = ask(alone)
    path = alone.root / "state" / "log" / "audit" / "audit.jsonl"
    path.write_bytes(path.read_bytes().replace(b"ENF-1001", b"ENF-9999"))

    done = alone.run("explain", record.id)

    assert (done.status, "which this version does not know" in done.err) == (1, True)


def test_an_image_is_judged_now(alone: Host) -> None:
    """As by `verify`, with the same exit status."""
    index = alone.layout / "index.json"
    index.write_text(index.read_text().replace("docker.io/library/app:1", REFERENCE))

    refused = alone.run("explain", alone.target)
    alone.sign("--write-layout")
    allowed = alone.run("explain", alone.target)
    found = alone.run("explain", alone.target, "-o", "json").json

    assert (refused.status, allowed.status) == (1, 0), allowed.out
    assert "   DENIED  ENF-1001 unsigned\n" in refused.out
    assert "would pass if signed by: acme (x509 ca:acme" in refused.out
    assert refused.out.endswith(f"  from       {alone.target}\n")
    assert "   ALLOWED  ENF-1000 allowed\n" in allowed.out
    assert (found["target"], found["allowed"]) == (alone.target, True)
    ((signature, (origin,)),) = found["origins"].items()
    assert origin["place"] == "signed on this host"
    line = (
        f"  signature  {signature[:19]} came from {origin['place']} at {origin['at']}"
    )
    assert f"{line}\n" in allowed.out


@pytest.mark.parametrize("what", ["oci-layout:/none", "app:1", "docker:app:1"])
def test_what_is_nowhere_is_unreachable(alone: Host, what: str) -> None:
    assert alone.run("explain", what).status == 3


@pytest.mark.parametrize("what", ["", "\x1b[2J", "enf-0000", "UPPER"])
def test_what_is_nothing_is_usage(alone: Host, what: str) -> None:
    done = alone.run("explain", what)

    assert (done.status, "\x1b" in done.err) == (2, False)


def test_a_code_is_explained_in_any_case(alone: Host) -> None:
    assert alone.run("explain", "enf-1004").out.startswith("ENF-1004  wrong signer\n")


def test_a_denial_in_monitor_mode_is_not_told_as_if_it_had_held(alone: Host) -> None:
    alone.settings(engines=[], mode="monitor")

    assert "DENIED (monitor: it started)" in explain(alone, ask(alone))

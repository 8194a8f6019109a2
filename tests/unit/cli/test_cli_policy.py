"""`enforcer policy`, and a host policy as `verify` and the settings meet it."""

import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from enforcer.assembly import laxities
from enforcer.audit.clock import FixedClock
from enforcer.cli.main import main
from enforcer.core.decide import Decision
from enforcer.core.errors import EnforcerError
from enforcer.core.host_policy import parse_host_policy
from enforcer.core.subject import Content, ImageName, Subject
from enforcer.ports import PolicyInForce
from enforcer.settings import LEVELS, load_settings
from enforcer.weigher import HostRules, Weigher
from tests.unit.cli.host import SCOPE, Host
from tests.unit.core import test_notary_vectors as notary
from tests.unit.sources.signed import compact, pems

DIGEST = "sha256:" + "a" * 64


def x509(store: str) -> dict[str, object]:
    return {"x509": {"trustStores": [f"ca:{store}"], "identities": ["*"]}}


def document(**changes: object) -> dict[str, object]:
    found: dict[str, object] = {
        "apiVersion": "enforcer/v1",
        "signers": {"acme": x509("acme"), "wabbit": x509("wabbit")},
        "always": {"anyOf": ["acme", "wabbit"]},
        "statements": [
            {"name": "production", "scopes": [SCOPE], "require": "acme"},
            {"name": "registry", "scopes": ["registry.example/*"], "require": "wabbit"},
            {
                "name": "both",
                "scopes": ["local/*"],
                "require": {"allOf": ["acme", "wabbit"]},
            },
        ],
    }
    return {k: v for k, v in (found | changes).items() if v is not None}


def write(place: Path, **changes: object) -> Path:
    """Write a policy as people do: with lines."""
    place.parent.mkdir(exist_ok=True)
    place.write_text(yaml.safe_dump(document(**changes), sort_keys=False))
    return place


@pytest.fixture
def ours(host: Host) -> Host:
    """The same host, with a policy of its own instead of Notation's."""
    host.settings()
    write(policy_d(host) / "policy.yaml")
    for name in ("acme", "wabbit"):
        store = host.root / "config" / "trust" / "x509" / "ca" / name
        store.mkdir(parents=True)
        (store / f"{name}.crt").write_bytes(pems(name)[2])
    return host


def policy_d(host: Host) -> Path:
    return host.root / "config" / "policy.d"


# -- check --------------------------------------------------------------------------


def test_check_says_what_a_host_policy_asks(ours: Host) -> None:
    text = ours.run("policy", "check")
    found = ours.run("policy", "check", "-o", "json").json

    assert (text.status, text.err) == (0, "")
    assert "kind         host\n" in text.out
    assert "statement  production\n" in text.out
    assert '"ca:acme" (CN=acme,O=enforcer test root,ST=WA,C=US)' in text.out
    assert found["kind"] == "host"
    assert found["digest"].startswith("sha256:")
    assert found["signers"]["wabbit"]["identities"] == ["*"]
    assert [(s["name"], s["requires"]) for s in found["statements"]] == [
        ("production", "acme"),
        ("registry", "wabbit"),
        ("both", "acme and wabbit"),
    ]
    assert found["statements"][0]["where"] == f"{policy_d(ours)}/policy.yaml:20"
    assert (found["notices"], found["unusable"]) == ([], [])


def test_check_prints_the_weakest_that_renaming_can_reach(ours: Host) -> None:
    """Whoever starts a container chooses its name, and so the statement."""
    found = ours.run("policy", "check", "-o", "json").json["weakest"]

    assert [(one["name"], one["requires"]) for one in found] == [
        ("production", "acme"),
        ("registry", "wabbit"),
    ]


def test_check_names_every_problem_on_a_line_of_its_own(ours: Host) -> None:
    write(policy_d(ours) / "policy.yaml", expiry="never", always="nobody")
    write(policy_d(ours) / "more.yaml", signers=None, always=None, statements=None,
          mode="monitor")  # fmt: skip

    text = ours.run("policy", "check")
    found = ours.run("policy", "check", "-o", "json")

    lines = text.err.splitlines()
    assert (text.status, found.status, text.out) == (4, 4, "")
    assert len(lines) == 3
    assert [line.partition(" ")[0] for line in lines] == ["enforcer:"] * 3
    assert f"{policy_d(ours)}/more.yaml:2: " in text.err
    assert f"{policy_d(ours)}/policy.yaml:15: unknown signer" in text.err
    assert [f"enforcer: {problem}" for problem in found.json["problems"]] == lines


def test_check_reads_a_file_or_folder_that_is_not_in_force(ours: Host) -> None:
    """A proposal may be anybody's; what is in force stays what it is."""
    path = write(ours.root / "proposal" / "new.yaml", always="acme")
    path.chmod(0o666)
    before = ours.run("policy", "check", "-o", "json").json["digest"]

    of_file = ours.run("policy", "check", path, "-o", "json")
    of_folder = ours.run("policy", "check", path.parent, "-o", "json")
    after = ours.run("policy", "check", "-o", "json").json["digest"]

    assert (of_file.status, of_folder.status) == (0, 0)
    assert of_file.json["digest"] == of_folder.json["digest"] != before
    assert before == after
    bad = ours.run("policy", "check", write(path, always="nobody"))
    assert (bad.status, f"{path}:15: unknown signer" in bad.err) == (4, True)


def test_check_of_the_hosts_own_minds_who_could_change_it(ours: Host) -> None:
    (policy_d(ours) / "policy.yaml").chmod(0o666)

    done = ours.run("policy", "check")

    assert (done.status, "can be written by group or others" in done.err) == (4, True)


def test_check_fails_over_a_store_that_cannot_be_used(ours: Host) -> None:
    """The policy is in force, and its signer could never sign."""
    (ours.root / "config/trust/x509/ca/wabbit/wabbit.crt").unlink()

    text = ours.run("policy", "check")
    found = ours.run("policy", "check", "-o", "json")

    assert (text.status, found.status) == (4, 4)
    assert 'unusable     trust store "ca:wabbit" is missing or empty' in text.out
    assert found.json["unusable"] == ['trust store "ca:wabbit" is missing or empty']


def test_check_warns_of_what_nobody_reads_and_what_ends(ours: Host) -> None:
    entry = {"digest": DIGEST, "role": "sandbox", "reason": "pause"}
    ended = [entry | {"until": "2020-01-01"}, entry | {"until": "2999-01-01"}]
    write(policy_d(ours) / "policy.yaml", exempt=ended)
    (policy_d(ours) / "prod.yml").write_text("")

    notices = ours.run("policy", "check", "-o", "json").json["notices"]

    shown = f"{DIGEST} (sandbox: pause)"
    assert notices == [
        f"{policy_d(ours)}/prod.yml is not read",
        f"the exemption of {shown} ended 2020-01-01T00:00:00Z and does not count",
        f"exempt until 2999-01-01T00:00:00Z: {shown}",
    ]


def test_check_knows_a_notation_policy_as_well(host: Host) -> None:
    good = host.run("policy", "check", "-o", "json")
    host.policy(level="strikt", name="")
    bad = host.run("policy", "check")

    assert (good.status, good.json["kind"]) == (0, "notation")
    assert good.json["statements"][0]["level"] == "strict"
    assert (
        "(CN=acme,O=enforcer test root" in good.json["statements"][0]["trustStores"][0]
    )
    lines = bad.err.splitlines()
    assert (bad.status, len(lines)) == (4, 2)
    assert all(f"{host.notation}/trustpolicy.json: " in line for line in lines)


def test_without_a_policy_check_and_show_say_so(host: Host) -> None:
    host.settings()

    for words in (["check"], ["show", "app:1"]):
        done = host.run("policy", *words)
        assert (done.status, done.out) == (4, "")
        assert done.err.startswith(
            f"enforcer: there is no policy in {policy_d(host)}. Put a *.yaml file "
        )
        assert done.err.endswith("[ENF-1201]\n")


# -- show ---------------------------------------------------------------------------


def test_show_says_which_statement_and_why_not_another(ours: Host) -> None:
    text = ours.run("policy", "show", f"{SCOPE}:1")
    found = ours.run("policy", "show", f"{SCOPE}:1", "-o", "json").json

    (name,) = found["names"]
    where = f"{policy_d(ours)}/policy.yaml"
    assert (text.status, found["covered"]) == (0, True)
    assert name["repository"] == SCOPE
    assert [(d["name"], d["requires"]) for d in name["demands"]] == [
        ("always", "acme or wabbit"),
        ("production", "acme"),
    ]
    assert name["lessSpecific"] == [f"registry ({where}:24): registry.example/*"]
    assert set(name["signers"]) == {"acme", "wabbit"}
    assert "requires     acme\n" in text.out
    assert "registry.example/*" in text.out


@pytest.mark.parametrize(
    ("name", "statement"),
    [
        ("registry.example/app@" + DIGEST, "production"),
        ("registry.example/other", "registry"),
        ("registry.example/app/more:1", "registry"),
        ("app", "both"),
        ("hello-world:1", "both"),
    ],
)
def test_show_places_a_name_as_a_start_would(
    ours: Host, name: str, statement: str
) -> None:
    done = ours.run("policy", "show", name, "-o", "json")

    assert done.status == 0
    assert [d["name"] for d in done.json["names"][0]["demands"]] == [
        "always",
        statement,
    ]


def test_show_of_what_nothing_covers_is_no_success(ours: Host) -> None:
    for image in ("elsewhere.test/app:1", "docker.io/library/app:1"):
        done = ours.run("policy", "show", image, "-o", "json")
        assert (done.status, done.json["covered"]) == (1, False)
        assert done.json["names"][0]["demands"] == []


@pytest.mark.parametrize(
    "name", ["", "registry.example/UPPER", "a b", "\033[31m", DIGEST]
)
def test_show_of_what_is_no_name_is_usage(ours: Host, name: str) -> None:
    done = ours.run("policy", "show", name)

    assert (done.status, done.out, "\033" in done.err) == (2, "", False)


def test_show_knows_a_notation_policy_as_well(host: Host) -> None:
    host.policy(scope=SCOPE)

    covered = host.run("policy", "show", f"{SCOPE}:1", "-o", "json")
    other = host.run("policy", "show", "registry.example/other:1")

    assert (covered.status, other.status) == (0, 1)
    assert covered.json["names"][0]["demands"][0]["name"] == "default"


# -- import -------------------------------------------------------------------------


def test_import_translates_what_it_can(host: Host) -> None:
    """The YAML is a policy as it stands; comments say where the stores go."""
    host.policy(scope=SCOPE)

    done = host.run("policy", "import", host.notation / "trustpolicy.json")
    path = host.root / "imported.yaml"
    path.write_text(done.out)

    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("# From ")
    assert f"# {host.notation}/truststore/x509 -> /etc/enforcer/trust/x509" in done.out
    assert yaml.safe_load(done.out) == {
        "apiVersion": "enforcer/v1",
        "signers": {
            "default": {"x509": {"trustStores": ["ca:acme"], "identities": ["*"]}}
        },
        "always": "default",
        "statements": [{"name": "default", "scopes": [SCOPE], "require": "default"}],
    }
    checked = host.run("policy", "check", path)
    assert "unknown" not in checked.err
    assert "statement  default" in checked.out


def test_import_reports_what_has_no_equivalent(host: Host) -> None:
    """Never dropped silently: a line each, and no success."""
    statements = [
        {
            "name": "lax",
            "registryScopes": ["registry.example/lax"],
            "signatureVerification": {"level": "permissive"},
            "trustStores": ["ca:acme"],
            "trustedIdentities": ["*"],
        },
        {
            "name": "none",
            "registryScopes": ["registry.example/none"],
            "signatureVerification": {"level": "skip"},
        },
    ]
    path = host.notation / "trustpolicy.json"
    path.write_bytes(compact({"version": "1.0", "trustPolicies": statements}))

    text = host.run("policy", "import", path)
    found = host.run("policy", "import", path, "-o", "json")

    assert (text.status, found.status) == (1, 1)
    assert [line.partition(" (")[0] for line in text.err.splitlines()] == [
        "enforcer: statement lax has level permissive",
        "enforcer: statement none skips verification for registry.example/none: no "
        "host policy can; those images are denied until somebody signs them, or exempt "
        "them by digest",
    ]
    assert len(found.json["unsaid"]) == 2
    assert list(found.json["policy"]["signers"]) == ["lax"]
    assert yaml.safe_load(text.out) == found.json["policy"]


@pytest.mark.parametrize(("raw", "status"), [(b"{}", 4), (b"", 4), (None, 3)])
def test_import_of_what_is_no_policy_fails(
    host: Host, raw: bytes | None, status: int
) -> None:
    path = host.root / "x.json"
    if raw is not None:
        path.write_bytes(raw)

    done = host.run("policy", "import", path)

    assert (done.status, done.out) == (status, "")


class Vectors:
    """The signatures of one Notary vector, as a signature cache."""

    def __init__(self, vector: notary.Vector) -> None:
        self.target = notary.target(vector)
        self.found = list(notary.signatures(vector, self.target))

    def manifest(self, digest: object) -> Content | None:
        raise AssertionError(digest)

    def manifests_about(self, config: object, manifests: object) -> Sequence[Content]:
        raise AssertionError((config, manifests))

    def signatures_about(self, targets: object, *, trusted: object, limit: int) -> Any:
        assert (targets, trusted is not None) == ((self.target,), True)
        return iter(self.found[:limit]), len(self.found) > limit


def decide(vector: notary.Vector, force: PolicyInForce) -> Decision:
    cache_ = Vectors(vector)
    rules = HostRules(
        allowed_levels=frozenset(LEVELS),
        user_metadata=vector.user_metadata,
        max_signatures=vector.max_signatures,
    )
    name = ImageName(vector.scope, vector.scope)
    subject = Subject("x", (name,), (cache_.target,), manifest=cache_.target.digest)
    clock = FixedClock(notary.NOW)
    return Weigher(rules=rules, cache=cache_, clock=clock).weigh(subject, force)


def test_an_imported_policy_decides_as_its_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every vector whose policy is said completely decides the same; none is laxer."""

    @cache
    def imported(raw: bytes) -> tuple[int, bytes]:
        path = tmp_path / "trustpolicy.json"
        path.write_bytes(raw)
        status = main(["policy", "import", str(path)])
        return status, capsys.readouterr().out.encode()

    same = allowed = other = 0
    for vector in notary.judged():
        policy_path = f"{vector.folder}/config/notation/trustpolicy.json"
        try:
            original = notary.policy(vector)
        except EnforcerError:
            continue  # not a policy
        status, text = imported(notary.files()[policy_path])
        try:
            policy = parse_host_policy([("imported.yaml", text)])
        except EnforcerError:
            assert status == 1, text  # a part that was not said was needed
            continue
        names = {name for one in original.trusts for name in one.trust_stores}
        stores = notary.stores(vector, tuple(names))
        before = decide(vector, PolicyInForce(original, stores))
        after = decide(vector, PolicyInForce(policy, stores))
        assert before.allowed or not after.allowed, vector
        if status == 0:
            assert before.allowed == after.allowed, (vector, before, after)
            same += 1
            allowed += before.allowed
        other += status != 0

    assert same > 200
    assert allowed > 50
    assert other > 20


# -- schema -------------------------------------------------------------------------


def test_schema_prints_the_one_that_is_published(host: Host) -> None:
    done = host.run("policy", "schema")

    path = resources.files("enforcer.core.host_policy") / "policy.schema.json"
    assert (done.status, done.out) == (0, path.read_text())
    assert done.json["$schema"].startswith("https://json-schema.org/")


# -- break-glass --------------------------------------------------------------------


def test_break_glass_lets_one_digest_start_until_it_is_mended(ours: Host) -> None:
    digest = str(ours.digest)
    named = ["--scope", SCOPE]
    assert ours.verify(*named).status == 1

    done = ours.run("policy", "break-glass", digest, "--reason", "outage 4711")
    listed = ours.run("policy", "break-glass")
    found = ours.run("policy", "break-glass", "-o", "json").json
    broken = ours.verify(*named)
    what_if = ours.verify(*named, "--policy", policy_d(ours))
    mended = ours.run("policy", "break-glass", digest, "--mend")

    assert done.status == listed.status == broken.status == mended.status == 0
    assert f"{digest}, 24 h 0 min more: outage 4711; it ends with this boot" in done.err
    assert listed.out.startswith(f"{digest}, 23 h 59 min more: outage 4711")
    (entry,) = found
    assert (entry["digest"], entry["reason"]) == (digest, "outage 4711")
    assert 86_000 < entry["secondsLeft"] <= 86_400
    assert "starts because root broke the glass (outage 4711)" in broken.out
    assert "[ENF-1021]" in broken.out
    assert (what_if.status, "[ENF-1001]" in what_if.out) == (1, True)
    assert mended.out == f"mended: {digest}\n"
    assert ours.verify(*named).status == 1
    again = ours.run("policy", "break-glass", digest, "--mend")
    assert (again.status, again.out) == (0, f"not broken: {digest}\n")
    assert ours.run("policy", "break-glass").out == ""


def test_break_glass_is_recorded_before_it_is_done(ours: Host) -> None:
    """Law 7; what cannot be recorded is not done."""
    digest = str(ours.digest)
    ours.run("policy", "break-glass", digest, "--reason", "one\n\033[31m")
    ours.run("policy", "break-glass", digest, "--mend")
    log = ours.root / "state" / "log" / "admin.jsonl"

    first, second = map(json.loads, log.read_text().splitlines())
    assert (first["what"], first["digest"]) == ("break-glass", digest)
    assert first["reason"].startswith("one")
    assert first["reason"].isprintable()
    assert (second["what"], second["digest"]) == ("break-glass mended", digest)

    log.unlink()
    log.mkdir()
    done = ours.run("policy", "break-glass", digest, "--reason", "x")
    assert (done.status, "nothing was done" in done.err) != (0, True)
    assert done.status != 0
    assert ours.run("policy", "break-glass", "-o", "json").json == []


@pytest.mark.parametrize(
    "words",
    [
        [DIGEST], [DIGEST, "--reason", ""], [DIGEST, "--reason", " \n"],
        ["sha256:abc", "--reason", "x"], ["app:1", "--reason", "x"],
        ["--mend", "--reason"],
    ],
)  # fmt: skip
def test_break_glass_without_a_digest_or_reason_is_usage(
    ours: Host, words: list[str]
) -> None:
    done = ours.run("policy", "break-glass", *words)

    assert (done.status, done.out) == (2, "")
    assert list((ours.root / "run").iterdir()) == []


def test_a_denied_image_stays_denied(ours: Host) -> None:
    """Nothing overrides a deny list; not its own signature, either."""
    ours.sign("--write-layout")
    assert ours.verify("--scope", SCOPE).status == 0
    denied = {"image": str(ours.digest), "since": "2026-05-01", "reason": "broken into"}
    write(policy_d(ours) / "policy.yaml", deny=[denied])
    ours.run("policy", "break-glass", str(ours.digest), "--reason", "x")

    done = ours.verify("--scope", SCOPE)

    assert done.status == 1
    assert "is denied since 2026-05-01: broken into [ENF-1019]" in done.out


@pytest.mark.parametrize("words", [[], ["frobnicate"], ["import"], ["show"]])
def test_words_that_make_no_sense_are_usage(host: Host, words: list[str]) -> None:
    done = host.run("policy", *words)

    assert (done.status, done.out) == (2, "")


# -- verify and settings ------------------------------------------------------------


def test_verify_judges_by_the_hosts_policy(ours: Host) -> None:
    """Scenario 8: signed by somebody known, but not for here."""
    ours.sign("--write-layout", by="wabbit")

    done = ours.verify("--scope", SCOPE)
    found = ours.verify("--scope", SCOPE, "-o", "json").json
    elsewhere = ours.verify("--scope", "registry.example/other")

    assert (done.status, elsewhere.status) == (1, 0)
    assert (
        "is validly signed by wabbit, but statement production wants acme; missing: "
        "acme [ENF-1017]"
    ) in done.out
    assert found["statement"] == "production"
    assert found["signatures"][0]["vouchesFor"] == ["wabbit"]
    assert "is signed by wabbit, as statement registry wants" in elsewhere.out


def test_verify_by_a_policy_that_is_not_in_force(ours: Host) -> None:
    """Of a file, with the host's trust stores; it says that it is what-if."""
    ours.sign("--write-layout", by="wabbit")
    statements = [{"name": "new", "scopes": ["*"], "require": "wabbit"}]
    path = write(ours.root / "proposal" / "p", statements=statements)
    path.chmod(0o666)
    asked = ["--scope", SCOPE, "-o", "json"]

    here = ours.verify(*asked)
    there = ours.verify(*asked, "--policy", path)
    ours.settings(notationConfig=str(ours.notation))
    from_notation = ours.verify(*asked, "--policy", path)
    bad = ours.verify(*asked, "--policy", write(path, always="nobody"))

    assert (here.status, there.status, from_notation.status) == (1, 0, 0)
    assert (there.json["statement"], there.json["whatif"]) == ("new", True)
    assert bad.status == 4
    both = ours.verify("--policy", path, "--notation-config", ours.notation)
    assert both.status == 2
    assert ours.verify(*asked, "--policy", ours.root / "none").status == 4


def test_a_host_has_one_policy(ours: Host) -> None:
    """Two would leave open which of them is in force."""
    places = {"notationConfig": str(ours.notation), "policyDir": str(policy_d(ours))}
    ours.settings(**places)

    for words in (
        ["policy", "check"],
        ["verify", ours.target],
        ["policy", "show", "x"],
    ):
        done = ours.run(*words)
        assert (done.status, done.out) == (4, "")
        assert "enforcer.yaml:1: notationConfig and policyDir: one host has one " in (
            done.err
        )


def test_a_policy_elsewhere_is_read_there(ours: Host) -> None:
    write(ours.root / "elsewhere" / "p.yaml", always="acme")
    (policy_d(ours) / "policy.yaml").write_text("not read")
    ours.settings(policyDir=str(ours.root / "elsewhere"))

    found = ours.run("policy", "check", "-o", "json").json

    assert found["always"]["where"] == f"{ours.root}/elsewhere/p.yaml:15"


def test_a_policy_that_nobody_reads_is_a_notice(ours: Host) -> None:
    """Else somebody tightens policy.d and believes that it is in force."""
    folders = (ours.root / "config", ours.root / "state", ours.root / "run")
    assert laxities(load_settings(*folders)) == ()

    ours.settings(notationConfig=str(ours.notation))

    assert laxities(load_settings(*folders)) == (
        f"{policy_d(ours)} is not read: notationConfig names another policy",
    )

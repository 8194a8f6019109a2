"""policy.d: strict, every problem at once, each with its file and line."""

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.host_policy import parse_host_policy
from enforcer.core.policy import PolicyInvalidError
from enforcer.core.revocation_rules import OnStale
from tests.unit.core.host_policy.documents import (
    DIGEST,
    Document,
    good,
    parse,
    small,
    text,
)

JUNE = datetime(2027, 6, 1, tzinfo=UTC)


def problems(*files: bytes | Document) -> tuple[str, ...]:
    named = [
        (f"{n}.yaml", f if isinstance(f, bytes) else text(f))
        for n, f in enumerate(files, start=1)
    ]
    with pytest.raises(PolicyInvalidError) as caught:
        parse_host_policy(named)
    assert caught.value.code is Code.POLICY_INVALID
    assert caught.value.problems
    return caught.value.problems


def test_everything_can_be_said() -> None:
    policy = parse(good())

    release, qa = policy.signers["release"].conditions, policy.signers["qa"].conditions
    assert release.signed_within == timedelta(days=30)
    assert dict(release.user_metadata) == {"env": "production"}
    assert release.keys == release.certificates == {Digest.parse(DIGEST)}
    assert dict(release.algorithms) == {
        "ES256": None,
        "PS256": datetime(2030, 1, 1, tzinfo=UTC),
    }
    assert dict(qa.algorithms) == {"ES256": None, "PS256": None}
    assert qa.revocation.max_age == timedelta(days=7)
    assert qa.revocation.on_stale is OnStale.DENY
    assert qa.denied is release.denied is policy.denied
    assert set(policy.denied.keys) == {Digest.parse(DIGEST)}
    assert [e.until for e in policy.exemptions] == [JUNE]
    assert not policy.at_floor
    assert not qa.authentic_expiry
    assert policy.always.requirement.text == "release or wabbit"
    assert [d.requirement.text for d in policy.statements] == [
        "release and qa",
        "release",
    ]
    assert policy.statements[0].where.startswith("1.yaml:")
    assert policy.warnings == ()


def test_a_policy_may_want_what_it_denies_stopped() -> None:
    """Once for all of it: a name, which anybody may choose, must not decide that."""
    assert not parse(small()).stops
    assert not parse(small(onDenied="report")).stops
    assert parse(small(onDenied="stop")).stops
    assert "is not one of report, stop" in problems(small(onDenied="kill"))[0]
    twice = problems(small(onDenied="stop"), Document(onDenied="report"))
    assert any("`onDenied` is at 1.yaml:" in problem for problem in twice)
    assert "unknown key" in problems(_statement(onDenied="stop"))[0]


def test_the_policy_of_the_design_is_one() -> None:
    """Design section 6, as it is printed there, dates and comments included."""
    raw = b"""\
apiVersion: enforcer/v1
signers:
  acme-release: {x509: {trustStores: ["ca:acme"], identities: ["*"]}}
  acme-qa:      {x509: {trustStores: ["ca:acme"], identities: ["*"]}}
always: {anyOf: [acme-release]}      # whatever the name
statements:
  - name: production
    scopes: ["registry.acme-rockets.com/prod/*"]
    require: {allOf: [acme-release, acme-qa]}
exempt:
  - {digest: "sha256:%s", role: sandbox, reason: "pause image", until: 2027-06-01}
""" % (b"a" * 64)

    policy = parse_host_policy([("10.yaml", raw)])

    assert policy.exemptions[0].until == JUNE
    assert policy.statements[0].where == "10.yaml:7"


def test_drop_ins_add_up() -> None:
    first, second = small(), Document(apiVersion="enforcer/v1")
    second["statements"] = [{"name": "more", "scopes": ["reg.io/*"], "require": "e"}]
    second["signers"] = {"e": {"x509": {"trustStores": ["ca:e"], "identities": ["*"]}}}
    second["deny"] = [{"image": DIGEST, "since": "2026-01-01", "reason": "bad"}]

    policy = parse(first, second)

    assert [d.name for d in policy.statements] == ["all", "more"]
    assert policy.statements[1].where == "2.yaml:3"
    assert list(policy.signers) == [*"abcde"]
    assert list(policy.denied.images) == [Digest.parse(DIGEST)]
    assert policy.digest == parse(first, second).digest
    assert policy.digest != parse(first).digest


def _without(key: str) -> Document:
    document = good()
    del document[key]
    return document


def _with(change: Callable[[Document], object]) -> Document:
    document = good()
    change(document)
    return document


def _signer(**members: object) -> Document:
    document = small()
    document["signers"]["a"] |= members
    return document


def _x509(**members: object) -> Document:
    document = small()
    document["signers"]["a"]["x509"] |= members
    return document


def _requires(requirement: object) -> Document:
    return small(statements=[{"name": "all", "scopes": ["*"], "require": requirement}])


def _statement(**members: object) -> Document:
    statement = {"name": "all", "scopes": ["*"], "require": "a"} | members
    return small(statements=[statement])


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (b"", "1.yaml:1: the file is empty"),
        (b"\xff", "1.yaml is not YAML"),
        (b"a: [", "1.yaml is not YAML"),
        (b"apiVersion: enforcer/v1\n---\na: b", "1.yaml is not YAML"),
        (b"- a", "1.yaml:1: expected a mapping"),
        (b"apiVersion: enforcer/v1\nx: &a [1]\ny: *a", "aliases are not understood"),
        (b"apiVersion: enforcer/v1\nalways: &a {allOf: [*a]}", "aliases are not"),
        (b"apiVersion: enforcer/v2\n", '1.yaml:1: "enforcer/v2" is not one of'),
        (_without("apiVersion"), '"apiVersion" is missing'),
        (_without("always"), "`always` is missing"),
        (_without("statements"), "`statements` is missing"),
        (_with(lambda d: d.update(typo=1)), 'unknown key "typo"'),
        (small(signers=[]), "expected a mapping of names"),
        (_with(lambda d: d["signers"].update({"a b": {}})), '"a b" is not a name'),
        (_with(lambda d: d["signers"].update({"x": {}})), '"x509" is missing'),
        (_signer(keys=1), 'unknown key "keys"'),
        (_signer(signedWithin="30"), "is not a number of days or hours"),
        (_signer(signedWithin="0d"), "is not a number of days or hours"),
        (_signer(signedWithin="30d"), "signedWithin needs a proven time"),
        (_signer(userMetadata={"a": 1}), "put numbers and dates in quotes"),
        (_signer(userMetadata=[]), "expected a mapping of names"),
        (_signer(algorithms=[]), "no algorithm counts"),
        (_signer(algorithms=["RS256"]), '"RS256" is not one of PS256'),
        (_signer(algorithms=["ES256", "ES256"]), "ES256 is listed twice"),
        (_signer(algorithms=[{"notAfter": "2030-01-01"}]), '"name" is missing'),
        (_x509(trustStores=[]), "trustStores is empty"),
        (_x509(trustStores=["acme"]), "is not TYPE:NAME"),
        (_x509(trustStores=["ca:.."]), "is not a trust store name"),
        (_x509(trustStores=["tsa:t"]), "must list one of type ca or signingAuthority"),
        (_x509(identities=[]), "identities is empty"),
        (_x509(identities=["x509.subject: C=US"]), "is missing"),
        (_x509(identities=["*", "x509.subject: C=US, ST=W, O=a"]), "must stand alone"),
        (_x509(identities=["did:x:y"]), "matches no certificate"),
        (_x509(verifyTimestamp="never"), "is not one of always, afterCertExpiry"),
        (_x509(pins={}), "pins must list at least one"),
        (_x509(pins={"keys": []}), "pins must list at least one"),
        (_x509(pins={"keys": ["sha512:" + "a" * 128]}), "is not a sha256 digest"),
        (_requires("nobody"), 'unknown signer "nobody"; known are a, b, c, d'),
        (_requires([]), "is no signer and no requirement"),
        (_requires(1), "is no signer and no requirement"),
        (_requires({}), "expected exactly one of allOf, anyOf, atLeast"),
        (_requires({"allOf": ["a"], "anyOf": ["b"]}), "expected exactly one of"),
        (_requires({"oneOf": ["a"]}), 'unknown key "oneOf"'),
        (_requires({"allOf": []}), "an empty list asks for nothing"),
        (_requires({"anyOf": "a"}), "expected a list"),
        (_requires({"allOf": ["a", "a"]}), '"a" is listed more than once'),
        (_requires({"atLeast": {"count": 0, "of": ["a"]}}), "from 1 to 999"),
        (_requires({"atLeast": {"count": -1, "of": ["a"]}}), "from 1 to 999"),
        (_requires({"atLeast": {"count": "1", "of": ["a"]}}), "from 1 to 999"),
        (_requires({"atLeast": {"count": 3, "of": ["a", "b"]}}), "3 of 2 cannot be"),
        (_requires({"atLeast": {"of": ["a"]}}), '"count" is missing'),
        (_statement(name="always"), "holds for every name already"),
        (_statement(name=""), "is not a name"),
        (_statement(scopes=[]), "scopes is empty"),
        (_statement(scopes=["nginx"]), 'has no registry; write "local/nginx"'),
        (_statement(scopes=[{}]), "a list or mapping is no scope"),
        (_statement(scopes=["reg.io/a", "reg.io/a"]), "the scope reg.io/a is at"),
        (_statement(mode="warn"), 'unknown key "mode"'),
        (small(expiry="never"), "is not one of now, floor, authentic-time"),
        (small(revocation={"maxAge": "1w"}), "is not a number of days or hours"),
        (small(revocation={"onStale": "allow"}), "is not one of deny, use-stale"),
        (small(deny=[{"image": DIGEST}]), '"since" is missing'),
        (
            small(deny=[{"since": "2026-01-01", "reason": "x"}]),
            "expected exactly one of image, signature, key",
        ),
        (
            small(deny=[{"image": "x", "since": "2026-13-01", "reason": "x"}]),
            '"2026-13-01" is not a date',
        ),
        (small(exempt=[{"digest": DIGEST, "role": "sandbox"}]), '"until" is missing'),
        (small(exempt=["reg.io/pause:1"]), "expected a mapping"),
        (
            small(mirrors=[{"prefix": "reg.io/a", "of": "docker.io/*"}]),
            '"reg.io/a" is not a prefix ending in /*',
        ),
        (small(mirrors=[{"prefix": "*", "of": "docker.io/*"}]), "is not a prefix"),
    ],
)
def test_what_is_not_understood_is_refused(
    document: bytes | Document, expected: str
) -> None:
    """T-PF-3 and T-PF-4: nothing is guessed, and a problem says where it is."""
    found = problems(document)

    assert any(expected in problem for problem in found), found
    assert all(problem.isascii() and len(problem) < 1000 for problem in found)


def test_depth_is_bounded() -> None:
    requirement: object = "a"
    for _ in range(9):
        requirement = {"anyOf": [requirement]}

    assert "nested more than 8 deep" in problems(_requires(requirement))[0]
    shallow = parse(_requires({"anyOf": [{"allOf": ["a"]}]}))
    assert shallow.statements[0].requirement.text == "a"
    deep = b"apiVersion: enforcer/v1\nalways: " + b"[" * 100_000
    assert "is not YAML" in problems(deep)[0]


def test_all_problems_of_all_files_are_told_at_once() -> None:
    """An operator mends once, not five times."""
    first = b"apiVersion: enforcer/v1\nsigners: {a: {}}\nalways: b\n"
    second = b"apiVersion: enforcer/v1\nexpiry: later\nalways: a\nsigners:\n  a: {}\n"

    found = problems(first, second)

    assert list(found) == [
        '2.yaml:2: "later" is not one of now, floor, authentic-time',
        "2.yaml:3: `always` is at 1.yaml:3 already",
        '2.yaml:5: signer "a" is at 1.yaml:2 already',
        '1.yaml:2: "x509" is missing',
        "`statements` is missing: no image could start",
        '1.yaml:3: unknown signer "b"; known are a',
    ]


@pytest.mark.parametrize("key", ["always", "expiry", "revocation", "algorithms"])
def test_what_rules_all_is_said_once(key: str) -> None:
    """Two files that disagree about it must not depend on their names."""
    again = {"apiVersion": "enforcer/v1", key: good()[key]}

    (found,) = problems(good(), again)

    assert found.startswith("2.yaml:2: " if key == "expiry" else "2.yaml:3: ")
    assert f"`{key}` is at 1.yaml:" in found


def test_two_equally_specific_scopes_name_both_places() -> None:
    """Also when they are written in two ways."""
    more = [{"name": "b", "scopes": ["docker.io/library/nginx"], "require": "a"}]
    document = small()
    document["statements"][0]["scopes"] = ["index.docker.io/nginx"]

    (found,) = problems(document, {"apiVersion": "enforcer/v1", "statements": more})

    assert found.startswith("2.yaml:5: the scope docker.io/library/nginx is at 1.yaml:")


def test_a_signer_nobody_requires_is_a_warning() -> None:
    document = small(always="a")

    warnings = parse(document).warnings

    assert len(warnings) == 3
    assert "nothing requires the signer b" in warnings[0]


def test_algorithms_of_policy_and_signer_both_hold() -> None:
    """Neither loosens the other, and nothing in common is a mistake, not "all"."""
    own = [{"name": "ES256", "notAfter": "2031-01-01"}, "PS256"]
    document = _signer(algorithms=own)
    document["algorithms"] = [{"name": "ES256", "notAfter": "2030-01-01"}, "ES384"]

    found = parse(document).signers["a"].conditions.algorithms

    assert dict(found) == {"ES256": datetime(2030, 1, 1, tzinfo=UTC)}
    document["algorithms"] = ["ES384"]
    assert "none of its algorithms" in problems(document)[0]


@given(st.binary() | st.text().map(str.encode))
def test_hostile_bytes_are_an_error_of_ours_and_nothing_else(raw: bytes) -> None:
    with contextlib.suppress(PolicyInvalidError):
        parse_host_policy([("p.yaml", raw)])


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (JUNE - timedelta(days=29), "exempt until 2027-06-01T00:00:00Z: "),
        (JUNE - timedelta(days=20), "exempt for 20 more days, until 2027-06-01"),
        (JUNE, "ended 2027-06-01T00:00:00Z and does not count"),
    ],
)
def test_the_end_of_an_exemption_is_announced_weeks_before(
    at: datetime, expected: str
) -> None:
    (notice,) = parse(good()).notices(at)

    assert expected in notice
    assert "sandbox: pause" in notice


def test_the_weakest_demands_are_those_no_other_one_undercuts() -> None:
    """Whoever starts a container may call it anything."""
    policy = parse(
        small(
            always={"anyOf": ["a", "b"]},
            statements=[
                {
                    "name": "prod",
                    "scopes": ["reg.io/prod/*"],
                    "require": {"allOf": ["a", "b", "c"]},
                },
                {"name": "ours", "scopes": ["reg.io/*"], "require": "a"},
                {"name": "again", "scopes": ["local/*"], "require": "a"},
                {"name": "theirs", "scopes": ["quay.io/*"], "require": "c"},
            ],
        )
    )

    found = {demand.name: demand.requirement.text for demand in policy.weakest()}

    assert found == {"ours": "a", "theirs": "(a and c) or (b and c)"}

"""The Notation trust policy document: every rule, every problem at once."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.codes import Code
from enforcer.core.digest import Digest
from enforcer.core.errors import MalformedError
from enforcer.core.findings import Action, Check
from enforcer.core.policy import (
    MAX_POLICY_BYTES,
    PolicyInvalidError,
    Statement,
    StoreName,
    StoreType,
    TrustPolicy,
    VerificationLevel,
    VerifyTimestamp,
    is_at_least,
    parse_trust_policy,
)
from enforcer.core.policy_lines import statement_lines

E, L, S = Action.ENFORCE, Action.LOG, Action.SKIP


def statement(**changes: Any) -> dict[str, Any]:
    members: dict[str, Any] = {
        "name": "p",
        "registryScopes": ["*"],
        "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:acme"],
        "trustedIdentities": ["*"],
    }
    return {k: v for k, v in (members | changes).items() if v is not None}


def skipping(**changes: Any) -> dict[str, Any]:
    level = {"level": "skip"}
    return statement(
        signatureVerification=level, trustStores=None, trustedIdentities=None
    ) | dict(changes)


def document(*statements: Any, **changes: Any) -> bytes:
    members = {"version": "1.0", "trustPolicies": list(statements)}
    return json.dumps(members | changes).encode()


def parse(*statements: Any) -> TrustPolicy:
    return parse_trust_policy(document(*statements))


def first(**changes: Any) -> Statement:
    return parse(statement(**changes)).statements[0]


def problem(raw: bytes) -> str:
    with pytest.raises(PolicyInvalidError) as caught:
        parse_trust_policy(raw)
    assert caught.value.code is Code.POLICY_INVALID
    return caught.value.what


def test_a_statement_is_read_whole() -> None:
    """The story, once."""
    raw = document(
        statement(
            name="prod",
            registryScopes=["registry.example.com:5000/team/app", "localhost/x"],
            signatureVerification={
                "level": "permissive",
                "override": {"expiry": "enforce", "revocation": "skip"},
                "verifyTimestamp": "afterCertExpiry",
            },
            trustStores=["ca:acme", "tsa:time", "ca:acme"],
            trustedIdentities=["x509.subject: C=US, ST=WA, O=acme"],
        )
    )

    policy = parse_trust_policy(raw)

    (found,) = policy.statements
    assert policy.digest == Digest.of(raw)
    assert policy.warnings == ()
    assert found.name == "prod"
    assert found.scopes == ("registry.example.com:5000/team/app", "localhost/x")
    assert found.verify_timestamp is VerifyTimestamp.AFTER_CERT_EXPIRY
    assert [str(name) for name in found.trust_stores] == ["ca:acme", "tsa:time"]
    assert [i.text for i in found.identities] == ["x509.subject: C=US, ST=WA, O=acme"]
    assert [found.level.action(check) for check in Check] == [E, E, L, E, S, E]


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("strict", [E, E, E, E, E, E]),
        ("permissive", [E, E, L, L, L, E]),
        ("audit", [E, L, L, L, L, E]),
        ("skip", [S, S, S, S, S, S]),
    ],
)
def test_a_level_is_the_specifications_table(name: str, actions: list[Action]) -> None:
    """T5; user metadata is what the asker wants, so it is always enforced."""
    level = VerificationLevel.named(name)

    assert [level.action(check) for check in Check] == actions


def test_integrity_cannot_be_lowered_even_in_code() -> None:
    """The invariant lives in the constructor."""
    with pytest.raises(ValueError, match="integrity is enforced"):
        VerificationLevel.named("audit", {Check.INTEGRITY: Action.LOG})
    with pytest.raises(ValueError, match="every check"):
        VerificationLevel("strict", ())


def test_levels_are_compared_check_by_check() -> None:
    """A host that allows audit allows whatever demands more."""
    strict, audit = VerificationLevel.named("strict"), VerificationLevel.named("audit")
    lowered = VerificationLevel.named("strict", {Check.EXPIRY: Action.LOG})
    raised = VerificationLevel.named("audit", {Check.AUTHENTICITY: Action.ENFORCE})

    assert is_at_least(strict, "strict")
    assert not is_at_least(lowered, "strict")
    assert is_at_least(lowered, "permissive")
    assert not is_at_least(audit, "permissive")
    assert is_at_least(raised, "permissive")
    assert is_at_least(VerificationLevel.named("skip"), "skip")
    assert not is_at_least(strict, "no such level")


def test_an_exact_scope_beats_the_global_one() -> None:
    """T4; and what no statement covers has none."""
    exact = statement(name="exact", registryScopes=["reg.io/a"])
    everything = statement(name="all")
    both, one = parse(everything, exact), parse(exact)

    assert [s.name for s in (both.statement_for("reg.io/a"),) if s] == ["exact"]
    assert [s.name for s in (both.statement_for("reg.io/a/b"),) if s] == ["all"]
    assert one.statement_for("reg.io/b") is None
    assert one.statement_for("*") is None
    assert one.statement_for("REG.io/a") is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"name": None}, "statement #1 must have a name"),
        ({"name": ""}, "statement #1 must have a name"),
        ({"registryScopes": None}, "registryScopes must list at least one text"),
        ({"registryScopes": []}, "registryScopes must list at least one text"),
        ({"registryScopes": ["reg.io/a", 5]}, "registryScopes must list at least one"),
        ({"registryScopes": ["*", "reg.io/a"]}, 'the scope "*" must stand alone'),
        ({"registryScopes": ["reg.io/*"]}, 'the scope "reg.io/*" is not a repository'),
        ({"registryScopes": ["reg.io/a:1"]}, "is not a repository"),
        ({"registryScopes": ["https://reg.io/a"]}, "is not a repository"),
        ({"registryScopes": ["reg.io/A"]}, "is not a repository"),
        ({"registryScopes": ["reg.io/a/"]}, "is not a repository"),
        ({"registryScopes": ["a"]}, "is not a repository"),
        ({"registryScopes": ["reg.io/a\n"]}, "is not a repository"),
        ({"registryScopes": ["reg.io/a", "reg.io/a"]}, '"reg.io/a" is used 2 times'),
        ({"signatureVerification": None}, "signatureVerification must be an object"),
        ({"signatureVerification": {}}, "level must be one of strict, permissive"),
        ({"signatureVerification": {"level": "Strict"}}, "level must be one of"),
        (
            {"signatureVerification": {"level": "strict", "verifyTimestamp": "no"}},
            "verifyTimestamp must be always or afterCertExpiry",
        ),
        (
            {"signatureVerification": {"level": "strict", "Override": {}}},
            'differs from "override" only by case',
        ),
        (
            {"signatureVerification": {"level": "strict", "override": []}},
            "override must be an object",
        ),
        ({"trustStores": None}, "trustStores must list at least one text"),
        ({"trustStores": []}, "trustStores must list at least one text"),
        ({"trustStores": ["acme"]}, 'trust store "acme" must be TYPE:NAME'),
        (
            {"trustStores": ["CA:acme"]},
            "must be TYPE:NAME, the type one of ca, signing",
        ),
        ({"trustStores": ["ca:"]}, "is not a trust store name"),
        ({"trustStores": ["ca:.."]}, '".." is not a trust store name'),
        ({"trustStores": ["ca:a/b"]}, "is not a trust store name"),
        ({"trustedIdentities": None}, "trustedIdentities must list at least one text"),
        ({"trustedIdentities": [""]}, "trustedIdentities must list at least one text"),
        ({"trustedIdentities": ["*", "did:x"]}, 'the identity "*" must stand alone'),
        ({"trustedIdentities": ["x509.subject: C=US"]}, "ST is missing"),
        (
            {
                "trustedIdentities": [
                    "x509.subject: C=US, ST=WA, O=a",
                    "x509.subject: C=US, ST=WA, O=a, CN=b",
                ]
            },
            "overlap",
        ),
    ],
)
def test_a_rule_broken_is_a_problem_told(
    changes: dict[str, Any], expected: str
) -> None:
    """T2, T3, T5-T8, S3, I1, I3, I8: one at a time."""
    assert expected in problem(document(statement(**changes)))


@pytest.mark.parametrize(
    ("check", "action", "right"),
    [
        ("integrity", "log", False),
        ("integrity", "enforce", False),
        ("authenticity", "log", True),
        ("authenticity", "skip", False),
        ("authenticTimestamp", "log", True),
        ("authenticTimestamp", "skip", False),
        ("expiry", "log", True),
        ("expiry", "skip", False),
        ("revocation", "log", True),
        ("revocation", "skip", True),
        ("revocation", "Skip", False),
        ("userMetadata", "log", False),
        ("foo", "log", False),
        ("expiry", ["log"], False),
    ],
)
def test_only_some_checks_can_be_overridden(
    check: str, action: Any, *, right: bool
) -> None:
    """T6."""
    raw = document(
        statement(
            signatureVerification={"level": "strict", "override": {check: action}}
        )
    )

    if right:
        (found,) = parse_trust_policy(raw).statements
        assert found.level.action(Check(check)) is Action(action)
    else:
        assert "statement" in problem(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (document(statement(), version="2.0"), 'version must be "1.0"'),
        (document(statement(), version=1.0), 'version must be "1.0"'),
        (document(), "trustPolicies must list at least one statement"),
        (document("x"), "statement #1 must be an object"),
        (document(statement(), statement()), 'the name "p" is used 2 times'),
        (b"[]", "the document must be an object"),
        (document(statement()) + b"x", "not valid JSON"),
        (b"\xef\xbb\xbf" + document(statement()), "not valid JSON"),
        (b'{"version":"1.0","version":"1.0"}', 'duplicate name "version"'),
        (b" " * (MAX_POLICY_BYTES + 1), "more than 1048576"),
        (document(statement(), Version="1.0"), 'differs from "version" only by case'),
    ],
)
def test_a_document_that_is_none_is_refused(raw: bytes, expected: str) -> None:
    """T2, T11, facts 2.1.10: what Go would guess at is an error here."""
    assert expected in problem(raw)


def test_every_problem_is_told_at_once() -> None:
    """An operator mends a file once, not once per mistake."""
    broken = statement(
        name="prod", registryScopes=["a"], trustStores=["x"], trustedIdentities=["y"]
    )

    assert problem(document(broken, {"nam": "q"}, version="3")) == (
        'the trust policy has 10 problems: version must be "1.0"; '
        'line 1: statement "prod": the scope "a" is not a repository such as '
        'registry.example.com/team/app (no tag, no wildcard), nor "*"; '
        'line 1: statement "prod": trust store "x" must be TYPE:NAME, the type one of '
        "ca, signingAuthority, tsa; "
        'line 1: statement "prod": trusted identity "y": expected "*" or '
        '"x509.subject: C=, ST=, O="; '
        "line 1: statement #2 must have a name; "
        'line 1: statement "#2": registryScopes must list at least one text, none '
        "empty; "
        'line 1: statement "#2": signatureVerification must be an object; '
        'line 1: statement "#2": signatureVerification: level must be one of strict, '
        "permissive, audit, skip; "
        'line 1: statement "#2": trustStores must list at least one text, none empty; '
        'line 1: statement "#2": trustedIdentities must list at least one text, none '
        "empty"
    )


def test_a_problem_is_told_with_the_line_of_its_statement() -> None:
    """Braces and names inside strings do not mislead it."""
    raw = b"""{
  "version": "1.0", "note": "{[ \\" trustPolicies",
  "other": [{"trustPolicies": [{}]}],
  "trustPolicies": [
    {"name": "a{", "registryScopes": ["*"],
     "signatureVerification": {"level": "strict"},
     "trustStores": ["ca:a"], "trustedIdentities": ["*"]},

    {"name": "b"}
  ]
}"""

    assert statement_lines(raw) == [5, 9]
    with pytest.raises(PolicyInvalidError, match='line 9: statement "b"'):
        parse_trust_policy(raw)


def test_a_skipping_statement_trusts_nobody() -> None:
    """T8: stores beside skip are a policy that does not do what it seems to."""
    (found,) = parse(skipping(registryScopes=["reg.io/a"])).statements

    assert found.level.is_skip
    assert found.trust_stores == ()
    assert found.identities == ()
    for key, value in (("trustStores", ["ca:a"]), ("trustedIdentities", ["*"])):
        assert f"level skip, so {key}" in problem(document(skipping(**{key: value})))
    override = {"level": "skip", "override": {"expiry": "log"}}
    assert "skip cannot have an override" in problem(
        document(skipping(signatureVerification=override))
    )


def test_skipping_everything_is_allowed_and_loudly_noted() -> None:
    """T9 forbids it, notation allows it and its own tests rely on it (facts 2.4)."""
    assert parse(skipping()).warnings == (
        'statement "p" verifies nothing, whatever the image',
    )


def test_what_is_ignored_is_noted() -> None:
    """Facts 2.1.10: `overide` must not silently verify something else."""
    raw = document(
        statement(
            comment="x",
            trustedIdentities=["did: abc", "x509.subject: C=US, ST=WA, O=a, FOO=b"],
            signatureVerification={"level": "strict", "overide": {}},
        ),
        extra=1,
    )

    assert parse_trust_policy(raw).warnings == (
        'the document: "extra" is unknown and ignored',
        'statement #1: "comment" is unknown and ignored',
        'statement "p": signatureVerification: "overide" is unknown and ignored',
        'statement "p": "did: abc" matches no certificate',
        'statement "p": "x509.subject: C=US, ST=WA, O=a, FOO=b" matches no certificate',
    )


def test_a_statement_that_trusts_nobody_does_not_exist() -> None:
    """An empty list of requirements is a mistake, never a pass."""
    strict, skip = VerificationLevel.named("strict"), VerificationLevel.named("skip")
    found = first()

    for level, stores in ((strict, ()), (skip, found.trust_stores)):
        with pytest.raises(ValueError, match="trusts somebody, or it skips"):
            Statement(
                "p",
                ("*",),
                level,
                VerifyTimestamp.ALWAYS,
                stores,
                found.identities,
            )


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "ä", "a\n"])
def test_a_store_name_is_safe_in_a_path(name: str) -> None:
    """S3: the specification's own pattern lets ".." through."""
    with pytest.raises(MalformedError, match="is not a trust store name"):
        StoreName(StoreType.CA, name)


def test_verify_timestamp_is_always_by_default() -> None:
    """T7: the empty text too."""
    for value in ("", "always"):
        verification = {"level": "strict", "verifyTimestamp": value}
        found = first(signatureVerification=verification)
        assert found.verify_timestamp is VerifyTimestamp.ALWAYS
    assert first().verify_timestamp is VerifyTimestamp.ALWAYS


@given(st.binary(max_size=200))
def test_hostile_bytes_are_an_invalid_policy_and_nothing_else(raw: bytes) -> None:
    """Law 5."""
    problem(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*statement(), "level", "override", "version", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(list(statement())), JSON, max_size=5))
def test_hostile_statements_are_a_policy_or_invalid(changes: dict[str, Any]) -> None:
    """Any JSON in any place: problems, never a crash, never a lax default."""
    try:
        policy = parse_trust_policy(document(statement() | changes))
    except PolicyInvalidError:
        return
    for found in policy.statements:
        assert found.level.is_skip or (found.trust_stores and found.identities)

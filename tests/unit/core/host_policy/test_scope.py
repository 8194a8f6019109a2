"""Scopes: which repository falls under which, and what no repository falls under."""

import pytest

from enforcer.core.errors import MalformedError
from enforcer.core.host_policy import HostPolicy, parse_scope
from enforcer.core.reference import parse_reference
from tests.unit.core.host_policy.documents import parse, small


def repository(name: str) -> str:
    return parse_reference(name).repository(local=True)


@pytest.mark.parametrize(
    ("scope", "covered", "others"),
    [
        ("*", ["app", "reg.io/a", "docker.io/x"], []),
        ("reg.io/app", ["reg.io/app:1"], ["reg.io/app/x", "reg.io/ap", "reg.io/appx"]),
        ("reg.io/*", ["reg.io/a", "reg.io/a/b"], ["reg.io.evil/a", "reg.io:5000/a"]),
        ("reg.io/a/*", ["reg.io/a/b"], ["reg.io/a", "reg.io/ab", "reg.io/ab/c"]),
        ("reg.io:5000/*", ["reg.io:5000/a"], ["reg.io/a", "reg.io:50000/a"]),
        ("REG.io/*", ["REG.io/a"], ["reg.io/a"]),
        ("local/*", ["app", "team/app"], ["docker.io/app", "localhost/app"]),
        ("local/app", ["app:1"], ["app/x", "apps", "docker.io/library/app"]),
        ("local/library/app", ["app", "library/app"], ["library/app/x"]),
        ("docker.io/nginx", ["docker.io/library/nginx:1"], ["nginx", "docker.io/a/b"]),
        ("index.docker.io/*", ["docker.io/nginx", "docker.io/a/b"], ["app"]),
        ("docker.io/library/*", ["docker.io/nginx"], ["docker.io/team/nginx"]),
        ("localhost/*", ["localhost/app"], ["localhost:5000/app", "app"]),
        ("[::1]:5000/*", ["[::1]:5000/app"], ["app"]),
    ],
)
def test_a_scope_covers_what_engines_put_there_and_nothing_else(
    scope: str, covered: list[str], others: list[str]
) -> None:
    """Look-alikes are other registries: prefixes end at a slash."""
    found = parse_scope(scope)

    for name in covered:
        assert found.covers(repository(name)), name
    for name in others:
        assert not found.covers(repository(name)), name


@pytest.mark.parametrize(
    ("scope", "why"),
    [
        ("", "is no repository"),
        ("nginx", 'has no registry; write "local/nginx"'),
        ("team/app", 'write "local/team/app"'),
        ("reg.io", 'is a registry alone; write "reg.io/*"'),
        ("local", 'write "local/*"'),
        ("localhost", 'write "localhost/*"'),
        ("reg.io/", "is no repository"),
        ("reg.io/app:1", "has a tag or digest"),
        ("reg.io/app@sha256:" + "a" * 64, "has a tag or digest"),
        ("reg.io/App", "is no repository"),
        ("reg.io/a*", "is no repository"),
        ("reg.io/*/a", "is no repository"),
        ("*/app", "is no repository"),
        ("**", "is no repository"),
        ("reg.io//a", "is no repository"),
        ("reg.io/a/../b", "is no repository"),
        ("https://reg.io/a", "is no repository"),
        ("local/reg.io/x", 'is for nothing: "reg.io/x" has a registry'),
        ("local/localhost/*", "is for nothing"),
        ("local/my.app/*", "is for nothing"),
        ("docker.io/foo.bar/*", "is no repository"),
        ("r\u0435g.io/a", "is no repository"),
        ("reg.io/a\n", "is no repository"),
        ("a" * 1000 + ".io/x", "is no repository"),
    ],
)
def test_what_no_image_falls_under_is_a_mistake(scope: str, why: str) -> None:
    """A statement that is never reached protects nobody, and nobody notices."""
    with pytest.raises(MalformedError) as caught:
        parse_scope(scope)

    assert why in caught.value.what
    assert caught.value.what.isascii()
    assert len(caught.value.what) < 600


def _policy(*scopes: str) -> HostPolicy:
    return parse(
        small(
            statements=[
                {"name": f"s{n}", "scopes": [scope], "require": "a"}
                for n, scope in enumerate(scopes)
            ]
        )
    )


@pytest.mark.parametrize("turned", [False, True])
def test_the_most_specific_scope_wins_whatever_the_order(turned: bool) -> None:  # noqa: FBT001
    scopes = ["*", "reg.io/*", "reg.io/team/*", "reg.io/team/app", "reg.io/team/app/*"]
    policy = _policy(*(reversed(scopes) if turned else scopes))
    expected = {
        "quay.io/x": "*",
        "app": "*",
        "reg.io/x": "reg.io/*",
        "reg.io/team": "reg.io/*",
        "reg.io/team/x": "reg.io/team/*",
        "reg.io/team/app": "reg.io/team/app",
        "reg.io/team/app/x": "reg.io/team/app/*",
    }

    for name, scope in expected.items():
        found = policy.statement_for(repository(name))
        assert found is not None
        assert [s.text for s in found.scopes] == [scope], name


def test_a_mirrored_name_must_satisfy_both_statements() -> None:
    """Design section 6; fetching from elsewhere must not lower the demand."""
    mirrors = [{"prefix": "mirror.io/hub/*", "of": "docker.io/*"}]
    statements = [
        {"name": "mirror", "scopes": ["mirror.io/*"], "require": "a"},
        {"name": "hub", "scopes": ["docker.io/library/nginx"], "require": "b"},
    ]
    policy = parse(small(mirrors=mirrors, statements=statements))

    def demands(name: str) -> list[str]:
        return [demand.name for demand in policy.demands_on(repository(name))]

    assert demands("mirror.io/hub/library/nginx") == ["always", "mirror", "hub"]
    assert demands("mirror.io/other") == ["always", "mirror"]
    assert demands("mirror.io/hub/library/other") == []
    assert demands("nginx") == []

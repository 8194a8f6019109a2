"""Docker's API, call by call: what is judged, what is free, and what is no call."""

import pytest

from enforcer.core.codes import Code
from enforcer.hooks.authz.routes import (
    MAX_FIELDS,
    MAX_PATH,
    ROUTES,
    CallError,
    Rule,
    query_values,
    rule_for,
)

DIGEST = "sha256:" + "a1" * 32
# Every call that is no reading one, as its clients write it.
CALLS = f"""
CONTAINER POST /containers/create
CONTAINER POST /containers/create?name=web
CONTAINER POST /v1.24/containers/create
CONTAINER POST /v1.41/containers/create?name=web&platform=
CONTAINER POST /v1.51/containers/create
CONTAINER POST /v1.52/containers/create
CONTAINER POST /containers/cr%65ate
CONTAINER POST /%63ontainers/create
CONTAINER POST /containers%2Fcreate
CONTAINER POST /v1.41%2fcontainers/create
CONTAINER POST /containers/create?x=/start
CONTAINER POST /containers/create?
SERVICE POST /services/create
SERVICE POST /services/web/update?version=7
SERVICE POST /v1.30/services/a1b2/update?version=7&rollback=previous
START POST /containers/web/start
START POST /v1.41/containers/a1b2c3/start?detachKeys=
START POST /containers/create/start
BUILD POST /build
BUILD POST /build?remote=https://example.test/Dockerfile
BUILD POST /v1.41/build?version=2&session=x
BUILD POST /session
BUILD POST /grpc
BUILD POST /v1.51/grpc
BUILD POST /%62uild
PLUGIN POST /plugins/pull?remote=x/y
PLUGIN POST /plugins/create?name=x/y
PLUGIN POST /plugins/y/enable
PLUGIN POST /plugins/x/y:latest/enable?timeout=0
PLUGIN POST /plugins/example.test:5000/x/y/upgrade?remote=z
PLUGIN POST /plugins/x%2Fy/set
PLUGIN POST /plugins/disable/enable
ALLOW POST /containers/web/restart?t=3
ALLOW POST /containers/web/stop
ALLOW POST /containers/web/kill?signal=KILL
ALLOW POST /containers/web/pause
ALLOW POST /containers/web/unpause
ALLOW POST /containers/web/wait?condition=next-exit
ALLOW POST /containers/web/resize?h=1&w=1
ALLOW POST /containers/web/rename?name=web2
ALLOW POST /containers/web/update
ALLOW POST /containers/prune?filters=%7B%7D
ALLOW DELETE /containers/web?force=1
ALLOW DELETE /v1.51/containers/web
ALLOW POST /containers/web/attach?stream=1
ALLOW POST /containers/web/exec
ALLOW POST /exec/a1b2/start
ALLOW POST /exec/a1b2/resize
ALLOW PUT /containers/web/archive?path=/
ALLOW POST /containers/web/checkpoints
ALLOW DELETE /containers/web/checkpoints/c1
PULL POST /images/create?fromImage=app&tag=1
ALLOW POST /images/load?quiet=1
ALLOW POST /images/app/tag?repo=b
ALLOW POST /images/app@{DIGEST}/tag?repo=b
ALLOW POST /images/app%40{DIGEST}/tag?repo=b
ALLOW POST /images/example.test:5000/team/app/push
ALLOW POST /images/prune
ALLOW DELETE /images/example.test:5000/team/app:1
ALLOW DELETE /images/{DIGEST}
ALLOW POST /commit?container=web
ALLOW POST /build/prune
ALLOW POST /build/cancel?id=x
ALLOW POST /auth
ALLOW POST /networks/create
ALLOW POST /networks/n1/connect
ALLOW POST /networks/n1/disconnect
ALLOW POST /networks/prune
ALLOW DELETE /networks/n1
ALLOW POST /volumes/create
ALLOW POST /volumes/prune
ALLOW PUT /volumes/v1?version=2
ALLOW DELETE /volumes/v1
ALLOW POST /swarm/init
ALLOW POST /swarm/join
ALLOW POST /swarm/leave?force=1
ALLOW POST /swarm/update?version=1
ALLOW POST /swarm/unlock
ALLOW POST /nodes/n1/update?version=1
ALLOW DELETE /nodes/n1
ALLOW DELETE /services/web
ALLOW POST /secrets/create
ALLOW POST /secrets/s1/update?version=1
ALLOW DELETE /secrets/s1
ALLOW POST /configs/create
ALLOW POST /configs/c1/update?version=1
ALLOW DELETE /configs/c1
ALLOW POST /plugins/x/y:1/disable
ALLOW POST /plugins/x/y/push
ALLOW DELETE /plugins/x/y
ALLOW HEAD /_ping
ALLOW GET /_ping
ALLOW GET /v1.51/containers/json?all=1
ALLOW GET /containers/create
ALLOW GET /containers/web/attach/ws
ALLOW GET //v1.51//../anything;at%20all
ALLOW HEAD /containers/web/archive?path=/
ALLOW OPTIONS /containers/create
""".strip().splitlines()

# What dockerd might take for another call than we do, or does not know either.
REFUSED = f"""
POST //containers/create
POST /containers//create
POST /containers/create/
POST /v1.41//containers/create
POST //v1.41/containers/create
POST /./containers/create
POST /../containers/create
POST /v1.41/../containers/create
POST /containers/../containers/create
POST /containers/./create
POST /%2e%2e/containers/create
POST /v1.41/%2e%2E/containers/create
POST /containers/web/start/..
POST /images/x/../../containers/create
POST /images/x%2f..%2f..%2fcontainers%2fcreate/tag
POST /containers/create;x
POST /containers;x/create
POST /containers/create%3Fx/start
POST /containers/create%23/start
POST /containers/cr%2565ate
POST /containers/%00/start
POST /containers/create%00
POST /containers/cr%65ate%
POST /containers/cr%6
POST /containers/cr%zzate
POST /containers/cr%u0065ate
POST /containers/create%20
POST /containers/create+
POST /containers/create\\
POST /containers\\create
POST /containers/create#x
POST /Containers/create
POST /containers/Create
POST /CONTAINERS/CREATE
POST /containers/creat\u0435
POST /container\u017f/create
POST /containers/create\u2028
POST http://docker/containers/create
POST http:/containers/create
POST containers/create
POST *
POST /
POST
POST /v1.23/containers/create
POST /v1.12/containers/web/start
POST /v1/containers/create
POST /v0.99/containers/create
POST /v1.2.3/containers/create
POST /v1.024000/containers/create
POST /v../containers/create
POST /v1.41/v1.41/containers/create
POST /v1.41
POST /v1.x/containers/create
POST /V1.41/containers/create
POST /containers/create/x
POST /x/containers/create
POST /containers/a/b/start
POST /containers/web/copy
POST /containers/web/start/x
POST /services
POST /services/create/x
POST /services/web
PUT /services/web
POST /build/x
POST /buildx
POST /build.
POST /grpc/x
POST /session/x
POST /plugins/x/install
POST /plugins
POST /plugins/x/ENABLE
POST /plugins//enable
POST /images/prune/x
POST /images/{DIGEST}
POST /exec/a1b2
POST /swarm
POST /debug/pprof/symbol
PUT /containers/create
DELETE /containers/create/x
DELETE /containers
PATCH /containers/create
TRACE /containers/create
CONNECT /containers/create
PRI *
post /containers/create
Post /containers/create
get /containers/create
POST\t /containers/create
POST_ /containers/create
""".strip("\n").split("\n")


@pytest.mark.parametrize("line", CALLS)
def test_every_call_has_its_rule(line: str) -> None:
    """As dockerd decodes it, with and without a version."""
    rule, method, uri = line.split(" ")

    assert rule_for(method, uri) is Rule[rule]


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_no_plain_call_is_refused(line: str) -> None:
    """Law 5: one reading of a path, and what could have two has none."""
    method, _, uri = line.partition(" ")

    with pytest.raises(CallError) as caught:
        rule_for(method, uri)

    assert caught.value.code is Code.DOCKER_CALL_UNKNOWN
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


def test_these_are_enough_to_mean_something() -> None:
    """Each rule and each line of the table is asked for above."""
    asked = [line.split(" ", 2)[1:] for line in CALLS]
    untouched = {call for call, _ in ROUTES if not _is_asked(call, asked)}

    assert not untouched
    assert len(CALLS) + len(REFUSED) >= 150


def _is_asked(call: str, asked: list[list[str]]) -> bool:
    method, path = call.split(" ")
    last = path.rpartition("/")[2]
    end = "" if last.startswith("{") else f"/{last}"
    return any(m == method and uri.partition("?")[0].endswith(end) for m, uri in asked)


def test_a_request_line_without_end_is_refused_at_once() -> None:
    """Law 6: what is matched against patterns is bounded."""
    with pytest.raises(CallError):
        rule_for("POST", "/containers/" + "a" * MAX_PATH + "/start")
    with pytest.raises(CallError):
        query_values("/containers/create?" + "a&" * MAX_FIELDS + "a", "platform")
    # Build arguments stand in the query, and there may be many.
    assert rule_for("POST", "/build?buildargs=" + "a" * 10**6) is Rule.BUILD


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ()),
        ("name=x", ()),
        ("platform=linux/arm64", ("linux/arm64",)),
        ("platform=linux%2Farm64", ("linux/arm64",)),
        ("plat%66orm=a&platform=b", ("a", "b")),
        ("platform=a&name=x&platform=", ("a", "")),
        ("platform", ("",)),
        ("Platform=a", ()),
        ("name=x;platform=a", ()),
        ("x=%zz&platform=a", ("a",)),
    ],
)
def test_of_a_query_every_value_counts(query: str, expected: tuple[str, ...]) -> None:
    """Go takes the first one; we look at all, so the order does not matter."""
    assert query_values(f"/containers/create?{query}", "platform") == expected

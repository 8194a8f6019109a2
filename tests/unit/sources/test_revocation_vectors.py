"""Every vector that needs revocation, with what its group's responders would say.

`http.json` of a group holds the routes; they are served on the address the vectors'
certificates name, for one group at a time since paths repeat. What is gathered is
gathered online, for chains that are already authenticated; the judgement is the
core's, in-process.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from enforcer.core.codes import Code
from enforcer.core.decide import Decision, decide
from enforcer.core.evidence import NO_EVIDENCE
from enforcer.core.revocation_chain import authenticated_chains
from enforcer.core.verify import verify_signature
from enforcer.sources.revocation.fetch import HttpFetcher
from enforcer.sources.revocation.gather import Limits, gather
from tests.revoker import Reply, Revoker
from tests.unit.core.test_notary_vectors import (
    NOW,
    Vector,
    files,
    policy,
    signatures,
    stores,
    target,
    vectors,
)

PORT = 5597  # the vectors' certificates say http://127.0.0.1:5597/...
GROUPS = ("revocation", "extra")
LIMITS = Limits(ocsp_seconds=20, crl_seconds=20, total_seconds=60)  # none hangs


@pytest.fixture(scope="module")
def served() -> Iterator["Served"]:
    with Served() as served:
        yield served


class Served:
    """The routes of one group at a time."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._group = ""
        self.revoker: Revoker | None = None

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def group(self, name: str) -> Revoker:
        if self._group != name or self.revoker is None:
            self._stack.close()
            self._group = name
            self.revoker = self._stack.enter_context(Revoker(port=PORT))
            described = json.loads(files()[f"{name}/http.json"])
            assert described["port"] == PORT
            for path, (status, body) in described["routes"].items():
                raw = base64.b64decode(body or "")
                self.revoker.routes[path] = Reply(raw, status=status)
        self.revoker.asked.clear()
        return self.revoker


def judge(vector: Vector) -> Decision:
    """As `verify --online` does: authenticate, gather, judge."""
    subject = target(vector)
    statement = policy(vector).statement_for(vector.scope)
    assert statement is not None
    trusted = stores(vector, statement.trust_stores)
    reports = []
    for signature in signatures(vector, subject):
        known = authenticated_chains(signature, (subject,), statement, trusted, NOW)
        gathered = gather(known, NOW, fetcher=HttpFetcher(), limits=LIMITS)
        reports.append(
            verify_signature(
                signature,
                (subject,),
                statement,
                trusted,
                NOW,
                vector.user_metadata,
                gathered.evidence,
            )
        )
    return decide(vector.scope, subject.digest.short, statement, reports)


def needing_revocation() -> list[object]:
    return [pytest.param(v, id=v.id) for v in vectors() if v.group in GROUPS]


def test_the_groups_are_whole() -> None:
    """A vector that is silently not run is a promise not kept."""
    counts = dict.fromkeys(GROUPS, 0)
    for vector in vectors():
        counts[vector.group] = counts.get(vector.group, 0) + 1

    assert {group: counts[group] for group in GROUPS} == {"revocation": 54, "extra": 2}
    with_routes = {name.split("/")[0] for name in files() if name.endswith("http.json")}
    assert with_routes == set(GROUPS)


@pytest.mark.parametrize("vector", needing_revocation())
def test_the_verdict_is_the_specifications(served: Served, vector: Vector) -> None:
    """R1-R11, our S decisions among them."""
    served.group(vector.group)

    decision = judge(vector)

    if vector.expect != "either":
        assert decision.allowed is (vector.expect == "accept"), decision


def test_what_is_skipped_or_not_trusted_is_not_asked_about(served: Served) -> None:
    """Law 2: rev-ocsp-revoked-skip names a responder, and nobody asks it."""
    revoker = served.group("revocation")
    (vector,) = [v for v in vectors() if v.id == "rev-ocsp-revoked-skip"]

    assert judge(vector).allowed
    assert revoker.asked == []


def test_without_gathering_pointers_deny() -> None:
    """What is not at hand is not guessed at."""
    for vector in vectors():
        if vector.group not in GROUPS or vector.expect != "reject":
            continue
        statement = policy(vector).statement_for(vector.scope)
        assert statement is not None
        for signature in signatures(vector, target(vector)):
            report = verify_signature(
                signature,
                (target(vector),),
                statement,
                stores(vector, statement.trust_stores),
                NOW,
                evidence=NO_EVIDENCE,
            )
            assert not report.accepted, vector.id
            problem = report.first_problem
            assert problem is not None
            assert problem.code is Code.REVOCATION_UNKNOWN, vector.id

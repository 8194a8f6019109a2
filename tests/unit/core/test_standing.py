"""How a running container stands, and what it may be stopped for."""

from dataclasses import replace

import pytest

from enforcer.core.codes import PAGES, Code
from enforcer.core.decide import Decision
from enforcer.core.digest import Digest
from enforcer.core.findings import Action, Check, Finding, Result, SignatureReport
from enforcer.core.standing import Standing, may_stop, standing_of

MISSING = Decision(
    allowed=False,
    code=Code.REQUIREMENT_UNMET,
    message="one is missing",
    statement="production",
    signatures=(),
)


def _with(result: Result) -> Decision:
    code = Code.TRUST_STORE_INVALID
    finding = Finding(Check.AUTHENTICITY, result, Action.ENFORCE, code, "x")
    return replace(
        MISSING,
        signatures=(SignatureReport(Digest.of(b""), "jws", "CN=x", (finding,)),),
    )


@pytest.mark.parametrize("code", PAGES)
def test_only_what_was_decided_is_stopped_for_and_that_is_always_a_denial(
    code: Code,
) -> None:
    """A code that is new stops nothing until somebody says so."""
    denied = replace(MISSING, code=code)

    if may_stop(denied):
        assert standing_of(denied) is Standing.DENIED
    assert not may_stop(replace(denied, allowed=True))
    assert standing_of(replace(denied, allowed=True)) is Standing.ALLOWED
    if str(code) >= "ENF-1103" and code is not Code.LEVEL_NOT_ALLOWED:
        assert standing_of(denied) is Standing.UNJUDGED


def test_a_signer_who_is_missing_for_want_of_a_store_is_a_doubt() -> None:
    """The signature may be theirs; it is the host that cannot tell."""
    assert may_stop(MISSING)
    assert may_stop(_with(Result.FAILED))
    assert not may_stop(_with(Result.INCONCLUSIVE))

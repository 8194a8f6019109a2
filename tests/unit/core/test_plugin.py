"""The plug-in contract: what is demanded, said and answered, word for word."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.core.errors import EnforcerError
from enforcer.core.plugin import (
    IDENTITY,
    REVOCATION,
    PluginDemand,
    PluginError,
    PluginQuestion,
    parse_metadata,
    parse_verify_answer,
    parse_version,
    verify_request,
)

DEMAND = PluginDemand("com.example.p", None)
METADATA: dict[str, object] = {
    "name": "com.example.p",
    "description": "d",
    "version": "1.2.0",
    "url": "https://example.test",
    "supportedContractVersions": ["1.0"],
    "capabilities": [IDENTITY, REVOCATION],
}
QUESTION = PluginQuestion(
    scheme="notary.x509",
    content_type="application/vnd.cncf.notary.payload.v1+json",
    expiry=None,
    authentic_signing_time=None,
    extended={"com.example.x": "1"},
    critical=["com.example.x"],
    chain=[b"leaf", b"root"],
    identities=["*"],
    capabilities=[IDENTITY],
)


def answer(**changes: object) -> bytes:
    document = {
        "verificationResults": {IDENTITY: {"success": True, "reason": "r"}},
        "processedAttributes": ["com.example.x"],
    }
    return json.dumps(document | changes).encode()


@pytest.mark.parametrize(
    "name", ["../../evil", "a/b", "..", ".", "", "a b", "a\n", "\u0430", "a\0b"]
)
def test_a_plugin_name_is_never_a_path(name: str) -> None:
    """The name comes out of the signature, so it is nobody's to choose a file by."""
    with pytest.raises(PluginError):
        PluginDemand(name, None)


def test_reads_metadata_that_keeps_the_contract() -> None:
    """PL144: everything is required."""
    found = parse_metadata(json.dumps(METADATA).encode(), demand=DEMAND)

    assert found.version == "1.2.0"
    assert set(found.capabilities) == {IDENTITY, REVOCATION}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"version": "v1"},
        {"version": ""},
        {"url": None},
        {"supportedContractVersions": ["2.0"]},
        {"supportedContractVersions": "1.0"},
        {"capabilities": []},
        {"capabilities": ["SIGNATURE_GENERATOR.RAW"]},
        {"Name": "com.example.p"},
    ],
)
def test_metadata_that_breaks_the_contract_is_refused(
    changes: dict[str, object],
) -> None:
    """A plug-in that is not what the signer meant judges nothing."""
    demand = PluginDemand("com.example.p", "1.0.0")

    with pytest.raises(PluginError):
        parse_metadata(json.dumps(METADATA | changes).encode(), demand=demand)


def test_versions_sort_as_semver_says() -> None:
    """semver.org's own example, in its order."""
    words = (
        "1.0.0-alpha 1.0.0-alpha.1 1.0.0-alpha.beta 1.0.0-beta 1.0.0-beta.2 "
        "1.0.0-beta.11 1.0.0-rc.1 1.0.0 1.0.1 1.2.0 1.10.0 2.0.0"
    )
    versions = words.split()

    assert sorted(set(versions), key=parse_version) == versions
    assert parse_version("1.0.0+build.5") == parse_version("1.0.0")


def test_a_plugin_older_than_the_signer_asks_for_is_refused() -> None:
    """PL504: a pre-release comes before its release."""
    for version in ("1.0.9", "1.1.0-rc.1"):
        raw = json.dumps(METADATA | {"version": version}).encode()
        with pytest.raises(PluginError, match=r"asks for 1\.1\.0"):
            parse_metadata(raw, demand=PluginDemand("com.example.p", "1.1.0"))


def test_the_question_is_notations() -> None:
    """The members notation 1.3.2 was seen to send, without its zero times."""
    document = json.loads(verify_request(QUESTION))

    assert document["contractVersion"] == "1.0"
    assert document["signature"]["criticalAttributes"] == {
        "contentType": QUESTION.content_type,
        "signingScheme": "notary.x509",
        "extendedAttributes": {"com.example.x": "1"},
    }
    assert document["signature"]["unprocessedAttributes"] == ["com.example.x"]
    assert document["signature"]["certificateChain"] == ["bGVhZg==", "cm9vdA=="]
    assert document["trustPolicy"] == {
        "trustedIdentities": ["*"],
        "signatureVerification": [IDENTITY],
    }


def test_an_answer_has_a_result_for_every_capability() -> None:
    """PL522: and the reason is somebody else's text."""
    found = parse_verify_answer(answer(), QUESTION)

    assert found[IDENTITY].success
    assert found[IDENTITY].reason == "r"


@pytest.mark.parametrize(
    "changes",
    [
        {"verificationResults": {}},
        {"verificationResults": {REVOCATION: {"success": True}}},
        {"verificationResults": {IDENTITY: {"success": "true"}}},
        {"verificationResults": {IDENTITY: {"success": 1}}},
        {"verificationResults": {IDENTITY: True}},
        {"verificationResults": []},
        {"verificationResults": None},
        {"processedAttributes": []},
        {"processedAttributes": None},
        {"processedAttributes": "com.example.x"},
        {"VerificationResults": {}},
    ],
)
def test_an_answer_that_leaves_something_out_is_no_answer(
    changes: dict[str, object],
) -> None:
    """Success is a true boolean and nothing that merely looks like one."""
    with pytest.raises(PluginError):
        parse_verify_answer(answer(**changes), QUESTION)


@given(st.binary(max_size=200))
def test_hostile_bytes_are_a_plugin_error(raw: bytes) -> None:
    """One outcome: it cannot be used."""
    for read in (
        lambda: parse_metadata(raw, demand=DEMAND),
        lambda: parse_verify_answer(raw, replace(QUESTION, critical=[])),
    ):
        try:
            read()
        except EnforcerError as error:
            assert isinstance(error, PluginError), error  # noqa: PT017 - it is the point

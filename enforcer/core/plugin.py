"""Notation's verification plug-in contract 1.0: what is said to one, and what it says.

Follows plugin-extensibility.md, "Verification workflow". Nothing here runs anything:
`sources.plugins` does, for plug-ins the host names, and only after authenticity.
"""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.rfc3339 import format_rfc3339
from enforcer.core.strictjson import Json, parse_json, require_object

PLUGIN_ATTRIBUTE = "io.cncf.notary.verificationPlugin"
VERSION_ATTRIBUTE = "io.cncf.notary.verificationPluginMinVersion"
IDENTITY = "SIGNATURE_VERIFIER.TRUSTED_IDENTITY"
REVOCATION = "SIGNATURE_VERIFIER.REVOCATION_CHECK"
CONTRACT = "1.0"
MAX_ANSWER_BYTES = 1024 * 1024  # an answer is some hundred bytes
MAX_VERSION_LENGTH = 128

_NAME = re.compile(r"[A-Za-z0-9._-]+")
# semver.org, point 2 to 11; build metadata does not count
_VERSION = re.compile(
    r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?"
)


class PluginError(EnforcerError):
    """A plug-in is missing, too old, or does not keep to the contract."""

    default_code = Code.PLUGIN_FAILED


@dataclass(frozen=True, slots=True)
class PluginDemand:
    """The plug-in a signer says must judge the signature, too. Safe in a path."""

    name: str
    min_version: str | None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name.strip(".") == "":
            raise broken(f'the signature asks for plug-in "{clip(self.name)}"')
        if self.min_version is not None:
            parse_version(self.min_version)


@dataclass(frozen=True, slots=True)
class PluginMetadata:
    """What a plug-in says about itself."""

    version: str
    capabilities: frozenset[str]


@dataclass(frozen=True, slots=True)
class PluginQuestion:
    """What a plug-in is told about a signature whose chain is trusted."""

    scheme: str
    content_type: str
    expiry: datetime | None
    authentic_signing_time: datetime | None
    extended: Mapping[str, object]  # without the two attributes that name the plug-in
    critical: Sequence[str]  # of those, the ones the plug-in must process
    chain: Sequence[bytes]  # DER, leaf first
    identities: Sequence[str]
    capabilities: Sequence[str]


@dataclass(frozen=True, slots=True)
class PluginResult:
    """One capability's answer."""

    success: bool
    reason: str


def parse_metadata(raw: bytes, *, demand: PluginDemand) -> PluginMetadata:
    """Read a plug-in's metadata, and hold it against what the signer demands.

    Raises:
        PluginError: Malformed, another plug-in, another contract, or too old.
    """
    members = _object(raw, "its metadata", ("name", "version", "capabilities"))
    texts = {k: members.get(k) for k in ("name", "description", "version", "url")}
    if not all(isinstance(text, str) and text for text in texts.values()):
        raise broken("its metadata lacks name, description, version or url")
    version = str(texts["version"])
    if texts["name"] != demand.name:
        raise broken(f'it calls itself "{clip(str(texts["name"]))}"')
    if CONTRACT not in _texts(members.get("supportedContractVersions")):
        raise broken(f"it does not support contract version {CONTRACT}")
    wanted = demand.min_version
    own = parse_version(version)
    if wanted is not None and own < parse_version(wanted):
        raise broken(f"it has version {clip(version)}, the signer asks for {wanted}")
    capabilities = frozenset(_texts(members.get("capabilities")))
    if not capabilities & {IDENTITY, REVOCATION}:
        raise broken("it cannot verify signatures")
    return PluginMetadata(version, capabilities)


def verify_request(question: PluginQuestion) -> bytes:
    """Write the `verify-signature` request (plugin-extensibility.md)."""
    attributes: dict[str, object] = {
        "contentType": question.content_type,
        "signingScheme": question.scheme,
    }
    times = {
        "expiry": question.expiry,
        "authenticSigningTime": question.authentic_signing_time,
    }
    attributes |= {name: format_rfc3339(at) for name, at in times.items() if at}
    if question.extended:
        attributes["extendedAttributes"] = dict(question.extended)
    document = {
        "contractVersion": CONTRACT,
        "signature": {
            "criticalAttributes": attributes,
            "unprocessedAttributes": list(question.critical),
            "certificateChain": [
                base64.b64encode(der).decode("ascii") for der in question.chain
            ],
        },
        "trustPolicy": {
            "trustedIdentities": list(question.identities),
            "signatureVerification": list(question.capabilities),
        },
    }
    return json.dumps(document).encode("ascii")


def parse_verify_answer(
    raw: bytes, question: PluginQuestion
) -> Mapping[str, PluginResult]:
    """Read a `verify-signature` answer: a result for every capability asked for.

    Raises:
        PluginError: Malformed, a result is missing, or a critical attribute was not
            processed (every one must be: SS124).
    """
    members = _object(raw, "its answer", ("verificationResults", "processedAttributes"))
    results = members.get("verificationResults")
    if not isinstance(results, dict):
        raise broken("its answer has no verificationResults")
    processed = _texts(members.get("processedAttributes") or [])
    for name in question.critical:
        if name not in processed:
            raise broken(f'it did not process critical attribute "{clip(name)}"')
    return {name: _result(results.get(name), name) for name in question.capabilities}


def parse_version(text: str) -> tuple[object, ...]:
    """Read a semantic version as something that sorts by precedence.

    Raises:
        PluginError: Not a semantic version.
    """
    match = _VERSION.fullmatch(text) if len(text) <= MAX_VERSION_LENGTH else None
    if match is None:
        raise broken(f'"{clip(text)}" is no semantic version')
    numbers = tuple(int(part) for part in match.group(1, 2, 3))
    if match[4] is None:
        return (*numbers, 1, ())  # a release follows its pre-releases
    return (*numbers, 0, tuple(_identifier(part) for part in match[4].split(".")))


def _identifier(text: str) -> tuple[int, int, str]:
    # semver.org, point 11: numbers by value, below all words
    return (0, int(text), "") if text.isdigit() else (1, 0, text)


def _result(value: Json, name: str) -> PluginResult:
    if not isinstance(value, dict) or not isinstance(value.get("success"), bool):
        raise broken(f"its answer says nothing about {name}")
    reason = value.get("reason", "")
    return PluginResult(value["success"] is True, clip(str(reason)))


def _object(raw: bytes, what: str, known: tuple[str, ...]) -> dict[str, Json]:
    try:
        document = parse_json(raw, what=what, max_bytes=MAX_ANSWER_BYTES)
        return require_object(document, what=what, known=known)
    except EnforcerError as error:
        raise broken(error.what) from error


def _texts(value: Json) -> list[str]:
    listed = value if isinstance(value, list) else []
    return [item for item in listed if isinstance(item, str)]


def broken(what: str) -> PluginError:
    """Make the error for a plug-in, or a demand for one, that breaks the contract."""
    return PluginError(
        f"the verification plug-in cannot be used: {what}",
        remedy="Install the plug-in the signer means, or have the image signed anew.",
    )

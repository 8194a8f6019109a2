"""Signers as written: what they are, and what their signatures must meet."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from enforcer.core.conditions import Conditions
from enforcer.core.errors import MalformedError
from enforcer.core.host_policy import words
from enforcer.core.identity import Identity, IdentityKind, parse_identity
from enforcer.core.level import VerificationLevel
from enforcer.core.statement import (
    GLOBAL_SCOPE,
    Statement,
    StoreName,
    StoreType,
    VerifyTimestamp,
)
from enforcer.core.strictyaml import (
    Check,
    Node,
    YamlReader,
    list_of,
    one_of,
    plain,
    shown,
)

_STRICT = VerificationLevel.named("strict")


def parse_signer(
    reader: YamlReader, name: str, node: Node, common: Conditions
) -> Statement | None:
    """Read a signer: what its signatures are judged by. None where there is a problem.

    `common` is what the policy asks of every signer.
    """
    before = len(reader.problems)
    checks: dict[str, Check] = {
        "x509": _x509,
        "signedWithin": words.duration,
        "userMetadata": _metadata,
        "algorithms": words.algorithms,
    }
    members = reader.mapping(node, checks, required=("x509",))
    if len(reader.problems) > before:
        return None
    x509 = members["x509"]
    stores: tuple[StoreName, ...] = x509["trustStores"]
    when = VerifyTimestamp(x509.get("verifyTimestamp", VerifyTimestamp.ALWAYS))
    conditions = _conditions(reader, node, members, common)
    types = {store.type for store in stores}
    if types <= {StoreType.TSA}:
        reader.problem(node, "trustStores must list one of type ca or signingAuthority")
    if conditions.signed_within and types == {StoreType.CA}:
        reader.problem(
            node,
            "signedWithin needs a proven time: add a trust store of type tsa, or use "
            "one of type signingAuthority",
        )
    if conditions.signed_within and when is not VerifyTimestamp.ALWAYS:
        reader.problem(node, "signedWithin needs verifyTimestamp: always")
    if len(reader.problems) > before:
        return None
    scopes = (GLOBAL_SCOPE,)
    return Statement(
        name, scopes, _STRICT, when, stores, x509["identities"], conditions
    )


def _conditions(
    reader: YamlReader, node: Node, members: Mapping[str, Any], common: Conditions
) -> Conditions:
    """Join what this signer must meet and what all must; neither loosens the other."""
    own, all_ = members.get("algorithms") or common.algorithms, common.algorithms
    counting = {name: own[name] for name in own if name in (all_ or own)}
    if own and not counting:
        reader.problem(node, "none of its algorithms is one that the policy counts")
    ends = ((n, [e for e in (end, all_.get(n)) if e]) for n, end in counting.items())
    pins = members["x509"].get("pins", {})
    return replace(
        common,
        signed_within=members.get("signedWithin"),
        user_metadata=members.get("userMetadata", {}),
        certificates=frozenset(pins.get("certificates", ())),
        keys=frozenset(pins.get("keys", ())),
        algorithms={name: min(both, default=None) for name, both in ends},
    )


def _x509(reader: YamlReader, node: Node) -> dict[str, Any]:
    checks: dict[str, Check] = {
        "trustStores": list_of(_store),
        "identities": _identities,
        "verifyTimestamp": one_of(*VerifyTimestamp),
        "pins": _pins,
    }
    found = reader.mapping(node, checks, required=("trustStores", "identities"))
    for name in ("trustStores", "identities"):
        if found.get(name) == ():
            reader.problem(node, f"{name} is empty; nobody could be this signer")
    return found


def _store(reader: YamlReader, node: Node) -> StoreName | None:
    type_, _, name = (plain(node, "str") or "").partition(":")
    if type_ not in tuple(StoreType):
        known = ", ".join(StoreType)
        reader.problem(node, f"{shown(node)} is not TYPE:NAME, the type one of {known}")
        return None
    try:
        return StoreName(StoreType(type_), name)
    except MalformedError as error:
        reader.problem(node, error.what)
        return None


def _identities(reader: YamlReader, node: Node) -> tuple[Identity, ...]:
    items = reader.items(node)
    found: list[Identity] = []
    for item in items:
        try:
            identity = parse_identity(plain(item, "str") or "")
        except MalformedError as error:
            reader.problem(item, error.what)
            continue
        if identity.unmatchable:
            reader.problem(item, f"{shown(item)} matches no certificate")
        found.append(identity)
    if len(found) > 1 and any(i.kind is IdentityKind.ANY for i in found):
        reader.problem(node, 'the identity "*" must stand alone')
    return tuple(found)


def _pins(reader: YamlReader, node: Node) -> dict[str, Any]:
    digests = list_of(words.sha256)
    found = reader.mapping(node, {"certificates": digests, "keys": digests})
    if not any(found.values()):
        reader.problem(node, "pins must list at least one certificate or key")
    return found


def _metadata(reader: YamlReader, node: Node) -> dict[str, str]:
    return {name: words.text(reader, value) for name, _, value in reader.named(node)}

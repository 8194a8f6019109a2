"""A Notation trust policy said in the words of the host policy.

What has no equivalent is reported, one sentence each, and never dropped silently. The
result may be stricter than the original, never laxer.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from enforcer.core.errors import MalformedError, clip
from enforcer.core.findings import Action
from enforcer.core.host_policy.parse import API_VERSION
from enforcer.core.host_policy.policy import ALWAYS
from enforcer.core.host_policy.scope import parse_scope
from enforcer.core.statement import Statement, TrustPolicy, VerifyTimestamp

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 60


@dataclass(slots=True)
class Imported:
    """A document for `policy.d`, and what of the original it does not say."""

    document: dict[str, Any] = field(default_factory=dict)
    unsaid: list[str] = field(default_factory=list)


def from_notation(policy: TrustPolicy) -> Imported:
    """Translate a trust policy; each statement becomes a signer and a statement."""
    imported = Imported()
    signers: dict[str, Any] = {}
    statements = []
    for statement in policy.statements:
        name = _name(statement.name, signers)
        if statement.level.is_skip:
            imported.unsaid.append(
                f"statement {name} skips verification for "
                f"{', '.join(map(clip, statement.scopes))}: no host policy can; those "
                "images are denied until somebody signs them, or exempt them by digest"
            )
            continue
        imported.unsaid += _laxer(name, statement)
        scopes = list(_scopes(name, statement, imported))
        if not scopes:
            continue
        signers[name] = {"x509": _x509(statement)}
        statements.append({"name": name, "scopes": scopes, "require": name})
    imported.unsaid += [f"as in the original: {clip(w)}" for w in policy.warnings]
    names = list(signers)
    imported.document = {
        "apiVersion": API_VERSION,
        "signers": signers,
        ALWAYS: names[0] if len(names) == 1 else {"anyOf": names},
        "statements": statements,
    }
    return imported


def _x509(statement: Statement) -> dict[str, Any]:
    found: dict[str, Any] = {
        "trustStores": [str(store) for store in statement.trust_stores],
        "identities": [i.text for i in statement.identities if not i.unmatchable],
    }
    if statement.verify_timestamp is not VerifyTimestamp.ALWAYS:
        found["verifyTimestamp"] = str(statement.verify_timestamp)
    return found


def _laxer(name: str, statement: Statement) -> Iterator[str]:
    noted = [
        f"{check}: {action}"
        for check, action in statement.level.actions
        if action is not Action.ENFORCE
    ]
    if noted:
        yield (
            f"statement {name} has level {statement.level.name} ({', '.join(noted)}); "
            "a host policy enforces every check"
        )
    for identity in statement.identities:
        if identity.unmatchable:
            yield f'statement {name}: "{clip(identity.text)}" matches no certificate'


def _scopes(name: str, statement: Statement, imported: Imported) -> Iterator[str]:
    for text in statement.scopes:
        try:
            scope = parse_scope(text)
        except MalformedError as error:
            imported.unsaid.append(f"statement {name}: {error.what}")
            continue
        if scope.text != text:
            imported.unsaid.append(
                f"statement {name}: the scope {clip(text)} is spelt {scope.text}"
            )
        yield scope.text


def _name(text: str, taken: dict[str, Any]) -> str:
    """Return a name the host policy takes, that nobody has yet."""
    plain = _UNNAMEABLE.sub("-", text).strip("-._")[:_MAX_NAME] or "statement"
    name = "statement-always" if plain == ALWAYS else plain
    number = 1
    while name in taken:  # bounded by the number of statements
        number += 1
        name = f"{plain}-{number}"
    return name

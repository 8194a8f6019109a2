"""What a policy says, as members for JSON and lines for people."""

from datetime import datetime
from typing import Any

from enforcer.cli.main import UsageError
from enforcer.cli.targets import TRANSPORTS, open_target
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.host_policy import Demand, HostPolicy
from enforcer.core.reference import parse_reference
from enforcer.core.statement import Statement
from enforcer.core.subject import ImageName, Subject, bind_subject
from enforcer.core.truststore import TrustStores
from enforcer.ports import PolicyInForce
from enforcer.settings import Settings
from enforcer.sources.cache import DiskCache

Shown = dict[str, Any]


def shown_policy(force: PolicyInForce, at: datetime) -> Shown:
    """Return what `policy check` says of a policy that can be used."""
    policy = force.policy
    found: Shown = {"digest": str(policy.digest), "signers": {}, "statements": []}
    host = isinstance(policy, HostPolicy)
    if isinstance(policy, HostPolicy):
        found["signers"] = _signers(policy, force.stores)
        found["always"] = _demand(policy.always)
        found["statements"] = [_demand(one) for one in policy.statements]
        found["weakest"] = [_demand(one) for one in policy.weakest()]
    else:
        found["statements"] = [
            _notation(one, force.stores) for one in policy.statements
        ]
    notices = tuple(policy.notices(at)) if isinstance(policy, HostPolicy) else ()
    found["notices"] = [*policy.warnings, *notices]
    found["unusable"] = [
        store.what
        for store in force.stores.stores.values()
        if isinstance(store, EnforcerError)
    ]
    return found | {"kind": "host" if host else "notation"}


def shown_target(
    text: str, settings: Settings, force: PolicyInForce, at: datetime
) -> Shown:
    """Return which statement an image falls under, and why."""
    names, subject = _named(text, settings)
    if not names:
        raise UsageError(
            f"{clip(text)} does not say under which name to judge it; give a reference "
            "such as registry.example.com/team/app"
        )
    policy = force.policy
    found: Shown = {"image": clip(text), "names": [], "covered": False}
    for name in names:
        members: Shown = {"name": name.shown, "repository": name.repository}
        if isinstance(policy, HostPolicy):
            demands = policy.demands_on(name.repository)
            members["demands"] = [_demand(demand) for demand in demands]
            members["lessSpecific"] = _less_specific(policy, name, demands)
            signers = {n for demand in demands for n in demand.requirement.names}
            members["signers"] = {
                n: s for n, s in _signers(policy, force.stores).items() if n in signers
            }
            covered = bool(demands)
        else:
            statement = policy.statement_for(name.repository)
            covered = statement is not None
            members["demands"] = (
                [_notation(statement, force.stores)] if statement else []
            )
        found["names"].append(members)
        found["covered"] = found["covered"] or covered
    if isinstance(policy, HostPolicy) and subject is not None:
        found |= _exceptions(policy, subject, at)
    return found


def tell(found: Shown, indent: str = "") -> None:
    """Print members for people: one line a value, lists and mappings below."""
    for name, value in found.items():
        if value in ([], {}, ()):
            continue
        if isinstance(value, dict):
            print(f"{indent}{name}")
            tell(value, indent + "  ")
        elif isinstance(value, list) and isinstance(value[0], dict):
            for item in value:
                first, *rest = item.items()
                print(f"{indent}{name[:-1] if name[-1] == 's' else name}  {first[1]}")
                tell(dict(rest), indent + "  ")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            print(f"{indent}{name:12} {text}")


def _named(
    text: str, settings: Settings
) -> tuple[tuple[ImageName, ...], Subject | None]:
    """Read a plain reference, which is judged by name alone, or find a target."""
    if text.partition(":")[0] not in TRANSPORTS:  # no registry is asked
        reference = parse_reference(text)
        return (ImageName(clip(text), reference.scope),), None
    with open_target(text, settings) as target:
        if target.claim is None:
            return target.names, None
        listed = [content.descriptor.digest for content in target.contents]
        cached = DiskCache(settings.cache_dir).manifests_about(
            target.claim.config_digest, listed
        )
        return target.names, bind_subject(target.claim, cached)


def _exceptions(policy: HostPolicy, subject: Subject, at: datetime) -> Shown:
    found: Shown = {}
    denied = policy.denial_of(subject.all_digests)
    if denied is not None:
        found["denied"] = f"{denied[0]} {denied[1]}"
    exemption = policy.exemption_of(subject.content_digests)
    if exemption is not None:
        ended = "ended" if at >= exemption.until else "until"
        found["exempt"] = f"{exemption} {ended} {exemption.until:%Y-%m-%dT%H:%M:%SZ}"
    return found


def _less_specific(
    policy: HostPolicy, name: ImageName, demands: tuple[Demand, ...]
) -> list[str]:
    """Name the statements that cover a name, too, and lose to a more specific one."""
    return [
        f"{statement.name} ({statement.where}): {scope.text}"
        for statement in policy.statements
        if statement not in demands
        for scope in statement.scopes
        if scope.covers(name.repository)
    ]


def _demand(demand: Demand) -> Shown:
    return {
        "name": demand.name,
        "where": demand.where,
        "scopes": [scope.text for scope in demand.scopes],
        "requires": demand.requirement.text,
    }


def _signers(policy: HostPolicy, stores: TrustStores) -> dict[str, Shown]:
    return {name: _trust(one, stores) for name, one in policy.signers.items()}


def _notation(statement: Statement, stores: TrustStores) -> Shown:
    scopes = {"scopes": list(statement.scopes), "level": statement.level.name}
    return {"name": clip(statement.name)} | scopes | _trust(statement, stores)


def _trust(one: Statement, stores: TrustStores) -> Shown:
    asked = one.conditions
    found: Shown = {
        "trustStores": [_store(str(n), stores, n) for n in one.trust_stores],
        "identities": [clip(identity.text) for identity in one.identities],
        "userMetadata": [f"{k}={v}" for k, v in asked.user_metadata.items()],
        "pins": [str(d) for d in (*sorted(asked.certificates), *sorted(asked.keys))],
        "algorithms": [
            name if ends is None else f"{name} until {ends:%Y-%m-%d}"
            for name, ends in asked.algorithms.items()
        ],
    }
    if asked.signed_within is not None:
        found["signedWithin"] = str(asked.signed_within)
    return found


def _store(text: str, stores: TrustStores, name: Any) -> str:
    try:
        return stores.describe((name,))
    except EnforcerError as error:
        return f"{text} ({error.what})"

"""Judge one artifact in this process, as the daemon would, or what if."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from enforcer.assembly import (
    break_glass,
    evidence_store,
    fetcher,
    host_rules,
    load_policy,
    plugin_runner,
)
from enforcer.audit.clock import FixedClock, HostClock
from enforcer.cli.main import UsageError
from enforcer.cli.target import Target
from enforcer.core.errors import EnforcerError, clip
from enforcer.core.record import DecisionRecord
from enforcer.core.reference import parse_reference
from enforcer.core.subject import ImageName, Subject, artifact_subject, bind_subject
from enforcer.ports import Clock, EvidenceSource, PolicyInForce, SignatureCache
from enforcer.settings import Settings
from enforcer.sources.cache import DiskCache
from enforcer.sources.carried import CarriedSignatures
from enforcer.sources.plugins import PluginRunner, find_plugins
from enforcer.weigher import MAX_SIGNATURES, Weigher, denial


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What differs from how the daemon would judge.

    Attributes:
        scope: The name to judge under instead of the artifact's own.
        with_cache: Count the host's signatures for a layout or archive, too.
        own_policy: The settings name a policy of whoever asks.
    """

    scope: str = ""
    with_cache: bool = False
    own_policy: bool = False
    at: datetime | None = None
    user_metadata: Mapping[str, str] = field(default_factory=dict)
    max_signatures: int = MAX_SIGNATURES
    plugins: Path | None = None
    online: bool = False


def judge(
    target: Target, settings: Settings, what_if: WhatIf | None = None
) -> tuple[DecisionRecord, PolicyInForce]:
    """Return the decision, recorded nowhere, and the policy it was made by.

    Raises:
        EnforcerError: There is no usable policy, or nothing to judge.
        UsageError: Nothing says under which name to judge.
    """
    started = time.perf_counter()
    asked = what_if or WhatIf()
    force = load_policy(settings, trusted=not asked.own_policy)
    names = _names(target, asked)
    cache = _signatures(target, settings, asked)
    subject = _subject(target, names, cache)
    clock: Clock = FixedClock(asked.at) if asked.at else HostClock()
    weigher = Weigher(
        rules=replace(
            host_rules(settings),
            user_metadata=asked.user_metadata,
            max_signatures=asked.max_signatures,
        ),
        cache=cache,
        clock=clock,
        evidence=_evidence(settings, asked),
        consult=_plugins(settings, asked).ask,
        glass=None if asked.own_policy else break_glass(settings),
    )
    try:
        decision = weigher.weigh(subject, force)
    except EnforcerError as error:  # the daemon answers with a denial, too
        decision = denial(error.code, f"{error.what}. {error.remedy}")
    record = DecisionRecord(
        id=clock.new_id(),
        decision=decision,
        asked_by="cli",
        reference=subject.shown,
        container="",
        subject=subject,
        mode=settings.mode,
        policy=force.policy.digest,
        at=clock.now(),
        duration_ms=(time.perf_counter() - started) * 1000,
        what_if=replace(asked, with_cache=False) != WhatIf(),
    )
    return record, force


def _evidence(settings: Settings, asked: WhatIf) -> EvidenceSource:
    store = evidence_store(settings)
    if not asked.online:
        return store
    from enforcer.cli.online import OnlineEvidence  # needs the network's libraries

    return OnlineEvidence(store, lambda: fetcher(settings, child=True))


def _plugins(settings: Settings, asked: WhatIf) -> PluginRunner:
    if asked.plugins is None:
        return plugin_runner(settings)
    return PluginRunner(find_plugins(asked.plugins))


def _signatures(target: Target, settings: Settings, asked: WhatIf) -> SignatureCache:
    """Return where signatures come from: the host's cache, or what is carried."""
    cache = DiskCache(settings.cache_dir)
    if target.carried is None:
        return cache
    also = cache if asked.with_cache else None
    # Somebody who names a number means the first of that many, as notation does.
    as_listed = asked.max_signatures != MAX_SIGNATURES
    return CarriedSignatures(target.carried(), also=also, as_listed=as_listed)


def _names(target: Target, asked: WhatIf) -> tuple[ImageName, ...]:
    if asked.scope:
        reference = parse_reference(asked.scope)
        return (ImageName(clip(asked.scope), reference.scope),)
    if target.claim is None and not target.names:
        raise UsageError(
            "a layout does not say under which name to judge it; add --scope "
            "REGISTRY/REPOSITORY"
        )
    return target.names


def _subject(
    target: Target, names: tuple[ImageName, ...], cache: SignatureCache
) -> Subject:
    if target.claim is None:
        return artifact_subject(target.shown, names, target.contents[0])
    listed = [content.descriptor.digest for content in target.claim.contents]
    cached = cache.manifests_about(target.claim.config_digest, listed)
    return bind_subject(replace(target.claim, names=names), cached)

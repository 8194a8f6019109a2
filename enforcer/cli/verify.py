"""`enforcer verify TARGET`: judge one artifact, with or without the daemon."""

import argparse
import re
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from enforcer.assembly import (
    break_glass,
    evidence_store,
    host_rules,
    load_policy,
    plugin_runner,
)
from enforcer.audit.clock import FixedClock, HostClock
from enforcer.cli.main import UsageError, status_of
from enforcer.cli.output import coloured, is_json, print_json, settings_of
from enforcer.cli.target import Target
from enforcer.cli.targets import FORMS, open_target
from enforcer.core.errors import EnforcerError, MalformedError, clip
from enforcer.core.findings import Result, SignatureReport
from enforcer.core.record import DecisionRecord, decision_json
from enforcer.core.reference import parse_reference
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.subject import ImageName, Subject, artifact_subject, bind_subject
from enforcer.ports import Clock, EvidenceSource, SignatureCache
from enforcer.settings import LEVELS, Settings
from enforcer.sources.cache import DiskCache
from enforcer.sources.carried import CarriedSignatures
from enforcer.sources.plugins import PluginRunner, find_plugins
from enforcer.weigher import MAX_SIGNATURES, Weigher, denial

_MARKS = {
    Result.PASSED: ("ok", "green"),
    Result.FAILED: ("FAILED", "red"),
    Result.INCONCLUSIVE: ("unknown", "red"),
    Result.NOT_RUN: ("not run", "dim"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the verb takes."""
    parser.add_argument("target", help=FORMS)
    parser.add_argument("--scope", metavar="REF", help="judge under this name")
    parser.add_argument(
        "--with-cache",
        action="store_true",
        help="count the host's cached signatures for a layout or archive, too",
    )
    what_if = parser.add_argument_group("what if (releases nothing)")
    policies = what_if.add_mutually_exclusive_group()
    policies.add_argument("--notation-config", type=Path, metavar="DIR")
    policies.add_argument("--policy", type=Path, metavar="FILE/DIR")
    what_if.add_argument("--at", type=_time, metavar="TIME", help="RFC 3339")
    what_if.add_argument(
        "-m",
        "--user-metadata",
        action="append",
        type=parse_pair,
        metavar="K=V",
        default=[],
    )
    what_if.add_argument("--max-signatures", type=_positive, default=MAX_SIGNATURES)
    what_if.add_argument(
        "--plugins", type=Path, metavar="DIR", help="trust Notation's plug-ins there"
    )
    what_if.add_argument(
        "--online",
        action="store_true",
        help="ask lists and responders of revocation first; nothing is kept",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judge, print, and return the exit status."""
    settings = settings_of(arguments)
    if arguments.notation_config:
        settings = replace(
            settings,
            notation_config=arguments.notation_config,
            # somebody asks about their own policy
            notation=replace(settings.notation, allow_levels=LEVELS),
        )
    if arguments.policy:
        settings = replace(settings, notation_config=None, policy_dir=arguments.policy)
    with open_target(arguments.target, settings) as target:
        record = _judge(target, settings, arguments)
    if is_json(arguments):
        print_json(decision_json(record))
    else:
        _print(record)
    return status_of(record.decision.code)


def _judge(
    target: Target, settings: Settings, arguments: argparse.Namespace
) -> DecisionRecord:
    started = time.perf_counter()
    own = arguments.notation_config or arguments.policy
    force = load_policy(settings, trusted=not own)
    names = _names(target, arguments)
    cache = _signatures(target, settings, arguments)
    subject = _subject(target, names, cache)
    clock: Clock = FixedClock(arguments.at) if arguments.at else HostClock()
    rules = replace(
        host_rules(settings),
        user_metadata=dict(arguments.user_metadata),
        max_signatures=arguments.max_signatures,
    )
    weigher = Weigher(
        rules=rules,
        cache=cache,
        clock=clock,
        evidence=_evidence(settings, arguments),
        consult=_plugins(settings, arguments).ask,
        glass=None if own else break_glass(settings),
    )
    try:
        decision = weigher.weigh(subject, force)
    except EnforcerError as error:  # the daemon answers with a denial, too
        decision = denial(error.code, f"{error.what}. {error.remedy}")
    return DecisionRecord(
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
        what_if=_is_what_if(arguments),
    )


def _evidence(settings: Settings, arguments: argparse.Namespace) -> EvidenceSource:
    store = evidence_store(settings)
    if not arguments.online:
        return store
    from enforcer.cli.online import OnlineEvidence  # needs the network's libraries

    return OnlineEvidence(store)


def _plugins(settings: Settings, arguments: argparse.Namespace) -> PluginRunner:
    if arguments.plugins is None:
        return plugin_runner(settings)
    return PluginRunner(find_plugins(arguments.plugins))


def _signatures(
    target: Target, settings: Settings, arguments: argparse.Namespace
) -> SignatureCache:
    """Return where signatures come from: the host's cache, or what is carried."""
    cache = DiskCache(settings.cache_dir)
    if target.layout is None:
        return cache
    about = target.contents[0].descriptor.digest
    also = cache if arguments.with_cache else None
    # Somebody who names a number means the first of that many, as notation does.
    as_listed = arguments.max_signatures != MAX_SIGNATURES
    return CarriedSignatures(
        target.layout.collect(about), also=also, as_listed=as_listed
    )


def _names(target: Target, arguments: argparse.Namespace) -> tuple[ImageName, ...]:
    if arguments.scope:
        reference = parse_reference(arguments.scope)
        return (ImageName(clip(arguments.scope), reference.scope),)
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


def _is_what_if(arguments: argparse.Namespace) -> bool:
    return bool(
        arguments.notation_config
        or arguments.policy
        or arguments.at
        or arguments.scope
        or arguments.user_metadata
        or arguments.max_signatures != MAX_SIGNATURES
        or arguments.plugins
        or arguments.online
    )


def _print(record: DecisionRecord) -> None:
    decision = record.decision
    said = ("ALLOWED", "green") if decision.allowed else ("DENIED", "red")
    word = coloured(*said)
    print(f"{word}  {decision.message} [{decision.code}]")
    if decision.statement:
        print(f"  statement  {decision.statement}")
    for report in decision.signatures:
        _print_signature(report)


def _print_signature(report: SignatureReport) -> None:
    print(f"  signature  {report.digest.short}  {report.format}  {report.signer}")
    if report.vouches_for:
        print(f"    counts for {', '.join(report.vouches_for)}")
    for finding in report.findings:
        mark, colour = _MARKS[finding.result]
        noted = "" if finding.action == "enforce" else f" ({finding.action})"
        shown = coloured(f"{mark:8}", colour)
        print(f"    {shown} {finding.check}{noted}: {finding.because}")


def _time(text: str) -> datetime:
    try:
        return parse_rfc3339(text)
    except MalformedError as error:
        raise argparse.ArgumentTypeError(f"{error.what}. {error.remedy}") from error


def parse_pair(text: str) -> tuple[str, str]:
    """Read KEY=VALUE from the command line."""
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f'"{clip(text)}" is not KEY=VALUE')
    return name, value


def _positive(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,4}", text):
        raise argparse.ArgumentTypeError("expected a number from 1 to 99999")
    return int(text)

"""Settings into the objects that judge, for the daemon and for the command line."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.admission import Admission
from enforcer.audit.clock import HostClock
from enforcer.core.errors import EnforcerError
from enforcer.core.host_policy import HostPolicy
from enforcer.core.reference import Reference
from enforcer.core.registry_access import Access, Credential
from enforcer.ports import AuditLog, Engines, LiveEngines, PolicyInForce, SweepLog
from enforcer.settings import RegistrySettings, Settings
from enforcer.sources.break_glass import BreakGlassFolder
from enforcer.sources.cache import DiskCache
from enforcer.sources.plugins import PluginRunner, TrustedPlugin
from enforcer.sources.revocation.store import EvidenceStore
from enforcer.sources.trust import (
    KeptPolicy,
    load_host_policy,
    load_notation_policy,
    marks,
)
from enforcer.weigher import HostRules

BOOT_VARIABLE = "ENFORCER_BOOT_ID"  # enforcer.service sets it: its /proc has no more
RESOLVER_SOCKET, FETCHER_SOCKET = "resolver.sock", "fetcher.sock"  # in the run folder
NEARLY_FULL = 0.9  # of the cache's quota, in bytes or in files
REFUSAL_SECONDS = 0.5  # of the deadline, to say and record what was not found out

if TYPE_CHECKING:
    from enforcer.sources.engines import HostEngines
    from enforcer.sources.fetcher import FetcherClient
    from enforcer.sources.resolver import ResolverClient
    from enforcer.sweep import Sweep, SweepRules


@dataclass(frozen=True, slots=True)
class Host:
    """Where this host's bytes come from. Nothing is opened until it is asked."""

    policy: KeptPolicy
    cache: DiskCache


def assemble(settings: Settings) -> Host:
    """Build the sources that enforcer.yaml names."""
    return Host(KeptPolicy(), signature_cache(settings))


def signature_cache(settings: Settings) -> DiskCache:
    """Build the signature cache, with the room that enforcer.yaml gives it."""
    return DiskCache(settings.cache_dir, settings.cache)


def load_policy(settings: Settings, *, trusted: bool = True) -> PolicyInForce:
    """Read the policy that enforcer.yaml names, and its trust stores.

    Without `trusted` it may be anybody's: somebody asks what if.

    Raises:
        EnforcerError: There is none, or all that is wrong with it.
    """
    place = settings.policy_place
    if settings.notation_config:
        return load_notation_policy(place, trusted=trusted)
    return load_host_policy(place, settings.trust_dir, trusted=trusted)


def policy_places(settings: Settings) -> tuple[Path, ...]:
    """Name all that a change of which may change a decision."""
    return (
        settings.config_dir / "enforcer.yaml",
        settings.policy_place,
        settings.trust_dir,
    )


def break_glass(settings: Settings) -> BreakGlassFolder:
    """Build what knows for which digests root broke the glass."""
    boot = os.environ.get(BOOT_VARIABLE, "")
    return BreakGlassFolder(settings.run_dir / "break-glass", boot=boot)


def engines(settings: Settings) -> "HostEngines":
    """Build the engines that enforcer.yaml lists.

    Imported here: grpc takes longer to load than the rest, and few commands need it.
    """
    from enforcer.sources.engines import HostEngines

    return HostEngines(
        [(e.kind, e.socket, e.root, e.state, e.api) for e in settings.engines]
    )


def resolver(settings: Settings, *, seconds: float = 0) -> "ResolverClient":
    """Build what asks enforcer-resolver about the engines that enforcer.yaml lists.

    Within a part of a decision's deadline, or `seconds` where there is none.

    Imported here: protobuf takes its time, too.
    """
    from enforcer.sources.resolver import ResolverClient

    path = settings.run_dir / RESOLVER_SOCKET
    decides = settings.deadline_seconds - REFUSAL_SECONDS
    return ResolverClient(path, seconds=seconds or decides)


def fetcher(settings: Settings, *, child: bool = False) -> "FetcherClient":
    """Build what asks enforcer-fetcher; with `child` its own, where there is none.

    Imported here: protobuf takes its time.
    """
    from enforcer.sources.fetcher import FetcherClient

    return FetcherClient(settings.run_dir / FETCHER_SOCKET, child=child)


def admission(
    host: Host, settings: Settings, asked: Engines, audit: AuditLog
) -> Admission:
    """Build the story over a host's sources."""
    return Admission(
        rules=host_rules(settings),
        engines=asked,
        cache=host.cache,
        policy=host.policy,
        audit=audit,
        clock=HostClock(),
        evidence=evidence_store(settings),
        consult=plugin_runner(settings).ask,
        glass=break_glass(settings),
    )


def sweep(
    host: Host,
    settings: Settings,
    judging: Admission,
    asked: LiveEngines,
    audit: SweepLog,
) -> "Sweep":
    """Build what judges again what runs. Imported here, as only the daemon does."""
    from enforcer.sweep import Sweep

    places = judged_by(settings)
    return Sweep(
        admission=judging,
        engines=asked,
        audit=audit,
        clock=HostClock(),
        rules=sweep_rules(settings),
        marks=lambda: marks(places),
        stops=lambda: _stops(host),
        doubt=lambda: _doubt(host),
    )


def sweep_rules(settings: Settings) -> "SweepRules":
    """Return what enforcer.yaml says about what runs."""
    from enforcer.sweep import SweepRules

    said = settings.sweep
    return SweepRules(said.every_seconds, said.on_denied, said.grace_seconds)


def judged_by(settings: Settings) -> tuple[Path, ...]:
    """Name what changes whenever what a decision reads does, policy and trust apart.

    All of these are written by renaming files into them, or are a database.
    """
    evidence = settings.cache_dir / "evidence"
    crls = settings.notation.crl_cache
    return (
        settings.cache_dir / "index.db",
        settings.cache_dir / "blobs" / "sha256",
        evidence / "index",
        evidence / "memory",
        settings.state_dir / "floors.db",
        settings.run_dir / "break-glass",
        *((crls,) if crls else ()),
    )


def _stops(host: Host) -> bool:
    try:
        policy = host.policy.current().policy
    except EnforcerError:
        return False
    return isinstance(policy, HostPolicy) and policy.stops


def _doubt(host: Host) -> str:
    """Say why a denial may be for want of what should be there, or nothing."""
    try:
        stores = host.policy.current().stores.stores.values()
    except EnforcerError as error:
        return error.what
    lost = [store.what for store in stores if isinstance(store, EnforcerError)]
    return lost[0] if lost else host.cache.absence()


def evidence_store(settings: Settings) -> EvidenceStore:
    """Build what this host knows about revocation."""
    return EvidenceStore(
        settings.cache_dir / "evidence",
        settings.state_dir / "floors.db",
        notation_crls=settings.notation.crl_cache,
    )


def plugin_runner(settings: Settings) -> PluginRunner:
    """Build what asks the verification plug-ins that enforcer.yaml names."""
    return PluginRunner(
        {
            plugin.name: TrustedPlugin(plugin.path, plugin.digest)
            for plugin in settings.notation.plugins
        }
    )


def host_rules(settings: Settings) -> HostRules:
    """Return what enforcer.yaml says about judging."""
    return HostRules(
        mode=settings.mode,
        builds_allowed=settings.builds == "allow",
        allowed_levels=frozenset(settings.notation.allow_levels),
    )


def fullness_notice(settings: Settings) -> tuple[str, ...]:
    """Say that the signature cache will soon take nothing any more."""
    try:
        full = signature_cache(settings).fullness()
    except EnforcerError:  # `cache fsck` says what is wrong with it
        return ()
    if full < NEARLY_FULL:
        return ()
    return (
        f"the signature cache is {full:.0%} full, and takes nothing when it is: run "
        "`enforcer cache gc`, or raise `cache` in enforcer.yaml",
    )


def laxities(settings: Settings) -> tuple[str, ...]:
    """Name everything that makes this host laxer than it could be."""
    found = [f"broken glass: {glass}" for glass in break_glass(settings).all()]
    if settings.mode == "monitor":
        found.append("mode: monitor - nothing is refused, denials are only recorded")
    if settings.builds == "allow":
        found.append("builds: allow - RUN steps of image builds are not judged")
    if settings.notation.allow_levels:
        levels = ", ".join(settings.notation.allow_levels)
        found.append(f"notation.allowLevels: {levels} - weaker statements count")
    unread = settings.config_dir / "policy.d"
    if settings.notation_config and unread.exists():
        found.append(f"{unread} is not read: notationConfig names another policy")
    return tuple(found)


def access_for(
    settings: Settings,
    reference: Reference,
    login: Credential | None = None,
    *,
    to_write: bool = False,
) -> tuple[Access, str]:
    """Return how to reach a reference's registry, and the repository's name there.

    Reads its CA and login as whoever calls: the process that connects need not. A
    `login` that is given goes to that registry alone, never to a mirror of it. A mirror
    is asked in its place, but what is written goes where it is said to be.

    Raises:
        RegistryError: One of them cannot be used.
    """
    # With TLS: loaded where somebody asks a registry, not by every daemon.
    from enforcer.sources.registry.access import plain_access
    from enforcer.sources.registry.credentials import load_credential

    host, _, repository = reference.repository(local=False).partition("/")
    listed = {registry.host: registry for registry in settings.registries}
    host = host.lower()
    mirror, _, prefix = listed.get(host, RegistrySettings(host)).mirror.partition("/")
    if mirror and not to_write:
        host, repository = mirror, f"{prefix}/{repository}".lstrip("/")
    chosen = listed.get(host, RegistrySettings(host))
    access = plain_access(
        host, http=chosen.http, ca=chosen.ca, token_hosts=chosen.token_hosts
    )
    if login is not None and not mirror:
        return replace(access, credential=login), repository
    credential = load_credential(
        host,
        repository,
        environment=os.environ,
        auth_file=chosen.auth_file,
        helper=chosen.credential_helper,
    )
    return replace(access, credential=credential), repository

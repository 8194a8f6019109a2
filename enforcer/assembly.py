"""Settings into the objects that judge, for the daemon and for the command line."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from enforcer.admission import Admission
from enforcer.audit.clock import HostClock
from enforcer.ports import AuditLog, Engines, PolicyInForce
from enforcer.settings import Settings
from enforcer.sources.break_glass import BreakGlassFolder
from enforcer.sources.cache import DiskCache
from enforcer.sources.plugins import PluginRunner, TrustedPlugin
from enforcer.sources.revocation.store import EvidenceStore
from enforcer.sources.trust import (
    KeptPolicy,
    load_host_policy,
    load_notation_policy,
)
from enforcer.weigher import HostRules

BOOT_VARIABLE = "ENFORCER_BOOT_ID"  # enforcer.service sets it: its /proc has no more
RESOLVER_SOCKET = "resolver.sock"  # in the run folder
REFUSAL_SECONDS = 0.5  # of the deadline, to say and record what was not found out

if TYPE_CHECKING:
    from enforcer.sources.engines import HostEngines
    from enforcer.sources.resolver import ResolverClient


@dataclass(frozen=True, slots=True)
class Host:
    """Where this host's bytes come from. Nothing is opened until it is asked."""

    policy: KeptPolicy
    cache: DiskCache


def assemble(settings: Settings) -> Host:
    """Build the sources that enforcer.yaml names."""
    return Host(KeptPolicy(), DiskCache(settings.cache_dir))


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

    return HostEngines([(e.kind, e.socket, e.root, e.state) for e in settings.engines])


def resolver(settings: Settings) -> "ResolverClient":
    """Build what asks enforcer-resolver about the engines that enforcer.yaml lists.

    Imported here: protobuf takes its time, too.
    """
    from enforcer.sources.resolver import ResolverClient

    path = settings.run_dir / RESOLVER_SOCKET
    seconds = settings.deadline_seconds - REFUSAL_SECONDS
    return ResolverClient(path, seconds=seconds)


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

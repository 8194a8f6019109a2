"""What a daemon tells about itself and its host, as values."""

from dataclasses import dataclass
from datetime import datetime

from enforcer.ports import PolicyInForce
from enforcer.sweep import SweepView


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What `status` shows, but for what was decided.

    Attributes:
        force: The policy in force; None without one, and all is denied.
        loaded_at: When that was put in force.
        policy_problem: Why the newest policy is not the one in force.
        notices: Everything that makes this host laxer than it could be.
        engines: Of each its kind, socket and root.
        cache: Signatures, subjects and bytes; None where that cannot be told.
        audit_head: The hash of the line of the audit log that was written last.
        sweep: What runs, as it was judged last.
    """

    version: str
    mode: str
    force: PolicyInForce | None
    loaded_at: datetime | None
    policy_path: str
    policy_problem: str
    notices: tuple[str, ...]
    uptime_seconds: int
    pid: int
    engines: tuple[tuple[str, str, str], ...]
    cache: tuple[int, int, int] | None
    audit_head: str
    sweep: SweepView

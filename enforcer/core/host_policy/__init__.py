"""The host policy: signers by name, and statements that say who must have signed."""

from enforcer.core.host_policy.parse import parse_host_policy
from enforcer.core.host_policy.policy import (
    ALWAYS,
    Demand,
    Exemption,
    HostPolicy,
    Mirror,
)
from enforcer.core.host_policy.requirement import Requirement
from enforcer.core.host_policy.scope import Scope, parse_scope

__all__ = [
    "ALWAYS",
    "Demand",
    "Exemption",
    "HostPolicy",
    "Mirror",
    "Requirement",
    "Scope",
    "parse_host_policy",
    "parse_scope",
]

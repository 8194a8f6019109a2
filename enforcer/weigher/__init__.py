"""Verify and decide: one subject, one policy, the signatures at hand, within a budget.

What of the story the command line shares with the daemon: it knows no engine and keeps
no record.
"""

from enforcer.weigher.examiner import (
    MAX_BYTES,
    MAX_SECONDS,
    MAX_SIGNATURES,
    HostRules,
)
from enforcer.weigher.refusal import denial
from enforcer.weigher.weigher import Weigher

__all__ = [
    "MAX_BYTES",
    "MAX_SECONDS",
    "MAX_SIGNATURES",
    "HostRules",
    "Weigher",
    "denial",
]

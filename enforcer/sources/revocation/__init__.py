"""Revocation evidence: gathered from responders and lists, kept, and remembered.

`gather` is the only module of this package that uses the network, and asks for proof
that a chain is authenticated before it does. `store` and `floors` only use the disk.
"""

from enforcer.sources.revocation.fetch import FetchError, HttpFetcher
from enforcer.sources.revocation.floors import Floors
from enforcer.sources.revocation.gather import (
    Gathered,
    Limits,
    Unanswered,
    gather,
)
from enforcer.sources.revocation.store import EvidenceStore, sync

__all__ = [
    "EvidenceStore",
    "FetchError",
    "Floors",
    "Gathered",
    "HttpFetcher",
    "Limits",
    "Unanswered",
    "gather",
    "sync",
]

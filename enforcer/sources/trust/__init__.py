"""Policies and trust stores on disk: Notation's folder, and the host's own."""

from enforcer.sources.trust.host import load_host_policy
from enforcer.sources.trust.kept import Fingerprint, KeptPolicy, fingerprint, marks
from enforcer.sources.trust.notation import POLICY_NAMES, load_notation_policy
from enforcer.sources.trust.stores import read_store, survey_store

__all__ = [
    "POLICY_NAMES",
    "Fingerprint",
    "KeptPolicy",
    "fingerprint",
    "load_host_policy",
    "load_notation_policy",
    "marks",
    "read_store",
    "survey_store",
]

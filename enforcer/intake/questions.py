"""What registries are to be asked about, and which of them may be."""

from dataclasses import dataclass

from enforcer.core.reference import Reference
from enforcer.settings import Settings


@dataclass(frozen=True, slots=True)
class Question:
    """An image to ask about; `named` is one that somebody named, who misses it."""

    reference: Reference
    named: bool = False


def may_ask(settings: Settings, reference: Reference) -> bool:
    """Whether this host's settings let a registry be asked without being told to."""
    allowed = settings.sync.registries
    host = reference.repository(local=False).partition("/")[0].lower()
    return not allowed or host in allowed

"""A door: how it is tried with an image, and how what that left is removed."""

from collections.abc import Callable
from dataclasses import dataclass

from enforcer.host.prove.specimen import Specimen

# The specimen, and until when (a time.monotonic()).
Attempt = Callable[[Specimen, float], str]
CleanUp = Callable[[Specimen, float], None]


@dataclass(frozen=True, slots=True)
class Door:
    """One way to start an image.

    Attributes:
        engine: The engine's kind and socket.
        name: The door's, with what is tried behind a colon.
        attempt: Returns what happened where nothing refused, or raises one of FAILURES.
        clean_up: Removes what the attempt made; raises SaidNoError or HungError.
    """

    engine: str
    name: str
    attempt: Attempt
    clean_up: CleanUp

    @property
    def kind(self) -> str:
        """The name without what is tried."""
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a run that was killed left in one engine, by its mark."""

    mark: str
    remove: Callable[[], None]

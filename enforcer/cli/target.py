"""One artifact on this host, as `verify` and `sign` see it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from enforcer.core.collected import Collected
from enforcer.core.descriptor import Descriptor
from enforcer.core.subject import Claim, Content, ImageName

Stream = Callable[[Descriptor], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Target:
    """One artifact on this host.

    `contents` starts with the manifest or index that a signature would be about, and
    goes on with what that lists. An engine's image has a `claim`; others carry
    signatures, which are collected when they are needed. `stream` reads any blob it
    names, a part at a time, checked once it has ended; `held` any that is at hand,
    not checked and not judged, to be exported. `tag` is a layout's, where that knows
    no full name; a layout has a `folder`.
    """

    shown: str
    contents: tuple[Content, ...]
    names: tuple[ImageName, ...]
    claim: Claim | None = None
    carried: Callable[[], Iterable[Collected]] | None = None
    folder: Path | None = None
    stream: Stream | None = None
    held: Stream | None = None
    tag: str = ""

"""One URL to fetch: the question, and why there is no answer.

Made by who judges, of a chain that is authentic; asked by who judges nothing.
"""

from dataclasses import dataclass

from enforcer.core.codes import Code
from enforcer.core.errors import EnforcerError, clip


class FetchError(EnforcerError):
    """A URL gave nothing that can be used; the text says which and why."""

    default_code = Code.REVOCATION_UNKNOWN

    def __init__(self, url: str, because: str) -> None:
        super().__init__(
            f"{clip(url)} {because}", remedy="Check that it can be reached from here."
        )
        self.because = because


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask, and how long and how much to listen. `body` makes it a POST."""

    url: str
    accept: str
    max_bytes: int
    seconds: float
    body: bytes | None = None
    content_type: str = ""

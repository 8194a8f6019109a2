"""Which decisions somebody asks about, and what one of them says, taken as it comes.

A line may have members of any shape: what is not as expected is no match, and shows as
nothing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from enforcer.core.errors import EnforcerError
from enforcer.core.rfc3339 import parse_rfc3339
from enforcer.core.strictjson import Json

# Without its algorithm long enough not to be the beginning of a name.
_DIGEST = re.compile(r"(?:sha256:(?=[0-9a-f]*$)|(?=[0-9a-f]{6}))([0-9a-f]{0,64})")

Members = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for; a part that is None or empty asks for nothing.

    Attributes:
        image: The beginning of a reference, or of a digest of the image.
        signer: A signer of the policy that counted, or part of a certificate's subject.
        container: The beginning of its id.
    """

    since: datetime | None = None
    until: datetime | None = None
    image: str = ""
    signer: str = ""
    codes: frozenset[str] = frozenset()
    allowed: bool | None = None
    asked_by: str = ""
    container: str = ""

    def wants(self, line: Members) -> bool:
        """Whether a decision is one of those."""
        return (
            self._in_time(line)
            and (not self.codes or text(line, "code") in self.codes)
            and self.allowed in (None, line.get("allowed") is True)
            and self.asked_by in ("", text(line, "asked_by"))
            and text(line, "container").startswith(self.container)
            and self._names_image(line)
            and self._names_signer(line)
        )

    def _in_time(self, line: Members) -> bool:
        if self.since is None and self.until is None:
            return True
        at = time_of(line)
        return (
            at is not None
            and (self.since is None or at >= self.since)
            and (self.until is None or at < self.until)
        )

    def _names_image(self, line: Members) -> bool:
        if text(line, "reference").startswith(self.image):
            return True
        wanted = _DIGEST.fullmatch(self.image)
        subject = line.get("subject")
        digests = subject.values() if isinstance(subject, dict) else ()
        return wanted is not None and any(
            str(digest).startswith(f"sha256:{wanted[1]}") for digest in digests
        )

    def _names_signer(self, line: Members) -> bool:
        return not self.signer or any(
            self.signer in names or self.signer in text(signature, "signer")
            for signature in signatures(line)
            if isinstance(names := signature.get("vouchesFor", []), list)
        )


def text(members: Members, name: str) -> str:
    """Return a text member, "" where it is none."""
    found = members.get(name)
    return found if isinstance(found, str) else ""


def time_of(line: Members) -> datetime | None:
    """Return when it was decided, or None where it does not say."""
    try:
        return parse_rfc3339(text(line, "time"))
    except EnforcerError:
        return None


def signatures(line: Members) -> Iterator[Members]:
    """Yield what was found about each signature."""
    found = line.get("signatures")
    for item in found if isinstance(found, list) else ():
        if isinstance(item, dict):
            yield item


def counted(line: Members) -> list[str]:
    """Name the signers of the policy that signatures counted for, each once."""
    names: dict[str, None] = {}
    for signature in signatures(line):
        listed = signature.get("vouchesFor")
        for name in listed if isinstance(listed, list) else ():
            if isinstance(name, str):
                names[name] = None
    return list(names)

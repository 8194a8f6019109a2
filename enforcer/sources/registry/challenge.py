"""What a 401 asks for: the challenges of WWW-Authenticate (RFC 9110, 11.6.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from enforcer.sources.registry.errors import wrong

MAX_CHALLENGE_BYTES = 8192
MAX_CHALLENGES = 8

_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_GAP = re.compile(r"[ \t,]*")
# Possessive: linear on any input.
_PARAMETER = re.compile(
    rf'({_WORD})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*+)"|({_WORD}))[ \t]*(?=,|$)'
)
_SCHEME = re.compile(rf"({_WORD})(?:[ ]+[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))|[ ]+|$)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in. `scheme` and the names of parameters are lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(text: str, place: str) -> tuple[Challenge, ...]:
    """Read the value of WWW-Authenticate, several headers joined by commas.

    Raises:
        RegistryError: It is malformed, or names a parameter twice.
    """
    if len(text) > MAX_CHALLENGE_BYTES:
        raise wrong(place, f"asks for a login in more than {MAX_CHALLENGE_BYTES} bytes")
    found: list[tuple[str, dict[str, str]]] = []
    position = _skip(text, 0)
    while position < len(text):  # each turn takes one character at least
        parameter = _PARAMETER.match(text, position) if found else None
        match = parameter or _SCHEME.match(text, position)
        if match is None or len(found) > MAX_CHALLENGES:
            raise wrong(place, "asks for a login in a way that cannot be read")
        if parameter is None:
            found.append((match[1].lower(), {}))
        else:
            name, members = match[1].lower(), found[-1][1]
            if name in members:
                raise wrong(place, "asks for a login that says a thing twice")
            members[name] = match[3] or _ESCAPED.sub(r"\1", match[2] or "")
        position = _skip(text, match.end())
    return tuple(Challenge(scheme, members) for scheme, members in found)


def _skip(text: str, position: int) -> int:
    gap = _GAP.match(text, position)
    return gap.end() if gap else position
